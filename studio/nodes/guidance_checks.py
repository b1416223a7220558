"""What can be told of guidance before a run: samplers, models and other rules that it cannot work with."""

from __future__ import annotations

import math
from collections.abc import Iterator

from studio.api import Refusal, StudioError, View
from studio.controls.bounds import some_step
from studio.controls.control import in_open_range, in_range
from studio.controls.where import parse_blocks
from studio.models.outline import Outline
from studio.nodes.prompt import outline, refused
from studio.values import Step

# Rules over the pair of both prompts, with a scale of their own, by the kind of their node.
PAIRED = ("cfg_plus_plus", "apg", "cfg_zero", "linear_guidance", "residual_guidance")
# Rules that call a changed network.
CHANGED = ("skip_layer_guidance", "perturbed_guidance", "smoothed_guidance")
# Attachments that touch the latents between steps and not the network.
OUTSIDE = ("blend", "estimates")
# Samplers of nodes that have no choice of them.
GIVES = {"churn_sampler": "edm", "unipc_sampler": "unipc", "nested_sampler": "nested"}


def sampler_name(view: View) -> str:
    """The name of the sampler that a node gives; empty where only the run can tell."""
    if view.kind == "stop_early":
        return next(map(sampler_name, view.feeding("sampler")), "")
    if view.kind == "nested_sampler" and view.widgets.get("inner") == 1:
        return "euler"
    return str(view.widgets.get("sampler", GIVES.get(view.kind, "")))


def other_sampler(view: View, wanted: str, given: str) -> Refusal:
    """What is made for one sampler's update and meets another."""
    return Refusal(f"{view.title!r} needs the sampler {wanted}, not {given}.", f"Choose {wanted}.", "sampler")


def chain(view: View, socket: str = "guidance") -> Iterator[View]:
    """Every guidance node behind a socket: the rule, and the rules that it builds on."""
    for source in view.feeding(socket):
        yield source
        for name in ("guidance", "strong", "weak"):
            yield from chain(source, name)


def review_guidance(
    view: View, sampler: str | None = None, steps: tuple[Step, ...] = ()
) -> Iterator[Refusal]:
    """Guidance at a node's `guidance` input that cannot work with this sampler (None = the one that feeds the
    node), model, run or attachment."""
    if sampler is None:
        sampler = next(map(sampler_name, view.feeding("sampler")), "")
    model = outline(view)
    for rule in chain(view):
        yield from _sampler(rule, sampler)
        if model is not None:
            yield from _model(rule, model)
        yield from _built_on(rule)
        yield from _range(rule, steps)
        zero = rule.widgets.get("zero_steps")
        if rule.kind == "cfg_zero" and steps and isinstance(zero, int) and zero >= len(steps):
            yield Refusal(
                f"{rule.title!r} has {zero} steps without velocity, and the run has {len(steps)} steps.",
                "Take more steps, or fewer without velocity; 1 is usual.",
                "guidance",
            )
        if rule.kind == "cfg_zero" and isinstance(zero, int):
            yield from _uncalled(view, rule, zero, steps)
        if rule.kind in CHANGED and _acts(rule):
            for control in view.feeding("attachments"):
                if control.technique and control.technique not in OUTSIDE:
                    yield Refusal(
                        f"{rule.title!r} changes the model's blocks itself, so that {control.title!r} cannot "
                        "act in them.",
                        "Disconnect one of them.",
                        "attachments",
                    )


def _uncalled(view: View, rule: View, zero: int, steps: tuple[Step, ...]) -> Iterator[Refusal]:
    """Attachments that would act in the network only where the rule does not call it: a warning."""
    for control in view.feeding("attachments"):
        edit = control.kind == "edit_by_prompt"
        start, end = (
            (0.0 if edit else control.widgets.get("start")),
            control.widgets.get("tau" if edit else "end"),
        )
        if not isinstance(start, int | float) or not isinstance(end, int | float):
            continue
        acts = [step.index for step in steps if in_range(step, start, end)]
        if acts and acts[-1] < zero:
            yield Refusal(
                f"{rule.title!r} does not call the network in the first {zero} of {len(steps)} steps, and "
                f"{'tau of ' if edit else ''}{control.title!r} ends with them: nothing comes of it.",
                f"Let it end at {math.ceil(100 * (zero + 1) / len(steps)) / 100:g} or later, or set "
                "zero_steps to 0.",
                "tau" if edit else "end",
                "warning",
                control,
            )


def asks_negative(view: View) -> bool:
    """Whether a run has a negative side, as far as settings say; True where only the run can tell."""
    return not view.feeding("guidance") or any(map(_negative, chain(view)))


def _sampler(rule: View, sampler: str) -> Iterator[Refusal]:
    """Rules that are Euler's update in disguise."""
    tied = rule.kind == "cfg_plus_plus"
    tied = tied or (rule.kind == "linear_guidance" and rule.widgets.get("cfg_scale") != 1)
    tied = tied or (rule.kind == "reflected_guidance" and _acts(rule))
    if tied and sampler not in ("", "euler"):
        yield other_sampler(rule, "euler", sampler)


