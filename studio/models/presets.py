"""Presets: how a model wants to be sampled, and what does not suit it (sampling.md 8). Needs no torch.

A preset is found, in this order, by what a card says under "preset" (or in its own `steps`, `cfg_scale`,
`shift`), by the SHA-256 or the name of a LoRA file, by the name of a model, and by its transformer's config.
Each has the source of its numbers. `cfg_scale` is that of our `cfg`: 1 = no second pass, where a pipeline may
write 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from studio.models.sampler_kinds import NOISE, of_kind
from studio.models.size_shift import lines, shift_at
from studio.models.unsuited import Rule, rules

ENDLESS = 1000  # steps of a model that gets better with any number
FAR = 2.0  # so many times as large or small is another shift
# Where the numbers of the models that ship come from, by the name on their cards.
SHIPPED = {
    "scenes-sd3": "measured: docs/measured.md",
    "scenes-flux": "trained so: docs/training.md",
    "scenes-sd3-turbo": "trained so: docs/training.md",
}
OWN_SIZE = 1024  # side in pixels of a model that does not say
# Samplers with new noise at every step, and from how many steps on it does good (docs/measured.md).
NOISY, NOISY_STEPS = of_kind(NOISE), 16


def too_few(sampler: str, steps: int) -> str:
    """Why so many steps are too few for new noise at every one of them; "" if they are not."""
    if sampler not in NOISY or steps >= NOISY_STEPS:
        return ""
    told = f"New noise at every step wants {NOISY_STEPS} steps or more: in {steps}, "
    return f"{told}euler draws more of a prompt."


FEW = 8  # a model of at most so many steps is a few-step model


@dataclass(frozen=True)
class Preset:
    """`steps` and the `most` that do any good; `cfg`: whether two-pass guidance suits; `guidance`: the number
    that goes into the network, None where it takes none; `shift` None = by the picture's size, by the rule
    `by_size` (`size_shift`); `size`: side in pixels, 0 = not known; `tokens`: text tokens, 0 = as the model
    says; `strength`: of the LoRA."""

    name: str
    source: str
    steps: int
    most: int = ENDLESS
    cfg: bool = True
    cfg_scale: float = 1.0
    guidance: float | None = None
    shift: float | None = 3.0
    spacing: str = "flow_diffusers"
    sampler: str = "euler"
    size: int = 0
    tokens: int = 0
    strength: float = 1.0
    by_size: str = "flux"

    @property
    def few(self) -> bool:
        """Whether it is a few-step model: nothing is left there that a step cache could skip."""
        return self.most <= FEW

    def settings(self, width: int = 0, height: int = 0, steps: int = 0) -> dict[str, object]:
        """The settings of nodes that it fills, by the names of their widgets, for a picture of so many
        pixels and a run of so many steps; 0 = the model's own."""
        shift = self.shift
        if shift is None:
            own = self.size or OWN_SIZE
            shift = shift_at(self.by_size, width or own, height or own, steps or self.steps)
        found: dict[str, object] = {
            "steps": self.steps,
            "cfg_scale": self.cfg_scale,
            "guidance": self.guidance,
            "shift": shift,
            "spacing": self.spacing,
            "sampler": self.sampler,
        }
        return {name: value for name, value in found.items() if value is not None}

    def locks(self) -> dict[str, str]:
        """What does not suit the model at all, by the names of widgets and roles: the reason for each."""
        found = {}
        if not self.cfg:
            found["cfg_scale"], found["avoid"] = self.no_cfg(), NO_NEGATIVE
        if self.most < ENDLESS:
            found["steps"] = self.too_many()
        if self.few:
            found["step_cache"] = self.no_cache()
        return found

    def no_cfg(self) -> str:
        """Why two-pass guidance is off."""
        return (
            f"{self.name} has learnt its guidance: a second pass costs twice the time and burns the colours."
        )

    def too_many(self, steps: int | None = None) -> str:
        """Why so many steps, or any more, are too many."""
        more = "more" if steps is None else steps
        return f"{self.name} is made for up to {self.most} steps; {more} take longer and look no better."

    def no_cache(self) -> str:
        """Why a step cache has no place."""
        return f"{self.name} takes so few steps that each of them counts: there is nothing to skip."

    def unsuited(self) -> dict[str, dict[str, str]]:
        """Samplers and spacings that do not suit it: the reason for each, by widget and choice."""
        found: dict[str, dict[str, str]] = {}
        for rule in self._rules():
            found.setdefault(rule.widget, {}).update({one: rule.reason(one) for one in rule.choices})
        return found

    def reasons(self) -> dict[str, list[tuple[str, list[str]]]]:
        """The same by reason: for each widget (a sentence that ends in a colon, the choices)."""
        found: dict[str, list[tuple[str, list[str]]]] = {}
        for rule in self._rules():
            found.setdefault(rule.widget, []).append((rule.all, list(rule.choices)))
        return found

    def advice(self) -> dict[str, str]:
        """The help of settings where that of their node would recommend what does not suit, by widget."""
        found = {"spacing": f"where the steps lie; {self.spacing} fits {self.name}"}
        if self.most < ENDLESS:
            found["steps"] = "fewer steps are quicker and rougher"
            found["spacing"] += "; scm goes with the scm sampler"
        if self.few:
            found["sampler"] = f"begin with {self.sampler}; new noise at every step: euler_ancestral, lcm"
        elif self.most == ENDLESS:
            found["sampler"] = f"begin with {self.sampler}"
            if self.sampler in NOISY:
                found["sampler"] += ", which draws new noise at every step; for few or cached steps: euler"
            else:
                found["sampler"] += (
                    ". More exact at the same cost: dpmpp_2m, or midpoint_reuse; at twice the cost: heun. "
                    "New noise at every step: euler_ancestral"
                )
        return found

    def _rules(self) -> Iterator[Rule]:
        return rules(self.name, self.spacing, few=self.few, endless=self.most == ENDLESS)

    def far_shift(self, shift: float) -> str:
        """Why a shift is far from the one that a few-step model is made for; "" if it is not."""
        own = self.shift
        if not self.few or own is None or own / FAR <= shift <= own * FAR:
            return ""
        return f"{self.name} is made for a shift of {own:g}; {shift:g} puts its few steps elsewhere."

    def to_json(self) -> dict[str, object]:
        """As a card has it, and what a page needs: settings, locks, what is unsuited and why, the help that
        goes with it, and `lines` over the number of image tokens where the picture's size decides the shift,
        () where it does not."""
        by = () if self.shift is not None else lines(self.by_size, self.steps)
        more = {"settings": self.settings(), "locks": self.locks(), "unsuited": self.unsuited()}
        more |= {"reasons": self.reasons(), "advice": self.advice()}
        more["lines"] = [asdict(one) for one in by]
        return asdict(self) | more


