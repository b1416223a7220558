"""The one import for authors of nodes and plugins. Re-exports only; a name leaves only with a new
API_VERSION."""

from __future__ import annotations

from studio.controls.control import (
    AttentionControl,
    Branch,
    Call,
    Columns,
    Extension,
    Need,
    Owns,
    Pass,
    PassSet,
    Probe,
    TextSegment,
    Write,
)
from studio.errors import StudioError
from studio.graph.context import Context
from studio.graph.review import Refusal, View
from studio.graph.spec import BLOCKED, node
from studio.graph.widgets import (
    Choice,
    Colour,
    ModelRef,
    Number,
    PictureRef,
    Prompt,
    Regions,
    Seed,
    Slider,
    Text,
)
from studio.pixels import to_array, to_image
from studio.values import (
    Attachment,
    Conditioning,
    Guidance,
    Image,
    Latent,
    Layout,
    Mask,
    Model,
    Region,
    Sampler,
    Scorer,
    Seen,
    Sigmas,
    TokenSpan,
    Upscale,
    Upscaler,
    Wrap,
)

API_VERSION = 1

__all__ = [
    "API_VERSION",
    "BLOCKED",
    "Attachment",
    "AttentionControl",
    "Branch",
    "Call",
    "Choice",
    "Colour",
    "Columns",
    "Conditioning",
    "Context",
    "Extension",
    "Guidance",
    "Image",
    "Latent",
    "Layout",
    "Mask",
    "Model",
    "ModelRef",
    "Need",
    "Number",
    "Owns",
    "Pass",
    "PassSet",
    "PictureRef",
    "Probe",
    "Prompt",
    "Refusal",
    "Region",
    "Regions",
    "Sampler",
    "Scorer",
    "Seed",
    "Seen",
    "Sigmas",
    "Slider",
    "StudioError",
    "Text",
    "TextSegment",
    "TokenSpan",
    "Upscale",
    "Upscaler",
    "View",
    "Wrap",
    "Write",
    "node",
    "to_array",
    "to_image",
]
