"""class Studio: the one place that wires registry, engine, models, jobs and history."""

from __future__ import annotations

import os
import pkgutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from studio.beside import Alike
from studio.db.open import open_home
from studio.errors import StudioError, did_you_mean
from studio.graph.cache import Cache
from studio.graph.context import Device
from studio.graph.disk_cache import DiskCache
from studio.graph.document import Graph, Limits, dumps, loads
from studio.graph.engine import Engine
from studio.graph.events import Event, EventLog
from studio.graph.keys import FileHashes
from studio.graph.plan import Plan
from studio.graph.problem import Problem
from studio.graph.registry import Registry
from studio.graph.seen import Seen
from studio.history.embed import read_embedded
from studio.history.store import History
from studio.jobs.file_memo import FileMemo
from studio.jobs.queue import Job, Queue
from studio.jobs.runner import Outcome, Runner, RunToken
from studio.models.codec import TensorCodec
from studio.models.device import generator, guard
from studio.models.embedded import list_embedded
from studio.models.loading import ModelStore
from studio.models.presets import shift_of
from studio.models.references import HUB, card_named
from studio.outputs import OutputKeeper, machine_facts, set_widgets
from studio.pixels import encode, shrink
from studio.policy import Policy
from studio.replay import Comparison, compare_runs
from studio.reports import InvalidDocument, Report, Snapshots, error_fields, follow
from studio.settings import ROOT, SHIPPED_PLUGINS, Settings

NODES = [str(ROOT / "studio" / "nodes")]
NODE_MODULES = tuple(f"studio.nodes.{module.name}" for module in pkgutil.iter_modules(NODES))
DEFAULT_WORKFLOW = "text-to-image"
KEPT_REPORTS = 64
READ_ONLY = "The home {home} cannot be written, so this picture is not in the history."


