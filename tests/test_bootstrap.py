"""The set-up: what it accepts, what it installs, how it goes on after a stop, what it says when it cannot.

Copies of the real bootstrap run in throw-away folders; pip installs there from a local folder of wheels that
the test makes, so everything is real but the network.
"""
from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from studio import bootstrap

ROOT = Path(__file__).resolve().parent.parent
DONE = "print('inside', sys.prefix); raise SystemExit(0)"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the real app.py and bootstrap, an index of one small wheel, and requirements for it.

    Settings are replaced by a file that tells where it runs and stops, so no torch is needed.
    """
    folder = tmp_path / "clone"
    (folder / "studio").mkdir(parents=True)
    for name in ("app.py", "studio/__init__.py", "studio/bootstrap.py"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "studio" / "settings.py").write_text(
        "class Settings:\n    @staticmethod\n    def from_args(flags):\n        return flags\n")
    (folder / "studio" / "errors.py").write_text(f"import sys\n{DONE}\n")
    wheel(folder / "wheels", "wefttoy", "1.5")
    (folder / "requirements.txt").write_text("wefttoy>=1.2,<2  # a comment\n")
    (folder / "requirements-test.txt").write_text("wefttoy>=1\n")
    return folder


def wheel(folder: Path, name: str, version: str) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def start(clone: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run app.py of that folder with the base Python, pip pointed at the local wheels."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("PIP_", "SPACE", "STUDIO_", "VIRTUAL_ENV", "WEFT_", "PYTHONPATH"))}
    local = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(clone / "wheels")}
    python = Path(sys.base_prefix) / ("python.exe" if os.name == "nt" else "bin/python3")
    return subprocess.run([str(python), "app.py", *arguments], cwd=clone, env={**kept, **local, **environ},
                          capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_first_start_installs_and_goes_on_inside_the_environment(clone: Path) -> None:
    first = start(clone)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Step 1 of 2" in first.stdout and "Step 2 of 2" in first.stdout
    assert f"inside {clone / '.venv'}" in first.stdout

    again = start(clone)
    assert "Step" not in again.stdout
    assert f"inside {clone / '.venv'}" in again.stdout

    # a new requirement is a new set-up, in the same environment
    wheel(clone / "wheels", "wefttoy", "1.9")
    (clone / "requirements.txt").write_text("wefttoy>=1.9\n")
    changed = start(clone, "setup")
    assert "Step 1" not in changed.stdout and "Step 2 of 2" in changed.stdout
    assert "Ready" in changed.stdout
    assert (clone / ".venv" / "weft.stamp").is_file()


@pytest.mark.slow
def test_set_up_that_was_interrupted_is_taken_up_again(clone: Path) -> None:
    wheels = clone / "wheels"
    wheels.rename(clone / "later")
    failed = start(clone, "setup")
    assert failed.returncode == 1
    assert not (clone / ".venv" / "weft.stamp").exists()
    (clone / "later").rename(wheels)
    taken_up = start(clone, "setup")
    assert taken_up.returncode == 0
    assert "Step 1" not in taken_up.stdout and "Step 2 of 2" in taken_up.stdout


@pytest.mark.slow
def test_environment_that_is_broken_is_made_anew(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "weft.stamp").write_text("left over")
    done = start(clone, "setup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Step 1 of 2" in done.stdout


def test_nothing_is_installed_where_the_requirements_are_satisfied(clone: Path) -> None:
    (clone / "requirements.txt").write_text("pip>=1\n")
    done = start(clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Step" not in done.stdout
    assert not (clone / ".venv").exists()


def test_nothing_is_installed_on_a_space(clone: Path) -> None:
    done = start(clone, SPACE_ID="someone/weft")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"inside {sys.base_prefix}" in done.stdout
    assert not (clone / ".venv").exists()


def test_wrong_python_is_told_which_one_is_wanted(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bootstrap, "PYTHONS", ((4, 1), (4, 2)))
    assert bootstrap.prepare() == 1
    told = capsys.readouterr().out
    assert "Weft needs Python 4.1 or 4.2; this is Python 3." in told
    assert "app.py" in told


def test_old_pythons_can_read_what_they_are_told() -> None:
    for name in ("app.py", "studio/__init__.py", "studio/bootstrap.py"):
        ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 7))


@pytest.mark.parametrize(("version", "ranges", "fits"), [
    ("2.13.0+cpu", ">=2.8,<2.14", True), ("2.8", ">=2.8,<2.14", True), ("2.14.0", ">=2.8,<2.14", False),
    ("2.14.0.dev20260101", ">=2.8,<2.14", False), ("2.8.0rc1", ">=2.8", False), ("10.0", ">=9", True),
    ("5", ">=5.0.0", True), ("1.2.post1", "==1.2", True), ("1.2", "!=1.2", False), ("1.2", "", True),
    ("1.2", ">1.2", False), ("1.2.1", "<=1.2", False),
])
def test_versions_are_compared_as_pip_does(version: str, ranges: str, fits: bool) -> None:
    assert bootstrap.in_range(version, ranges) is fits


def test_requirement_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(bootstrap.SetupFailed, match="not understood"):
        bootstrap.in_range("1.0", "~=1.0")


def test_our_own_requirements_are_understood_and_satisfied_here() -> None:
    assert bootstrap.missing(bootstrap.requirements_of(bootstrap.TEST_REQUIREMENTS)) == []
    assert bootstrap.missing(["no-such-package-of-weft>=1"]) == ["no-such-package-of-weft>=1"]


NO_NETWORK = """WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<...>:
Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/torch/
ERROR: Could not find a version that satisfies the requirement torch<2.14,>=2.8 (from versions: none)
ERROR: No matching distribution found for torch<2.14,>=2.8
"""


@pytest.mark.parametrize(("printed", "advice"), [
    (NO_NETWORK, "Connect to the network"),
    ("WARNING: Retrying ... Connection refused\n"
     "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is"),
    ("OSError: [WinError 112] There is not enough space on the disk", "disk is full"),
    ("ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'",
     "cannot be written"),
    ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "certificate"),
    ("ERROR: Could not find a version that satisfies the requirement torch>=2.8 (from versions: 2.2.2)\n"
     "ERROR: No matching distribution found for torch>=2.8", "no build of a package for this machine"),
    ("ERROR: something new", "something new"),
])
def test_failure_of_pip_is_told_in_words(printed: str, advice: str) -> None:
    assert advice in bootstrap.explain(printed)


def test_disk_that_is_too_small_is_told_before_anything_is_downloaded() -> None:
    with pytest.raises(bootstrap.SetupFailed, match=r"needs about 1000000000 GB .* are free"):
        bootstrap.check_disk(10**9)
    bootstrap.check_disk(0)


@pytest.mark.slow
def test_without_a_network_the_command_says_so_and_fails(clone: Path) -> None:
    failed = start(clone, "setup", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="1",
                   PIP_NO_INDEX="0", PIP_FIND_LINKS="")
    assert failed.returncode == 1
    assert "Connect to the network" in failed.stdout


def test_an_index_that_somebody_has_chosen_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in [name for name in os.environ if name.startswith("PIP_") and name != "PIP_CONFIG_FILE"]:
        monkeypatch.delenv(name)
    assert bootstrap.index_is_free(Path(sys.executable))
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.org/simple")
    assert not bootstrap.index_is_free(Path(sys.executable))


def test_an_address_that_does_not_answer_is_not_reachable() -> None:
    assert not bootstrap.reachable("http://127.0.0.1:9/")


def test_setup_refuses_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.run("setup", ["--fast"]) == 2
    assert "--fast" in capsys.readouterr().out


def test_the_command_is_read_from_the_first_argument() -> None:
    assert bootstrap.read_command(["test", "-k", "x"]) == ("test", ["-k", "x"])
    assert bootstrap.read_command(["--port", "1"]) == ("serve", ["--port", "1"])
    assert bootstrap.read_command([]) == ("serve", [])
