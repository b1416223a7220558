"""A small studio for tests of the page alone: real documents, specs and history; pictures are drawn.

It exists so that handlers are tested without torch and in milliseconds; browser tests use the real one.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated

import numpy as np
from PIL import Image as Pillow

from studio.api import Choice, ModelRef, Number, PictureRef, Prompt, Seed, Slider, node
from studio.db.open import open_home
from studio.errors import StudioError
from studio.graph.document import Graph, Limits, dumps, load, loads
from studio.graph.plan import Plan, PlannedNode
from studio.history.store import History, NewGeneration, new_record, pixels_digest
from studio.jobs.queue import Queue
from studio.policy import Policy
from studio.replay import Comparison
from studio.settings import Settings


@node(group="Model")
def load_model(model: ModelRef = "embedded:scenes-sd3") -> str:
    """Load a model."""
    return model


@node(group="Prompt")
def encode_prompt(text: Prompt = "") -> str:
    """Read a prompt."""
    return text


@node(group="Sample")
def canvas(
    width: Annotated[int, Number(64, 2048, 16)] = 256,
    height: Annotated[int, Number(64, 2048, 16)] = 256,
    seed: Seed = 0,
) -> int:
    """The size of the picture.

    width: in pixels
    """
    return seed


@node(group="Sample")
def schedule(
    steps: Annotated[int, Slider(1, 200)] = 20,
    kind: Annotated[str, Choice("flow", "flow_diffusers")] = "flow",
) -> int:
    """How many steps.

    steps: More steps take longer and change less.
    """
    return steps


@node(group="Sample")
def guidance(scale: Annotated[float, Slider(0, 30, 0.1)] = 3.0) -> float:
    """How strongly the prompt acts.

    scale: 1 switches guidance off.
    """
    return scale


@node(group="Image")
def load_image(picture: PictureRef) -> str:
    """A picture of one's own."""
    return picture["file"]


SPECS = {fn.spec.kind: fn.spec for fn in (load_model, encode_prompt, canvas, schedule, guidance, load_image)}
WORKFLOW = {
    "format": "weft/graph",
    "version": 1,
    "nodes": [
        {"id": "m", "kind": "load_model", "title": "Model", "widgets": {"model": "embedded:scenes-sd3"}},
        {"id": "p", "kind": "encode_prompt", "title": "Prompt", "widgets": {"text": ""}},
        {"id": "a", "kind": "encode_prompt", "title": "Avoid", "widgets": {"text": ""}},
        {"id": "c", "kind": "canvas", "title": "Canvas", "widgets": {"width": 256, "height": 256, "seed": 1}},
        {"id": "s", "kind": "schedule", "title": "Schedule", "widgets": {"steps": 20, "kind": "flow"}},
        {"id": "g", "kind": "guidance", "title": "Guidance", "widgets": {"scale": 3.0}},
    ],
    "edges": [],
    "exposed": [
        {"node": n, "widget": w, "label": label, "order": i}
        for i, (n, w, label) in enumerate(
            [
                ("p", "text", "Prompt"),
                ("a", "text", "Avoid"),
                ("c", "seed", "Seed"),
                ("c", "width", "Width"),
                ("c", "height", "Height"),
                ("s", "steps", "Steps"),
                ("g", "scale", "Guidance"),
                ("s", "kind", "Schedule"),
                ("m", "model", "Model"),
            ]
        )
    ],
}


# A second template: a further prompt, a second seed, a picture, and what text-to-image has.
SECOND = {
    **WORKFLOW,
    "nodes": [
        *WORKFLOW["nodes"],
        {"id": "n", "kind": "encode_prompt", "title": "New", "widgets": {"text": "a blue star"}},
        {"id": "i", "kind": "load_image", "title": "Yours", "widgets": {}},
        {"id": "r", "kind": "canvas", "title": "Reference", "widgets": {"seed": 5}},
    ],
    "exposed": [
        {"node": "n", "widget": "text", "label": "New prompt", "order": 0.5},
        {"node": "i", "widget": "picture", "label": "Picture", "order": 0.6},
        {"node": "r", "widget": "seed", "label": "Seed of the reference", "order": 0.7},
        {"node": "p", "widget": "text", "label": "Prompt", "order": 0},
        {"node": "p", "widget": "text", "label": "Prompt again", "order": 99},
        *WORKFLOW["exposed"][1:],
    ],
}
WORKFLOWS = {"text-to-image": WORKFLOW, "edit-by-prompt": SECOND}


@dataclass
class FakeRun:
    owner: str
    document: Graph
    snapshot: dict[str, object]
    parents: tuple[tuple[str, str], ...] = ()
    changed: threading.Condition = field(default_factory=threading.Condition)
    cancelled: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(default_factory=threading.Thread)

    @property
    def over(self) -> bool:
        return self.snapshot["job"]["state"] not in ("queued", "running")  # type: ignore[index]

    def tell(self, **changes: object) -> None:
        with self.changed:
            self.snapshot = {**self.snapshot, "seq": self.snapshot["seq"] + 1, **changes}  # type: ignore[operator]
            self.changed.notify_all()