NO_NEGATIVE = "Without a second pass nothing reads what is to be avoided; use Avoid (NAG), which needs none."

HUB = "https://huggingface.co/"
SD35 = HUB + "stabilityai/stable-diffusion-3.5-"
SD3 = Preset(
    "Stable Diffusion 3 medium",
    HUB + "stabilityai/stable-diffusion-3-medium-diffusers",
    28,
    cfg_scale=7.0,
    size=1024,
)
LARGE = Preset("Stable Diffusion 3.5 large", SD35 + "large", 28, cfg_scale=3.5, size=1024)
MEDIUM = Preset("Stable Diffusion 3.5 medium", SD35 + "medium", 40, cfg_scale=4.5, size=1024)
TURBO = Preset("Stable Diffusion 3.5 large turbo", SD35 + "large-turbo", 4, 8, False, size=1024)
DEV = Preset(
    "FLUX.1 dev",
    HUB + "black-forest-labs/FLUX.1-dev",
    50,
    guidance=3.5,
    shift=None,
    spacing="flux",
    size=1024,
    tokens=512,
)
SCHNELL = Preset(
    "FLUX.1 schnell",
    HUB + "black-forest-labs/FLUX.1-schnell",
    4,
    8,
    False,
    shift=1.0,
    spacing="flux",
    size=1024,
    tokens=256,
)
_DEV2 = HUB + "black-forest-labs/FLUX.2-"
_HYPER = HUB + "ByteDance/Hyper-SD"

