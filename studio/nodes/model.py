"""Models as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from studio.api import Context, Model, ModelRef, Refusal, View, node
from studio.errors import StudioError
from studio.models.embedded import DEFAULT, PREFIX, find_embedded
from studio.models.loading import FileDigest, ref_files


def _content(params: Mapping[str, object], files: FileDigest) -> object:
    """What a model is made of: the hashes of its files, so that replaced weights are noticed (E11)."""
    return [[name, files.sha256(path)] for name, path in ref_files(str(params["model"]))]


def review_model(view: View) -> Iterator[Refusal]:
    """A model that does not ship with the studio; whether a folder or a repository is there the run tells."""
    ref = view.widgets.get("model")
    if isinstance(ref, str) and ref.startswith(PREFIX):
        try:
            find_embedded(ref)
        except StudioError as error:
            yield Refusal(error.message, error.hint, "model")


@node(group="Model", share=True, fingerprint=_content, review=review_model)
def load_model(model: ModelRef = DEFAULT, *, ctx: Context) -> Model:
    """Load a model: one that ships with the studio, a diffusers folder, or one from the Hub.

    model: embedded:name, the path of a folder with a model_index.json, or hub:owner/name
    """
    return ctx.models.load(model)
