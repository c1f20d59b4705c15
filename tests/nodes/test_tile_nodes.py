"""Refine Tiles in a real host: what agrees, what stays bit for bit, what it costs, what is refused."""

import pytest
import torch
from choreographer.tests.nodes.clips import FRAMES, HEIGHT, WIDTH, Vae, call, clip
from choreographer.tests.nodes.memory import PeakMemory
from choreographer.tests.nodes.tiny import make_cond, pack, sample
from torch.nn import Linear

pytestmark = pytest.mark.usefixtures("comfy_host")


def tiles(model, images, upscale_model=None, positive=None, **changes):
    values = {
        "seed": 3, "gamma": 0.15, "steps": 2, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal",
        "denoise": 0.5, "tile_size": 512, "overlap": 16, "weights": "gaussian", **changes,
    }  # fmt: skip
    scale = values.pop("scale", 1.0)
    positive = make_cond(11) if positive is None else positive
    node = pack("nodes.refine").RefineTiles
    args = (images, scale, model, Vae(), positive, make_cond(12), *values.values())
    return call(node, *args, upscale_model=upscale_model)[0]


def test_denoise_zero_is_the_clip_and_scale_enlarges_it(model):
    images = clip(2)
    assert tiles(model, images, denoise=0.0) is images
    larger = tiles(model, images, denoise=0.0, scale=1.5)
    assert larger.shape == (2, 96, 144, 3)
    odd = tiles(model, images[:, :61, :91], tile_size=64)
    assert odd.shape == (2, 61, 91, 3), "any size"


def test_one_tile_is_plain_sampling_bit_for_bit(model, moving):
    apply, options = pack("nodes.host.tiles").apply_tiles, pack("nodes.host.tiles").TileOptions
    for kind in (model, moving):
        plain = sample(kind, FRAMES)
        assert torch.equal(sample(apply(kind, options(8, 2)), FRAMES), plain)
        assert not torch.equal(sample(apply(kind, options(6, 2)), FRAMES), plain)
        assert torch.equal(sample(kind, FRAMES), plain), "the model itself is as before"


def test_memory_at_four_times_the_area_is_that_of_a_tile_and_the_latents(moving):
    """A large clip in tiles of 12x12 latents against a clip of that size, by the same sampler."""
    host, peaks, frames = pack("nodes.host.tiles"), {}, 3
    tiled = host.apply_tiles(moving, host.TileOptions(12, 0))
    for name, kind, size in (("one", moving, 12), ("tiled", tiled, 24), ("whole", moving, 24)):
        sample(kind, frames, steps=1, size=4)  # loads the model
        with PeakMemory() as memory:
            sample(kind, frames, steps=1, size=size)
        peaks[name] = memory.peak
    latents = 8 * frames * 4 * 24 * 24 * 4  # noise, picture, their sum, predictions
    assert peaks["tiled"] < 1.3 * peaks["one"] + latents, peaks
    assert peaks["whole"] > 2.5 * peaks["one"], "what it would be without tiles"


def test_every_model_call_sees_a_tile_of_the_whole_clip_and_the_sampler_the_large_latent(model, moving):
    options, seen = pack("nodes.host.tiles").TileOptions(8, 2), []
    patched = pack("nodes.host.tiles").apply_tiles(moving, options)
    patched.set_model_unet_function_wrapper(
        lambda f, a: seen.append(a["input"].shape) or f(a["input"], a["timestep"], **a["c"])
    )
    large = []
    made = sample(
        patched, FRAMES, size=12, steps=2, callback=lambda step, x0, x, total: large.append(x0.shape)
    )
    assert made.shape == (FRAMES, 4, 12, 12) and large == [made.shape] * 2
    assert set(seen) == {(2 * FRAMES, 4, 8, 8)} and len(seen) == 2 * 4