# What a model is called, as a pattern over its reference or folder, in this order.
NAMED: Mapping[str, Preset] = {
    r"stable-diffusion-3\.5-large-turbo|sd3\.5[_-]large[_-]turbo": TURBO,
    r"stable-diffusion-3\.5-large|sd3\.5[_-]large": LARGE,
    r"stable-diffusion-3\.5-medium|sd3\.5[_-]medium": MEDIUM,
    r"stable-diffusion-3-medium|sd3[_-]medium": SD3,
    r"flux\.?1-schnell": SCHNELL,
    r"flux\.?1-dev": DEV,
    r"flux\.?2-klein-base": Preset(
        "FLUX.2 klein base",
        _DEV2 + "klein-base-4B",
        50,
        cfg_scale=4.0,
        shift=None,
        spacing="flux",
        size=1024,
        tokens=512,
        by_size="flux2",
    ),
    r"flux\.?2-klein": Preset(
        "FLUX.2 klein",
        _DEV2 + "klein-4B",
        4,
        8,
        False,
        shift=None,
        spacing="flux",
        size=1024,
        tokens=512,
        by_size="flux2",
    ),
    r"flux\.?2-dev": Preset(
        "FLUX.2 dev",
        _DEV2 + "dev",
        50,
        guidance=4.0,
        shift=None,
        spacing="flux",
        size=1024,
        tokens=512,
        by_size="flux2",
    ),
    r"z-image-turbo": Preset(
        "Z-Image Turbo", HUB + "Tongyi-MAI/Z-Image-Turbo", 8, 9, False, spacing="flux", size=1024, tokens=512
    ),
    r"z-image": Preset(
        "Z-Image", HUB + "Tongyi-MAI/Z-Image", 50, cfg_scale=5.0, spacing="flux", size=1024, tokens=512
    ),
    r"qwen-image-lightning": Preset(
        "Qwen-Image-Lightning", HUB + "lightx2v/Qwen-Image-Lightning", 8, 8, False, spacing="flux", size=1328
    ),
    r"qwen-image": Preset(
        "Qwen-Image",
        HUB + "Qwen/Qwen-Image",
        50,
        cfg_scale=4.0,
        shift=None,
        spacing="flux",
        size=1328,
        by_size="qwen",
    ),
}


def _hyper_flux(steps: int) -> Preset:
    return Preset(
        f"Hyper-SD ({steps} steps)",
        _HYPER,
        steps,
        steps,
        False,
        guidance=3.5,
        shift=None,
        spacing="flux",
        size=1024,
        strength=0.125,
    )


def _hyper_sd3(steps: int) -> Preset:
    # the "CFG" LoRAs keep two-pass guidance
    name = f"Hyper-SD3 ({steps} steps)"
    return Preset(name, _HYPER, steps, steps, cfg_scale=3.0 if steps == 4 else 5.0, size=1024, strength=0.125)


