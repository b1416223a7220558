"""Runs of the tiny networks under a step cache, for its tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from studio.blocks.parts import StepCache
from studio.blocks.session import Session
from studio.blocks.step_cache import attachment
from studio.values import Step
from tests.controls.attaching import call_of, run

PAIR = ("uncond:0", "cond:0")


def steps_of(total: int) -> list[Step]:
    return [Step(i, total, 1 - i / total, 1 - (i + 1) / total) for i in range(total)]


def inputs(family: str, total: int, rows: int = 2, *, still: bool = False) -> list[dict[str, Any]]:
    """Arguments of the network at every step: a picture that moves along a line while the level falls, one
    text; `still`: the same at every step."""
    first, last = call_of(family, rows), call_of(family, rows)
    drift = torch.randn(first["hidden_states"].shape, generator=torch.Generator().manual_seed(9))
    made = []
    for i in range(total):
        share = 0.0 if still else i / total
        moved = {"hidden_states": first["hidden_states"] + 0.3 * share * drift}
        made.append({**last, **moved, "timestep": first["timestep"] * (1 - 0.5 * share)})
    return made


def cached(
    network: torch.nn.Module,
    cache: StepCache,
    given: Sequence[dict[str, Any]],
    roles: Sequence[str] = PAIR,
) -> tuple[list[torch.Tensor], Session | None]:
    """The outputs of one run, and the session."""
    found = []
    with attachment(cache).attach(network) as session:
        for step, arguments in zip(steps_of(len(given)), given, strict=True):
            if session is None:
                found.append(run(network, arguments))
            else:
                with session.call(step, roles):
                    found.append(run(network, arguments))
    return found, session


def plain(network: torch.nn.Module, given: Sequence[dict[str, Any]]) -> list[torch.Tensor]:
    return [run(network, arguments) for arguments in given]


def equal(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def decisions(session: Session | None, picture: str = "0") -> str:
    """F for every full step of a picture, s for a skipped one."""
    assert session is not None
    told: Any = session.report()["pictures"]
    skipped = told[picture]["skipped"]
    count = len(skipped) + len(told[picture]["full"])
    return "".join("s" if i + 1 in skipped else "F" for i in range(count))