class FakeStudio:
    """Same names and results as Studio, as far as the page asks. `pace`: seconds of a step."""

    def __init__(self, settings: Settings, policy: Policy | None = None, *, pace: float = 0.05) -> None:
        self.settings, self.policy, self.pace = settings, policy or Policy.local(), pace
        self._db = open_home(settings.home)
        self.history = History(self._db)
        self.registry = SimpleNamespace(
            find=SPECS.get,
            specs=SPECS,
            plugins=(),
            broken=(),
            refresh=lambda: None,
            to_json=lambda: {
                "types": {},
                "categories": {},
                "nodes": {kind: spec.to_json() for kind, spec in SPECS.items()},
            },
        )
        self.runs: dict[str, FakeRun] = {}
        self.seconds: float | None = None  # what a picture takes, as far as known
        self.engine = SimpleNamespace(seen=SimpleNamespace(seconds=lambda kind: self.seconds))
        self.jobs = Queue(self._db)  # only what a crash left; runs of this studio never enter it

    def close(self) -> None:
        for run in self.runs.values():
            run.cancelled.set()
            run.thread.join(10)
        self._db.close()

    def model_cards(self) -> list[dict[str, object]]:
        return [
            {
                "ref": "embedded:scenes-sd3",
                "title": "Paper scenes",
                "size": [256, 256],
                "vocabulary": {
                    "kind": ["star", "house", "boat", "tree", "fish"],
                    "colour": ["red", "blue", "yellow", "green", "purple"],
                    "background": ["night", "sea"],
                    "place": ["left", "right", "middle", "top"],
                    "pattern": ["striped"],
                    "words": ["a", "the", "on", "and", "at", "in", "by", "underwater"],
                },
            }
        ]

    @property
    def models(self) -> SimpleNamespace:
        card = self.model_cards()[0]
        found = {"name": "scenes-sd3", "title": "Paper scenes", "family": "sd3", "bytes": 1234, "problem": ""}
        embedded = SimpleNamespace(ref="embedded:scenes-sd3", card=card, path=self.settings.home, **found)
        where = str(self.settings.models_folder / "broken")
        broken = {"name": "broken", "title": "broken", "family": "", "bytes": 0, "card": {}}
        other = SimpleNamespace(ref=where, problem=f"{where} has no model_index.json.", **broken)
        return SimpleNamespace(
            list=lambda: (embedded, other),
            loras=lambda: (),
            placement=SimpleNamespace(dtype="torch.float32"),
            memory=lambda: {"total": 2000, "free": 500},
        )

    def replay(self, generation: str, owner: str = "local", **_: object) -> Comparison:
        """Paints the document again and compares, as the real one does."""
        old, document = self.history.show(owner, generation), self.document_of(generation, owner)
        now = pixels_digest(self.paint(document))
        verdict = "equal" if now == old.pixels else "different"
        return Comparison(old.id, verdict, old.pixels, now, 0, None, (), 0.1)

    def device_label(self) -> str:
        return "CPU"

    def workflow(self, name: str = "text-to-image") -> Graph:
        if name not in WORKFLOWS:
            raise StudioError(f"There is no ready workflow {name!r}.")
        return load(WORKFLOWS[name])

    def text_to_image(
        self, prompt: str, *, size: tuple[int, int] | None = None, seed: int | None = None, **_: object
    ) -> Graph:
        document = self.workflow().set("p", "text", prompt)
        return document.set("c", "seed", seed) if seed is not None else document

    def read_document(self, text: str) -> Graph:
        return loads(text, limits=Limits(nodes=self.policy.max_nodes, bytes=self.policy.max_json_bytes))

    def check(self, document: Graph, targets: object = None) -> list[SimpleNamespace]:
        found = []
        for one in document.nodes:
            for param in SPECS[one.kind].params:
                wrong = param.problem(one.widgets.get(param.name, param.default))
                if wrong:
                    found.append(
                        SimpleNamespace(
                            node=one.id,
                            socket=param.name,
                            message=wrong[0],
                            hint=wrong[1],
                            title=one.title,
                            level="error",
                        )
                    )
        return found

    def plan(self, document: Graph, targets: object = None, *, owner: str = "local", **_: object) -> Plan:
        key = document.hash
        action = "run" if self.history.find_by_key(owner, key) is None else "cached"
        node = PlannedNode("s", "schedule", "", action, "new", self.seconds, key, "gpu")
        return Plan((node,), ("s",), by_id={"s": node})

    def submit(
        self, document: Graph, *, owner: str = "local", parents: object = (), **_: object
    ) -> str:
        for problem in self.check(document):
            raise StudioError(problem.message, hint=problem.hint, node=problem.node, socket=problem.socket)
        run = "r_" + uuid.uuid4().hex
        self.runs[run] = FakeRun(
            owner,
            document,
            {
                "run": run,
                "seq": 1,
                "job": {"state": "queued", "ahead": 0},
                "nodes": {},
                "outputs": [],
                "warnings": [],
                "error": None,
            },
        )
        self.runs[run].parents = tuple(parents)  # type: ignore[arg-type]
        self.runs[run].thread = threading.Thread(target=self._work, args=(run,), daemon=True)
        self.runs[run].thread.start()
        return run

    def _work(self, run_id: str) -> None:
        run = self.runs[run_id]
        total = int(run.document.node("s").widgets["steps"])  # type: ignore[call-overload]
        pixels = self.paint(run.document)
        for i in range(1, total + 1):
            time.sleep(self.pace)
            if run.cancelled.is_set():
                run.tell(job={"state": "stopped"}, nodes={"s": {"state": "stopped"}})
                return
            run.tell(
                job={"state": "running", "step": i, "total": total, "left_s": (total - i) * self.pace},
                nodes={"s": {"state": "running", "progress": i / total, "image": preview(pixels, i / total)}},
            )
        text = run.document.node("p").widgets["text"]
        made = self.history.add(
            NewGeneration(
                owner=run.owner,
                pixels=pixels,
                graph=dumps(run.document),
                run=run_id,
                node="s",
                key=run.document.hash,
                prompt=str(text),
                seed=int(run.document.node("c").widgets["seed"]),
                model="embedded:scenes-sd3",  # type: ignore[call-overload]
                parents=run.parents,
                record=new_record(
                    seed=1,
                    model={"ref": "embedded:scenes-sd3", "family": "sd3", "digest": "0" * 64},
                    versions={},
                    device="cpu",
                    dtype="float32",
                    plugins=[],
                    timings={"s": total * self.pace},
                    nodes={node.id: {"kind": node.kind, "version": 1} for node in run.document.nodes},
                    params={node.id: dict(node.widgets) for node in run.document.nodes},
                ),
            )
        )
        run.tell(
            job={"state": "done", "step": total, "total": total, "seconds": total * self.pace},
            nodes={"s": {"state": "done"}},
            outputs=[{"node": "s", "item": None, "generation": made.id}],
        )

    def paint(self, document: Graph) -> np.ndarray:
        """uint8 [height, width, 3]: a disc in a colour drawn from seed and prompt."""
        size = document.node("c").widgets
        rng = np.random.default_rng([int(size["seed"]), len(str(document.node("p").widgets["text"]))])  # type: ignore[call-overload]
        ground, disc = rng.integers(0, 256, (2, 3))
        y, x = np.mgrid[0 : int(size["height"]), 0 : int(size["width"])]  # type: ignore[call-overload]
        inside = (y - size["height"] / 2) ** 2 + (x - size["width"] / 2) ** 2 < (min(x.shape) / 3) ** 2  # type: ignore[operator]
        return np.where(inside[..., None], disc, ground).astype(np.uint8)

    def _own(self, run_id: str, owner: str) -> FakeRun:
        run = self.runs.get(run_id)
        if run is None or run.owner != owner:
            raise StudioError("No such run.")
        return run

    def snapshot(self, run_id: str, owner: str = "local") -> dict[str, object]:
        return self._own(run_id, owner).snapshot

    def snapshots(
        self, run_id: str, owner: str = "local", interval: float = 0.25
    ) -> Iterator[dict[str, object]]:
        run, seen = self._own(run_id, owner), -1
        while True:
            with run.changed:
                run.changed.wait_for(lambda: run.snapshot["seq"] != seen, timeout=5)  # noqa: B023
                seen = run.snapshot["seq"]  # type: ignore[assignment]
            yield run.snapshot
            if run.over:
                return
            time.sleep(interval)

    def live_run(self, owner: str = "local") -> str | None:
        return next((i for i, r in self.runs.items() if r.owner == owner and not r.over), None)

    def cancel(self, run_id: str, owner: str = "local") -> bool:
        self._own(run_id, owner).cancelled.set()
        return True

    def document_of(self, generation_id: str, owner: str = "local") -> Graph:
        return self.read_document(self.history.document(owner, generation_id))

    def run(self, document: Graph, *, owner: str = "local", **_: object) -> SimpleNamespace:
        run = self.submit(document, owner=owner)
        *_, last = self.snapshots(run, owner)
        outputs = [SimpleNamespace(**o) for o in last["outputs"]]  # type: ignore[union-attr]
        return SimpleNamespace(
            status="finished", run=run, outputs=outputs, seconds=0.1, warnings=(), error=None
        )


def preview(pixels: np.ndarray, done: float) -> str:
    noise = np.random.default_rng(1).integers(0, 256, pixels.shape)
    mixed = (pixels * done + noise * (1 - done)).astype(np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(mixed).resize((96, 96)).save(file, "WEBP", quality=60)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def page_value(document: dict[str, object]) -> str:
    return json.dumps({"document": document})