# What a LoRA file is called, as a pattern over its name.
LORAS: Mapping[str, Preset] = {
    **{rf"hyper-flux\.?1-dev-{n}steps-lora": _hyper_flux(n) for n in (8, 16)},
    **{rf"hyper-sd3-{n}steps-cfg-lora": _hyper_sd3(n) for n in (4, 8, 16)},
    r"flux\.?1?-turbo-alpha": Preset(
        "FLUX.1 Turbo Alpha",
        HUB + "alimama-creative/FLUX.1-Turbo-Alpha",
        8,
        8,
        False,
        guidance=3.5,
        shift=None,
        spacing="flux",
        size=1024,
    ),
    r"qwen-image-lightning-4steps": replace(NAMED[r"qwen-image-lightning"], steps=4, most=4),
    r"qwen-image-lightning-8steps": NAMED[r"qwen-image-lightning"],
}


def preset_of(
    card: Mapping[str, object], names: Sequence[str] = (), folder: Path | None = None
) -> Preset | None:
    """The preset of a model; None if nothing is known of it.

    `card`: its card, whose "loras" names the LoRA files laid over it; `names`: its reference and the like;
    `folder`: where its transformer's config lies.
    """
    given = card.get("preset")
    if isinstance(given, Mapping):
        found = _written(given, card)
        if found is not None:
            return found
    loras = card.get("loras")
    for lora in reversed(loras) if isinstance(loras, Sequence) and not isinstance(loras, str) else ():
        found = lora_preset(str(lora))
        if found is not None:
            return found
    if isinstance(card.get("steps"), int) and "cfg_scale" in card:
        return _written(card, card)
    for pattern, preset in NAMED.items():
        if any(re.search(pattern, name, re.IGNORECASE) for name in names):
            return preset
    return None if folder is None else _by_config(folder)


def shift_of(
    card: Mapping[str, object], width: int, height: int, steps: int | None = None
) -> dict[str, object]:
    """{"shift"} of a card's model for a picture of so many pixels; {} where the size decides nothing."""
    preset = preset_of(card)
    if preset is None or preset.shift is not None:
        return {}
    return {"shift": preset.settings(width, height, steps or 0)["shift"]}


def lora_preset(name: str) -> Preset | None:
    """The preset that a LoRA file brings along, by its name."""
    return next((p for pattern, p in LORAS.items() if re.search(pattern, name, re.IGNORECASE)), None)


def _written(given: Mapping[str, object], card: Mapping[str, object]) -> Preset | None:
    """A preset as JSON has it; what is not given has its default, what is of a wrong type is left out."""
    title = str(card.get("title") or card.get("name") or "This model")
    right: dict[str, Any] = {"name": title, "source": "the model's own card"}
    for field in fields(Preset):
        if given is card and field.name == "name":
            continue  # of a card it is the name of a folder; people read the title
        value = given.get(field.name)
        kinds = {"int": int, "str": str, "bool": bool}.get(str(field.type))
        if kinds is not None and type(value) is kinds:
            right[field.name] = value
        elif value is None and field.name in given and "None" in str(field.type):
            right[field.name] = None
        elif kinds is None and type(value) in (int, float) and math.isfinite(float(value)):  # type: ignore[arg-type]
            right[field.name] = float(value)  # type: ignore[arg-type]
    right["source"] = SHIPPED.get(str(card.get("name")), right["source"])
    steps = right.get("steps")
    return Preset(**right) if isinstance(steps, int) and 1 <= steps <= 1000 else None


def _by_config(folder: Path) -> Preset | None:
    """What the transformer's shape tells: the published models have shapes of their own, but for SD3.5 large
    and its turbo, which only their names tell apart."""
    from studio.errors import BadModel
    from studio.models.weight_files import read_json

    try:
        config = read_json(folder / "transformer" / "config.json")
    except (BadModel, OSError):
        return None
    kind, layers = config.get("_class_name"), config.get("num_layers")
    if kind == "SD3Transformer2DModel" and layers == 38:
        return LARGE
    if kind == "SD3Transformer2DModel" and layers == 24:
        return MEDIUM if config.get("dual_attention_layers") else SD3
    if kind == "FluxTransformer2DModel" and layers == 19:
        return DEV if config.get("guidance_embeds") else SCHNELL
    return None
