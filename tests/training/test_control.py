"""The image ControlNet recipe: conditions as the net takes them, training of the net alone, its file."""

from dataclasses import replace

import pytest
import torch
from choreographer.core.control.layouts import read_video_controlnet
from choreographer.core.training import control as recipe
from choreographer.core.training.clips import Clips
from choreographer.core.training.diffusion import Batch, Family, clip_noise
from choreographer.core.training.loop import Plan
from choreographer.core.training.losses import ccdm_loss

FRAMES, WIDTHS = 4, (32, 64, 64)


def words(texts):
    return torch.stack([torch.full((77,), 49407 - len(text)) for text in texts])


@pytest.fixture(scope="module")
def clips():
    generator = torch.Generator().manual_seed(1)
    return Clips([torch.randn(6, 4, 4, 4, generator=generator) for _ in range(3)], ["a", "bb", "ccc"])


@pytest.fixture
def family():
    return Family(words, WIDTHS, seed=2)


def test_keyframes_are_shown_and_nothing_else(clips):
    source, generator = recipe.KeyframeClips(clips), torch.Generator().manual_seed(3)
    counts = set()
    for _ in range(60):
        latents, texts, condition, keyframes, *_ = source.draw(Batch(clips=2, frames=6), generator)
        assert condition.shape == (2, 6, 5, 4, 4) and len(texts) == 2
        for clip, given, places in zip(latents, condition, keyframes, strict=True):
            counts.add(len(places))
            hidden = [i for i in range(6) if i not in places]
            assert len(set(places)) == len(places)
            assert torch.equal(given[places, :4], clip[places]) and given[places, 4].eq(1).all()
            assert not given[hidden].any()
    assert counts == {1, 2, 3, 4}
    assert recipe.KeyframeClips(clips).draw(Batch(clips=1, frames=1), generator).keyframes == [[0]]


def test_thinned_clips_are_told_their_places(family, clips):
    batch, generator = Batch(clips=2, frames=3, span=6), torch.Generator().manual_seed(7)
    drawn = recipe.KeyframeClips(clips).draw(batch, generator)
    assert drawn.latents.shape[:2] == (2, 3) and len(set(drawn.places.tolist())) == 3
    assert drawn.places.tolist() == sorted(drawn.places.tolist()) and drawn.places.max() < 6
    for latents in drawn.latents:
        assert sum(torch.equal(clip[drawn.places], latents) for clip in clips.clips) == 1
    net = moving(recipe.make_control(family), 8)
    with torch.inference_mode():
        context, times = family.context(drawn.texts).repeat_interleave(3, 0), torch.full((6,), 400)
        thinned = net(drawn.condition, times, context, places=drawn.places)
        in_a_row = net(drawn.condition, times, context)
        first = net(drawn.condition, times, context, places=torch.arange(3))
    assert torch.equal(first.mid, in_a_row.mid) and not torch.equal(thinned.mid, in_a_row.mid)


def moving(net, seed):
    """The net with random weights where a fresh one has zeros, so that it does something."""
    generator = torch.Generator().manual_seed(seed)
    for weight in net.parameters():
        if not weight.detach().any():
            torch.nn.init.normal_(weight, std=0.1, generator=generator)
    return net


def test_a_new_net_is_the_encoder_and_changes_nothing(family, clips):
    net = recipe.make_control(family)
    assert net.config.channels == WIDTHS and net.config.attends == (True, True, False)
    copied = recipe._encoder(family.unet, net)
    own = {name for name in net.state_dict() if "motion_modules" not in name and "controlnet_" not in name}
    assert set(copied) == own
    generator = torch.Generator().manual_seed(4)
    drawn = recipe.KeyframeClips(clips).draw(Batch(clips=2, frames=FRAMES), generator)
    latents, texts = drawn.latents, drawn.texts
    steps = torch.tensor([500, 20])
    with torch.inference_mode():
        guided = recipe.predict(family, recipe.Acting(net), latents, steps, texts, drawn)
        plain = family.predict(latents.flatten(0, 1), steps, texts, FRAMES).unflatten(0, (2, FRAMES))
    assert torch.equal(guided, plain)


