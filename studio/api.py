"""The one import for authors of nodes and plugins. Re-exports only; a name leaves only with a new
API_VERSION."""

from __future__ import annotations

from studio.errors import StudioError
from studio.graph.context import Context
from studio.graph.spec import BLOCKED, node
from studio.graph.widgets import Choice, Colour, ModelRef, Number, PictureRef, Prompt, Seed, Slider, Text
from studio.pixels import to_array, to_image
from studio.values import (
    Attachment,
    Conditioning,
    Guidance,
    Image,
    Latent,
    Mask,
    Model,
    Sampler,
    Sigmas,
    Wrap,
)

API_VERSION = 1

__all__ = [
    "API_VERSION",
    "BLOCKED",
    "Attachment",
    "Choice",
    "Colour",
    "Conditioning",
    "Context",
    "Guidance",
    "Image",
    "Latent",
    "Mask",
    "Model",
    "ModelRef",
    "Number",
    "PictureRef",
    "Prompt",
    "Sampler",
    "Seed",
    "Sigmas",
    "Slider",
    "StudioError",
    "Text",
    "Wrap",
    "node",
    "to_array",
    "to_image",
]
