"""The demo family in the host's list of models: SD1.5's own UNet, CLIP and TAESD code with smaller widths.

After `register()`, the stock checkpoint loader, CLIP encoder, VAE and samplers load and run the demo
checkpoint.
"""

import comfy.supported_models
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDClipModel, SDTokenizer
from comfy.supported_models_base import ClipTarget

from ...core.training.base_model import CONTEXT, HEADS, TEXT_CONFIG, WIDTHS
from ...core.training.word_table import unpack_words


class DemoTokenizer(SDTokenizer):
    """CLIP's tokenizer; textual-inversion rows have the demo's width."""

    def __init__(self, **options):
        """Take the host's options, with the width of the demo's token table."""
        super().__init__(**{**options, "embedding_size": CONTEXT})


class DemoTokenizerPair(SD1Tokenizer):
    """What the host calls for text: SD1.5's front with the demo's tokenizer behind it."""

    def __init__(self, **options):
        """Take the host's options."""
        super().__init__(**{**options, "tokenizer": DemoTokenizer})


class DemoTextEncoder(SDClipModel):
    """The host's CLIP text model with two layers of 64."""

    def __init__(self, **options):
        """Take the host's options."""
        config = {**TEXT_CONFIG, "eos_token_id": 49407, "layer_norm_eps": 1e-5}
        super().__init__(return_projected_pooled=False, textmodel_json_config=config, **options)


class DemoClipModel(SD1ClipModel):
    """SD1.5's wrapper around the demo's text encoder."""

    def __init__(self, **options):
        """Take the host's options."""
        super().__init__(**{**options, "clip_model": DemoTextEncoder})


class DemoFamily(comfy.supported_models.SD15):
    """An SD1.5 of 64/128/128 channels, recognised by its width and its text width."""

    unet_config = {
        "context_dim": CONTEXT,
        "model_channels": WIDTHS[0],
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
    }
    unet_extra_config = {"num_heads": HEADS, "num_head_channels": -1}

    def process_clip_state_dict(self, state_dict):
        """The text encoder's tensors as the host names them, with all rows of the token table."""
        return super().process_clip_state_dict(unpack_words(state_dict, TEXT_CONFIG["vocab_size"]))

    def clip_target(self, state_dict=None):
        """Tokenizer and text encoder classes."""
        return ClipTarget(DemoTokenizerPair, DemoClipModel)


def register():
    """Add the family to the host's list, once."""
    models = comfy.supported_models.models
    if not any(model.__name__ == DemoFamily.__name__ for model in models):
        models.append(DemoFamily)
