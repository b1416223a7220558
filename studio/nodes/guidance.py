"""Guidance rules as values; those that take a `guidance` build on it."""

from __future__ import annotations

from typing import Annotated

from studio.api import (
    Choice,
    Conditioning,
    Context,
    Guidance,
    Latent,
    Model,
    Number,
    Sigmas,
    Slider,
    StudioError,
    Text,
    node,
)
from studio.controls.where import parse_blocks
from studio.models.family import parts_of
from studio.nodes.prompt import encode
from studio.sampling.guidance import (
    adaptive,
    apg,
    cfg_zero,
    cfgpp,
    linear_ag,
    perturbed,
    rcfg,
    skip_layers,
    smoothed,
    w2sd,
)
from studio.sampling.guidance.cfg import cfg as rule
from studio.sampling.guidance.embedded import embedded_guidance as embedded_rule
from studio.sampling.guidance.embedded import with_number

PROMPTS = "a red star on the left and a blue house on the right\na yellow boat in the middle, by the sea"
MOST_PROMPTS = 16
OWN = -1


@node(group="Sampling", title="Guidance (CFG)")
def cfg(
    cfg_scale: Annotated[float, Slider(0, 30, 0.1)] = 3.0,
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    rescale: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    guidance: Annotated[float, Number(OWN, 30, 0.1, lowest="as the model")] = OWN,
) -> Guidance:
    """Classifier-free guidance: how firmly the picture follows the prompt and leaves the negative prompt.

    cfg_scale: 1 = no guidance and half the work; 2 to 5 is usual; high values burn colours
    start: the share of the steps before it acts; a late start gives more variety
    end: the share of the steps after which it stops; each step without it is half the work
    rescale: takes back the contrast that high scales add; 0 = not at all, 0.7 is usual
    guidance: the number that goes into a model such as FLUX in the place of a second pass
    """
    made = rule(cfg_scale, start, end, rescale)
    return made if guidance < 0 else with_number(made, guidance)


@node(group="Sampling", title="Guidance (embedded)")
def embedded_guidance(
    guidance: Annotated[float, Slider(0, 30, 0.1)] = 3.5,
    cfg_scale: Annotated[float, Slider(0, 30, 0.1)] = 1.0,
) -> Guidance:
    """For models such as FLUX that take the guidance as an input: firm without a second pass.

    guidance: how firmly the picture follows the prompt; the number goes into the network
    cfg_scale: real two-pass guidance on top, with the negative prompt; 1 = none and half the work
    """
    return embedded_rule(guidance, cfg_scale)


@node(group="Sampling", title="Guidance (CFG++)", id="cfg_plus_plus")
def cfg_plus_plus(strength: Annotated[float, Slider(0, 1, 0.01)] = 0.4) -> Guidance:
    """Guidance with a small number instead of a scale: strongest in the middle of the run; for Euler.

    strength: 0 = the negative prompt alone leads, 1 = firm
    """
    return cfgpp.cfgpp(strength)


@node(group="Sampling", title="Guidance (APG)", id="apg")
def projected_guidance(
    cfg_scale: Annotated[float, Slider(0, 30, 0.1)] = 4.0,
    parallel: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    longest: Annotated[float, Slider(0, apg.MOST_LENGTH, 1)] = 0.0,
    momentum: Annotated[float, Slider(-1, 1, 0.05)] = 0.0,
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
) -> Guidance:
    """Guidance for high scales that keeps colours natural: the part that only adds contrast is turned down.

    cfg_scale: 1 = no guidance; 4 to 10 is usual here
    parallel: how much of the part that adds contrast is kept; 1 = plain CFG
    longest: limit of the push in one step; 0 = none
    momentum: share of the last step's push that is added; below 0 it calms the run, 0 = none
    start: the share of the steps before it acts
    end: the share of the steps after which it stops
    """
    return apg.apg(cfg_scale, parallel, longest, momentum, start, end)


@node(group="Sampling", title="Guidance (CFG-Zero*)", id="cfg_zero")
def zero_guidance(
    cfg_scale: Annotated[float, Slider(0, 30, 0.1)] = 3.0,
    zero_steps: Annotated[int, Slider(0, cfg_zero.MOST_STEPS, 1)] = 1,
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
) -> Guidance:
    """Guidance for flow models that weighs the negative side to fit, and skips the first, worst guess.

    cfg_scale: 1 = no guidance; 2 to 5 is usual
    zero_steps: steps at the start that do nothing but lower the noise level; they cost nothing
    start: the share of the steps before it acts
    end: the share of the steps after which it stops
    """
    return cfg_zero.cfg_zero(cfg_scale, zero_steps, start, end)


@node(group="Sampling", title="Adaptive guidance")
def adaptive_guidance(
    guidance: Guidance, threshold: Annotated[float, Slider(-1, 1, 0.0001)] = 0.991
) -> Guidance:
    """Stop the negative side as soon as it says the same as the prompt: the rest costs half.

    guidance: what acts until then, with a cfg_scale other than 1
    threshold: how alike both must be (cosine); 1 = never stop, -1 = stop after the first step
    """
    return adaptive.adaptive(guidance, threshold)


