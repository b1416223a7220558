"""The laws of a node (architecture 6.6), for built-in nodes and plugins alike.

The laws of controls, guidance, samplers and weight patches come with their seams.
"""

from __future__ import annotations

import ast
import json
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.cli.laws import MAKERS, NEEDS, SIDE, graph_of, output_of, widgets
from studio.graph.call import results
from studio.graph.context import CancelToken, Context
from studio.graph.digest import Codecs
from studio.graph.engine import Engine
from studio.graph.events import Event, EventLog
from studio.graph.registry import Registry
from studio.graph.spec import NodeSpec
from studio.models import device
from studio.models.codec import TensorCodec
from studio.models.loading import ModelStore
from studio.pixels import encode
from studio.policy import Policy
from studio.settings import ROOT
from studio.values import Image, Mask

MODULES = [
    f"studio.nodes.{p.stem}" for p in sorted((ROOT / "studio" / "nodes").glob("*.py")) if p.stem != "__init__"
]
REGISTRY = Registry(MODULES, plugins=ROOT / "plugins")
KINDS = sorted(REGISTRY.specs)
PICTURE = Image(np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore(policy=Policy.local(), device="cpu")


@pytest.fixture(scope="module")
def make(store: ModelStore) -> Callable[..., Any]:
    """A small value of a socket type, made by the nodes that give it."""
    half = np.repeat(np.float32([[1], [0]]), SIDE // 2, 0).repeat(SIDE, 1)
    made: dict[str, Any] = {"Image": PICTURE, "Mask": Mask(half)}

    def value(type: str, kind: str = "") -> Any:
        if kind:
            return _made(REGISTRY.get(kind), type)
        if type not in made:
            values = [_made(REGISTRY.get(kind), type) for kind in MAKERS[type]]
            made[type] = values if len(values) > 1 else values[0]
        return made[type]

    def _made(spec: NodeSpec, type: str) -> Any:
        given = arguments(spec, value)
        if spec.kind == "sample":
            given["attachments"] = value("Attachment")
        made = results(spec, call(spec, given, context(store)), Codecs([TensorCodec()]))  # type: ignore[list-item]
        return made[output_of(spec, type)]

    return value


def context(store: ModelStore, **more: Any) -> Context:
    def open_file(sha256: str) -> bytes:
        return encode(PICTURE, "PNG")

    return Context(
        models=store,
        policy=Policy.local(),
        open_file=open_file,
        seed=3,
        path="n",
        generator=device.generator,
        **more,
    )


def arguments(spec: NodeSpec, make: Callable[..., Any]) -> dict[str, Any]:
    inputs = {s.name: make(s.type, NEEDS.get((spec.kind, s.name), "")) for s in spec.inputs if s.required}
    return {**inputs, **widgets(spec)}


def call(spec: NodeSpec, given: dict[str, Any], ctx: Context) -> Any:
    extra = {spec.context: ctx} if spec.context else {}
    with torch.inference_mode():
        return spec.function(**given, **extra)


every_node = pytest.mark.parametrize("kind", KINDS)


@every_node
def test_two_calls_with_one_seed_are_bit_equal_and_inputs_are_as_before(
    kind: str,
    store: ModelStore,
    make: Callable[..., Any],
) -> None:
    spec, codecs = REGISTRY.get(kind), Codecs([TensorCodec()])  # type: ignore[list-item]
    given = arguments(spec, make)
    before = {name: codecs.digest(value) for name, value in given.items()}
    first = results(spec, call(spec, given, context(store)), codecs)
    second = results(spec, call(spec, given, context(store)), codecs)
    assert {n: codecs.digest(v) for n, v in first.items()} == {n: codecs.digest(v) for n, v in second.items()}
    assert {name: codecs.digest(value) for name, value in given.items()} == before


@every_node
def test_random_state_folder_and_environment_are_untouched(
    kind: str, store: ModelStore, make: Callable[..., Any]
) -> None:
    spec = REGISTRY.get(kind)
    given = arguments(spec, make)
    call(spec, given, context(store))  # what a library does at its first import is not the node's doing

    def state() -> tuple[Any, ...]:
        numpy_state = np.random.get_state()
        return (
            random.getstate(),
            str(numpy_state),
            torch.get_rng_state().numpy().tobytes(),
            str(Path.cwd()),
            dict(os.environ),
            torch.is_grad_enabled(),
        )

    before = state()
    call(spec, given, context(store))
    assert state() == before


@every_node
def test_settings_survive_json_and_defaults_obey_their_own_rules(kind: str) -> None:
    spec = REGISTRY.get(kind)
    given = widgets(spec)
    assert json.loads(json.dumps(given, allow_nan=False)) == given
    for param in spec.params:
        if not param.required:
            assert param.problem(param.default) is None


@every_node
def test_help_is_written_and_every_parameter_is_typed(kind: str) -> None:
    spec = REGISTRY.get(kind)
    assert len(spec.help) > 20
    assert spec.title
    assert spec.group != "Other"
    assert len(spec.inputs) + len(spec.params) + bool(spec.context) == spec.function.__code__.co_argcount + (
        spec.function.__code__.co_kwonlyargcount
    )


@every_node
def test_node_stops_within_two_seconds_of_a_cancel(
    kind: str, store: ModelStore, make: Callable[..., Any]
) -> None:
    spec = REGISTRY.get(kind)
    given = arguments(spec, make)
    if "sigmas" in given:  # long enough that only the cancel can end it
        schedule = REGISTRY.get("schedule")
        given["sigmas"] = call(schedule, {**widgets(schedule), "steps": 200}, context(store))
    token, began, ended = CancelToken(), threading.Event(), threading.Event()
    problems: list[BaseException] = []

    def work() -> None:
        began.set()
        try:
            call(spec, given, context(store, cancel=token))
        except BaseException as error:  # noqa: BLE001 - Cancelled is what we want, anything else is shown below
            problems.append(error)
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    assert began.wait(5)
    time.sleep(0.05)
    token.cancel()
    assert ended.wait(2.0)
    assert [type(p).__name__ for p in problems] in ([], ["Cancelled"])


@every_node
def test_node_runs_in_the_engine_and_comes_from_the_cache_afterwards(kind: str, store: ModelStore) -> None:
    spec = REGISTRY.get(kind)
    graph = graph_of(REGISTRY, spec)
    engine = Engine(
        REGISTRY,
        codecs=[TensorCodec()],
        guard=device.guard,
        generator=device.generator,
        models=store,  # type: ignore[list-item]
        policy=Policy.local(),
        open_file=lambda sha256: encode(PICTURE, "PNG"),
        check_inputs=True,
    )
    assert [p for p in engine.check(graph, ["last"]) if p.level == "error"] == []
    report = engine.run(graph, ["last"])
    assert report.errors == ()
    again = engine.run(graph, ["last"])
    assert again.ran == (("last",) if spec.always_run or not spec.cache else ())
    engine.close()


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda p: p.name)
def test_plugin_imports_nothing_of_ours_but_the_api_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names = [n.module or "" for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)]
    names += [a.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import) for a in n.names]
    assert {n for n in names if n.split(".")[0] in ("studio", "gradio")} <= {"studio.api"}
    assert len(text.splitlines()) < 60


def test_events_of_a_tiny_picture_can_be_sent_as_json(store: ModelStore) -> None:
    log = EventLog("r")
    engine = Engine(
        REGISTRY,
        codecs=[TensorCodec()],
        guard=device.guard,
        models=store,  # type: ignore[list-item]
        encode_preview=lambda image: encode(image, "WEBP"),
    )
    engine.run(graph_of(REGISTRY, REGISTRY.get("decode")), ["last"], log=log)
    for event in log.since(0):
        assert Event.from_json(json.loads(json.dumps(event.to_json()))) == event
    engine.close()
