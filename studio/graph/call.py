"""Calling one node: inputs handed out read-only and checked, the result taken apart and checked (E5, E13,
E34)."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.errors import Cancelled, StudioError
from studio.graph.context import CancelToken, Context
from studio.graph.digest import Codecs
from studio.graph.kept import Kept
from studio.graph.progress import NodeReporter
from studio.graph.report import NodeError
from studio.graph.resolve import Settings, Task
from studio.graph.spec import BLOCKED, NodeSpec, Param, Socket
from studio.graph.types import type_line
from studio.graph.worker import restored, run_async

if TYPE_CHECKING:
    from studio.graph.engine import Engine


def arguments(task: Task, given: Mapping[str, Any], codecs: Codecs) -> dict[str, Any]:
    """Constants and inputs by parameter name. StudioError if a value from an edge breaks a setting's rule."""
    assert task.spec is not None
    found = {name: codecs.readonly(value) for name, value in task.params.items()}
    for name, value in given.items():
        socket = task.spec.socket(name)
        handed = codecs.readonly(value)
        if isinstance(socket, Param):
            problem = socket.problem(handed)
            if problem is not None:
                raise StudioError(f"{socket.label}: {problem[0]}", hint=problem[1], node=task.id, socket=name)
        elif isinstance(socket, Socket):
            if socket.many:
                handed = _without_blocked(handed if isinstance(handed, (list, tuple)) else [handed])
            if not _fits(socket, handed):
                raise StudioError(
                    f"{socket.label}: got {codecs.describe(handed)}; it takes {_wanted(socket)}.",
                    hint="Connect another output.",
                    node=task.id,
                    socket=name,
                )
        found[name] = handed
    return found


def _without_blocked(given: Any) -> Any:
    """A list less its items without a result (E22): only they are missing, the others go on."""
    return [item for item in given if item is not BLOCKED] if any(i is BLOCKED for i in given) else given


def results(spec: NodeSpec, result: object, codecs: Codecs) -> dict[str, Any]:
    """Outputs by socket name. StudioError if the node returned something else than it declares."""
    if not spec.outputs:
        return {}
    if result is BLOCKED:
        return {socket.name: BLOCKED for socket in spec.outputs}
    names = [socket.name for socket in spec.outputs]
    if spec.named:
        if not isinstance(result, tuple) or getattr(result, "_fields", None) != tuple(names):
            raise _bad_result(spec, f"a {type(result).__name__}", f"the named outputs {', '.join(names)}")
        values = list(result)
    else:
        values = [result]
    for socket, value in zip(spec.outputs, values, strict=True):
        if value is not BLOCKED and not _fits(socket, value):
            raise _bad_result(spec, codecs.describe(value), _wanted(socket))
    return dict(zip(names, values, strict=True))


def _bad_result(spec: NodeSpec, given: str, wanted: str) -> StudioError:
    return StudioError(
        f"The node returned {given}; it declares {wanted}.",
        hint=f"This is a mistake in {spec.origin or spec.kind}.",
    )


def _wanted(socket: Socket) -> str:
    return f"a list of {socket.type}" if socket.many else socket.type


def _fits(socket: Socket, value: object) -> bool:
    if value is None and socket.optional:
        return True
    if socket.many:
        return isinstance(value, (list, tuple)) and all(_is(socket, item) for item in value)
    return _is(socket, value)


def _is(socket: Socket, value: object) -> bool:
    if float in socket.classes and isinstance(value, int) and not isinstance(value, bool):
        return True
    if int in socket.classes and isinstance(value, bool):
        return False
    # by name too, as on an edge: an attention control is no Attachment but says that it fits one
    return isinstance(value, socket.classes) or value is BLOCKED or socket.type in type_line(type(value))


def context_of(
    engine: Engine, task: Task, settings: Settings, reporter: NodeReporter, cancel: CancelToken, kept: Kept
) -> Context:
    """What one node of a run may ask for."""
    assert task.spec is not None
    return Context(
        models=engine.models,
        policy=engine.policy,
        device=engine.device,
        seed=settings.seed,
        path=task.id,
        may_draw=task.spec.random,
        generator=engine.generator,
        open_file=engine.open_file,
        kept=kept,
        code=task.spec.digest,
        numerics=engine.numerics,
        reporter=reporter,
        cancel=cancel,
    )


