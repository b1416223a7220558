"""The Models tab: what is found here, what its card tells, where to put more, and where it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studio.errors import StudioError
from studio.ui import bus
from studio.ui.facts import known_loras, known_model
from studio.ui.model_words import words_of
from studio.ui.owners import Owners

if TYPE_CHECKING:
    from studio.models.loading import ModelInfo
    from studio.models.references import LoraInfo
    from studio.studio import Studio

# What a family is called, and an example of it: read by the page's "Add a model".
FAMILIES = {"sd3": "Stable Diffusion 3", "flux": "FLUX.1"}
SETTINGS = {
    "steps": "Steps", "sampler": "Sampler", "spacing": "Schedule", "shift": "Shift", "cfg_scale": "Guidance",
    "guidance": "Guidance number", "size": "Size",
}  # fmt: skip
SCORES = {"one": "One thing", "two": "Two things", "three": "Three things", "four": "Four things"}


class ModelsTab:
    """Handler of the Models tab. A public host names no folder of its own and no memory."""

    def __init__(self, studio: Studio, owners: Owners) -> None:
        self._studio = studio
        self._owners = owners

    def look(self, token: object) -> str:
        """Everything the tab shows; reads cards and file sizes, no weights."""
        studio, local = self._studio, self._studio.policy.show_traces
        try:
            self._owners.owner(token)
            found = studio.models.list()
        except (OSError, StudioError) as error:
            return bus.dump({"says": str(error)})
        placement = studio.models.placement
        folder = studio.settings.models_folder if studio.policy.allow_paths else None
        return bus.dump(
            {
                "models": [self._told(info) for info in found],
                "facts": [_known(info) for info in found if not info.problem],
                "loras": [self._lora(info) for info in studio.models.loras()],
                "knownLoras": known_loras(studio),
                "upscalers": self._upscalers(),
                "folder": None if folder is None else {"path": str(folder), "there": folder.is_dir()},
                "hub": studio.policy.allow_hub,
                "families": FAMILIES,
                "device": studio.device_label(),
                "dtype": str(placement.dtype).removeprefix("torch."),
                "memory": studio.models.memory() if local else {},
            }
        )

    def _lora(self, info: LoraInfo) -> dict[str, object]:
        hidden = info.problem and not self._studio.policy.show_traces
        preset = info.card.get("preset")
        return {
            "ref": info.ref,
            "title": info.title,
            "problem": "It cannot be used." if hidden else info.problem,
            "preset": preset.get("name", "") if isinstance(preset, Mapping) else "",
            "source": preset.get("source", "") if isinstance(preset, Mapping) else "",
            "settings": _briefly(preset["settings"]) if isinstance(preset, Mapping) else [],
        }

    def _upscalers(self) -> list[dict[str, object]]:
        """What Load upscaler takes by name, or from the folder of upscalers."""
        from studio.upscalers import found_upscalers

        hidden = not self._studio.policy.show_traces
        return [
            {
                "ref": found.ref,
                "title": found.title,
                "scales": list(found.scales),
                "problem": "It cannot be used." if found.problem and hidden else found.problem,
            }
            for found in found_upscalers(self._studio)
        ]

    def _told(self, info: ModelInfo) -> dict[str, object]:
        card = info.card
        filled = _part(card, "settings")
        told = {**filled, **card} if isinstance(filled, Mapping) else card
        problem = info.problem
        if problem and not self._studio.policy.show_traces:
            problem = "It cannot be loaded."
        return {
            "ref": info.ref,
            "title": info.title,
            "family": FAMILIES.get(info.family, info.family),
            "bytes": info.bytes,
            "embedded": info.ref.startswith("embedded:"),
            "licence": _words(card.get("licence") or card.get("license")),
            "settings": [[label, _setting(told[name])] for name, label in SETTINGS.items()
                         if told.get(name) is not None],
            "scores": scores(card.get("scores")),
            "training": _training(card.get("training")),
            "limits": _words(card.get("limits")),
            "words": words_of(info.ref, card),
            "locks": _locks(card),
            "source": source if isinstance(source := _part(card, "source"), str) else "",
            "problem": problem,
        }


def _known(info: ModelInfo) -> dict[str, object]:
    return known_model(dict(info.card) | {"ref": info.ref, "name": info.title})


def scores(given: object) -> list[dict[str, object]]:
    """The measured shares of a card, in words: share of pictures in which everything was right, its 95 %
    interval (both 0..1) and how many were judged. Anything that is no such entry is left out."""
    table: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    found: list[dict[str, object]] = []
    for name, label in SCORES.items():
        entry = table.get(name)
        if not isinstance(entry, Mapping) or not isinstance(entry.get("share"), int | float):
            continue
        interval = entry.get("interval")
        pair = isinstance(interval, Sequence) and not isinstance(interval, str) and len(interval) == 2
        found.append({"label": label, "share": entry["share"], "n": entry.get("n"),
                      "interval": list(interval) if pair else None})  # type: ignore[arg-type]  # fmt: skip
    return found


def _training(given: object) -> str:
    """One line on where a model learnt, from its card."""
    if not isinstance(given, Mapping):
        return ""
    return ". ".join(_words(given.get(name)) for name in ("data", "hardware") if given.get(name))


def _part(card: Mapping[str, object], name: str) -> object:
    """An entry of a card's preset."""
    preset = card.get("preset")
    return preset.get(name) if isinstance(preset, Mapping) else None


def _locks(card: Mapping[str, object]) -> list[dict[str, object]]:
    """What does not suit a model: each reason, with the choices that it rules out, if it is of choices."""
    locks, reasons = _part(card, "locks"), _part(card, "reasons")
    found = [{"why": why, "choices": []} for why in locks.values()] if isinstance(locks, Mapping) else []
    for several in reasons.values() if isinstance(reasons, Mapping) else ():
        found += [{"why": why, "choices": [_setting(name) for name in names]} for why, names in several]
    return found


def _setting(value: object) -> str:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return f"{value[0]} × {value[1]}" if pair else str(value).replace("_", " ")  # type: ignore[index]


def _briefly(settings: Mapping[str, object]) -> list[str]:
    """A LoRA's preset in one line: as in the table of a model."""
    given = {label: settings.get(name) for name, label in SETTINGS.items()}
    return [f"{label} {_setting(value)}" for label, value in given.items() if value is not None]


def _words(value: object) -> str:
    return value[:2000] if isinstance(value, str) else ""
