"""LoRA: what a small file of additions makes of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from studio.api import Context, LoraRef, Model, Refusal, Slider, StudioError, View, node
from studio.models.loading import FileDigest
from studio.models.references import lora_file
from studio.policy import Policy


def _content(params: Mapping[str, object], files: FileDigest) -> object:
    """What a LoRA is made of: the hash of its file. What is no such file is said when the node runs."""
    try:
        return files.sha256(lora_file(str(params["lora"]), Policy.local()).path)
    except (StudioError, OSError):
        return "missing"


def review_lora(view: View) -> Iterator[Refusal]:
    """No LoRA at all; whether a file is there is said by the run, as for models."""
    ref, strength = view.widgets.get("lora"), view.widgets.get("strength")
    if isinstance(ref, str) and not ref.strip() and strength != 0:
        yield Refusal("No LoRA is chosen.", "Choose one that the Models page lists, or give a path.", "lora")


@node(group="Model", title="Load LoRA", fingerprint=_content, review=review_lora)
def load_lora(
    model: Model,
    lora: LoraRef = "embedded:scenes-sd3-turbo",
    strength: Annotated[float, Slider(-4, 4, 0.05)] = 1.0,
    *,
    ctx: Context,
) -> Model:
    """Lay a LoRA over a model: a small file that taught it a style, a subject, or to draw in few steps.
    Several may follow each other; the model itself stays as it is.

    model: the model that the LoRA was made for; take what comes out for prompts, Sample and Decode
    lora: one that is found here, or the path of a safetensors file in the format of diffusers, peft or kohya
    strength: 1 = as it was trained, 0 = not at all; below 0 turns it around
    """
    if strength == 0:
        return model
    return ctx.models.lora(model, lora, strength)
