"""The loop over frames, with a stand-in for sampling that draws what its maps show."""

import numpy as np
import pytest
import torch
from choreographer.core.control_modes.blend import FlowBlend, blend, blend_clip
from choreographer.core.control_modes.flow import ClipFlow, warp_one
from choreographer.core.control_modes.loop import MODES, FrameLoop, Loop, Source
from choreographer.core.control_modes.maps import edge_maps
from choreographer.tests.control_modes.test_maps import FRAMES, moving_square


def edges_of(frame):
    return edge_maps(frame[None])[0]


def thick(maps):
    """Lines three pixels wide."""
    return torch.nn.functional.max_pool2d(maps.movedim(-1, 1), 3, 1, 1).movedim(1, -1)


class Sampler:
    """A picture whose edges are those of its map: the map itself, thickened; its seed is noted."""

    def __init__(self):
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        if not request.maps:
            return request.content
        return thick(request.maps["canny"][None])[0]


def run(mode, seeds="paper", first=None, estimators=None, amount=0.5, seed=7):
    images = moving_square()
    sampler = Sampler()
    source = Source(FRAMES, {"canny": edge_maps(images)}, images)
    estimators = {"canny": edges_of} if estimators is None else estimators
    loop = FrameLoop(Loop(mode, seeds, amount), source, sampler, estimators)
    return loop.run(seed, first), sampler.requests


def centre(frame):
    columns = torch.arange(frame.shape[1], dtype=torch.float32)
    return float((frame[..., 0].sum(0) * columns).sum() / frame[..., 0].sum())


def travel(frames):
    return centre(frames[-1]) - centre(frames[1])


def test_the_papers_seeds():
    _, requests = run("per frame")
    assert [request.seed - 7 for request in requests] == [f * (f - 1) // 2 for f in range(FRAMES)]
    assert Loop("per frame", "shared").seed(3, 5) == 3 and Loop("per frame", "per frame").seed(3, 5) == 8
    highest = 2**64 - 1
    assert Loop("per frame", "per frame").seed(highest, 5) == 4 and Loop("per frame").seed(highest, 3) == 2
    assert Loop("per frame", "shared").seed(highest, 5) == highest


def test_maps_are_moved_by_the_flow_of_one_pair_as_by_that_of_the_clip():
    images, maps = moving_square(), edge_maps(moving_square())
    loop = FrameLoop(Loop("interpolated along flow"), Source(FRAMES, {"canny": maps}, images), None, {})
    flow = ClipFlow(images)
    for f in range(1, FRAMES):
        _, there, known = next(flow.away(f - 1, (f,)))
        whole = torch.where(known[..., None], warp_one(maps[f - 1], there), maps[f])
        assert torch.equal(loop._moved(f, {"canny": maps[f - 1]}, {"canny": maps[f]})["canny"], whole)


def test_flow_is_found_pair_by_pair_when_it_is_needed(monkeypatch):
    loops, pairs = FrameLoop.__init__.__globals__, []
    true = loops["flow_pair"]
    monkeypatch.setitem(loops, "flow_pair", lambda *given: pairs.append(1) or true(*given))
    run("interpolated along flow")
    assert len(pairs) == FRAMES - 1
    run("maps, content and flow")
    assert len(pairs) == FRAMES - 1, "its blend finds the flow itself"
    small = torch.zeros(2, 16, 8, 3)
    with pytest.raises(ValueError, match="Frames are 8x16, DIS flow needs at least 16x16"):
        FrameLoop(Loop(MODES[-1]), Source(2, {"canny": small}, small), None, {})


def test_previous_frame_control_freezes_and_per_frame_control_moves():
    moving, _ = run("per frame")
    frozen, _ = run("previous frame", estimators={})
    assert travel(moving) > 2.0
    assert all(torch.equal(frame, frozen[0]) for frame in frozen)


def test_interpolated_ends_with_the_sources_own_map():
    _, requests = run("interpolated")
    assert torch.equal(requests[-1].maps["canny"], edge_maps(moving_square())[-1])


def test_moved_edges_are_single_where_interpolated_ones_are_double():
    images = moving_square()
    own, requests = edge_maps(images), []

    def perfect(request):
        requests.append(request)
        return images[request.frame]

    errors = []
    for mode in ("interpolated", "interpolated along flow"):
        requests.clear()
        FrameLoop(Loop(mode), Source(FRAMES, {"canny": own}, images), perfect, {"canny": edges_of}).run(0)
        made = torch.stack([request.maps["canny"] for request in requests])
        errors.append(((made - thick(own)).clamp_min(0)).mean())  # white where no line is near
    assert errors[1] < 0.5 * errors[0]


def test_content_is_the_frame_before_and_the_first_frame_is_pinned():
    pinned = torch.rand(64, 96, 3, generator=torch.Generator().manual_seed(4))
    made, requests = run("content and flow", first=pinned)
    assert torch.equal(made[0], pinned) and len(requests) == FRAMES - 1
    assert torch.equal(requests[0].content, pinned) and not requests[0].maps


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_runs_twice_alike(mode):
    first, second = run(mode)[0], run(mode)[0]
    assert first.shape == (FRAMES, 64, 96, 3) and torch.equal(first, second)


def test_blend_of_a_shifted_noisy_frame_draws_it_to_the_truth():
    clean = moving_square()
    noise = 0.08 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    noisy = (clean + noise).clamp(0, 1)
    before = (noisy - clean)[1:].square().mean()
    made = blend_clip(noisy, FlowBlend(0.5, "dis"), guide=clean)
    assert (made - clean)[1:].square().mean() < 0.6 * before
    assert torch.equal(blend_clip(noisy, FlowBlend(0.0)), noisy)


def test_the_better_blend_follows_motion_that_farneback_loses():
    clean = moving_square(8)
    other = (clean + 0.1).clamp(0, 1)  # the same picture, lit differently: what the blend should bring over
    paper = blend(clean[4], other[3], FlowBlend(1.0, "farneback"))
    better = blend(clean[4], other[3], FlowBlend(1.0, "dis"), guide=(clean[4], clean[3]))
    square = np.s_[22:42, 42:62]
    wanted = other[4][square]
    assert (better[square] - wanted).abs().mean() < (paper[square] - wanted).abs().mean()


def test_errors_are_sentences():
    for wrong, call in (
        ("Frame loop mode is 'x'", lambda: Loop("x")),
        ("needs control maps", lambda: FrameLoop(Loop("per frame"), Source(3), None, {})),
        (
            "needs the source clip's images",
            lambda: FrameLoop(Loop(MODES[-1]), Source(3, {"canny": torch.zeros(3, 16, 16, 3)}), None, {}),
        ),
        ("have 2 frames, expected 3", lambda: Source(3, {"canny": torch.zeros(2, 16, 16, 3)})),
        ("expected 0 to 1", lambda: FlowBlend(2.0)),
    ):
        with pytest.raises(ValueError, match=wrong):
            call()
