"""The laws of a node (architecture 6.6) on small values: what `plugin test` holds a plugin to.

Pictures and masks are drawn here; values of other types are made by the nodes that give them, with an
untrained network of the smallest size, in a home that is thrown away.
"""

from __future__ import annotations

import copy
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.errors import StudioError
from studio.graph.call import results
from studio.graph.context import Context
from studio.graph.digest import Codecs
from studio.graph.document import Edge, Graph, Node
from studio.graph.peek import line_of
from studio.graph.spec import NodeSpec
from studio.pixels import encode, to_image, to_mask
from studio.values import Image

if TYPE_CHECKING:
    from studio.graph.registry import Registry
    from studio.studio import Studio

SIDE = 64
SMALL: dict[str, object] = {
    "width": SIDE,
    "height": SIDE,
    "steps": 2,
    "model": "tiny:sd3",
    "text": "a red star",
    "words": "star",
    "concepts": "star, house",
    "panels": "a red star",
    "count": 2,
}
"""Settings by name that make a node quick, or give it words to work on; all others keep their defaults."""
OWN: dict[tuple[str, str], object] = {
    ("inject_values", "steps"): 1,
    ("load_lora", "strength"): 0.0,
    ("layout", "regions"): [{"id": "r", "prompt": "a red star", "box": [0.0, 0.0, 0.5, 1.0]}],
}
"""Settings of one node."""
MAKERS = {
    "Model": ("load_model",),
    "Conditioning": ("encode_prompt",),
    "Latent": ("encode_image",),
    "Sigmas": ("schedule",),
    "Sampler": ("choose_sampler",),
    "Guidance": ("cfg",),
    "Image": ("load_image",),
    "Mask": ("mask_from_words",),
    "Layout": ("layout",),
    "PanelGrid": ("panel_sheet",),
    "Inversion": ("invert_picture",),
    "Scorer": ("score_colours",),
    "Seen": ("sample",),
    "Upscaler": ("load_upscaler",),
    "Measurement": ("degrade_picture",),
    "Attachment": ("watch_words", "watch_blocks", "watch_estimates"),
}
"""The nodes that give a small value of a socket type; several where a list of them is wanted."""
NEEDS = {("watch_regions", "regions"): "regional_prompts"}
"""Inputs that take the value of one node alone."""
WATCHED = {"sample": ("attachments",), "together": ("second", "third")}
"""Inputs that a maker connects though it need not: without them there would be nothing to see."""


def laws(spec: NodeSpec, bench: Bench | None = None) -> tuple[list[str], str]:
    """What a node breaks of the laws, and why it was not run, if it was not.

    `bench` gives values of other types than pictures and masks; without it a node that needs them is not run.
    """
    faults = [] if spec.help.strip() else ["it has no docstring; that is the help of the node"]
    try:
        wanted = _given(spec, bench)
    except LookupError as lacking:
        return faults, str(lacking.args[0])
    codecs = bench.studio.engine.codecs if bench else Codecs()
    # Pictures and masks can be compared themselves, tensors only by what they hold.
    mark: Callable[[object], object] = codecs.digest if bench else copy.deepcopy
    before, state = {name: mark(value) for name, value in wanted.items()}, _global_state()
    try:
        made = [results(spec, _call(spec, wanted, _context(spec, bench)), codecs) for _ in range(2)]
        marks = [{name: mark(value) for name, value in one.items()} for one in made]
    except StudioError as error:
        return [*faults, str(error)], ""
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is what this command is to tell
        line = line_of(error, Path(spec.function.__code__.co_filename))
        return [*faults, f"line {line}: it raises {type(error).__name__}: {error}"], ""
    if marks[0] != marks[1]:
        faults.append("two calls with the same inputs give different results; draw from ctx.rng or a seed")
    if {name: mark(value) for name, value in wanted.items()} != before:
        faults.append("it changes its inputs")
    if _global_state() != state:
        faults.append("it changes global state (random numbers or the working folder)")
    return faults, ""


def _given(spec: NodeSpec, bench: Bench | None) -> dict[str, Any]:
    """Small values for a node's inputs and settings. Raises LookupError in words for a type nobody gives."""
    wanted = widgets(spec)
    for socket in spec.inputs:
        if socket.type in SAMPLES:
            sample = SAMPLES[socket.type]()
        elif not socket.required:
            continue
        elif bench is None or socket.type not in MAKERS:
            raise LookupError(f"there is no sample for its input '{socket.name}' of type {socket.type}")
        else:
            sample = bench.value(socket.type)
        wanted[socket.name] = [sample, sample] if socket.many else sample
    return wanted


