"""One run of a step cache: the range's residual is kept at full steps and forecast at the others
(sampling.md 4.2, 4.3).

For blocks a..b of the stack R = h_b(out) - h_a(in), for each stream. A full step runs and records R. At a
skipped one block a passes on what it is given, so do the blocks behind it, and block b returns h_a + R's
forecast; what is added between two blocks (ControlNet) is in R already. Pictures of a batch decide each for
itself; the rows of one picture (both sides of guidance, source and target of an edit) share one decision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import astuple, dataclass, field
from typing import Any, Protocol

import torch

from studio.blocks.forecast import History
from studio.blocks.gates import Drift, FixedSteps, Interval
from studio.blocks.parts import Part, StepCache, check_steps
from studio.blocks.stack import Block
from studio.blocks.tally import Tally
from studio.errors import StudioError
from studio.values import Step

# arguments of blocks that have a row for each of the batch; positions are shared
BY_ROW = ("hidden_states", "encoder_hidden_states", "temb", "encoder_hidden_states_mask", "attention_mask")


class Controls(Protocol):
    """Attention controls on the same network, as a cache sees them (`controls.attach.Attached`)."""

    def unchanged(self, blocks: Sequence[str], recorded: Step) -> bool:
        """Whether they do the same in these blocks at this step as at an earlier one."""

    def skip_blocks(self, blocks: Sequence[str], recorded: Step) -> bool:
        """The cache announces that these blocks may not run; False: they must."""

    def rows(self, rows: Sequence[int]) -> AbstractContextManager[object]:
        """Around a call of a block with some rows alone."""


@dataclass
class _State:
    """What is kept of one range for one picture."""

    image: History
    text: History
    probe: History
    step: Step | None = None
    skips: int = 0
    spent: float = 0.0


@dataclass
class _Context:
    """Calls of one kind, step after step: the same rows at the same stage of the sampler's step."""

    index: int
    text: torch.Tensor | None = None
    shape: object = None
    states: dict[tuple[int, str], _State] = field(default_factory=dict)


class _Range:
    """A part at work in one call of the network."""

    def __init__(self, number: int, part: Part, first: int, last: int) -> None:
        self.number, self.part, self.first, self.last = number, part, first, last
        self.image = self.text = self.residual = torch.empty(0)
        self.full: list[tuple[str, list[int]]] = []
        self.skipped: list[tuple[str, list[int]]] = []
        self.done = False

    def running(self) -> list[int]:
        return [row for _, rows in self.full for row in rows]


class _Call:
    """One call of the network."""

    def __init__(self, step: Step, roles: Sequence[str], stage: int, context: _Context) -> None:
        self.step, self.stage, self.context = step, stage, context
        self.roles = tuple(roles)
        self.pictures: dict[str, list[int]] = {}
        for row, role in enumerate(roles):
            self.pictures.setdefault(role.partition(":")[2], []).append(row)
        self.controls: Controls | None = None
        self.ranges: list[_Range] = []
        self.rows_run = 0


