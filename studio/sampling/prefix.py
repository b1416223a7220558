"""Prefix resume: a run goes on from where an earlier one with the same beginning stood (sampling.md 10.1).

k_i = H(k_(i-1), everything that has an effect at step i): two runs whose keys agree up to step i were bit by
bit the same up to there. The state after a step lies in a store under its key: latent, clean estimate, the
sampler's memory, and what guidance and caches remember. What keeps state and cannot give it is not resumed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from studio.controls.control import AttentionControl, Need
from studio.models.family import Parts, Site, adapter_for
from studio.sampling.controlled import Controlled
from studio.values import (
    Attachment,
    Conditioning,
    Denoise,
    Guidance,
    Keeping,
    Latent,
    Sampler,
    Sigmas,
    Step,
    StepResult,
    Store,
    Wrap,
)

MOST_BYTES = 64 * 2**20
"""What one run keeps in memory; where every step would be more, only some are kept."""
ON_DISK = 8
"""About how many states of a run go to disk."""
LOOKS_AHEAD = ("nested",)
"""Samplers that look at noise levels beyond the end of a step."""


@dataclass(frozen=True)
class Prefix:
    """The store of a run, and what its keys begin with: model weights and code."""

    store: Store
    base: str


@dataclass(frozen=True)
class Found:
    """The state after a step of an earlier run; `result` is that step's."""

    index: int
    result: StepResult
    guidance: list[Any]
    followers: list[Any]


