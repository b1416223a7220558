"""An engine with every built-in node, on the CPU."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator

import pytest

from studio.graph.cache import Cache
from studio.graph.context import Context
from studio.graph.engine import Engine
from studio.graph.registry import Registry
from studio.models.codec import TensorCodec
from studio.models.device import guard
from studio.models.loading import ModelStore
from studio.policy import Policy
from studio.settings import ROOT

MODULES = [f"studio.nodes.{m.name}" for m in pkgutil.iter_modules([str(ROOT / "studio" / "nodes")])]


@pytest.fixture(scope="module")
def registry() -> Registry:
    made = Registry(MODULES)
    assert not made.broken
    return made


@pytest.fixture(scope="module")
def store() -> Iterator[ModelStore]:
    made = ModelStore(device="cpu")
    yield made
    made.close()


@pytest.fixture(scope="module")
def engine(registry: Registry, store: ModelStore) -> Iterator[Engine]:
    """Every run makes all of its nodes anew."""
    made = Engine(registry, codecs=[TensorCodec()], models=store)
    yield made
    made.close()


@pytest.fixture(scope="module")
def caching_engine(registry: Registry, store: ModelStore) -> Iterator[Engine]:
    """A run finds what those before it made, as in the studio."""
    made = Engine(registry, cache=Cache(), codecs=[TensorCodec()], guard=guard, models=store)
    yield made
    made.close()


@pytest.fixture
def ctx(store: ModelStore) -> Context:
    """Of a node that is called by itself, on one's own computer."""
    return Context(models=store, policy=Policy.local(), path="n")
