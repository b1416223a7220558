"""What can be told of a model without loading it: its family, its blocks, and how far it reads a prompt.

For checks before a run: only small JSON files are read, nothing is fetched, and a model that cannot be told
has no outline, so that its faults are left to the run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from studio.errors import StudioError
from studio.models.embedded import composed_card, recipe_of, with_preset
from studio.models.family import ADAPTERS, Family, Parts, Site, families
from studio.models.folders import check_folder
from studio.models.loading import TINY, ref_folder
from studio.models.presets import Preset, preset_of
from studio.models.weight_files import read_json

# An outline is looked up anew after so many seconds: files may have been replaced.
FRESH = 2.0
KEPT = 32


@dataclass(frozen=True, eq=False)
class Outline:
    """`sites`: attention sites in the order in which they run, as `AttentionAdapter.sites`; empty for a class
    that controls do not know. `network`: the class of the transformer; `guided`: whether it takes a guidance
    number. `readers`: tokenizer name -> (the
    table, how many tokens it reads, marks included); those whose table lies in another form are missing.
    `sides`: sides of a picture are multiples of the first, up to the second, in pixels."""

    family: str
    title: str
    network: str
    guided: bool
    sites: tuple[Site, ...]
    card: Mapping[str, object] = field(default_factory=dict, repr=False)
    # what tells one latent space from another: (name, value) pairs of the autoencoder
    latents: tuple[tuple[str, object], ...] = ()
    lengths: Mapping[str, int] = field(default_factory=dict)
    readers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sides: tuple[int, int] | None = None

    @property
    def blocks(self) -> int:
        """How many joint sites there are: blocks are numbered from 0 to one less."""
        return sum(site.joint for site in self.sites)

    @property
    def controlled(self) -> bool:
        """Whether attention controls know this class of network."""
        return self.network in ADAPTERS

    @property
    def preset(self) -> Preset | None:
        """How the model wants to be sampled, its LoRAs included, if that is known."""
        return preset_of(self.card)

    @property
    def limit(self) -> int:
        """Tokens of the encoder that reads furthest, marks included; 0 = not known."""
        return max(self.lengths.values(), default=0)

    def unread(self, text: str) -> int:
        """The character from which on no encoder reads a text; its length if all is read, or if the table of
        the encoder that reads furthest is not known."""
        if not any(self.lengths[name] == self.limit for name in self.readers):
            return len(text)
        ends = []
        for name, table in self.readers.items():
            room = max(self.lengths[name] - table.num_special_tokens_to_add(False), 0)
            spans = table.encode(text, add_special_tokens=False).offsets
            ends.append(spans[room][0] if len(spans) > room else len(text))
        return max(ends, default=len(text))


def outline_of(ref: object) -> Outline | None:
    """The outline of a model reference; None if there is no such model here, or it is broken."""
    if not isinstance(ref, str) or not ref.strip() or "\0" in ref:
        return None
    return _outline(ref, int(time.monotonic() / FRESH))


@lru_cache(maxsize=KEPT)
def _outline(ref: str, moment: int) -> Outline | None:
    try:
        return _tiny(ref.removeprefix(TINY)) if ref.startswith(TINY) else _read(ref_folder(ref), ref)
    except (StudioError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read(path: Path, ref: str) -> Outline:
    recipe = recipe_of(path)
    if recipe is not None:
        base = outline_of(recipe.base)
        if base is None:
            raise StudioError(f"There is no base {recipe.base!r} here.")
        return with_card(base, composed_card(base.card, recipe.card))
    folder = check_folder(path)
    config = read_json(path / "transformer" / "config.json")
    size = sum(file.stat().st_size for file in folder.weights["vae"].files)
    vae = read_json(path / "vae" / "config.json")
    latents = _latents(vae, size)
    tables = [name for name in folder.classes if name.startswith("tokenizer")]
    most = {name: _length(path / name / "tokenizer_config.json") for name in tables}
    readers = {name: path / name / "tokenizer.json" for name in tables}
    found = {name: _table(str(file)) for name, file in readers.items() if file.is_file()}
    card = with_preset(folder.card, (ref,), path)
    return replace(
        _made(folder.family, config, most, found, card, latents),
        sides=_sides(folder.family, config, vae),
    )


def with_card(outline: Outline, card: Mapping[str, object]) -> Outline:
    """The same network under another card: a model with a LoRA."""
    return replace(outline, title=str(card.get("title") or outline.title), card=card)


def _length(path: Path) -> int:
    given = read_json(path)["model_max_length"]
    if not isinstance(given, int | float):
        raise TypeError(f"model_max_length is {given!r}")
    return int(given)


@lru_cache(maxsize=KEPT)
def _tiny(name: str) -> Outline | None:
    """A miniature's, which has no files of its own."""
    from studio.models.tiny import PIPELINES, TEXT_LENGTH, WORDS, tiny_tokenizer, tiny_transformer

    if name not in PIPELINES:
        return None
    family = next(family for family in families().values() if family.name == name)
    table = tiny_tokenizer().backend_tokenizer
    network: Any = tiny_transformer(name)
    config = {**network.config, "_class_name": type(network).__name__}
    card = {"title": "The miniature", "max_sequence_length": TEXT_LENGTH, "vocabulary": list(WORDS)}
    names = ("tokenizer", "tokenizer_2")
    lengths, readers = dict.fromkeys(names, TEXT_LENGTH), dict.fromkeys(names, table)
    return _made(family, config, lengths, readers, card, (("weights", f"{name}'s own"),))


