"""Fixtures of the whole suite: a fresh home for each test, tiny real models, no network."""
from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# before any library reads them
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Two test processes share the cores, and one thread makes the rows of a batch comparable bit by bit: several
# threads cut a matrix product between rows, which then differ in the last bits (up to 2e-7 a call).
os.environ.setdefault("OMP_NUM_THREADS", "1")
for _name in list(os.environ):
    if _name.startswith(("STUDIO_", "SPACE_")) or _name == "SYSTEM":
        del os.environ[_name]

from studio.policy import Policy  # noqa: E402 - the environment is cleared first
from studio.settings import ROOT, Settings  # noqa: E402

if TYPE_CHECKING:
    from studio.studio import Studio

EMBEDDED = ROOT / "assets" / "models" / "scenes-sd3"


def pytest_report_header() -> list[str]:
    names = ("torch", "diffusers", "transformers", "gradio", "sqlite-utils", "numpy", "pillow")
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    return [f"weft: Python {platform.python_version()} on {platform.platform(terse=True)}, "
            f"{os.cpu_count()} cores", f"with: {versions}"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Playwright keeps an event loop running in this thread to the end, in which nobody can start another.
    items.sort(key=lambda item: "e2e" in item.path.parts)
    # Two cores draw the page, serve it and paint: a browser test that times out gets one more chance, and the
    # summary names it as rerun.
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.flaky(reruns=1))
    if (EMBEDDED / "card.json").is_file():
        return
    missing = pytest.mark.skip(reason=f"no embedded model at {EMBEDDED}")
    for item in items:
        if item.get_closest_marker("model"):
            item.add_marker(missing)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fresh STUDIO_HOME of this test."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("STUDIO_HOME", str(folder))
    return folder


@pytest.fixture
def settings(home: Path) -> Settings:
    """Settings of this test's home: CPU, no browser, small caches."""
    return Settings.from_environ(
        home=home, device="cpu", open_browser=False, cache_memory=256, cache_disk=256)


@pytest.fixture
def policy() -> Policy:
    return Policy.local()


@pytest.fixture
def studio(settings: Settings, policy: Policy) -> Iterator[Studio]:
    """A whole studio as a command sees it: no server lock, its own worker."""
    from studio.studio import Studio

    made = Studio(settings, policy)
    yield made
    made.close()


@pytest.fixture(scope="session")
def embedded_folder() -> Path:
    """The embedded model's folder; mark tests that use it with `model`."""
    return EMBEDDED


@pytest.fixture(scope="session")
def tiny_sd3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random miniature SD3 as a diffusers folder, made from the real classes once per session."""
    from studio.models.tiny import save_tiny

    return save_tiny("sd3", tmp_path_factory.mktemp("tiny") / "sd3")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
