"""`python app.py`: it serves the page, says where, stops on Ctrl+C, and tells what keeps it from starting."""
from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WAIT = 120


@contextmanager
def serving(*flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """app.py in a process of its own, and the address that it prints; killed at the end if it still runs."""
    command = [sys.executable, "-u", "app.py", "--no-browser", "--device", "cpu", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, "WEFT_INSIDE_VENV": ""},
                               preexec_fn=_hear_interrupts if os.name == "posix" else None)
    try:
        yield process, address_of(process)
    finally:
        process.kill()
        process.communicate()


def _hear_interrupts() -> None:
    """A shell that runs the tests in its background has told them, and so their children, to ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def address_of(process: subprocess.Popen[str]) -> str:
    """The first address in what the process prints; fails with the text when it ends before."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        found = re.search(r"http://[\w.:\[\]]+:\d+", line)
        if found:
            return found.group()
    raise AssertionError(f"no address; it said:\n{text}")


@pytest.mark.slow
def test_app_serves_the_page_and_stops_on_an_interrupt(home: Path) -> None:
    with serving("--port", "0") as (process, address):
        with urllib.request.urlopen(address, timeout=WAIT) as answer:
            page = answer.read().decode()
            assert answer.status == 200
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Weft" in page
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=WAIT) == 0
    assert (home / "studio.db").is_file()


@pytest.mark.slow
def test_second_server_on_one_home_is_refused_in_words() -> None:
    with serving("--port", "0"):
        second = run("--port", "0")
    assert second.returncode == 1
    assert "--home" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.slow
def test_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_flag_is_told_at_once() -> None:
    begun = time.monotonic()
    done = run("--colour", "red")
    assert done.returncode == 2
    assert "--colour" in done.stderr
    assert time.monotonic() - begun < 5


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "app.py", "--no-browser", *flags], cwd=ROOT, capture_output=True,
                          text=True, timeout=WAIT, check=False)