def _sides(family: Family, config: Mapping[str, Any], vae: Mapping[str, Any]) -> tuple[int, int]:
    """What a model can paint, out of the config.json of its network and its autoencoder."""
    known = {"transformer": config, "vae": vae}
    components = {name: SimpleNamespace(config=SimpleNamespace(**told)) for name, told in known.items()}
    parts = Parts(family, components, torch.device("cpu"), torch.float32, {})
    return family.size_step(parts), family.size_limit(parts)


def _latents(config: Mapping[str, object], size: int) -> tuple[tuple[str, object], ...]:
    """What two autoencoders of one latent space have in common."""
    names = ("latent_channels", "scaling_factor", "shift_factor", "block_out_channels")
    told = [("class", config.get("_class_name")), *((name, repr(config.get(name))) for name in names)]
    return (*told, ("size_in_bytes", size))


def _made(
    family: Family,
    config: Mapping[str, Any],
    most: Mapping[str, int],
    readers: Mapping[str, Any],
    card: Mapping[str, object],
    latents: tuple[tuple[str, object], ...],
) -> Outline:
    components = {name: SimpleNamespace(model_max_length=length) for name, length in most.items()}
    components |= {name.replace("tokenizer", "text_encoder"): SimpleNamespace() for name in most}
    lengths = family.text_lengths(Parts(family, components, torch.device("cpu"), torch.float32, card))
    network = str(config["_class_name"])
    sites = family.attention.sites(skeleton(config)) if network in ADAPTERS else ()
    own = {name: table for name, table in readers.items() if name in lengths}
    return Outline(
        family.name,
        str(card.get("title") or "The model"),
        network,
        bool(config.get("guidance_embeds", False)),
        sites,
        card,
        latents,
        lengths,
        own,
    )


def skeleton(config: Mapping[str, Any]) -> Any:
    """As much of a network as `AttentionAdapter.sites` looks at, out of its config.json."""
    count = int(config["num_layers"])
    dual = tuple(config.get("dual_attention_layers") or ())
    blocks = [
        SimpleNamespace(attn2=SimpleNamespace() if i in dual else None, context_pre_only=i == count - 1)
        for i in range(count)
    ]
    single = range(int(config.get("num_single_layers") or 0))
    return SimpleNamespace(
        transformer_blocks=blocks, single_transformer_blocks=[SimpleNamespace() for _ in single]
    )


@lru_cache(maxsize=KEPT)
def _table(path: str) -> Any:
    """A tokenizer's table that cuts and pads nothing."""
    from tokenizers import Tokenizer

    table = Tokenizer.from_file(path)
    table.no_truncation()
    table.no_padding()
    return table