class Session:
    """A step cache at work. Nothing of it outlives the `with` block that made it."""

    def __init__(self, blocks: Sequence[Block], cache: StepCache) -> None:
        self.cache = cache
        self.blocks = tuple(blocks)
        self.tally = Tally(cache.name, len(blocks))
        self._ranges = cache.ranges(len(blocks))
        self._contexts: dict[tuple[tuple[str, ...], int], _Context] = {}
        self._index = -1
        self._stages: dict[tuple[str, ...], int] = {}
        self._decided: dict[tuple[int, int, str], bool] = {}
        self._now: _Call | None = None

    @contextmanager
    def call(self, step: Step, roles: Sequence[str], controls: Controls | None = None) -> Iterator[None]:
        """Around every forward of the network. `roles`: one a row, such as "cond:0"."""
        check_steps(step.total, self.cache.mild)
        now = self._begin(step, tuple(roles))
        now.controls = controls
        self._now = now
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._now = None
        if not all(here.done for here in now.ranges):
            raise StudioError(
                "Blocks that the step cache keeps were left out by somebody else.",
                hint="Use no step cache beside guidance that skips layers, or other hooks on blocks.",
                socket="attachments",
            )
        self.tally.call(time.perf_counter() - begun, now.rows_run, len(now.roles))

    def report(self) -> dict[str, object]:
        """JSON values: what was skipped, how good the forecasts were, the time saved."""
        return self.tally.report()

    def snapshot(self) -> list[Any]:
        """What is kept between two steps (`Keeping`)."""
        contexts = [
            [list(roles), stage, here.index, here.text, _spelled(here.shape), _states(here)]
            for (roles, stage), here in self._contexts.items()
        ]
        return [self._index, contexts, self.tally.snapshot()]

    def restore(self, state: list[Any]) -> None:
        """Take up what `snapshot` gave, at the end of a step."""
        self._index, contexts, counted = state
        self._contexts = {}
        for roles, stage, index, text, shape, states in contexts:
            here = _Context(index, text, None if text is None else _shape(shape, text))
            for number, picture, histories, step, skips, spent in states:
                kept = self._fresh(number)
                for history, given in zip((kept.image, kept.text, kept.probe), histories, strict=True):
                    history.restore(given)
                kept.step, kept.skips, kept.spent = Step(*step) if step else None, skips, spent
                here.states[number, picture] = kept
            self._contexts[tuple(roles), stage] = here
        self.tally.restore(counted)

    def around(self, index: int, original: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
        """A call of one block (`hooks.Around`)."""
        now = self._now
        if now is None:
            return original(**kwargs)
        image, text = kwargs["hidden_states"], kwargs["encoder_hidden_states"]
        if index == 0:
            self._check_context(now, image, text)
        here = next((r for r in now.ranges if r.first <= index <= r.last), None)
        if here is not None and index == here.first:
            here.image, here.text = image, text
            self._decide(now, here)
        if here is None or not here.skipped:
            text_out, image_out = original(**kwargs)
            now.rows_run += len(now.roles)
        elif not here.full:
            text_out, image_out = text, image
        else:
            text_out, image_out = self._some(now, here, original, kwargs)
        for other in now.ranges:
            if other.part.probes and index == other.first - 1:
                other.residual = image_out - image
        if here is not None and index == here.last:
            text_out, image_out = self._finish(now, here, text_out, image_out)
        return (text_out if here is None or self._reads_text(index) else None), image_out

    def _begin(self, step: Step, roles: tuple[str, ...]) -> _Call:
        if step.index < self._index:
            self._contexts.clear()
        if step.index != self._index:
            self._index = step.index
            self._stages.clear()
            self._decided.clear()
            old = [key for key, kept in self._contexts.items() if step.index - kept.index > 1]
            for key in old:
                del self._contexts[key]
        stage = self._stages.get(roles, 0)
        self._stages[roles] = stage + 1
        context = self._contexts.setdefault((roles, stage), _Context(step.index))
        context.index = step.index
        now = _Call(step, roles, stage, context)
        for number, (part, bounds) in enumerate(zip(self.cache.parts, self._ranges, strict=True)):
            if part.works(step):
                now.ranges.append(_Range(number, part, *bounds))
            else:
                for state in [state for state in context.states if state[0] == number]:
                    del context.states[state]
        return now

    def _check_context(self, now: _Call, image: torch.Tensor, text: torch.Tensor) -> None:
        """Another shape or another text: nothing of before holds."""
        context = now.context
        shape = (image.shape, image.dtype, image.device, text.shape)
        if context.shape != shape or context.text is None or not torch.equal(context.text, text):
            context.states.clear()
            context.shape, context.text = shape, text

    def _decide(self, now: _Call, here: _Range) -> None:
        names = [block.name for block in self.blocks[here.first : here.last + 1]]
        for picture, rows in now.pictures.items():
            state = self._state(now, here, picture)
            if state.step and now.controls and not now.controls.unchanged(names, state.step):
                del now.context.states[here.number, picture]
                state = self._state(now, here, picture)
            key = (now.stage, here.number, picture)
            first = key not in self._decided
            skip = self._wants(now, here, state, rows) if first else self._decided[key]
            if skip and state.step is None:
                skip = False
            if skip and now.controls and state.step:
                skip = now.controls.skip_blocks(names, state.step)
                if not skip:
                    self.tally.held()
            if first:
                self._decided[key] = skip
                self.tally.decided(picture, now.step, skip)
            (here.skipped if skip else here.full).append((picture, rows))

    def _state(self, now: _Call, here: _Range, picture: str) -> _State:
        key = (here.number, picture)
        if key not in now.context.states:
            now.context.states[key] = self._fresh(here.number)
        return now.context.states[key]

    def _fresh(self, number: int) -> _State:
        part = self.cache.parts[number]
        forecast = isinstance(part.gate, Drift) and part.gate.forecast
        return _State(
            History(part.order, part.form),
            History(part.order, part.form),
            History(part.order if forecast else 0, part.form),
        )

    def _wants(self, now: _Call, here: _Range, state: _State, rows: list[int]) -> bool:
        """What gate and limits say."""
        part, step = here.part, now.step
        limits, gate = part.limits, part.gate
        if state.step is None or step.index < limits.warm or step.index >= step.total - limits.last:
            return False
        if limits.most and state.skips >= limits.most:
            return False
        if isinstance(gate, Interval):
            return step.index - state.step.index < gate.distance(state.step.index)
        if isinstance(gate, FixedSteps):
            return gate.full is not None and step.index not in gate.full
        expected = state.probe.forecast(part.at(step)) if gate.forecast else state.probe.last
        drift = _relative(_take(here.residual, rows), expected)
        if not drift < gate.tau or (limits.budget and state.spent + drift > limits.budget):
            return False
        state.spent += drift
        return True

    def _some(
        self, now: _Call, here: _Range, original: Callable[..., Any], kwargs: dict[str, Any]
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """A block for the rows of some pictures alone; the others keep what they have."""
        rows = here.running()
        given = {
            name: _take(value, rows) if name in BY_ROW and isinstance(value, torch.Tensor) else value
            for name, value in kwargs.items()
        }
        with nullcontext() if now.controls is None else now.controls.rows(rows):
            text, image = original(**given)
        now.rows_run += len(rows)
        return (
            None if text is None else _put(kwargs["encoder_hidden_states"], rows, text),
            _put(kwargs["hidden_states"], rows, image),
        )

    def _finish(
        self, now: _Call, here: _Range, text: torch.Tensor | None, image: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Full pictures record their residual, the others get their forecast."""
        at, reads = here.part.at(now.step), self._reads_text(here.last) and text is not None
        for picture, rows in here.full:
            state = self._state(now, here, picture)
            residual = _take(image, rows) - _take(here.image, rows)
            if state.skips:
                self.tally.error(_relative(state.image.forecast(at), residual))
            state.image.record(residual, at)
            if reads:
                assert text is not None
                state.text.record(_take(text, rows) - _take(here.text, rows), at)
            if here.part.probes:
                state.probe.record(_take(here.residual, rows), at)
            state.step, state.skips, state.spent = now.step, 0, 0.0
        for picture, rows in here.skipped:
            state = self._state(now, here, picture)
            image = _put(image, rows, _take(here.image, rows) + _fitted(state.image.forecast(at), image))
            if reads:
                assert text is not None
                text = _put(text, rows, _take(here.text, rows) + _fitted(state.text.forecast(at), text))
            state.skips += 1
        here.done = bool(here.full or here.skipped)
        return text, image

    def _reads_text(self, index: int) -> bool:
        """Whether the network goes on with the text that a block returns."""
        return self.blocks[index].text_out


def _states(context: _Context) -> list[Any]:
    return [
        [
            number,
            picture,
            [kept.image.snapshot(), kept.text.snapshot(), kept.probe.snapshot()],
            None if kept.step is None else list(astuple(kept.step)),
            kept.skips,
            kept.spent,
        ]
        for (number, picture), kept in context.states.items()
    ]


def _spelled(shape: Any) -> list[Any]:
    """A context's shape without its device, which is the text's."""
    return [] if shape is None else [list(shape[0]), str(shape[1]).removeprefix("torch."), list(shape[3])]


def _shape(spelled: list[Any], text: torch.Tensor) -> object:
    image, dtype, words = spelled
    return torch.Size(image), getattr(torch, dtype), text.device, torch.Size(words)


def _take(tensor: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    return tensor if len(rows) == tensor.shape[0] else tensor[list(rows)]


def _put(tensor: torch.Tensor, rows: Sequence[int], values: torch.Tensor) -> torch.Tensor:
    if len(rows) == tensor.shape[0]:
        return values
    made = tensor.clone()
    made[list(rows)] = values
    return made


def _fitted(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return tensor.to(like.dtype)


def _relative(value: torch.Tensor, reference: torch.Tensor) -> float:
    """mean|value - reference| / mean|reference|."""
    away = (value.float() - reference.float()).abs().mean()
    return float(away / reference.float().abs().mean().clamp_min(1e-12))