def test_tiles_of_a_model_without_context_across_space_are_the_whole(model):
    """Where each latent's prediction depends on itself alone, tiles and overlaps change nothing."""
    apply, options = pack("nodes.host.tiles").apply_tiles, pack("nodes.host.tiles").TileOptions
    local = model.clone()
    local.set_model_unet_function_wrapper(lambda f, a: a["input"] * 0.9 + a["c"]["c_crossattn"].mean())
    whole = sample(local, 2, size=20)
    for kind in ("gaussian", "linear"):
        assert torch.allclose(sample(apply(local, options(8, 3, kind)), 2, size=20), whole, atol=1e-5)


def test_masks_of_conditions_are_cut_with_the_tile(model):
    apply, options = pack("nodes.host.tiles").apply_tiles, pack("nodes.host.tiles").TileOptions
    local = model.clone()
    local.set_model_unet_function_wrapper(
        lambda f, a: torch.zeros_like(a["input"]) + a["c"]["c_crossattn"].mean((1, 2)).view(-1, 1, 1, 1)
    )
    left, right = torch.zeros(1, 160, 160), torch.zeros(1, 160, 160)
    left[..., :80], right[..., 80:] = 1, 1
    prompt = [[make_cond(11)[0][0], {"mask": left}], [make_cond(13)[0][0] + 2, {"mask": right}]]
    whole = sample(local, 2, size=20, positive=prompt, cfg=1.0)
    tiled = sample(apply(local, options(8, 3)), 2, size=20, positive=prompt, cfg=1.0)
    assert (
        torch.allclose(tiled, whole, atol=1e-5) and float(whole[..., 0].mean() - whole[..., -1].mean()) != 0
    )


def make_control(seen):
    from comfy.controlnet import ControlBase

    class Watch(ControlBase):
        def get_control(self, x_noisy, t, cond, batched_number, transformer_options):
            seen.append((x_noisy.shape, self.cond_hint_original.clone()))
            return None

        def copy(self):
            c = Watch()
            self.copy_to(c)
            return c

    return Watch()


def test_a_tile_controlnet_gets_the_tiles_own_pixels(model):
    seen, images = [], clip(2)
    control = make_control(seen)
    node = pack("nodes.refine").RefineTiles
    args = (images, 1.0, model, Vae(), make_cond(11), make_cond(12), 3, 0.0, 2, 3.0, "euler", "normal", 1.0)
    call(node, *args, 48, 16, "gaussian", control_net=control, control_strength=0.7)
    assert {shape[-2:] for shape, _ in seen} == {(6, 6)} and len(seen) == 2 * 6
    planes, tiling = images.movedim(-1, 1), pack("core.refine.tiles").Tiling(64, 96, 48, 16)
    for (_, hint), tile in zip(seen, tiling.tiles, strict=False):
        assert torch.equal(hint, tile.of(planes))
    assert control.cond_hint_original is None, "the control itself is as before"


def test_a_hint_is_filled_up_with_the_clip(model):
    seen, images = [], clip(1)[:, :61, :91]
    node = pack("nodes.refine").RefineTiles
    args = (images, 1.0, model, Vae(), make_cond(11), make_cond(12), 3, 0.0, 1, 3.0, "euler", "normal", 1.0)
    made = call(node, *args, 96, 16, "gaussian", control_net=make_control(seen), control_strength=0.7)[0]
    hint = seen[0][1].movedim(1, -1)
    assert made.shape == images.shape and hint.shape == (1, 64, 96, 3)
    assert torch.equal(hint[:, :61, :91], images), "not stretched"


class Upscaler:
    """An UPSCALE_MODEL of factor 2 that notes what it sees, and has memory for so many pixels."""

    scale = 2

    def __init__(self, most=10**9):
        self.model, self.seen, self.most = Linear(1000, 250, bias=False), [], most

    def to(self, device):
        return self

    def __call__(self, picture):
        import comfy.model_management as management

        self.seen.append(tuple(picture.shape))
        if picture.shape[2] * picture.shape[3] > self.most:
            raise management.OOM_EXCEPTION("CUDA out of memory")
        return torch.nn.functional.interpolate(picture, scale_factor=2)