@dataclass(eq=False)
class Recorder:
    """Keeps the states of one run. `keys[i]`: of the state after i steps; `turns`: numbers of steps after
    which something else has an effect."""

    prefix: Prefix
    keys: tuple[str, ...]
    turns: frozenset[int]
    device: torch.device
    keepers: tuple[Callable[[], list[Any]], ...]
    _begun: float = field(default_factory=time.perf_counter)
    _stride: int = 0
    _last: tuple[int, list[Any]] | None = None
    _kept: dict[int, list[Any]] = field(default_factory=dict)

    def find(self, steps: Sequence[Step], upto: int) -> Found | None:
        """The longest stored beginning of at most `upto` steps."""
        for index in range(upto, 0, -1):
            state = self.prefix.store.get(self.keys[index])
            if state is not None:
                latent, denoised, memory, guidance, followers = moved(state, self.device)
                result = StepResult(steps[index - 1], latent, denoised, tuple(memory))
                return Found(index, result, guidance, followers)
        return None

    def after(self, result: StepResult) -> None:
        """A step is done."""
        index, total = result.step.index + 1, result.step.total
        denoised = result.denoised.to(result.latent.dtype)
        kept = [keeper() for keeper in self.keepers]
        state = [result.latent, denoised, list(result.memory), kept[0], kept[1:]]
        self._last = (index, state)
        if not self._stride:
            self._stride = max(1, -(-total * nbytes(state) // MOST_BYTES))
        if index % self._stride == 0 or index in self.turns or index == total:
            self._put(index, state)

    def close(self) -> None:
        """The run is over or was stopped: some of its states go to disk, the last one among them."""
        if self._last is None:
            return
        if self._last[0] not in self._kept:
            self._put(*self._last)
        total = len(self.keys) - 1
        every = max(1, total // ON_DISK)
        for index, state in self._kept.items():
            if index % every == 0 or index in self.turns or index == self._last[0]:
                self.prefix.store.put(self.keys[index], state, self._seconds(index), disk=True)

    def _put(self, index: int, state: list[Any]) -> None:
        self._kept[index] = kept = moved(state, torch.device("cpu"))
        self.prefix.store.put(self.keys[index], kept, self._seconds(index), disk=False)

    def _seconds(self, index: int) -> float:
        done = self._last[0] if self._last else index
        return (time.perf_counter() - self._begun) * index / max(done, 1)


def recorder(
    prefix: Prefix | None,
    parts: Parts,
    start: torch.Tensor,
    canvas: Latent,
    positive: Conditioning,
    negative: Conditioning,
    sigmas: Sigmas,
    steps: Sequence[Step],
    sampler: Sampler,
    guidance: Guidance,
    guided: Denoise,
    wraps: Sequence[Wrap],
    attachments: Sequence[Attachment | AttentionControl],
    controls: Sequence[AttentionControl],
    controlled: Controlled,
) -> Recorder | None:
    """What keeps the states of a run, None where the run cannot be resumed.

    `start`: the first state; `guided`: the rule at work, without wraps; `controls`: those of the attachments
    that act; `controlled`: the attachments on the network.
    """
    plain = [one for one in attachments if not isinstance(one, AttentionControl)]
    sites = adapter_for(parts.transformer).sites(parts.transformer) if controls else ()
    if (
        prefix is None
        or (guidance.remembers and not isinstance(guided, Keeping))
        or any(wrap.at is None and wrap.tiles is None for wrap in wraps)
        or any(one.at is None for one in plain)
        or not all(isinstance(follower, Keeping) for follower in controlled.followers)
        or not all(resumable(control, sites, steps) for control in controls)
    ):
        return None
    own = {id(control): content(control) for control in controls}
    begun = (prefix.base, content(start), canvas.seed, canvas.batch, len(steps), str(start.device))
    machine = (str(parts.dtype), torch.__version__, torch.get_num_threads())
    keys = [_hash("weft-prefix/1", *begun, *machine)]
    effects: list[str] = []
    texts = content(positive), content(negative)
    for step in steps:
        acting = [
            (control.technique, own[id(control)], repr(control.steady(step)))
            for control in controls
            if control.segments(step) or any(control.needs(site, step) for site in sites)
        ]
        rule = (guidance.name, *guidance.params) if guidance.at is None else guidance.at(step)
        levels = sigmas.values[step.index :] if sampler.name in LOOKS_AHEAD else (step.sigma, step.sigma_next)
        effects.append(
            repr(
                (
                    (sampler.name, sampler.params),
                    (texts[0], (texts[1], rule) if rule else ()),
                    [
                        (wrap.name, wrap.params if wrap.at is None else wrap.at(step))
                        for wrap in wraps
                        if wrap.at is None or wrap.at(step)
                    ],
                    [(one.name, one.at(step)) for one in plain if one.at is not None and one.at(step)],
                    acting,
                )
            )
        )
        keys.append(_hash(keys[-1], repr(levels), effects[-1]))
    turns = frozenset(i for i in range(1, len(effects)) if effects[i] != effects[i - 1])
    keepers: list[Callable[[], list[Any]]] = [guided.snapshot if isinstance(guided, Keeping) else list]
    keepers += [follower.snapshot for follower in controlled.followers if isinstance(follower, Keeping)]
    return Recorder(prefix, tuple(keys), turns, start.device, tuple(keepers))


def restore(found: Found, guided: Denoise, controlled: Controlled) -> None:
    """Put back what guidance and caches remembered."""
    if isinstance(guided, Keeping):
        guided.restore(found.guidance)
    followers = [one for one in controlled.followers if isinstance(one, Keeping)]
    for follower, state in zip(followers, found.followers, strict=True):
        follower.restore(state)


def resumable(control: AttentionControl, sites: Sequence[Site], steps: Sequence[Step]) -> bool:
    """Whether all that a control does at a step follows from its terms (`steady`): it reads nothing, injects
    nothing, changes no latent, and is no trajectory of its own."""
    if control.branches() or type(control).step_end is not AttentionControl.step_end:
        return False
    for step in steps:
        if control.wants_estimate(step):
            return False
        needs = [control.needs(site, step) for site in sites]
        if any(need & (Need.PROBE | Need.READ | Need.AFTER) for need in needs):
            return False
        if (control.segments(step) or any(needs)) and control.steady(step) is None:
            return False
    return True


def content(value: object) -> str:
    """SHA-256 of tensors, arrays, plain values and frozen dataclasses of them. `start` and `end` of a control
    or region are left out: where they count, `steady` says so."""
    whole = hashlib.sha256()
    _feed(whole, value)
    return whole.hexdigest()


def _feed(whole: Any, value: object) -> None:
    whole.update(type(value).__name__.encode() + b"\0")
    if isinstance(value, torch.Tensor):
        flat = value.detach().to("cpu").contiguous()
        whole.update(f"{flat.dtype}{tuple(flat.shape)}".encode())
        if flat.numel():
            whole.update(flat.reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, np.ndarray):
        whole.update(f"{value.dtype}{value.shape}".encode())
        whole.update(np.ascontiguousarray(value).data)
    elif isinstance(value, (tuple, list)):
        whole.update(struct.pack(">Q", len(value)))
        for item in value:
            _feed(whole, item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for part in dataclasses.fields(value):
            # Conditioning and the like compare by identity but hold what counts in their fields
            if part.name not in ("start", "end") and (part.compare or part.init):
                whole.update(part.name.encode() + b"\0")
                _feed(whole, getattr(value, part.name))
    elif isinstance(value, (str, int, float, bool, bytes, type(None))):
        text = repr(value).encode()
        whole.update(struct.pack(">Q", len(text)) + text)
    else:
        raise TypeError(f"{type(value).__name__} has no content")


def moved(state: Any, device: torch.device) -> Any:
    """The same lists with every tensor an ordinary copy on `device`."""
    if isinstance(state, torch.Tensor):
        with torch.inference_mode(False):
            return torch.empty(state.shape, dtype=state.dtype, device=device).copy_(state)
    if isinstance(state, (list, tuple)):
        return [moved(item, device) for item in state]
    return state


def nbytes(state: Any) -> int:
    """Bytes of all tensors in nested lists."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    return sum(nbytes(item) for item in state) if isinstance(state, (list, tuple)) else 0


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