class Studio:
    """Everything a page or a command needs. `serve=True` takes the home's lock and works off its whole queue;
    without it only the runs of this process are worked off, beside any server. `close()` it at the end."""

    def __init__(self, settings: Settings, policy: Policy, *, serve: bool = False) -> None:
        self.settings, self.policy = settings, policy
        self.limits = Limits(
            nodes=policy.max_nodes,
            edges=policy.max_edges,
            bytes=policy.max_json_bytes,
            depth=policy.max_json_depth,
        )
        self.db = open_home(settings.home, serve=serve)
        try:
            self._wire()
            swept = self.history.sweep().words if serve or self.db.rebuilt else ()
            self.notices: tuple[str, ...] = (*self.db.notices, *swept)
            if serve:
                self.jobs.recover()
                self._runner.start()
        except BaseException:
            self.db.close()
            raise

    def _wire(self) -> None:
        settings, policy, db = self.settings, self.policy, self.db
        pinned = os.environ.get("STUDIO_LOAD_PLUGINS")
        self.registry = Registry(
            NODE_MODULES,
            plugins=settings.plugins_folder, shipped=SHIPPED_PLUGINS,
            entry_points=policy.allow_plugins,
            pinned=None if pinned is None else [name.strip() for name in pinned.split(",") if name.strip()],
            allowed=None if policy.allow_plugins else policy.plugin_digests,
        )
        files = FileHashes(None if db.read_only else FileMemo(db))
        self.models = ModelStore(
            policy=policy,
            device=settings.device,
            file_digest=files.sha256,
            embedded=settings.embedded_models_folder,
            models_folder=settings.models_folder,
            calibrations=lambda *key: self.history.calibrations.get(*key),
            keep_calibration=None if db.read_only else lambda *row: self.history.calibrations.put(*row),
        )
        self.history = History(db, adopt_owner="recovered" if policy.is_public else "local")
        self.jobs = Queue(
            db,
            per_owner_running=policy.max_running,
            per_owner_waiting=policy.max_waiting,
            total_waiting=policy.max_queue,
        )
        keeps = settings.cache_disk_bytes > 0 and not db.read_only
        disk = DiskCache(settings.cache_folder, limit_bytes=settings.cache_disk_bytes) if keeps else None
        mode = "disk" if disk else "lru" if settings.cache_memory_bytes else "off"
        cache = Cache(mode, memory_bytes=settings.cache_memory_bytes, disk=disk)
        place = self.models.placement
        self.engine = Engine(
            self.registry,
            cache=cache,
            codecs=[TensorCodec()],
            files=files,
            seen=Seen(settings.home / "seen.json" if not db.read_only else None),
            guard=guard,
            generator=generator,
            models=self.models,
            policy=policy,
            open_file=self._open_file,
            encode_preview=lambda image: encode(shrink(image), "WEBP"),
            limits=self.limits,
            device=Device(place.device.type, str(place.dtype).removeprefix("torch.")),
            numerics=settings.numerics,
        )
        fits = Alike(self.read_document, self.registry, settings.numerics)
        self._runner = Runner(self.jobs, self._work, devices=(str(place.device),), fits=fits)
        self._reports: OrderedDict[str, Report] = OrderedDict()
        self._lock = threading.Lock()
        self._own: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return f"Studio({self.settings.home}, {self.policy.name})"

    # documents

    def read_document(self, text: str) -> Graph:
        """A graph from JSON text, read strictly within this host's limits; raises BadDocument."""
        self.policy.check_json(len(text.encode("utf-8", "replace")))
        return loads(text, limits=self.limits)

    def workflow(self, name: str = DEFAULT_WORKFLOW) -> Graph:
        """A ready graph of assets/workflows."""
        known = {path.stem: path for path in sorted(self.settings.workflows_folder.glob("*.json"))}
        if name not in known:
            raise StudioError(
                f"There is no ready workflow {name!r}.",
                hint=did_you_mean(name, known) or f"There are: {', '.join(known) or 'none'}.",
            )
        return loads(known[name].read_text(encoding="utf-8"), limits=self.limits)

    def document_of(self, generation: str, owner: str = "local") -> Graph:
        """The graph that made a picture of the history."""
        return loads(
            self.history.document(owner, self.history.show(owner, generation).id), limits=self.limits
        )

    def open_picture(self, picture: Path | bytes) -> Graph:
        """The graph inside a PNG; raises BadDocument in words when there is none."""
        return self.read_document(read_embedded(picture).graph)

    def text_to_image(
        self,
        prompt: str,
        *,
        negative: str | None = None,
        seed: int | None = None,
        steps: int | None = None,
        size: tuple[int, int] | None = None,
        cfg_scale: float | None = None,
        sampler: str | None = None,
        model: str | None = None,
        name: str | None = None,
    ) -> Graph:
        """The text-to-image workflow with these widgets set; None leaves the default, which comes from the
        card of `model` where it has one."""
        graph = self.workflow()
        card = {"sampler": "euler"} | self._card(model) if model else {}
        canvas = next(node.widgets for node in graph.nodes if node.kind == "empty_latent")
        width, height = size or _pair(card.get("size")) or (canvas["width"], canvas["height"])
        given = {"steps": steps, "cfg_scale": cfg_scale, "sampler": sampler}
        card |= shift_of(card, width, height, steps) | {k: v for k, v in given.items() if v is not None}
        wanted = {
            "prompt": prompt,
            "negative": negative,
            "seed": seed,
            "model": model,
            "name": name,
            "width": width,
            "height": height,
            **{name: card.get(name) for name in ("shift", "spacing", "guidance", *given)},
        }
        return set_widgets(graph, self.registry, wanted)

    def check(self, document: Graph, targets: Sequence[str] | None = None) -> list[Problem]:
        """Everything that is wrong with a document."""
        return self.engine.check(document, targets)

    def plan(self, document: Graph, targets: Sequence[str] | None = None, *, owner: str = "local",
             use_cache: bool = True) -> Plan:
        """What would run, what comes from the cache, and why."""
        return self.engine.plan(document, targets, owner=owner, use_cache=use_cache)

    # runs

    def submit(self, document: Graph, *, targets: Sequence[str] | None = None, owner: str = "local",
               parents: Sequence[tuple[str, str]] = (), use_cache: bool = True, keep: bool = True) -> str:
        """Queue a snapshot of `document` and give the run's id; never waits for work.

        Raises InvalidDocument when no target can be made, Refused when the queue is full. `parents`: pairs of
        generation id and role. `keep` False: pictures do not go to the history (replay).
        """
        problems = self.check(document, targets)
        if any(problem.blocking for problem in problems):
            self._refuse_hopeless(document, targets, owner, problems)
        params = {"use_cache": use_cache, "keep": keep, "parents": [list(pair) for pair in parents]}
        text = dumps(document.with_kinds(self.registry))
        self._runner.start()
        job = self._runner.submit(text, owner=owner, targets=targets, params=params)
        with self._lock:
            self._own.add((job.id, owner))
        return job.id

    def _refuse_hopeless(
        self, document: Graph, targets: Sequence[str] | None, owner: str, problems: Sequence[Problem]
    ) -> None:
        try:
            plan = self.plan(document, targets, owner=owner)
        except StudioError:
            raise InvalidDocument(problems, None) from None
        alive = {node.id for node in plan.nodes if node.action in ("run", "cached")}
        if alive.isdisjoint(plan.targets):
            raise InvalidDocument(problems, plan)

    def events(
        self, run: str, owner: str = "local", since: int = 0, timeout: float | None = None
    ) -> Iterator[Event]:
        """The run's events after `since`, up to `done`; ends early when none came for `timeout` seconds."""
        return self._runner.events(run, owner, since, timeout)

    def snapshot(self, run: str, owner: str = "local") -> dict[str, Any]:
        """The full state of a run for a page, in page words (ui.md 4.1)."""
        folded, place = Snapshots(run), self._place(run, owner)
        folded.add(self._runner.events(run, owner, 0, 0.0))
        return folded.page(*place)

    def snapshots(self, run: str, owner: str = "local", interval: float = 0.25) -> Iterator[dict[str, Any]]:
        """Full snapshots as the run goes on, at most one in `interval` seconds; the last one is settled."""
        return follow(
            Snapshots(run),
            interval,
            place=lambda: self._place(run, owner),
            events=lambda since: self._runner.events(run, owner, since, interval),
        )

    def _place(self, run: str, owner: str) -> tuple[int, str]:
        """How many runs go first, and how this one ended; asked before its events, so that none is missed."""
        job = self.jobs.get(run, owner)
        if job is None:
            raise StudioError(f"There is no run {run!r}.", hint="It may have been removed; start it again.")
        ahead = self.jobs.ahead(run) if job.status == "queued" else 0
        return ahead, job.status if job.over or job.status == "parked" else ""

    def live_run(self, owner: str = "local") -> str | None:
        """The run of this owner that is at work, else the one that waits longest."""
        live = self.jobs.live(owner)
        return live[0].id if live else None

    def cancel(self, run: str, owner: str = "local") -> bool:
        """Stop a run; False and harmless when it is over, unknown or another owner's."""
        return self._runner.cancel(run, owner)

    def run(
        self,
        document: Graph,
        *,
        targets: Sequence[str] | None = None,
        owner: str = "local",
        parents: Sequence[tuple[str, str]] = (),
        on_event: Callable[[Event], None] | None = None,
        use_cache: bool = True,
        keep: bool = True,
        should_stop: Callable[[], bool] | None = None,
    ) -> Report:
        """Submit and wait; the same path as a page's run. `should_stop` is asked five times a second."""
        run = self.submit(
            document, targets=targets, owner=owner, parents=parents, use_cache=use_cache, keep=keep
        )
        seq = 0
        while True:
            for event in self.events(run, owner, seq, timeout=0.2 if should_stop else None):
                seq = event.seq
                if on_event is not None:
                    on_event(event)
                if event.kind == "done":
                    return self._report(run, owner)
                if should_stop is not None and should_stop():
                    break
            if should_stop is not None and should_stop():
                self.cancel(run, owner)
                should_stop = None

    def _report(self, run: str, owner: str) -> Report:
        job = self._runner.wait(run, owner, timeout=5.0)
        with self._lock:
            found = self._reports.get(run)
        if found is not None and found.status == job.status:
            return found
        # cancelled in the queue, stuck, or a bug
        return Report(run, job.status, error=error_fields(job.error))

    def _work(self, job: Job, emit: Callable[[Event], None], token: RunToken) -> Outcome:
        """One run, on the runner's thread. Pictures are stored before their node says that it is done."""
        params = job.params
        document = loads(job.document, limits=self.limits)
        keep = bool(params.get("keep", True)) and not self.db.read_only
        pairs = params.get("parents")
        keeper = OutputKeeper(
            self.history,
            self.registry,
            document,
            run=job.id, owner=job.owner,
            parents=[(str(a), str(b)) for a, b in pairs] if isinstance(pairs, list) else [],
            facts=lambda ref: machine_facts(self.models, self.engine.device, ref),
            store=keep,
            reuse=bool(params.get("use_cache", True)),
        )
        log = EventLog(job.id)

        def forward(event: Event) -> None:
            keeper.watch(event)
            emit(event)

        log.subscribe(forward)
        if self.db.read_only and params.get("keep", True):
            log.append("warning", payload={"message": READ_ONLY.format(home=self.settings.home)})
        made = self.engine.run(
            document,
            job.targets,
            owner=job.owner, run_id=job.id, log=log, cancel=token, gather=token.gather,
            use_cache=bool(params.get("use_cache", True)),
            on_output=keeper.keep,
        )
        report = keeper.report(made)
        with self._lock:
            self._reports[job.id] = report
            while len(self._reports) > KEPT_REPORTS:
                self._reports.popitem(last=False)
        return Outcome(report.status, report.error)

    def replay(
        self,
        generation: str,
        owner: str = "local",
        on_event: Callable[[Event], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Comparison:
        """Make a picture of the history again without the cache and say whether it is equal (7.7)."""
        old = self.history.show(owner, generation)
        return compare_runs(self, old, owner, on_event=on_event, should_stop=should_stop)

    # facts

    def model_cards(self) -> list[dict[str, Any]]:
        """The cards of the embedded models with their `ref`; reads no weights."""
        return [
            dict(model.card) | {"ref": model.ref}
            for model in list_embedded(self.settings.embedded_models_folder)
        ]

    def _card(self, ref: str) -> dict[str, Any]:
        known = {card["ref"]: card for card in self.model_cards()}
        with suppress(OSError, StudioError):
            if ref not in known and (ref.startswith(HUB) or (":" not in ref and self.policy.allow_paths)):
                return card_named(ref)
        return known.get(ref, {})

    def device_label(self) -> str:
        """The device in words."""
        return self.models.device_label()

    def _open_file(self, digest: str) -> bytes:
        return self.history.upload(digest).read_bytes()

    def close(self) -> None:
        """Stop this process's runs, end the worker, and close the database; a second call does nothing."""
        with self._lock:
            own, self._own = self._own, set()
        for run, owner in own:
            with suppress(StudioError):
                self.cancel(run, owner)
        self._runner.close()
        self.engine.close()
        self.models.close()
        self.db.close()


def _pair(size: object) -> tuple[int, int] | None:
    """A card's `size` as width and height."""
    return (int(size[0]), int(size[1])) if isinstance(size, list | tuple) and len(size) == 2 else None
