"""The models that ship with Weft, in assets/models: list them and read their cards. Loads no weights, no
torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.errors import BadModel, did_you_mean
from studio.models.weight_files import read_json

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "models"
DEFAULT = "embedded:scenes-sd3"
PREFIX = "embedded:"


@dataclass(frozen=True)
class EmbeddedModel:
    """An embedded model: `card` as in its card.json (README of assets/models)."""

    name: str
    folder: Path
    card: Mapping[str, object]

    @property
    def ref(self) -> str:
        return PREFIX + self.name

    @property
    def title(self) -> str:
        return str(self.card.get("title") or self.name)


def list_embedded(folder: Path = FOLDER) -> tuple[EmbeddedModel, ...]:
    """Every complete model folder: the default one, then the others by name."""
    if not folder.is_dir():
        return ()
    return tuple(
        EmbeddedModel(path.name, path, read_card(path))
        for path in sorted(folder.iterdir(), key=lambda path: (PREFIX + path.name != DEFAULT, path.name))
        if (path / "model_index.json").is_file()
    )


def find_embedded(ref: str, folder: Path = FOLDER) -> EmbeddedModel:
    """The model of a ref such as embedded:scenes-sd3; raises BadModel with the names there are."""
    name = ref.removeprefix(PREFIX)
    known = {model.name: model for model in list_embedded(folder)}
    if name not in known:
        possible = (
            f"Possible: {', '.join(PREFIX + n for n in known)}." if known else f"There is none in {folder}."
        )
        raise BadModel(f"There is no embedded model {name!r}.", hint=did_you_mean(name, known) or possible)
    return known[name]


def card_calibration(card: Mapping[str, object], kind: str, key: str) -> Mapping[str, object] | None:
    """A measurement that a card brings along, under "calibrations", kind and key; None if it has none."""
    found: object = card.get("calibrations")
    for name in (kind, key):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def map_blocks(card: Mapping[str, object]) -> Mapping[str, object] | None:
    """Which blocks of a model locate words best, as its card tells (`eval blocks`)."""
    return card_calibration(card, "map_blocks", "scenes")


def read_card(folder: Path) -> Mapping[str, object]:
    """The card.json of a model folder; an empty one if there is none."""
    path = folder / "card.json"
    return read_json(path) if path.is_file() else {}


def vocabulary(card: Mapping[str, object]) -> tuple[str, ...]:
    """The words that a model knows, from its card: a list, or an object of lists by group; may be empty."""
    words = card.get("vocabulary")
    groups = words.values() if isinstance(words, Mapping) else [words]
    found = [
        word for group in groups if isinstance(group, list | tuple) for word in group if isinstance(word, str)
    ]
    return tuple(dict.fromkeys(found))
