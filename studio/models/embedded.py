"""The models that ship with Weft, in assets/models: list them and read their cards. Loads no weights, no
torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.errors import BadModel, did_you_mean
from studio.models.presets import preset_of
from studio.models.weight_files import read_json

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "models"
DEFAULT = "embedded:scenes-sd3"
PREFIX = "embedded:"
# what a card without a preset says of sampling
SETTINGS = ("steps", "cfg_scale", "shift", "spacing", "guidance", "sampler")
LORA_FILE = "pytorch_lora_weights.safetensors"


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


@dataclass(frozen=True)
class Recipe:
    """A model made of another and a LoRA, as a card of the kind "lora" says: `base` is a model reference,
    `file` the LoRA beside the card, `strength` how much of it."""

    base: str
    file: Path
    strength: float = 1.0
    card: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)


def recipe_of(folder: Path) -> Recipe | None:
    """The recipe in a folder; None for any other folder. BadModel if it names no base or a file elsewhere."""
    card = read_card(folder)
    if card.get("kind") != "lora":
        return None
    base, name, strength = card.get("base"), card.get("file", LORA_FILE), card.get("strength", 1.0)
    if not isinstance(base, str) or not isinstance(name, str) or not isinstance(strength, int | float):
        raise BadModel(
            f"The card of {folder} does not say which model its LoRA is for.",
            hint='It needs "base", a model reference, and may have "file" and "strength".',
        )
    if Path(name).name != name:
        raise BadModel(f"The card of {folder} names a file elsewhere: {name!r}.", hint="Put it beside it.")
    return Recipe(base, folder / name, float(strength), card)


def composed_card(base: Mapping[str, object], own: Mapping[str, object]) -> dict[str, object]:
    """The card of a model with a LoRA: what the LoRA's says lies over what the base's says of words and
    sizes; scores and training are the base's own."""
    left = ("scores", "training", *(SETTINGS if "preset" in own else ()))
    card = {name: value for name, value in base.items() if name not in left} | dict(own)
    preset = preset_of(card) if "preset" in own else None
    if preset is not None:
        card |= {name: value for name, value in preset.settings().items() if name in SETTINGS}
    return card


def with_preset(
    card: Mapping[str, object], names: Sequence[str] = (), folder: Path | None = None
) -> dict[str, object]:
    """A card whose "preset" says all that is known of how its model is sampled."""
    preset = preset_of(card, names, folder)
    return dict(card) if preset is None else dict(card) | {"preset": preset.to_json()}


def with_settings(folder: Path, ref: str) -> dict[str, object]:
    """The card of a folder, which need not be there, with its preset and the settings of that, where one is
    known and the card says nothing."""
    card = read_card(folder)
    preset = preset_of(card, (ref,), folder)
    if preset is None:
        return dict(card)
    return preset.settings() | dict(card) | {"preset": preset.to_json()}


def list_embedded(folder: Path = FOLDER) -> tuple[EmbeddedModel, ...]:
    """Every complete model folder, those of a LoRA over another included: the default one, then by name."""
    if not folder.is_dir():
        return ()
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: (PREFIX + path.name != DEFAULT, path.name)):
        if (path / "model_index.json").is_file():
            found.append(EmbeddedModel(path.name, path, with_preset(read_card(path))))
        elif path.is_dir() and (recipe := recipe_of(path)) is not None and recipe.file.is_file():
            base = read_card(folder / recipe.base.removeprefix(PREFIX))
            found.append(EmbeddedModel(path.name, path, with_preset(composed_card(base, recipe.card))))
    return tuple(found)


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
