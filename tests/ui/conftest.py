"""Fixtures of the page's tests: a drawn studio (fake_studio.py) and one served page."""

from __future__ import annotations

import gc
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from studio.policy import Policy
from studio.settings import Settings


def _load(name: str) -> ModuleType:
    """A helper beside this file; test folders are no packages (import mode importlib)."""
    spec = importlib.util.spec_from_file_location(f"ui_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FAKE = _load("fake_studio")


@pytest.fixture
def fake(make_fake: Callable[..., object]) -> object:
    """A local studio whose pictures are drawn at once."""
    return make_fake(pace=0.001)


@pytest.fixture
def make_fake(settings: Settings) -> Iterator[Callable[..., object]]:
    """Makes studios with a policy or pace of their own; closes them afterwards."""
    made = []

    def make(policy: Policy | None = None, **options: float) -> object:
        made.append(FAKE.FakeStudio(settings, policy, **options))
        return made[-1]

    yield make
    for studio in made:
        studio.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """One served page for the tests of a file; `.url` and `.demo`. gradio takes seconds to import."""
    home = tmp_path_factory.mktemp("served")
    studio = FAKE.FakeStudio(Settings(home=home, port=0), pace=0.002)
    with gradio_may_leave_sockets():
        from studio.ui.build import serve

        page = serve(studio)
    yield page
    with gradio_may_leave_sockets():
        page.close()
    studio.close()


@contextmanager
def gradio_may_leave_sockets() -> Iterator[None]:
    """gradio drops event loops and sockets unclosed; they are collected here, not during a later test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()
