"""The atlas nodes with one layer, and what guidance by an atlas costs."""

import pytest
import torch
from choreographer.tests.control_modes.test_maps import moving_square
from choreographer.tests.nodes.tiny import pack

pytestmark = pytest.mark.usefixtures("comfy_host")
COUNT = 3


def clip():
    return moving_square()[:COUNT, :, :64]


@pytest.fixture(scope="module")
def atlas(comfy_host):
    """One layer."""
    fit = pack("core.atlas.fit")
    return fit.fit_atlas(fit.Clip(clip(), None), fit.AtlasSettings(steps=1, batch=64))


def test_a_foreground_for_one_layer_is_refused_beside_a_background_too(atlas):
    rendered, picture = pack("nodes.host.atlas").rendered, atlas.pictures[:1]
    for background in (None, picture):
        with pytest.raises(ValueError, match="one layer, the background: connect the edit to 'background'"):
            rendered(atlas, picture, background, None)
    assert rendered(atlas, None, picture, None).shape == clip().shape


def test_a_keyframe_edit_goes_through_one_layer(atlas):
    keyframes, images = pack("core.keyframes"), clip()
    edits = keyframes.Keyframes((keyframes.Keyframe(1 - images[1], 1),))
    found = pack("nodes.atlas").PropagateKeyframeEdit.execute(atlas, images, edits)
    assert not torch.allclose(found.result[0], images, atol=0.1)


def test_guidance_of_one_frame_is_refused_before_sampling():
    pull = pack("nodes.host.atlas").AtlasPull(pack("core.atlas.fit").AtlasSettings())
    pull.check(2, (64, 64))
    with pytest.raises(ValueError, match="at least 2 frames, the latent has 1"):
        pull.check(1, (64, 64))


def test_an_interrupt_ends_the_flow_of_a_build():
    from comfy import model_management

    host, settings = pack("nodes.host.atlas"), pack("core.atlas.fit").AtlasSettings(steps=1, batch=64)
    model_management.interrupt_current_processing(True)
    with pytest.raises(model_management.InterruptProcessingException):
        host.on_device(clip(), None, host.reporter())
    assert host.build_atlas(clip(), None, settings).frames == COUNT


def test_guidance_renders_its_atlas_once(monkeypatch):
    host, made = pack("nodes.host.atlas"), []
    render = host.render

    def counted(*arguments, **named):
        made.append(render(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(host, "render", counted)
    pull = host.AtlasPull(pack("core.atlas.fit").AtlasSettings(steps=1, batch=64))
    found = pull(clip(), lambda *_: None)
    assert len(made) == 1 and torch.equal(found, made[0])