def test_what_tiles_cannot_take_is_said_before_any_work(model):
    upscaler = Upscaler()
    with pytest.raises(ValueError, match="overlap is 512 pixels, tile_size 512; .* overlap of 0 to 504"):
        tiles(model, clip(2), upscaler, overlap=512)
    with pytest.raises(ValueError, match="The images have 4 channels"):
        tiles(model, torch.rand(2, HEIGHT, WIDTH, 4), upscaler)
    assert not upscaler.seen
    area = [[make_cond(11)[0][0], {"area": (4, 4, 0, 0), "strength": 1.0}]]
    with pytest.raises(ValueError, match="cannot be divided into tiles"):
        tiles(model, clip(2), tile_size=64, positive=area)


def test_masks_with_bounds_are_refused_by_name(model):
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[:, :32, :32] = 1
    for bounds in (True, False):
        masked = {"mask": mask, "set_area_to_bounds": bounds, "mask_strength": 1.0}
        positive = [make_cond(11)[0], [make_cond(13)[0][0], masked]]
        if bounds:
            with pytest.raises(ValueError, match="Conditioning .Set Mask. with 'mask bounds'"):
                tiles(model, clip(1), tile_size=64, positive=positive)
        else:
            assert tiles(model, clip(1), tile_size=64, positive=positive).shape == clip(1).shape


def test_an_upscale_model_gets_memory_and_smaller_tiles_where_it_does_not_suffice(model, monkeypatch):
    import comfy.model_management as management

    asked, upscale = [], pack("nodes.host.upscale").upscale_clip
    monkeypatch.setattr(management, "free_memory", lambda need, device: asked.append(need))
    images, upscaler = torch.rand(2, 300, 300, 3), Upscaler(256 * 256)
    made = upscale(images, 2.0, upscaler)
    assert asked == [1000 * 250 * 4 + 512 * 512 * 3 * 4 * 2 * 384]
    assert torch.allclose(made[:, ::2, ::2], images, atol=1e-5)
    sizes = [shape[2:] for shape in upscaler.seen]
    assert sizes[0] == (300, 300) and sizes.count((300, 300)) == 1, "the next frame begins with what fits"
    with pytest.raises(management.OOM_EXCEPTION):
        upscale(images, 2.0, Upscaler(1000))


def test_enlarging_holds_one_copy_of_the_large_clip():
    images = torch.rand(8, 32, 32, 3)
    for upscaler in (None, Upscaler()):
        with PeakMemory() as memory:
            made = pack("nodes.host.upscale").upscale_clip(images, 2.0, upscaler)
        large = made.nelement() * 4
        assert memory.peak < 1.6 * large, memory.peak / large


def test_an_interrupt_stops_between_tiles(model):
    import comfy.model_management as management

    host, calls = pack("nodes.host.tiles"), []
    patched = host.apply_tiles(model, host.TileOptions(6, 2))

    def watch(f, a):
        calls.append(1)
        management.interrupt_current_processing()
        return f(a["input"], a["timestep"], **a["c"])

    patched.set_model_unet_function_wrapper(watch)
    with pytest.raises(management.InterruptProcessingException):
        sample(patched, 2, size=12)
    assert len(calls) == 1


def test_an_upscale_model_goes_first_frame_by_frame(model):
    upscaler, images = Upscaler(), clip(3)
    made = tiles(model, images, upscaler, scale=1.5, denoise=0.0)
    assert made.shape == (3, 96, 144, 3) and upscaler.seen == [(1, 3, HEIGHT, WIDTH)] * 3
    exact = tiles(model, images, upscaler, scale=2.0, denoise=0.0)
    assert torch.allclose(exact[:, ::2, ::2], images, atol=1e-6)


