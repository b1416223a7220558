"""Where nodes run: one thread for all ordinary nodes of an engine, one thread each for async ones (E27, E33).

What threads can and cannot do: a node is stopped by `ctx.step()` or `ctx.check()`. One that never calls them
cannot be killed inside a process; its thread is left behind, what it returns is dropped, and a fresh thread
takes the next node. It may go on using memory and the processor until it ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

Guard = Callable[[], AbstractContextManager[Any]]


class Job:
    """One call of a node. `begun` is set when it starts; a job that has not begun can be withdrawn."""

    def __init__(self, call: Callable[[], Any], answer: Callable[[Job], None], *, group: str = "") -> None:
        self.call = call
        self.answer = answer
        self.group = group
        self.begun: float | None = None
        self.seconds = 0.0
        self.result: Any = None
        self.error: BaseException | None = None
        self.left = False
        self._lock = threading.Lock()

    def withdraw(self) -> bool:
        """Take it back; False if it has begun."""
        with self._lock:
            if self.begun is None:
                self.left = True
            return self.left

    def begin(self) -> bool:
        """It starts now; False if it was withdrawn."""
        with self._lock:
            if not self.left:
                self.begun = time.perf_counter()
            return not self.left

    def finish(self, *, result: Any = None, error: BaseException | None = None) -> None:
        """It is over: give the answer."""
        self.result, self.error = result, error
        self.seconds = 0.0 if self.begun is None else time.perf_counter() - self.begun
        self.answer(self)

    def run(self, guard: Guard) -> None:
        """Call the node inside the guard and give the answer, unless nobody waits any more."""
        if not self.begin():
            return
        try:
            with guard():
                result = self.call()
        except BaseException as error:  # noqa: BLE001 - sys.exit and the like end the node, not the studio
            self.finish(error=error)
        else:
            self.finish(result=result)


@contextmanager
def restored(complain: Callable[[str], None]) -> Iterator[None]:
    """Puts back random state (Python, numpy), working folder and environment; says what was changed."""
    state, folder, environment = random.getstate(), _folder(), dict(os.environ)
    numpy = sys.modules.get("numpy")  # only if somebody uses it already
    numpy_state = numpy.random.get_state() if numpy is not None else None
    try:
        yield
    finally:
        random.setstate(state)
        if numpy is not None and numpy_state is not None:
            numpy.random.set_state(numpy_state)
        if folder and _folder() != folder:
            os.chdir(folder)
            complain("changed the working folder; it was put back.")
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
            complain("changed environment variables; they were put back.")


def _folder() -> str:
    """The working folder; empty if somebody has removed it."""
    try:
        return os.getcwd()
    except OSError:
        return ""


class Groups:
    """Resource groups such as "gpu:1": at most that many nodes of a group at once, in the whole engine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, threading.BoundedSemaphore] = {}

    @contextmanager
    def place(self, group: str) -> Iterator[None]:
        """Wait for a place; "gpu" alone means one."""
        if not group:
            yield
            return
        name, _, count = group.partition(":")
        with self._lock:
            places = self._places.setdefault(name, threading.BoundedSemaphore(int(count or 1)))
        with places:
            yield


class Workers:
    """The engine's threads."""

    def __init__(self, guard: Guard, async_guard: Guard, name: str = "weft") -> None:
        self._guard, self._async_guard, self._name = guard, async_guard, name
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._current: threading.Thread | None = None
        self._lock = threading.Lock()
        self.groups = Groups()

    def submit(self, job: Job) -> None:
        """Run an ordinary node after those that wait already."""
        with self._lock:
            if self._current is None or not self._current.is_alive():
                self._start()
        self._jobs.put(job)

    def submit_async(self, job: Job) -> None:
        """Run an async node at once, beside the others. Torch's grad mode is per thread, so none leaks
        (E29)."""

        def go() -> None:
            with self.groups.place(job.group):
                job.run(self._async_guard)

        threading.Thread(target=go, name=f"{self._name}-async", daemon=True).start()

    def replace(self) -> None:
        """Leave the current thread to its stuck node; a fresh one takes over the waiting jobs."""
        with self._lock:
            self._start()

    def close(self) -> None:
        """End the thread when its node ends."""
        with self._lock:
            if self._current is not None:
                self._jobs.put(None)
                self._current = None

    def _start(self) -> None:
        self._current = threading.Thread(target=self._work, name=f"{self._name}-worker", daemon=True)
        self._current.start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            with self.groups.place(job.group):
                job.run(self._guard)
            with self._lock:
                if self._current is not threading.current_thread():
                    return  # replaced while the node was stuck


def run_async(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """The result of an async node, in an event loop of its own."""
    return asyncio.run(function(**arguments))
