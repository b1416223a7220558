"""LinearAG (arXiv 2312.12487, section 5.2): the unconditional prediction of a step out of the predictions so
far, by numbers fitted once to paths of the same schedule and scale.

u_t = sum_i b_i c_i + sum_(i<t) b'_i u_i. As published, every other step of the first half and every step of
the second is computed that way; those steps call the conditional row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from studio.errors import StudioError
from studio.models.family import Parts
from studio.sampling.denoiser import flow_denoised, make_predict
from studio.sampling.guidance.cfg import cfg, check_scale
from studio.sampling.guidance.memory import Remembering
from studio.sampling.guidance.pair import row_of
from studio.sampling.loop import start_latent
from studio.sampling.samplers import advance, steps_of
from studio.sampling.trajectories import Trajectories
from studio.values import Conditioning, Denoise, Guidance, Latent, Predict, Row, Sigmas, Step

# step -> (factors of the conditional predictions 0..t, of the unconditional ones 0..t-1)
Factors = tuple[tuple[int, tuple[float, ...], tuple[float, ...]], ...]


def estimated_steps(total: int) -> tuple[int, ...]:
    """The steps whose unconditional prediction is estimated: 1, 3, .. in the first half, then all."""
    half = total // 2
    return tuple(index for index in range(total) if index >= max(half, 1) or index % 2)


def linear_ag(cfg_scale: float, sigmas: Sigmas | None = None, factors: Factors = ()) -> Guidance:
    """CFG of strength `cfg_scale` that estimates the unconditional prediction in the steps that `factors`
    has; without factors it is CFG. For the sampler euler, and for the `sigmas` to which they were fitted."""
    check_scale(cfg_scale)
    if not factors or cfg_scale == 1:
        return cfg(cfg_scale)
    assert sigmas is not None
    table = {index: (mine, theirs) for index, mine, theirs in factors}

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        cond, uncond = row_of(rows, "cond"), row_of(rows, "uncond")
        cs: dict[int, torch.Tensor] = {}
        us: dict[int, torch.Tensor] = {}

        def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
            _check(step, sigmas)
            t = step.index
            for known in (cs, us):  # a run that goes back is anew from there
                for index in [index for index in known if index >= t]:
                    del known[index]
            if t in table and len(cs) == t:
                cs[t] = predict(latent, step, (cond,))[0]
                us[t] = estimate(table[t], [cs[i] for i in range(t + 1)], [us[i] for i in range(t)])
            else:
                us[t], cs[t] = predict(latent, step, (uncond, cond))
            return flow_denoised(latent, us[t] + cfg_scale * (cs[t] - us[t]), step)

        return Remembering(denoise, (cs, us))

    params = (("cfg_scale", float(cfg_scale)), ("sigmas", sigmas.values), ("factors", factors))
    return Guidance("linear_ag", guide, params, "euler", remembers=True)


def estimate(
    factors: tuple[tuple[float, ...], tuple[float, ...]],
    cs: Sequence[torch.Tensor],
    us: Sequence[torch.Tensor],
) -> torch.Tensor:
    """The unconditional prediction of the step whose conditional one is the last of `cs`."""
    mine, theirs = factors
    terms = [b * c for b, c in zip(mine, cs, strict=True)] + [b * u for b, u in zip(theirs, us, strict=True)]
    return torch.stack(terms).sum(0)


def fit(paths: Sequence[Sequence[tuple[torch.Tensor, torch.Tensor]]]) -> tuple[Factors, tuple[float, ...]]:
    """Factors for the estimated steps by least squares over `paths`, each (c, u) of every step, and for each
    of these steps the relative error |u - estimate| / |u| over the paths.

    Steps are fitted in order; a later one sees the estimates of earlier ones, as the run will.
    """
    total = len(paths[0])
    if any(len(path) != total for path in paths):
        raise StudioError("The paths of a calibration have different numbers of steps.")
    factors, errors = [], []
    known = [[u for _, u in path] for path in paths]
    for t in estimated_steps(total):
        columns = []
        for path, us in zip(paths, known, strict=True):
            seen = [*(c for c, _ in path[: t + 1]), *us[:t]]
            columns.append(np.stack([one.flatten().double().numpy() for one in seen], axis=1))
        table = np.concatenate(columns)
        wanted = np.concatenate([path[t][1].flatten().double().numpy() for path in paths])
        found, *_ = np.linalg.lstsq(table, wanted, rcond=None)
        values = tuple(float(value) for value in found)
        factors.append((t, values[: t + 1], values[t + 1 :]))
        missed = np.linalg.norm(table @ found - wanted)
        errors.append(float(missed / max(float(np.linalg.norm(wanted)), 1e-30)))
        for path, us in zip(paths, known, strict=True):
            us[t] = estimate((values[: t + 1], values[t + 1 :]), [c for c, _ in path[: t + 1]], us[:t])
    return tuple(factors), tuple(errors)


def calibrate(
    parts: Parts,
    prompts: Sequence[Conditioning],
    negative: Conditioning,
    canvas: Latent,
    sigmas: Sigmas,
    cfg_scale: float,
    *,
    paths: int = 1,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[Factors, tuple[float, ...]]:
    """`fit` to runs of Euler with CFG from pure noise, `paths` seeds a prompt, in the canvas's size.

    `on_step(i, total)` is called after every step and may raise to stop.
    """
    total, done = len(prompts) * paths * sigmas.steps, 0
    recorded = []
    with torch.inference_mode():
        for number, positive in enumerate(prompts):
            for path in range(paths):
                seed = canvas.seed + number * paths + path
                latent = start_latent(parts, Latent(canvas.width, canvas.height, 1, seed), sigmas)
                predict = make_predict(parts)
                uncond, cond = Trajectories().rows(positive, negative)
                steps = []
                for step in steps_of(sigmas):
                    u, c = predict(latent, step, (uncond, cond))
                    steps.append((c.cpu(), u.cpu()))
                    denoised = flow_denoised(latent, u + cfg_scale * (c - u), step)
                    latent = advance(latent, denoised, step)
                    done += 1
                    if on_step is not None:
                        on_step(done, total)
                recorded.append(steps)
        return fit(recorded)


def _check(step: Step, sigmas: Sigmas) -> None:
    """Raise where a run does not go along the schedule of the calibration."""
    here = (*sigmas.values, 0.0)[min(step.index, sigmas.steps)]
    if step.total != sigmas.steps or abs(here - step.sigma) > 1e-6:
        raise StudioError(
            f"LinearAG was fitted to {sigmas.steps} steps of {sigmas.name!r}; step {step.index + 1} of this "
            f"run ({step.total} steps) lies at noise level {step.sigma:.4g}, not {here:.4g}.",
            hint="Connect the Schedule of the run to LinearAG.",
            socket="guidance",
        )
