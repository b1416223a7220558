"""Model folders on disk: which family, which components, which files; everything checked, no tensor read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.errors import BadModel
from studio.models.embedded import read_card
from studio.models.family import Component, Family, families
from studio.models.weight_files import WeightFiles, find_weights, read_json


@dataclass(frozen=True)
class Folder:
    """A checked model folder: everything is known but no tensor has been read."""

    path: Path
    family: Family
    classes: Mapping[str, tuple[str, str]]
    weights: Mapping[str, WeightFiles]
    card: Mapping[str, object]

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that a picture depends on: weights, configurations, tokenizer tables; not the card."""
        found = {path for group in self.weights.values() for path in group.files}
        for name in self.classes:
            found.update(
                path
                for path in (self.path / name).iterdir()
                if path.is_file() and path.suffix in (".json", ".txt", ".model")
            )
        return tuple(sorted(found))


def check_folder(path: Path, card: Mapping[str, object] | None = None) -> Folder:
    """A diffusers folder whose class has a family and whose weight files are whole; reads no tensor."""
    if not path.is_dir():
        what = "is a single file" if path.exists() else "does not exist"
        raise BadModel(
            f"The model {str(path)!r} {what}.",
            hint="Give a diffusers folder with a model_index.json, or embedded:scenes-sd3.",
        )
    index_file = path / "model_index.json"
    if not index_file.is_file():
        raise BadModel(
            f"{path} is not a diffusers model: it has no model_index.json.",
            hint="A folder written by pipeline.save_pretrained(folder) has one.",
        )
    index = read_json(index_file)
    known = families()
    wanted = str(index.get("_class_name"))
    if wanted not in known:
        raise BadModel(
            f"{path} is a {wanted}; Weft has no family for it.",
            hint=f"Possible: {', '.join(known)}.",
        )
    family = known[wanted]
    classes: dict[str, tuple[str, str]] = {}
    weights: dict[str, WeightFiles] = {}
    for component in family.components:
        chosen = _component_class(path, component, index.get(component.name))
        if chosen is None:
            continue
        classes[component.name] = chosen
        if component.weights:
            weights[component.name] = find_weights(path / component.name)
        elif not (path / component.name).is_dir():
            raise BadModel(
                f"The model folder is incomplete: {path / component.name} is missing.",
                hint="Download or copy the whole model again.",
            )
    return Folder(path, family, classes, weights, read_card(path) if card is None else card)


def _component_class(path: Path, component: Component, entry: object) -> tuple[str, str] | None:
    names = entry if isinstance(entry, list | tuple) else (None, None)
    chosen = tuple(names) if len(names) == 2 else (None, None)
    if chosen == (None, None):
        if component.optional:
            return None
        raise BadModel(
            f"The model in {path} has no component {component.name!r}.",
            hint=f"It should be a {_spell(component)}.",
        )
    if chosen not in component.classes:
        raise BadModel(
            f"Component {component.name!r} of {path} is a {chosen[1]!r} of {chosen[0]!r}.",
            hint=f"Possible: {_spell(component)}.",
        )
    return str(chosen[0]), str(chosen[1])


def _spell(component: Component) -> str:
    return " or ".join(dict.fromkeys(f"{library} {name}" for library, name in component.classes))
