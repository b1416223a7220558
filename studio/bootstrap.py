"""Set-up with the standard library alone: makes `.venv`, installs the requirements, goes on inside it.

Only what is missing is done, and a stamp in `.venv` is written last, so the next start takes up a set-up that
was interrupted. Nothing is installed on a Hugging Face Space, nor where the running Python has everything.
This file keeps to the syntax of Python 3.7, so that an old Python can read it and be told what it lacks.
"""
from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import Sequence

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHONS = ((3, 11), (3, 12))
REQUIREMENTS = ("requirements.txt",)
TEST_REQUIREMENTS = ("requirements.txt", "requirements-test.txt")
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
# Files stay whole and in order (browser tests last): xdist would else start the longest ones first.
PARALLEL = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
INSIDE = "WEFT_INSIDE_VENV"  # set for the process that runs in .venv: a broken one must not start itself
NEEDED_GB, NEEDED_GB_CUDA = 3, 11


class SetupFailed(Exception):  # noqa: N818 - read by people: the text says in words what to do
    """The set-up cannot go on."""


def read_command(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Split the arguments of app.py into the command ("setup", "test" or "serve") and the rest."""
    if argv and argv[0] in ("setup", "test"):
        return argv[0], list(argv[1:])
    return "serve", list(argv)


def run(command: str, rest: Sequence[str]) -> int:
    """Do "setup" or "test"; returns the exit code. `rest` goes to pytest."""
    if command == "setup" and rest:
        say("'setup' takes no arguments, but was given: " + " ".join(rest))
        return 2
    code = prepare(TEST_REQUIREMENTS if command == "test" else REQUIREMENTS)
    if code is not None:
        return code
    if command == "setup":
        say("Ready. Start with: python app.py")
        return 0
    # the whole suite on two processes, a file at a time; single tests are quicker without
    return _call([sys.executable, "-m", "pytest", *(rest or PARALLEL)])


def prepare(files: Sequence[str] = REQUIREMENTS) -> int | None:
    """Make sure that everything in `files` can be imported; None means: go on in this process.

    Where `.venv` is needed, app.py is started again inside it: on POSIX this does not return, on Windows it
    returns that process's exit code. Failures are told in words and returned as exit code 1.
    """
    if not python_fits():
        return 1
    try:
        if os.environ.get("SPACE_ID"):
            return None
        if in_venv():
            os.environ.pop(INSIDE, None)
            foreign = not begun_path().exists() and not missing(requirements_of(files))
            if not is_stamped(files) and not foreign:
                install(Path(sys.executable), files)
            return None
        if not missing(requirements_of(files)):
            return None
        if os.environ.get(INSIDE):
            raise SetupFailed(f"The environment in {VENV} does not work. Delete that folder, then try again.")
        python = make_venv()
        if not is_stamped(files):
            install(python, files)
    except SetupFailed as failure:
        say(f"\n{failure}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Run the same command again to go on; what was downloaded is kept.")
        return 130
    return restart(python)


# what is there


def python_fits() -> bool:
    """Whether Weft is made for the running Python; if not, this says which one is and how to get it."""
    version = sys.version_info[:2]
    if version in PYTHONS:
        return True
    wanted = " or ".join("{}.{}".format(*known) for known in PYTHONS)
    say("Weft needs Python {}; this is Python {}.{} ({}).".format(wanted, *version, sys.executable))
    found = other_python()
    if found:
        say(f"A fitting one is here. Start with: {found} app.py")
    else:
        say("Install one of them " + {
            "Windows": "from https://www.python.org/downloads/ (or: winget install Python.Python.3.12), "
                       "then start with: py -3.12 app.py",
            "Darwin": "from https://www.python.org/downloads/ (or: brew install python@3.12), "
                      "then start with: python3.12 app.py",
        }.get(platform.system(), "with your package manager (Debian, Ubuntu: sudo apt install python3.12 "
                                 "python3.12-venv), then start with: python3.12 app.py"))
    return False


def other_python() -> str:
    """How to call a Python that fits, if the search path has one; else an empty text."""
    for major, minor in reversed(PYTHONS):
        name, launcher = f"python{major}.{minor}", f"-{major}.{minor}"
        if shutil.which(name) and _works([name, "-c", "pass"]):
            return name
        if os.name == "nt" and shutil.which("py") and _works(["py", launcher, "-c", "pass"]):
            return "py " + launcher
    return ""


def in_venv() -> bool:
    """Whether this process runs in our own `.venv`."""
    return VENV.is_dir() and os.path.realpath(sys.prefix) == os.path.realpath(str(VENV))


def venv_python() -> Path:
    """Where the Python of `.venv` is, once it is made."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def requirements_of(files: Sequence[str]) -> list[str]:
    """The requirement lines of these files, without comments."""
    lines = []
    for name in files:
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            text = line.split("#")[0].strip()
            if text:
                lines.append(text)
    return lines


def missing(lines: Sequence[str]) -> list[str]:
    """Those of `lines` that the running Python does not satisfy."""
    metadata = import_module("importlib.metadata")  # new in 3.8; this file is read by older ones too
    lacking = []
    for line in lines:
        match = re.match(r"[A-Za-z0-9._-]+", line)
        if match is None:
            raise SetupFailed(f"The requirements hold a line that is not understood: {line!r}")
        try:
            version = metadata.version(match.group())
        except metadata.PackageNotFoundError:
            version = None
        if not version or not in_range(version, line[match.end():]):
            lacking.append(line)
    return lacking


def in_range(version: str, ranges: str) -> bool:
    """Whether "2.13.0+cpu" lies in ">=2.8,<2.14" (also ==, !=, >, <=). A pre-release lies in no range."""
    have = _release(version)
    if have is None:
        return False
    for part in filter(None, (part.strip() for part in ranges.split(","))):
        match = re.match(r"(>=|<=|==|!=|>|<)\s*(\d[\d.]*)$", part)
        limit = _release(match.group(2)) if match else None
        if match is None or limit is None:
            raise SetupFailed(f"The requirements hold a range that is not understood: {part!r}")
        width = max(len(have), len(limit))
        left, right = (number + (0,) * (width - len(number)) for number in (have, limit))
        if not {">=": left >= right, "<=": left <= right, "==": left == right, "!=": left != right,
                ">": left > right, "<": left < right}[match.group(1)]:
            return False
    return True


def _release(version: str) -> tuple[int, ...] | None:
    match = re.match(r"(\d+(?:\.\d+)*)(?:\.post\d+)?(?:\+.*)?$", version)
    return tuple(int(part) for part in match.group(1).split(".")) if match else None


# the stamp


def stamp_path(files: Sequence[str]) -> Path:
    """The file that says which requirements a finished set-up has installed."""
    return VENV / ("weft-test.stamp" if len(files) > 1 else "weft.stamp")


def begun_path() -> Path:
    """There while a set-up is under way; it stays where one was interrupted."""
    return VENV / "weft.begun"


def stamp_text(files: Sequence[str]) -> str:
    """What a finished set-up is known by: a hash of its requirements, comments left out."""
    return hashlib.sha256("\n".join(requirements_of(files)).encode("utf-8")).hexdigest()


def is_stamped(files: Sequence[str]) -> bool:
    """Whether `.venv` holds exactly these requirements by a set-up that came to its end."""
    try:
        return stamp_path(files).read_text(encoding="utf-8") == stamp_text(files)
    except OSError:
        return False


def write_stamp(files: Sequence[str]) -> None:
    """Say that the set-up came to its end: whole or not at all."""
    part = stamp_path(files).with_suffix(".part")
    part.write_text(stamp_text(files), encoding="utf-8")
    os.replace(str(part), str(stamp_path(files)))
    begun_path().unlink()


# doing


def make_venv() -> Path:
    """The Python of `.venv`; makes the folder first where it is missing or does not work."""
    python = venv_python()
    if _works([str(python), "-c", f"import sys; sys.exit(sys.version_info[:2] not in {PYTHONS!r})"]) and (
            _works([str(python), "-c", "import pip"]) or _works([str(python), "-m", "ensurepip"])):
        return python
    say(f"Step 1 of 2: making a private Python environment in {VENV}")
    try:
        done = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        raise SetupFailed(explain(str(error))) from error
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        if "ensurepip" in output or "No module named venv" in output:
            raise SetupFailed("This Python lacks its 'venv' part. Install it (on Debian and Ubuntu: sudo apt "
                              "install python{}.{}-venv), then try again.".format(*sys.version_info[:2]))
        raise SetupFailed(explain(output))
    return python


def install(python: Path, files: Sequence[str]) -> None:
    """Install the requirements of these files with pip and stamp them; raises SetupFailed in words."""
    started = time.monotonic()
    lines = requirements_of(files)
    torch = [line for line in lines if re.match(r"torch(?![\w.-])", line)]
    say(f"Step 2 of 2: installing {len(lines)} packages and what they need; at first this takes minutes")
    try:
        begun_path().write_text("", encoding="utf-8")
        if not _works([str(python), "-c", "import importlib.metadata as m; m.version('torch')"]):
            # PyPI's torch for Linux brings gigabytes of CUDA libraries, of no use without an NVIDIA GPU
            cuda = platform.system() == "Linux" and index_is_free(python)
            small = cuda and not has_nvidia() and reachable(CPU_WHEELS + "/torch/")
            check_disk(NEEDED_GB_CUDA if cuda and not small else NEEDED_GB)
            if small:
                say("No NVIDIA GPU here: taking torch's smaller build for the CPU")
                pip_install(python, ["--extra-index-url", CPU_WHEELS, *torch])
        pip_install(python, [word for name in files for word in ("-r", str(ROOT / name))])
        write_stamp(files)
    except OSError as error:
        raise SetupFailed(explain(str(error))) from error
    say(f"Installed in {time.monotonic() - started:.0f} s")


def check_disk(gigabytes: float) -> None:
    """Raise SetupFailed where the disk cannot hold the set-up, before anything is downloaded."""
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < gigabytes:
        raise SetupFailed(f"The disk is too full: the set-up needs about {gigabytes:.0f} GB in {ROOT}, and "
                          f"{free:.1f} GB are free. Make room, then run the same command again.")


def has_nvidia() -> bool:
    """Whether this machine has a driver for an NVIDIA GPU."""
    return shutil.which("nvidia-smi") is not None or os.path.exists("/proc/driver/nvidia/version")


def index_is_free(python: Path) -> bool:
    """Whether pip asks its usual index: where somebody has set another one, their choice is kept."""
    command = [str(python), "-m", "pip", "config", "list"]
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    return not re.search(rb"index-url|no-index|find-links", output.replace(b"_", b"-"), re.IGNORECASE)


def reachable(url: str) -> bool:
    """Whether this address answers within some seconds."""
    try:
        with urllib.request.urlopen(url, timeout=8) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def pip_install(python: Path, arguments: Sequence[str]) -> None:
    """Run `pip install`. Its progress goes straight to the terminal; its errors do too, and are read."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments]
    environ = {**os.environ, "PIP_USER": "0"}  # with PIP_USER=1 pip refuses to install in an environment
    heard: list[str] = []
    with subprocess.Popen(command, cwd=str(ROOT), env=environ, stderr=subprocess.PIPE) as process:

        def listen() -> None:
            for raw in process.stderr or ():
                heard.append(raw.decode("utf-8", "replace"))
                sys.stderr.write(heard[-1])

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            raise
        listener.join(5)
    if code != 0:
        raise SetupFailed(explain("".join(heard)))


AGAIN = "run the same command again; what was downloaded is kept."
CAUSES = (
    (r"No space left|Errno (28|122)\b|ENOSPC|WinError 112\b|not enough space|quota exceeded",
     "The disk is full: {free} GB are free in {root}. pip also needs room in the folder for temporary files "
     f"(TMPDIR moves it). Make room and {AGAIN}"),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
     "The connection is not trusted; a proxy or virus scanner may stand in between. Set PIP_CERT to the file "
     f"of its certificate, then {AGAIN}"),
    (r"ProxyError|407 Proxy", f"The proxy refused. Set HTTPS_PROXY to the right address, then {AGAIN}"),
    (r"NewConnectionError|NameResolutionError|name resolution|getaddrinfo failed|Network is unreachable|"
     r"Connection (refused|aborted|broken|reset)|ConnectTimeout|ConnectionResetError|Read timed out|"
     r"ReadTimeout|Max retries exceeded|RemoteDisconnected|No route to host",
     f"The package index (pypi.org) cannot be reached. Connect to the network and {AGAIN}"),
    (r"Permission denied|Errno (13|30)\b|WinError 5\b|Read-only file system",
     "{root} cannot be written. Move Weft to a folder of your own, then try again."),
    (r"No matching distribution found",
     "Your package index has no build of a package for this machine ({machine}). Weft needs 64-bit Linux "
     "with glibc 2.28 or newer, 64-bit Windows, or a Mac with an Apple chip."),
    (r"THESE PACKAGES DO NOT MATCH THE HASHES|BadZipFile|IncompleteRead",
     f"A download arrived damaged. Please {AGAIN}"),
)


def explain(output: str) -> str:
    """What to do about a failed pip or venv, from what it printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # errors count more than warnings of retries; but "no matching" also follows from a missing network
    errors = [line for line in lines if line.startswith("ERROR:") and "No matching distribution" not in line]
    facts = {"{root}": str(ROOT), "{free}": f"{shutil.disk_usage(str(ROOT)).free / 1e9:.1f}",
             "{machine}": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"}
    for text in ("\n".join(errors), output):
        for pattern, advice in CAUSES:
            if re.search(pattern, text, re.IGNORECASE):
                for name, value in facts.items():
                    advice = advice.replace(name, value)
                return advice
    return "The installation failed:\n  " + "\n  ".join(lines[-3:] or ["pip said nothing"])


def restart(python: Path) -> int:
    """Run this command again with the Python of `.venv`; on POSIX this does not return."""
    command = [str(python), str(ROOT / "app.py"), *sys.argv[1:]]
    os.environ[INSIDE] = "1"
    sys.stdout.flush()
    if os.name != "nt":  # exec on Windows gives the prompt back while the program still runs
        os.execv(command[0], command)
    return _call(command)


def say(text: str) -> None:
    """One line of progress, shown at once."""
    print(text, flush=True)


def _call(command: Sequence[str]) -> int:
    """Run a program to its end and return its exit code; Ctrl+C is the program's affair."""
    process = subprocess.Popen(list(command), cwd=str(ROOT))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.call(list(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False
