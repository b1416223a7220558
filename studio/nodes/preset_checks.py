"""What does not suit a model by its preset, told before a run in the words in which the page locks it."""

from __future__ import annotations

from collections.abc import Iterator

from studio.api import Refusal, View
from studio.models.outline import Outline
from studio.models.presets import NO_NEGATIVE, Preset, too_few
from studio.nodes.guidance_checks import PAIRED, chain
from studio.nodes.prompt import prompt_of
from studio.nodes.run_checks import UNSHIFTED

# Rules with a scale over both prompts, in which 1 is no second pass.
SCALED = ("cfg", "embedded_guidance", *PAIRED)


def review_preset(view: View, model: Outline | None, sampler: str = "") -> Iterator[Refusal]:
    """Two-pass guidance, a sampler, a schedule, too many steps, a step cache or a negative prompt where the
    model's preset rules them out. All but the cache are warnings: one may try what does not suit; its mild
    mode, delta, never skips a whole step and is one too."""
    preset = None if model is None else model.preset
    rules = list(chain(view))
    passes = [rule for rule in rules if rule.kind in SCALED and rule.widgets.get("cfg_scale") != 1]
    if preset is not None:
        yield from _unsuitable(view, preset, passes)
        yield from _unsuited(view, preset, sampler)
    # other rules may read the negative prompt; a plain CFG of 1 does not
    silent = bool(rules) and all(rule.kind in ("cfg", "embedded_guidance") for rule in rules) and not passes
    if silent and (prompt_of(view, "negative") or "").strip():
        yield Refusal(NO_NEGATIVE, "Connect Avoid (NAG), or raise cfg_scale.", "negative", "warning")


def _unsuitable(view: View, preset: Preset, passes: list[View]) -> Iterator[Refusal]:
    if not preset.cfg and passes:
        yield Refusal(preset.no_cfg(), "Set cfg_scale to 1.", "guidance", "warning")
    # of a relay's two lists the second is the model's own
    for source in view.feeding("second") or view.feeding("sigmas"):
        steps = source.widgets.get("steps")
        if isinstance(steps, int) and steps > preset.most and source.kind != "relay":
            hint = f"Choose {preset.steps}, at most {preset.most}."
            yield Refusal(preset.too_many(steps), hint, "sigmas", "warning")
    for cache in view.feeding("attachments") if preset.few else ():
        if cache.kind == "step_cache":
            mild = cache.widgets.get("mode") == "delta"
            other = "see what it costs" if mild else "take its mode 'delta' with warm 1"
            level = "warning" if mild else "error"
            yield Refusal(preset.no_cache(), f"Disconnect it, or {other}.", "attachments", level, at=cache)


def _unsuited(view: View, preset: Preset, sampler: str) -> Iterator[Refusal]:
    """Samplers and schedules that the preset warns of."""
    reasons = preset.unsuited()
    quiet = any(one.widgets.get("noise") == 0 for one in view.feeding("sampler"))
    if (why := reasons.get("sampler", {}).get(sampler)) and not quiet:
        yield Refusal(why, f"Choose {preset.sampler}.", "sampler", "warning")
    for source in view.feeding("second") or view.feeding("sigmas"):
        steps, strength = source.widgets.get("steps"), source.widgets.get("strength", 1.0)
        told = isinstance(steps, int) and isinstance(strength, int | float) and not quiet and not preset.few
        if told and (why := too_few(sampler, round(steps * strength))):
            yield Refusal(why, "Choose euler, or more steps.", "sampler", "warning")
        spacing, shift = source.widgets.get("spacing"), source.widgets.get("shift")
        if why := reasons.get("spacing", {}).get(str(spacing)):
            yield Refusal(why, f"Choose {preset.spacing}.", "sigmas", "warning")
        if isinstance(shift, int | float) and (why := preset.far_shift(shift)) and spacing not in UNSHIFTED:
            yield Refusal(why, f"Choose {preset.shift:g}.", "sigmas", "warning")