def test_eq_13_with_keyframes_of_each_clip():
    predicted, noise = torch.randn(2, 2, 5, 4, 3, 3, generator=torch.Generator().manual_seed(5))
    loss = recipe.keyframe_loss(predicted, noise, [[0], [1, 4]], lambda2=0.5)
    apart = [
        ccdm_loss(predicted[i : i + 1], noise[i : i + 1], lambda2=0.5, keyframes=places)
        for i, places in enumerate(([0], [1, 4]))
    ]
    assert float(loss) == pytest.approx(float(sum(apart) / 2))
    assert float(recipe.keyframe_loss(predicted, noise, [[], []])) == pytest.approx(
        float((predicted - noise).square().mean()), rel=1e-5
    )


def test_training_moves_the_net_alone_and_its_file_reads_back(family, clips, tmp_path):
    net = recipe.make_control(family)
    frozen = (family.unet, family.text, family.motion)
    fixed = [{k: v.clone() for k, v in part.state_dict().items()} for part in frozen]
    plan = Plan(3, tmp_path, learning_rate=1e-3, warmup=0, average=0.0)
    batch = Batch(clips=1, frames=FRAMES)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    source = recipe.KeyframeClips(clips)
    weights = recipe.train_control(family, net, source, plan, batch, lambda *_: None, lambda2=0.2)["control"]
    for part, kept in zip(frozen, fixed, strict=True):
        assert all(torch.equal(v, kept[k]) for k, v in part.state_dict().items())
    moved = {k for k, v in weights.items() if not torch.equal(v, before[k])}
    assert {"controlnet_cond_embedding.weight", "controlnet_mid_block.weight"} <= moved
    assert any("motion_modules" in name for name in moved) and any("attentions" in name for name in moved)
    net.load_state_dict(weights)
    recipe.save_control(net, tmp_path / "net.safetensors")
    back = read_video_controlnet(tmp_path / "net.safetensors")
    assert back.config == replace(net.config, embedding=back.config.embedding)
    drawn = source.draw(batch, torch.Generator().manual_seed(6))
    context = torch.randn(FRAMES, 77, 64)
    with torch.inference_mode():
        a, b = (each(drawn.condition, 7, context) for each in (net, back))
    assert torch.equal(a.mid, b.mid) and all(map(torch.equal, a.down, b.down)) and a.mid.abs().max() > 0


def test_a_flow_source_shares_the_recipe(family, tmp_path):
    class Tracks:
        def draw(self, batch, generator):
            shape = batch.clips, batch.frames
            latents = torch.randn(*shape, 4, 4, 4, generator=generator)
            flow = torch.randn(*shape, 2, 32, 32, generator=generator)
            return recipe.Drawn(latents, ["x"] * batch.clips, flow, [[]] * batch.clips)

    net = recipe.make_control(family, "flow")
    plan, batch = Plan(1, tmp_path, warmup=0), Batch(clips=1, frames=FRAMES)
    weights = recipe.train_control(family, net, Tracks(), plan, batch, lambda *_: None)["control"]
    assert weights["controlnet_cond_embedding.weight"].shape == (32, 128, 3, 3)


def test_noise_has_the_priors_covariance_at_the_frames_that_are_seen():
    generator, gamma, places = torch.Generator().manual_seed(11), 0.9, torch.tensor([0, 1, 5])
    assert clip_noise((2, 3, 4, 4, 4), 0.0, places, generator) is None
    noise = clip_noise((4000, 3, 4, 4, 4), gamma, places, generator)
    assert noise.shape == (4000, 3, 4, 4, 4)
    frames = noise.movedim(1, 0).flatten(1).double()
    apart = (places[:, None] - places).abs()
    wanted = gamma ** apart.double()  # VCD Eq. 4
    assert torch.allclose(frames @ frames.T / frames.shape[1], wanted, atol=0.01)
    in_a_row = clip_noise((1, 4, 4, 4, 4), gamma, None, generator)
    assert in_a_row.shape == (1, 4, 4, 4, 4)


def test_training_with_the_noise_prior_hands_it_to_the_net(family, clips):
    seen = []

    def one_step(gamma):
        net = moving(recipe.make_control(family), 8)
        batch = Batch(clips=1, frames=3, span=6, gamma=gamma)
        loss = recipe.control_loss(family, recipe.Acting(net), recipe.KeyframeClips(clips), batch)
        hook = family.unet.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
        loss(0, torch.Generator().manual_seed(5)).backward()
        hook.remove()

    for gamma in (0.0, 0.0, 0.9):
        one_step(gamma)
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
