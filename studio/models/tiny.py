"""Random miniatures of every family, made from the real diffusers and transformers classes, for tests.

The weights come from a seed and never from the global RNG; a miniature says nothing about meaning or quality.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from studio.errors import BadModel, StudioError, did_you_mean

if TYPE_CHECKING:
    from diffusers import (
        AutoencoderKL,
        AutoencoderTiny,
        Flux2Transformer2DModel,
        FluxPipeline,
        FluxTransformer2DModel,
        QwenImageTransformer2DModel,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
        ZImageTransformer2DModel,
    )
    from transformers import (
        CLIPTextModel,
        CLIPTextModelWithProjection,
        PreTrainedTokenizerFast,
        T5EncoderModel,
    )

LATENT_CHANNELS = 4
TEXT_LENGTH = 16
TEXT_WIDTH = 32
WORDS = (
    "a",
    "red",
    "blue",
    "green",
    "yellow",
    "big",
    "small",
    "star",
    "heart",
    "ring",
    "house",
    "tree",
    "boat",
    "fish",
    "on",
    "the",
    "left",
    "right",
    "of",
    "above",
    "below",
    "and",
    "at",
    "night",
    "in",
    "sea",
    "sky",
    "with",
    ",",
    ".",
)


def tiny_transformer(family: str, *, seed: int = 0) -> torch.nn.Module:
    """The random miniature transformer of a family: sd3, flux, flux2, qwen_image or z_image; fp32, in
    eval mode."""
    if family not in TRANSFORMERS:
        raise StudioError(
            f"No miniature of family {family!r}.",
            hint=did_you_mean(family, TRANSFORMERS) or f"Possible: {', '.join(TRANSFORMERS)}.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _spread(TRANSFORMERS[family]())


def tiny_sd3_pipeline(*, seed: int = 0, vae: str = "tiny", t5: bool = False) -> StableDiffusion3Pipeline:
    """A whole random StableDiffusion3Pipeline: 16 text tokens, 8 pixels a latent; `vae`: tiny or kl.

    Without `t5` the third encoder is absent, as in the embedded models.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StableDiffusion3Pipeline(
            transformer=_spread(_sd3()),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=_spread(_vae(vae), gain=1.4),
            text_encoder=_clip(),
            tokenizer=tiny_tokenizer(),
            text_encoder_2=_clip(),
            tokenizer_2=tiny_tokenizer(),
            text_encoder_3=_t5() if t5 else None,
            tokenizer_3=tiny_tokenizer() if t5 else None,
        )


def tiny_flux_pipeline(*, seed: int = 0, vae: str = "tiny", dynamic: bool = False) -> FluxPipeline:
    """A whole random FluxPipeline: 16 T5 tokens, 8 pixels a latent, two double and two single blocks,
    guidance embedded. `vae`: tiny or kl; `dynamic`: the scheduler's shift follows the size of the picture."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FluxPipeline(
            transformer=_spread(_flux()),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic),
            vae=_spread(_vae(vae), gain=1.4),
            text_encoder=_clip(width=TEXT_WIDTH, pooled_only=True),
            tokenizer=tiny_tokenizer(),
            text_encoder_2=_t5(),
            tokenizer_2=tiny_tokenizer(),
        )


def save_tiny(name: str, folder: Path, *, seed: int = 0, t5: bool = False, vae: str = "tiny") -> Path:
    """The miniature pipeline of a family, one of PIPELINES, as a diffusers folder of safetensors with a card.

    `t5` is for sd3, where the third encoder may be absent; flux always has it.
    """
    if name not in PIPELINES:
        known = ", ".join(f"tiny:{known}" for known in PIPELINES)
        raise BadModel(f"There is no miniature pipeline {name!r}.", hint=f"Possible: {known}.")
    t5 = t5 or name == "flux"
    made = (
        tiny_flux_pipeline(seed=seed, vae=vae)
        if name == "flux"
        else tiny_sd3_pipeline(seed=seed, vae=vae, t5=t5)
    )
    made.save_pretrained(folder, safe_serialization=True)
    card = {
        "name": f"tiny-{name}",
        "title": "The miniature",
        "family": name,
        "size": [64, 64],
        "steps": 4,
        "cfg_scale": 3.0,
        "shift": 3.0,
        "max_sequence_length": TEXT_LENGTH if t5 else 0,
        "vocabulary": list(WORDS),
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word, lower case, unknown words named <unk>; 16 tokens with start and end."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    marks = ("<pad>", "<unk>", "<s>", "</s>")
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate((*marks, *WORDS))}, unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=TEXT_LENGTH,
        padding_side="right",
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )


def _clip(*, width: int = 16, pooled_only: bool = False) -> CLIPTextModel | CLIPTextModelWithProjection:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kind = CLIPTextModel if pooled_only else CLIPTextModelWithProjection
    return kind(
        CLIPTextConfig(
            vocab_size=len(WORDS) + 4,
            hidden_size=width,
            intermediate_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=TEXT_LENGTH,
            projection_dim=16,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
        )
    ).eval()


def _t5() -> T5EncoderModel:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=len(WORDS) + 4,
            d_model=TEXT_WIDTH,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            pad_token_id=0,
            eos_token_id=3,
        )
    ).eval()


def _vae(kind: str) -> AutoencoderKL | AutoencoderTiny:
    from diffusers import AutoencoderKL, AutoencoderTiny

    if kind == "kl":
        return AutoencoderKL(
            latent_channels=LATENT_CHANNELS,
            block_out_channels=(8, 8, 8, 8),
            norm_num_groups=4,
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=64,
            use_quant_conv=False,
            use_post_quant_conv=False,
            scaling_factor=1.5305,
            shift_factor=0.0609,
        ).eval()
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    ).eval()


def _sd3() -> SD3Transformer2DModel:
    from diffusers import SD3Transformer2DModel

    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=32,
        qk_norm="rms_norm",
    )


def _flux() -> FluxTransformer2DModel:
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=32,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )


def _flux2() -> Flux2Transformer2DModel:
    from diffusers import Flux2Transformer2DModel

    return Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
    )


def _qwen_image() -> QwenImageTransformer2DModel:
    from diffusers import QwenImageTransformer2DModel

    return QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        axes_dims_rope=(4, 6, 6),
    )


def _z_image() -> ZImageTransformer2DModel:
    from diffusers import ZImageTransformer2DModel

    return ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=16,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=TEXT_WIDTH,
        axes_dims=[4, 6, 6],
        axes_lens=[256, 32, 32],
    )


def _spread(model: torch.nn.Module, gain: float = 0.7) -> torch.nn.Module:
    """Weights and biases wide enough that text and time are seen in the output (fresh gates are almost
    closed)."""
    for name, tensor in model.named_parameters():
        if tensor.ndim > 1:
            torch.nn.init.normal_(tensor, std=gain / tensor[0].numel() ** 0.5)
        elif name.endswith("bias"):
            torch.nn.init.normal_(tensor, std=0.2)
    return model.eval()


PIPELINES = ("sd3", "flux")
TRANSFORMERS: Mapping[str, Callable[[], torch.nn.Module]] = {
    "sd3": _sd3,
    "flux": _flux,
    "flux2": _flux2,
    "qwen_image": _qwen_image,
    "z_image": _z_image,
}