@node(group="Sampling", title="Guidance (LinearAG)", id="linear_guidance", resources="gpu")
def linear_guidance(
    model: Model,
    negative: Conditioning,
    latent: Latent,
    sigmas: Sigmas,
    cfg_scale: Annotated[float, Slider(0, 30, 0.1)] = 3.0,
    prompts: Annotated[str, Text(lines=4, max=4000)] = PROMPTS,
    paths: Annotated[int, Slider(1, 8, 1)] = 2,
    *,
    ctx: Context,
) -> Guidance:
    """CFG that guesses the negative side in most steps, with numbers fitted to a few runs before; for Euler.

    negative: the negative prompt of the run
    latent: the canvas; its size and seed are those of the fitting runs
    sigmas: the schedule of the run; it must be the same
    cfg_scale: 1 = no guidance
    prompts: what the fitting runs paint, one prompt a line
    paths: fitting runs for each prompt
    """
    texts = [line.strip() for line in prompts.splitlines() if line.strip()]
    if not 1 <= len(texts) <= MOST_PROMPTS:
        raise StudioError(
            f"{len(texts)} prompts cannot be fitted to.",
            hint=f"Write 1 to {MOST_PROMPTS}, one a line.",
            socket="prompts",
        )
    if cfg_scale == 1:
        return linear_ag.linear_ag(1.0)
    ctx.policy.check_steps(len(texts) * paths * sigmas.steps, socket="paths")
    parts = parts_of(model)
    positives = [encode(parts, text, model.title)[0] for text in texts]
    factors, errors = linear_ag.calibrate(
        parts, positives, negative, latent, sigmas, cfg_scale, paths=paths, on_step=ctx.step
    )
    ctx.note("linear_ag", {"runs": len(texts) * paths, "worst_error": round(max(errors, default=0.0), 4)})
    return linear_ag.linear_ag(cfg_scale, sigmas, factors)


@node(group="Sampling", title="Skip-layer guidance (SLG)", id="skip_layer_guidance")
def skip_layer_guidance(
    guidance: Guidance | None = None,
    scale: Annotated[float, Slider(0, 10, 0.1)] = 2.8,
    blocks: Annotated[str, Text(max=300)] = "",
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.01,
    end: Annotated[float, Slider(0, 1, 0.01)] = 0.2,
) -> Guidance:
    """Away from what the model paints when some of its blocks are left out: cleaner shapes, one more pass.

    guidance: what it adds to; empty = the prompt alone
    scale: how firmly; 0 = not at all
    blocks: numbers of the blocks that are left out, such as "7-9"; empty = those that suit
    start: the share of the steps before it acts; the very first step is always left out
    end: the share of the steps after which it stops
    """
    return skip_layers.skip_layers(guidance, scale, parse_blocks(blocks) or (), start, end)


@node(group="Sampling", title="Perturbed-attention guidance (PAG)", id="perturbed_guidance")
def perturbed_guidance(
    guidance: Guidance | None = None,
    scale: Annotated[float, Slider(0, 10, 0.1)] = 1.5,
    blocks: Annotated[str, Text(max=300)] = "",
    tokens: Annotated[str, Choice(*perturbed.TOKENS)] = "image",
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
) -> Guidance:
    """Away from what the model paints when no part of the picture sees another: firmer build, one more pass.

    guidance: what it adds to; empty = the prompt alone
    scale: how firmly; 0 = not at all
    blocks: numbers of the blocks where this is so, such as "7-9"; empty = those that suit
    tokens: image = parts of the picture still see the prompt; all = nothing sees anything else
    start: the share of the steps before it acts
    end: the share of the steps after which it stops
    """
    return perturbed.perturbed_attention(guidance, scale, parse_blocks(blocks) or (), start, end, tokens)


@node(group="Sampling", title="Smoothed-energy guidance (SEG)", id="smoothed_guidance")
def smoothed_guidance(
    guidance: Guidance | None = None,
    scale: Annotated[float, Slider(0, 10, 0.1)] = 1.5,
    blocks: Annotated[str, Text(max=300)] = "",
    blur: Annotated[float, Slider(0, smoothed.MOST_BLUR, 0.5)] = 0.0,
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
) -> Guidance:
    """Away from what the model paints with blurred attention: firmer build, one more pass.

    guidance: what it adds to; empty = the prompt alone
    scale: how firmly; 0 = not at all
    blocks: numbers of the blocks with blurred attention, such as "7-9"; empty = those that suit
    blur: how wide, in tokens (2 latent points); 0 = without end, all ask the same
    start: the share of the steps before it acts
    end: the share of the steps after which it stops
    """
    return smoothed.smoothed_energy(guidance, scale, parse_blocks(blocks) or (), start, end, blur)


@node(group="Sampling", title="Reflection (W2SD)", id="reflected_guidance")
def reflected_guidance(
    strong: Guidance,
    weak: Guidance | None = None,
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
) -> Guidance:
    """A step forwards, a weaker one back, and the step again: more of what makes the strong rule strong.

    strong: the guidance of the run
    weak: the guidance of the way back; empty = the prompt alone
    start: the share of the steps before it acts
    end: the share of the steps after which it stops; each step with it costs three times as much
    """
    return w2sd.w2sd(strong, weak, start, end)


@node(group="Sampling", title="Residual guidance (RCFG)", id="residual_guidance")
def residual_guidance(
    reference: Latent | None = None,
    cfg_scale: Annotated[float, Slider(0, 30, 0.1)] = 1.5,
    mode: Annotated[str, Choice(*rcfg.MODES)] = "first step",
    delta: Annotated[float, Number(0, 2, 0.05)] = 1.0,
) -> Guidance:
    """Guidance at the price of none, for changing pictures quickly: the negative side stands still.

    reference: an encoded picture, for the mode "picture"
    cfg_scale: up to 1 = no guidance; 1.2 to 2 is usual
    mode: picture = away from the reference; first step = away from what the negative prompt says at first
    delta: weight of the side that stands still; 1 = as derived
    """
    return rcfg.rcfg(cfg_scale, mode, reference, delta)
