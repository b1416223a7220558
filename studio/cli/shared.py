"""What the commands share: parser, opening a Studio, progress on a terminal, JSON, exit codes."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from studio.errors import StudioError

if TYPE_CHECKING:
    from studio.graph.events import Event
    from studio.settings import Settings
    from studio.studio import Studio

FINISHED, FAILED, BAD_CALL = 0, 1, 2


class BadCall(StudioError):  # noqa: N818 - a wrong call, not a fault of the program
    """The command was given something that it cannot take; exit code 2."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `BadCall` instead of ending the process.

    It takes `-64x64` as a value, so that the message can name it, not as an option that nobody knows.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = re.compile(r"-\d")

    def error(self, message: str) -> NoReturn:
        """Raise the message with the way to the help text."""
        raise BadCall(message[:1].upper() + message[1:] + ".", hint=f"See `{self.prog} --help`.")


def add_home(parser: argparse.ArgumentParser) -> None:
    """Add `--home DIR` and `--device`; both are taken before or after the command's name."""
    parser.add_argument(
        "--home",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="folder of history, pictures and cache (default: STUDIO_HOME or ~/.weft)",
    )
    parser.add_argument("--device", default=argparse.SUPPRESS, help="auto, cpu, cuda, cuda:N or mps (auto)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`: one JSON value on standard output, an object or an array of rows, and nothing else."""
    told = "print one JSON value: an object, or an array of rows where there are several"
    parser.add_argument("--json", action="store_true", help=told)


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that the call and the environment name; `BadCall` for a value that cannot be."""
    from studio.settings import Settings

    try:
        return Settings.from_environ(
            os.environ, home=getattr(args, "home", None), device=getattr(args, "device", None)
        )
    except ValueError as error:
        raise BadCall(
            f"{error}.", hint="Flags win over the environment (STUDIO_HOME, STUDIO_DEVICE)."
        ) from None


@contextmanager
def open_studio(args: argparse.Namespace) -> Iterator[Studio]:
    """A Studio on the home that the call names; closed at the end, also after an error."""
    from studio.policy import Policy
    from studio.studio import Studio

    studio = Studio(settings_of(args), Policy.local())
    for notice in studio.notices:
        say(f"Note: {notice}")
    try:
        yield studio
    finally:
        studio.close()


def say(text: str) -> None:
    """One line for a person on standard error."""
    print(text, file=sys.stderr, flush=True)


def show(result: object) -> None:
    """One JSON value on standard output; no NaN, keys in the order given."""
    print(json.dumps(result, ensure_ascii=False, allow_nan=False, indent=1))


def answer(args: argparse.Namespace, result: Any, told: Callable[[Any], Iterable[str]]) -> int:
    """The result on standard output, as JSON or in the lines that `told` makes of it; exit code 0."""
    if args.json:
        show(result)
    else:
        for line in told(result):
            print(line)
    return FINISHED


def error_json(error: StudioError) -> dict[str, str]:
    """The error as a plain object: message, hint, node, socket."""
    return {
        "type": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "node": error.node,
        "title": str(getattr(error, "title", "")),
        "socket": error.socket,
    }


def problems_json(error: StudioError) -> list[dict[str, Any]]:
    """All problems of a refused document, or an empty list."""
    return [problem.to_json() for problem in getattr(error, "problems", ())]


def refuse(error: StudioError, *, as_json: bool) -> int:
    """Report a bad call; nothing ran. Exit code 2."""
    return _report(error, "failed", BAD_CALL, as_json)


def fail(error: StudioError, *, as_json: bool, status: str = "failed") -> int:
    """Report a failure; exit code 1."""
    return _report(error, status, FAILED, as_json)


def _report(error: StudioError, status: str, code: int, as_json: bool) -> int:
    problems = problems_json(error)
    if as_json:
        nodes = {name: node.as_json() for name, node in getattr(error, "nodes", {}).items()}
        show(
            {
                "status": status,
                "outputs": [],
                "generations": [],
                "nodes": nodes,
                "seconds": 0.0,
                "warnings": [],
                "error": error_json(error),
                "problems": problems,
            }
        )
    if len(problems) > 1:
        for problem in problems[:20]:
            where = ".".join(part for part in (problem["node"], problem["socket"]) if part)
            say(f"  {where + ': ' if where else ''}{problem['message']} {problem['hint']}".rstrip())
    place = f"{error.node}{'.' if error.socket else ''}{error.socket}: " if error.node else ""
    say(f"{'Stopped' if status == 'cancelled' else 'Error'}: {place}{error}")
    return code


def from_os_error(error: OSError) -> StudioError:
    """A file error in words: which file, what is wrong, what to do."""
    name = f" {error.filename!r}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return StudioError(
            f"The disk is full; cannot write{name}.",
            hint="Free some space and run again; nothing that was finished is lost.",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StudioError(f"Not allowed to write{name}.", hint="Choose another place with --out or --home.")
    return StudioError(f"{error.strerror or error}{name and ':' + name}.", hint="Check the path.")


class Interrupt:
    """Ctrl-C as a flag: the first one asks the run to stop, a second one ends the process at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def is_set(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked.is_set()

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Take SIGINT while a run goes on; outside the main thread nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handler(number: int, frame: object) -> None:
            if self._asked.is_set():
                raise KeyboardInterrupt
            self._asked.set()

        old = signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, old)


class Tick(Protocol):
    """Draws progress: `done` of `total`, perhaps under another label."""

    def __call__(self, done: int, total: int, label: str = "") -> None: ...


@contextmanager
def progress_line(label: str) -> Iterator[Tick]:
    """A `Tick` that rewrites one line on a terminal and is silent elsewhere."""
    terminal = sys.stderr.isatty()
    width = 24

    def tick(done: int, total: int, label: str = label) -> None:
        if terminal:
            full = min(width, width * done // max(total, 1))
            bar = "#" * full + "." * (width - full)
            print(f"\r\x1b[K{label} [{bar}] {done}/{total} ", end="", file=sys.stderr, flush=True)

    try:
        yield tick
    finally:
        if terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[Event], None]]:
    """A callable for the events of a run that draws one line on a terminal and is silent elsewhere."""
    with progress_line("") as tick:
        titles: dict[str, str] = {}

        def on_event(event: Event) -> None:
            if event.kind == "planned":
                titles.update({node["id"]: node["title"] for node in event.payload.get("nodes", ())})
            elif event.kind == "started":
                tick(0, 1, titles.get(event.node, event.node))
            elif event.kind == "progress":
                tick(event.payload["step"], event.payload["total"], titles.get(event.node, event.node))

        yield on_event