def test_what_tiles_cannot_take_is_said_before_the_clip_is_enlarged(model, moving):
    upscaler = Upscaler()
    area = [[make_cond(11)[0][0], {"area": (4, 4, 0, 0), "strength": 1.0}]]
    schedule = [[make_cond(11, 3)[0][0], {"choreo_frames": 3}]]
    for kind, frames, positive, message in (
        (model, 2, area, "cannot be divided into tiles"),
        (moving, 2, schedule, "The prompt schedule has 3 frames, the latent has 2"),
        (model, 2, schedule, "The prompt schedule has 3 frames, the latent has 2"),
        (moving, 1, None, "The latent has 1 frame"),
        (attentive(model), 2, None, "carries 'Self-Attention Guidance'"),
    ):
        with pytest.raises(ValueError, match=message):
            tiles(kind, clip(frames), upscaler, positive=positive)
    assert not upscaler.seen
    video = make_control([])
    video.reads_context_window = True
    node = pack("nodes.refine").RefineTiles
    args = (clip(2), 2.0, model, Vae(), make_cond(11), make_cond(12), 3, 0.0, 1, 3.0, "euler", "normal", 1.0)
    with pytest.raises(ValueError, match="a video ControlNet"):
        call(node, *args, 48, 16, "gaussian", upscaler, video, 1.0)
    assert not upscaler.seen
    assert tiles(model, clip(1), positive=area, denoise=0.0).shape == clip(1).shape, "nothing is sampled"


def attentive(model):
    from comfy_extras.nodes_sag import SelfAttentionGuidance

    return SelfAttentionGuidance.execute(model, 0.5, 2.0).result[0]


def test_guidance_with_evaluations_of_its_own_is_tiled_too(model):
    """Perturbed-attention guidance asks the model once more, behind the sampler's own evaluation."""
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    guided, seen = PerturbedAttentionGuidance.execute(model, 3.0).result[0], []
    patched = pack("nodes.host.tiles").apply_tiles(guided, pack("nodes.host.tiles").TileOptions(8, 2))
    patched.set_model_unet_function_wrapper(
        lambda f, a: seen.append(tuple(a["input"].shape)) or f(a["input"], a["timestep"], **a["c"])
    )
    sample(patched, 2, size=12, steps=1)
    assert {shape[2:] for shape in seen} == {(8, 8)}
    assert sum(shape[0] for shape in seen) == 4 * 3 * 2, "four tiles of three conditions of two frames"


def test_tiles_in_context_windows_get_the_hints_of_their_frames(model):
    import comfy.utils

    seen, frames = [], 4
    watched = make_control(seen)
    watched.set_cond_hint(torch.rand(frames, 3, 48, 48), 1.0, (0.0, 1.0))
    windows = pack("nodes.host.windows").apply_context_windows
    apply, options = pack("nodes.host.tiles").apply_tiles, pack("nodes.host.tiles").TileOptions
    kind = apply(windows(model, "standard_static", "flat", 2, 0, 1, False), options(8, 2))
    prompt = [[make_cond(11)[0][0], {"control": watched}]]
    sample(kind, frames, size=12, steps=2, positive=prompt, cfg=1.0)
    whole = comfy.utils.common_upscale(
        watched.cond_hint_original, 96, 96, watched.upscale_algorithm, "center"
    )
    tiling = pack("core.refine.tiles").Tiling(12, 12, 8, 2)
    pixels = [type(tile)(*(8 * edge for edge in tile)) for tile in tiling.tiles]
    wanted = [tile.of(whole[first : first + 2]) for first in (0, 2) for tile in pixels] * 2
    assert len(seen) == len(wanted)
    for (_, hint), right in zip(seen, wanted, strict=True):
        assert torch.allclose(hint, right, atol=1e-6)


def test_a_clip_that_needs_no_filling_up_is_not_copied(model, monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "pad", None)
    host = pack("nodes.host.refine")
    monkeypatch.setattr(host, "apply_tiles", lambda model, options: model)
    seen, images = [], clip(2)
    watch = lambda self, model, vae, given, frames=None: seen.append(given) or given  # noqa: E731
    monkeypatch.setattr(host.Pass, "run", watch)
    tiles(model, images)
    assert seen[0].data_ptr() == images.data_ptr()