def _model(rule: View, model: Outline) -> Iterator[Refusal]:
    number = rule.widgets.get("guidance")
    numbered = rule.kind == "cfg" and isinstance(number, int | float) and number >= 0
    if rule.kind == "cfg" and model.guided and _scaled(rule):
        yield Refusal(
            f"{model.title} has learnt its guidance and takes it as a number; a cfg_scale of "
            f"{rule.widgets.get('cfg_scale', 'another node')} is a second pass on top: twice the time.",
            "Set cfg_scale to 1 and choose the number under guidance.",
            "guidance",
            "warning",
        )
    if numbered and not model.guided:
        yield Refusal(
            f"{model.title} takes no guidance number, so the {number:g} of {rule.title!r} would do nothing.",
            "Set it to -1; cfg_scale works with every model.",
            "guidance",
        )
    if rule.kind == "embedded_guidance" and not model.guided:
        yield Refusal(
            f"{model.title} takes no guidance number, so {rule.title!r} would do nothing.",
            "Use Guidance (CFG), which works with every model.",
            "guidance",
        )
    if model.guided and (rule.kind in PAIRED and _scaled(rule)):
        yield Refusal(
            f"{model.title} has its guidance distilled into the network and takes it as a number; "
            f"{rule.title!r} is made for models that take a scale.",
            "Use Guidance (embedded), whose cfg_scale is real guidance on top.",
            "guidance",
        )
    blocks = rule.widgets.get("blocks")
    if rule.kind in CHANGED and isinstance(blocks, str) and model.controlled:
        try:
            chosen = parse_blocks(blocks) or ()
        except StudioError as error:
            yield refused(error, "guidance")
            return
        strange = [block for block in chosen if block >= model.blocks]
        if strange:
            yield Refusal(
                f"{rule.title!r} is set to block {strange[0]}, which {model.title} does not have.",
                f"It has the blocks 0 to {model.blocks - 1}; leave the field empty for those that suit.",
                "guidance",
            )
        elif len(chosen) >= model.blocks:
            yield Refusal(
                f"{rule.title!r} is set to all {model.blocks} blocks of {model.title}.",
                "Name some of them, or leave the field empty for those that suit.",
                "guidance",
            )
    if rule.kind in CHANGED and not model.controlled:
        yield Refusal(
            f"{rule.title!r} does not know networks of class {model.network}.",
            "Use Guidance (CFG), which works with every model.",
            "guidance",
        )


def _built_on(rule: View) -> Iterator[Refusal]:
    """Rules under others that cannot carry them."""
    if rule.kind == "adaptive_guidance" and rule.widgets.get("threshold") != 1:
        for inner in rule.feeding("guidance"):
            if not any(_negative(one) for one in (inner, *chain(inner), *chain(inner, "strong"))):
                yield Refusal(
                    f"{rule.title!r} stops the negative side, and {inner.title!r} has none.",
                    "Give it a cfg_scale other than 1, or leave out the adaptive guidance.",
                    "guidance",
                )
    if rule.kind == "reflected_guidance":
        for weak in chain(rule, "weak"):
            if weak.kind in ("cfg_plus_plus", "linear_guidance", "reflected_guidance"):
                yield Refusal(
                    f"{weak.title!r} goes forwards only and cannot be the weak side of {rule.title!r}.",
                    "Connect a Guidance (CFG) with a small scale, or nothing.",
                    "guidance",
                )
    if rule.kind == "residual_guidance" and rule.widgets.get("mode") == "picture":
        sources = {source.kind for source in rule.feeding("reference")}
        if not sources or "empty_latent" in sources:
            yield Refusal(
                f"{rule.title!r} takes its negative side from a picture, and there is none.",
                'Connect Encode picture to it, or choose the mode "first step".',
                "guidance",
            )


def _range(rule: View, steps: tuple[Step, ...]) -> Iterator[Refusal]:
    start, end = rule.widgets.get("start"), rule.widgets.get("end")
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return
    if start > end:
        yield Refusal(f"{rule.title!r} starts at {start:g}, after its end at {end:g}.", "Exchange them.")
        return
    try:
        acts = in_open_range if rule.kind == "skip_layer_guidance" else in_range
        some_step(f"{rule.title!r}", start, end, steps, socket="guidance", acts=acts)
    except StudioError as error:
        yield Refusal(error.message, error.hint, "guidance", "warning")


def _acts(rule: View) -> bool:
    """Whether a rule is more than what it builds on, as far as its settings say."""
    start, end = rule.widgets.get("start"), rule.widgets.get("end")
    empty = isinstance(start, int | float) and isinstance(end, int | float) and start >= end
    return rule.widgets.get("scale") != 0 and not empty


def _scaled(rule: View) -> bool:
    """Whether a rule over the pair is more than the prompt alone."""
    return rule.widgets.get("cfg_scale") != 1


def _negative(rule: View) -> bool:
    """Whether a rule asks for the negative prompt, as far as its settings say."""
    if rule.kind in ("cfg", "embedded_guidance", "apg", "cfg_zero", "linear_guidance"):
        return _scaled(rule)
    silent = ("residual_guidance", "adaptive_guidance", "reflected_guidance", *CHANGED)
    return rule.kind not in silent  # CFG++, and what a plugin gives