def _context(spec: NodeSpec, bench: Bench | None) -> Context:
    if bench is None:
        return Context(seed=1, may_draw=spec.random, open_file=_picture_file)
    engine = bench.studio.engine
    return Context(
        models=engine.models, policy=engine.policy, device=engine.device, generator=engine.generator,
        seed=1, path="n", may_draw=spec.random, open_file=_picture_file,
    )  # fmt: skip


def _call(spec: NodeSpec, values: Mapping[str, Any], context: Context) -> object:
    extra = {spec.context: context} if spec.context else {}
    return spec.function(**values, **extra)


def _global_state() -> tuple[object, ...]:
    numbers = repr(np.random.get_state(legacy=False))
    return random.getstate(), numbers, os.getcwd(), dict(os.environ)


class Bench:
    """Values of every type that built-in nodes give; each is made once. `studio`: on a home of its own."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        studio.engine.open_file = _picture_file
        self._made: dict[str, object] = {}

    def value(self, type: str) -> object:
        """A small value of a socket type of `MAKERS`. Raises StudioError if its nodes fail."""
        if type not in self._made:
            maker = self.studio.registry.get(MAKERS[type][0])
            report = self.studio.engine.run(graph_of(self.studio.registry, maker, watched=True), ["last"])
            for error in report.errors:
                raise StudioError(error.message, hint=error.hint)
            self._made[type] = report.outputs["last"][output_of(maker, type)]
        return self._made[type]


@contextmanager
def open_bench() -> Iterator[Bench]:
    """A bench on the CPU; its home is removed afterwards."""
    import torch

    from studio.policy import Policy
    from studio.settings import Settings
    from studio.studio import Studio

    with tempfile.TemporaryDirectory(prefix="weft-test-") as home, torch.inference_mode():
        studio = Studio(Settings(home=Path(home), device="cpu"), Policy.local())
        try:
            yield Bench(studio)
        finally:
            studio.close()


def output_of(spec: NodeSpec, type: str) -> str:
    """The name of the output of a type."""
    return next(socket.name for socket in spec.outputs if socket.type == type)


def widgets(spec: NodeSpec) -> dict[str, Any]:
    """Small settings of a node; those that must be set and have no small value are left out."""
    found: dict[str, Any] = {}
    for param in spec.params:
        if param.widget.sort == "picture":
            found[param.name] = {"file": "0" * 64, "name": "p.png"}
        elif (spec.kind, param.name) in OWN:
            found[param.name] = OWN[spec.kind, param.name]
        elif param.name in SMALL and param.problem(SMALL[param.name]) is None:
            found[param.name] = SMALL[param.name]
        elif not param.required:
            found[param.name] = param.default
    return found


def graph_of(registry: Registry, spec: NodeSpec, *, watched: bool = False) -> Graph:
    """The node, as "last", with everything that its required inputs need above it. `watched`: also what it
    need not have, where it is one of `WATCHED`."""
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []

    def place(id: str, spec: NodeSpec) -> None:
        nodes[id] = Node(id, spec.kind, widgets(spec), kind_version=spec.version)
        extra = WATCHED.get(spec.kind, ()) if watched or id != "last" else ()
        wanted = [socket for socket in spec.inputs if socket.required or socket.name in extra]
        for number, socket in enumerate(wanted):
            kinds = MAKERS[socket.type]
            several = spec.kind == "sample" and socket.name in extra
            usual = "together" if several else kinds[number % len(kinds)]
            maker = registry.get(NEEDS.get((spec.kind, socket.name), usual))
            if maker.kind not in nodes:
                place(maker.kind, maker)
            edges.append(Edge((maker.kind, output_of(maker, socket.type)), (id, socket.name)))

    place("last", spec)
    return Graph(tuple(nodes.values()), tuple(edges))


def _picture() -> Image:
    ramp = np.linspace(0, 1, SIDE * SIDE * 3).reshape(SIDE, SIDE, 3)  # height, width, channel
    return to_image(ramp)


def _picture_file(sha256: str) -> bytes:
    return encode(_picture(), "PNG")


SAMPLES: dict[str, Callable[[], object]] = {
    "Image": _picture,
    "Mask": lambda: to_mask(np.linspace(0, 1, SIDE * SIDE).reshape(SIDE, SIDE)),
}
