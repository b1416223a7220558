"""What authors may import: a change of this list is a change of API_VERSION (6.5.9)."""

from __future__ import annotations

import inspect
import subprocess
import sys

from studio import api
from studio.settings import ROOT

NAMES = (
    "API_VERSION Attachment AttentionControl BLOCKED Branch Call Choice Colour Columns Conditioning "
    "Context Extension FileRef Guidance Image Latent Layout LoraRef Mask Model ModelRef Need Number Owns "
    "Pass PassSet PictureRef Probe Prompt Refusal Region Regions Sampler Scorer Seed Seen Several Sigmas "
    "Slider StudioError Text TextSegment TokenSpan Upscale Upscaler View Wrap Write node to_array to_image"
)
CONTEXT = (
    "check close code device expire generator item kept log models note numerics open_file policy rng step "
    "temp warn"
)
OPTIONS = (
    "id version replaces title group output cache always_run fingerprint random share resources "
    "cost cheaper timeout technique review together"
)


def test_public_names_are_those_of_version_one() -> None:
    assert sorted(api.__all__) == sorted(NAMES.split())
    assert all(hasattr(api, name) for name in NAMES.split())
    assert api.API_VERSION == 1


def test_context_offers_what_version_one_offers() -> None:
    public = {name for name in dir(api.Context()) if not name.startswith("_")}
    assert public == set(CONTEXT.split())


def test_node_decorator_takes_the_options_of_version_one() -> None:
    from studio.graph import spec

    assert sorted(["id", *spec._OPTIONS]) == sorted(OPTIONS.split())
    assert "function" in inspect.signature(api.node).parameters


def test_importing_the_api_loads_neither_torch_nor_gradio() -> None:
    code = "import studio.api, sys; print([n for n in ('torch', 'gradio', 'diffusers') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
