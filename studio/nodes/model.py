"""Models as values."""

from __future__ import annotations

from collections.abc import Mapping

from studio.api import Context, Model, ModelRef, node
from studio.models.embedded import DEFAULT
from studio.models.loading import FileDigest, ref_files


def _content(params: Mapping[str, object], files: FileDigest) -> object:
    """What a model is made of: the hashes of its files, so that replaced weights are noticed (E11)."""
    return [[name, files.sha256(path)] for name, path in ref_files(str(params["model"]))]


@node(group="Model", share=True, fingerprint=_content)
def load_model(model: ModelRef = DEFAULT, *, ctx: Context) -> Model:
    """Load a model: one that ships with the studio, a diffusers folder, or one from the Hub.

    model: embedded:name, the path of a folder with a model_index.json, or hub:owner/name
    """
    return ctx.models.load(model)