def failure(
    task: Task, error: BaseException, inputs: Mapping[str, Any], codecs: Codecs, item: int | None = None
) -> NodeError:
    """What to tell of an exception. A StudioError speaks for itself; anything else is a bug in the node."""
    summary = {name: codecs.describe(value) for name, value in {**task.params, **inputs}.items()}
    trace = "".join(traceback.format_exception(error))[-8000:]
    if isinstance(error, StudioError) and not isinstance(error, Cancelled):
        return NodeError(
            type(error).__name__,
            error.message,
            error.hint,
            task.id,
            task.title,
            error.socket,
            item,
            summary,
            trace,
        )
    origin = task.spec.origin if task.spec is not None else ""
    said = str(error).strip()
    message = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, SystemExit):
        message = "The node tried to end the program (sys.exit)."
    if isinstance(error, MemoryError):
        return NodeError(
            "MemoryError",
            "Out of memory.",
            "Choose a smaller size or close other programs.",
            task.id,
            task.title,
            "",
            item,
            summary,
            trace,
        )
    hint = (
        f"This is a bug in the node '{task.kind}'{f' ({origin})' if origin else ''}; the log has the trace."
    )
    return NodeError(type(error).__name__, message[:500], hint, task.id, task.title, "", item, summary, trace)


@dataclass
class Call:
    """The call of one node, on a worker's thread."""

    engine: Engine
    task: Task
    given: dict[str, Any]
    context: Context
    reporter: NodeReporter

    def __call__(self) -> tuple[dict[str, Any], dict[str, str], bool]:
        """(outputs, their digests, whether they may be kept)."""
        spec = self.task.spec
        assert spec is not None
        self.reporter.start()
        try:
            self.context.check()
            handed = self.handed()
            before = (
                {name: self._digest(value) for name, value in self.given.items()}
                if self.engine.check_inputs
                else {}
            )
            if spec.is_async:
                result = run_async(spec.function, handed)
            else:
                with self.restored():
                    result = spec.function(**handed)
            for name, digest in before.items():
                if not digest.startswith("?") and self._digest(self.given[name]) != digest:
                    raise StudioError(
                        f"The node changed its input {name!r}, which others use too.",
                        hint=f"Work on a copy. This is a mistake in {spec.origin or spec.kind}.",
                        socket=name,
                    )
            return self.finish(result)
        finally:
            self.context.close()

    def handed(self) -> dict[str, Any]:
        """What the node's function gets."""
        assert self.task.spec is not None
        handed = arguments(self.task, self.given, self.engine.codecs)
        if self.task.spec.context:
            handed[self.task.spec.context] = self.context
        return handed

    def restored(self) -> AbstractContextManager[None]:
        """Around the function: what of the process it changes is put back and told."""
        spec = self.task.spec
        assert spec is not None
        return restored(
            lambda text: self.reporter.log(f"{self.task.title} ({spec.origin or spec.kind}) {text}")
        )

    def finish(self, result: object) -> tuple[dict[str, Any], dict[str, str], bool]:
        """The outputs of what the function returned, as `__call__` gives them."""
        spec, codecs = self.task.spec, self.engine.codecs
        assert spec is not None
        values = {name: codecs.readonly(value) for name, value in results(spec, result, codecs).items()}
        digests = {name: self._digest(value) for name, value in values.items()}
        return values, digests, not any(digest.startswith("?") for digest in digests.values())

    def _digest(self, value: object) -> str:
        """The content digest; a mark of its own for a value that has none, which is then not kept."""
        try:
            return self.engine.codecs.digest(value)
        except StudioError:
            self.reporter.log(
                f"{self.task.title}: a {type(value).__name__} has no digest; it is made anew each time."
            )
            return f"?{id(value):x}-{time.perf_counter_ns():x}"
