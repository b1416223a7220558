"""Model references: what stands behind one on this computer, found without loading any weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from studio.errors import BadModel, did_you_mean
from studio.models.embedded import (
    FOLDER,
    LORA_FILE,
    PREFIX,
    Recipe,
    composed_card,
    find_embedded,
    list_embedded,
    read_card,
    recipe_of,
    with_preset,
    with_settings,
)
from studio.models.folders import check_folder
from studio.models.lora_files import check_lora
from studio.models.presets import lora_preset
from studio.policy import Policy

HUB, TINY = "hub:", "tiny:"
BESIDE_MODELS = ("loras", "upscalers")  # folders in that of the models that hold other files
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


@dataclass(frozen=True)
class ModelInfo:
    """A model for a list: `bytes` of weights on disk; `problem` says why it cannot be loaded, if so."""

    ref: str
    name: str
    title: str
    family: str
    card: Mapping[str, object]
    path: Path
    bytes: int
    problem: str = ""


@dataclass(frozen=True)
class LoraInfo:
    """A LoRA file for a list; `card` is empty for a lone file, `problem` says why it cannot be used."""

    ref: str
    title: str
    path: Path
    card: Mapping[str, object]
    problem: str = ""


def list_loras(embedded: Path, own: Path | None) -> tuple[LoraInfo, ...]:
    """The LoRAs that ship with the studio, then the safetensors in `own` and in its folder loras."""
    found = list(_shipped(embedded).values())
    folders = [] if own is None else [own, own / "loras"]
    for folder in folders:
        for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
            found.append(LoraInfo(str(path), path.stem, path, {}))
    return tuple(_looked_into(lora) for lora in found)


def _shipped(embedded: Path) -> dict[str, LoraInfo]:
    """The LoRAs that ship with the studio by reference; their files are not looked into."""
    recipes = ((model, recipe_of(model.folder)) for model in list_embedded(embedded))
    return {m.ref: LoraInfo(m.ref, m.title, r.file, r.card) for m, r in recipes if r is not None}


def _looked_into(lora: LoraInfo) -> LoraInfo:
    """With its preset, or with what is wrong with its file."""
    try:
        check_lora(lora.path)
    except BadModel as error:
        return replace(lora, problem=str(error))
    return _with_preset(lora)


def _with_preset(lora: LoraInfo) -> LoraInfo:
    known = lora_preset(lora.path.name)
    card = with_preset(lora.card) if lora.card or known is None else {"preset": known.to_json()}
    return replace(lora, card=card)


def lora_file(ref: str, policy: Policy, embedded: Path = FOLDER) -> LoraInfo:
    """The LoRA of a reference: embedded:NAME, or the path of a safetensors file or of a folder with a card.

    Raises Refused where the policy allows no paths, BadModel if there is no such LoRA.
    """
    ref = ref.strip()
    if ref.startswith(PREFIX):
        policy.check_model_ref(ref)
        return _looked_into(_embedded_lora(ref, embedded))
    if not ref or "\0" in ref:
        raise BadModel("No LoRA is chosen.", hint="Choose one that the Models page lists, or give a path.")
    policy.check_path(socket="lora")
    path = Path(ref).expanduser()
    recipe = recipe_of(path) if path.is_dir() else None
    if recipe is not None:
        return LoraInfo(ref, str(recipe.card.get("title") or path.name), recipe.file, recipe.card)
    if path.is_dir() and (path / LORA_FILE).is_file():
        path = path / LORA_FILE
    check_lora(path)
    return LoraInfo(ref, path.stem, path, {})


def lora_named(ref: str) -> LoraInfo:
    """A LoRA as far as its reference tells, for checks before a run: no file is looked into, and a path not
    even for whether it is there, so that nobody learns from a check which files a host has. BadModel for none
    and for an embedded one that is not there."""
    ref = ref.strip()
    if not ref:
        return lora_file(ref, Policy.local())
    if ref.startswith(PREFIX):
        return _with_preset(_embedded_lora(ref))
    return LoraInfo(ref, Path(ref).stem, Path(ref), {})


def _embedded_lora(ref: str, embedded: Path = FOLDER) -> LoraInfo:
    known = _shipped(embedded)
    if ref not in known:
        hint = f"There are: {', '.join(known)}." if known else "This studio ships with none."
        raise BadModel(f"There is no embedded LoRA {ref!r}.", hint=did_you_mean(ref, known) or hint)
    return known[ref]


def lora_card(base: Mapping[str, object], lora: LoraInfo, title: str) -> dict[str, object]:
    """What is known of a LoRA laid over a model called `title` with the card `base`."""
    had = base.get("loras")
    loras = [*had, lora.path.name] if isinstance(had, list) else [lora.path.name]
    known = lora_preset(lora.path.name)
    own: dict[str, object] = {}
    if "preset" in lora.card:
        own = {"preset": lora.card["preset"]}
    elif known is not None:
        own = {"preset": known.to_json()}
    return {"title": f"{title} + {lora.title}", "loras": loras} | own


def own_recipe(path: Path) -> Recipe | None:
    """The recipe of a folder, whose base is a model proper."""
    recipe = recipe_of(path) if path.is_dir() else None
    if recipe is not None and not recipe.base.startswith((HUB, TINY)) and recipe_of(ref_folder(recipe.base)):
        raise BadModel(f"{path} is a LoRA over another LoRA.", hint="Name a whole model as its base.")
    return recipe


def info_of(ref: str, name: str, title: str, path: Path, card: Mapping[str, object]) -> ModelInfo:
    try:
        if (recipe := own_recipe(path)) is not None:
            check_lora(recipe.file)
            base = info_of(recipe.base, "", "", ref_folder(recipe.base), {})
            told = with_preset(composed_card(read_card(ref_folder(recipe.base)), card))
            size = recipe.file.stat().st_size
            return ModelInfo(
                ref, name, str(card.get("title") or title), base.family, told, path, size, base.problem
            )
        folder = check_folder(path, card)
    except BadModel as error:
        return ModelInfo(ref, name, title, "", card, path, 0, str(error))
    card = with_preset(card, (ref, name), path)
    size = sum(file.stat().st_size for group in folder.weights.values() for file in group.files)
    return ModelInfo(ref, name, str(card.get("title") or title), folder.family.name, card, path, size)


def ref_folder(ref: str) -> Path:
    """The folder of a reference on this computer; a miniature has none. Nothing is loaded or fetched."""
    if not ref.strip():
        raise BadModel("No model is named.", hint="For example embedded:scenes-sd3, or a diffusers folder.")
    if ref.startswith(PREFIX):
        return find_embedded(ref).folder
    if ref.startswith(HUB):
        return download(ref.removeprefix(HUB), fetch=False)
    return Path(ref).expanduser()


def card_named(ref: str) -> dict[str, object]:
    """The card of a folder or a model of the Hub with its preset and settings; a model of the Hub that was
    not fetched yet is known by its name. Nothing is fetched."""
    try:
        return with_settings(ref_folder(ref), ref)
    except BadModel:
        if not ref.startswith(HUB):
            raise
        return with_settings(Path(os.devnull), ref)


def ref_files(ref: str) -> list[tuple[str, Path]]:
    """The files behind a reference as (relative name, path), for keys.

    A miniature has none: its reference says all. The card counts, because it names the number of text tokens.
    """
    if ref.startswith(TINY):
        return []
    path = ref_folder(ref)
    card = path / "card.json"
    if (recipe := own_recipe(path)) is not None:
        base = [(f"base/{name}", file) for name, file in ref_files(recipe.base)]
        return [*base, (recipe.file.name, recipe.file), ("card.json", card)]
    files = (*check_folder(path).files, *([card] if card.is_file() else []))
    return [(file.relative_to(path).as_posix(), file) for file in files]


def download(repo: str, *, fetch: bool = True) -> Path:
    """The local snapshot of a Hub model: configurations and safetensors only; fetched if it may be."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(repo, allow_patterns=HUB_FILES, local_files_only=not fetch))
    except RepositoryNotFoundError as error:
        raise BadModel(
            f"There is no model {repo!r} on the Hub, or it is not open to you.",
            hint="Check owner and name; for a gated model log in with `hf auth login`.",
        ) from error
    except (LocalEntryNotFoundError, OSError) as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
        why = "HF_HUB_OFFLINE is set" if offline else "the Hub cannot be reached"
        raise BadModel(
            f"The model {repo!r} is not on this computer, and {why}.",
            hint="Unset HF_HUB_OFFLINE, or download it elsewhere and give its folder.",
        ) from error
    except ValueError as error:
        raise BadModel(
            f"{repo!r} is not a Hub id: {first_line(error)}", hint="Write hub:owner/name."
        ) from error


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


class FileDigest(Protocol):
    """Memoised content hashes of files."""

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file in hex."""
