"""The durable queue: runs in SQLite, a fair turn between owners, what is offered after a crash (E36).

Each process claims only its own runs, so that a command works beside a server on one home. A run whose
process died is never started again by itself: it is parked, and the person chooses.
"""
from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from studio.db.database import Db
from studio.db.graphs import add_graph
from studio.db.open import process_alive
from studio.errors import Refused, StudioError
from studio.jobs.journal import Journal, NodeState

LIVE = ("queued", "running")
OVER = ("finished", "failed", "cancelled")
MAX_CRASHES = 2
KEEP_EVENTS, KEEP_RUNS = 24 * 3600.0, 90 * 24 * 3600.0  # seconds after a run's end
_SELECT = "SELECT r.*, g.json AS document FROM runs r JOIN graphs g ON g.hash = r.graph "


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run in the queue. `status`: queued, running, finished, failed, cancelled, parked.

    Times are Unix seconds.

    `document` is the snapshot as JSON text. `targets` None means all output nodes. `crashes` counts how often
    the process died while it ran.
    """

    id: str
    owner: str
    status: str
    document: str = field(repr=False)
    graph: str
    targets: tuple[str, ...] | None
    params: Mapping[str, object]
    priority: int
    batch: str
    retried_from: str
    crashes: int
    error: Mapping[str, object] | None
    created: float
    started: float | None
    finished: float | None
    process: str

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in OVER


class Queue:
    """The queue of a home, for one process."""

    def __init__(self, db: Db, *, per_owner_running: int = 1, per_owner_waiting: int = 100,
                 total_waiting: int = 1000) -> None:
        self.db = db
        self.journal = Journal(db)
        self._running, self._waiting, self._total = per_owner_running, per_owner_waiting, total_waiting

    def __repr__(self) -> str:
        return f"Queue({self.db.process})"

    def add(self, document: str, *, owner: str = "local", targets: Sequence[str] | None = None,
            params: Mapping[str, object] | None = None, priority: int = 0, batch: str = "",
            retried_from: str = "", crashes: int = 0) -> Job:
        """Put a snapshot of a graph into the queue. Refused when the owner's or the whole queue is full."""
        identity = f"r_{secrets.token_hex(16)}"
        with self.db.transaction():
            self._check_room(owner)
            self.db.execute(
                "INSERT INTO runs (id, owner, status, process, priority, graph, targets, params, batch, "
                "retried_from, crashes, created) VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (identity, owner, self.db.process, priority, add_graph(self.db, document),
                 None if targets is None else json.dumps(list(targets)), json.dumps(dict(params or {})),
                 batch, retried_from, crashes, time.time()))
        return self._known(identity)

    def claim(self) -> Job | None:
        """Take the next run: it is `running` now. None if nothing waits, or every owner has enough running.

        Fewest running runs first, then the owner served longest ago, then priority, then age.
        """
        with self.db.transaction():
            row = self.db.one(
                "SELECT q.id, (SELECT count(*) FROM runs a WHERE a.owner = q.owner AND a.status = 'running' "
                "AND a.process = q.process) AS busy FROM runs q WHERE q.status = 'queued' AND q.process = ? "
                "AND busy < ? ORDER BY busy, "
                "(SELECT coalesce(max(b.started), 0) FROM runs b WHERE b.owner = q.owner), "
                "q.priority DESC, q.number LIMIT 1", (self.db.process, self._running))
            if row is None:
                return None
            self.db.execute("UPDATE runs SET status = 'running', started = ?, cancel = 0 WHERE id = ?",
                            (time.time(), row["id"]))
        return self._known(row["id"])

    def claim_beside(self, job: Job, fits: Callable[[Job, Job], bool], most: int) -> list[Job]:
        """Take waiting runs of the same owner that may be made together with `job`, oldest first; they are
        `running` now. The owner's turn is that of `job`."""
        found: list[str] = []
        with self.db.transaction():
            for row in self.db.rows(f"{_SELECT} WHERE r.status = 'queued' AND r.owner = ? AND r.process = ? "
                                    "ORDER BY r.priority DESC, r.number LIMIT ?",
                                    (job.owner, self.db.process, 4 * most)):
                if len(found) < most and fits(job, _job(row)):
                    found.append(row["id"])
            for run in found:
                self.db.execute("UPDATE runs SET status = 'running', started = ?, cancel = 0 WHERE id = ?",
                                (time.time(), run))
        return [self._known(run) for run in found]

    def finish(self, run: str, status: str, error: Mapping[str, object] | None = None) -> bool:
        """Settle a queued or running run as finished, failed or cancelled. False if it is settled already."""
        if status not in OVER:
            raise ValueError(f"a run ends as {', '.join(OVER)}, not {status!r}")
        return self.db.execute(
            "UPDATE runs SET status = ?, error = ?, finished = ? "
            "WHERE id = ? AND status IN ('queued', 'running')",
            (status, json.dumps(dict(error), default=str) if error else "", time.time(), run)) > 0

    def ask_cancel(self, run: str, owner: str) -> str:
        """Cancel a queued run, or leave the wish for a running one; the status it had, empty if neither."""
        with self.db.transaction():
            row = self.db.one("SELECT status FROM runs WHERE id = ? AND owner = ?", (run, owner))
            status = str(row["status"]) if row else ""
            if status == "queued":
                self.finish(run, "cancelled")
            elif status == "running":
                self.db.execute("UPDATE runs SET cancel = 1 WHERE id = ?", (run,))
        return status if status in LIVE else ""

    def cancel_asked(self, run: str) -> bool:
        """Whether somebody, maybe in another process, asked to stop this run."""
        row = self.db.one("SELECT cancel FROM runs WHERE id = ?", (run,))
        return bool(row and row["cancel"])

    def get(self, run: str, owner: str) -> Job | None:
        """A run of this owner, or None."""
        row = self.db.one(f"{_SELECT} WHERE r.id = ? AND r.owner = ?", (run, owner))
        return _job(row) if row else None

    def status(self, run: str) -> str:
        """The status of a run, whoever owns it; empty for an unknown one."""
        row = self.db.one("SELECT status FROM runs WHERE id = ?", (run,))
        return str(row["status"]) if row else ""

    def live(self, owner: str) -> list[Job]:
        """What runs and what waits, oldest first, running ones in front."""
        return [_job(row) for row in self.db.rows(
            f"{_SELECT} WHERE r.owner = ? AND r.status IN ('queued', 'running') "
            "ORDER BY r.status = 'queued', r.number", (owner,))]

    def parked(self, owner: str) -> list[Job]:
        """Runs that a crash broke off, newest first."""
        return [_job(row) for row in self.db.rows(
            f"{_SELECT} WHERE r.owner = ? AND r.status = 'parked' ORDER BY r.number DESC", (owner,))]

    def newest(self, owner: str, limit: int = 20) -> list[Job]:
        """The owner's latest runs, whatever their status, newest first."""
        return [_job(row) for row in self.db.rows(
            f"{_SELECT} WHERE r.owner = ? ORDER BY r.number DESC LIMIT ?", (owner, limit))]

    def ahead(self, run: str) -> int:
        """How many runs of this process come before this one: the one that runs, and those that were added
        earlier; 0 for a run that does not wait."""
        row = self.db.one("SELECT count(*) AS n FROM runs q JOIN runs me ON me.id = ? "
                          "WHERE me.status = 'queued' AND q.process = me.process AND (q.status = 'running' "
                          "OR (q.status = 'queued' AND q.number < me.number))",
                          (run,))
        return int(row["n"]) if row else 0

    def waiting(self, owner: str) -> int:
        """How many runs of this owner wait."""
        row = self.db.one("SELECT count(*) AS n FROM runs WHERE owner = ? AND status = 'queued'", (owner,))
        return int(row["n"]) if row else 0

    def behind(self, run: str, owner: str) -> int:
        """How many runs of this owner wait and were added after that run."""
        row = self.db.one("SELECT count(*) AS n FROM runs q JOIN runs me ON me.id = ? "
                          "WHERE q.owner = ? AND q.status = 'queued' AND q.number > me.number", (run, owner))
        return int(row["n"]) if row else 0

    def recover(self) -> list[Job]:
        """Settle what dead processes left; gives the runs that were parked.

        Running ones are parked, waiting ones of a dead server become this process' own, waiting ones of a
        dead command are parked too: nobody waits for them. Also forgets events a day and runs three months
        after their end.
        """
        now = time.time()
        parked = []
        with self.db.transaction():
            for row in self.db.rows("SELECT id, process, status, crashes FROM runs "
                                    "WHERE status IN ('queued', 'running') AND process != ?",
                                    (self.db.process,)):
                if process_alive(self.db.home, row["process"]):
                    continue
                if row["status"] == "queued" and row["process"].startswith("s-"):
                    self.db.execute("UPDATE runs SET process = ? WHERE id = ?", (self.db.process, row["id"]))
                    continue
                crashes = row["crashes"] + (row["status"] == "running")
                self.db.execute(
                    "UPDATE runs SET status = 'parked', process = ?, crashes = ?, error = ? WHERE id = ?",
                    (self.db.process, crashes, json.dumps({"message": _broken_off(row["status"], crashes)}),
                     row["id"]))
                self.db.execute("UPDATE run_nodes SET status = 'cancelled' "
                                "WHERE run = ? AND status = 'running'",
                                (row["id"],))
                parked.append(row["id"])
        self.journal.prune(events_before=now - KEEP_EVENTS, runs_before=now - KEEP_RUNS)
        return [self._known(run) for run in parked]

    def offers(self, job: Job) -> tuple[str, ...]:
        """What can be done with a run: of resume, requeue, discard."""
        if job.status == "parked":
            return ("resume", "requeue", "discard") if job.crashes < MAX_CRASHES else ("requeue", "discard")
        return ("requeue",) if job.over else ()

    def resume(self, run: str, owner: str) -> Job:
        """Let a parked run wait for its turn again; nodes with cached results are not run twice.

        StudioError if it is not parked, or brought the studio down twice.
        """
        job = self._owned(run, owner)
        if "resume" not in self.offers(job):
            if job.status == "parked":
                raise StudioError(f"This run broke off {job.crashes} times; it is not resumed.",
                                  hint="Discard it, or queue it as a new run if you know why.")
            raise StudioError(f"Only a parked run can be resumed; this one is {job.status}.")
        with self.db.transaction():
            self._check_room(owner)
            self.db.execute("UPDATE runs SET status = 'queued', process = ?, error = '', cancel = 0, "
                            "finished = NULL WHERE id = ? AND status = 'parked'", (self.db.process, run))
        return self._known(run)

    def requeue(self, run: str, owner: str) -> Job:
        """A new run of the same snapshot; a parked one counts as discarded. Crashes are counted on."""
        job = self._owned(run, owner)
        if "requeue" not in self.offers(job):
            raise StudioError(f"This run is {job.status}; wait for its end before you queue it again.")
        with self.db.transaction():
            again = self.add(job.document, owner=owner, targets=job.targets, params=job.params,
                             priority=job.priority,
                             batch=job.batch, retried_from=job.id, crashes=job.crashes)
            self.discard(run, owner)
        return again

    def discard(self, run: str, owner: str) -> bool:
        """Give a parked run up: it is cancelled. False if it is not parked."""
        return self.db.execute("UPDATE runs SET status = 'cancelled', finished = ? WHERE id = ? "
                               "AND owner = ? AND status = 'parked'", (time.time(), run, owner)) > 0

    def node_states(self, run: str) -> dict[tuple[str, int | None], NodeState]:
        """See `Journal.nodes`."""
        return self.journal.nodes(run)

    def typical_seconds(self, kinds: Iterable[str] | None = None) -> dict[str, float]:
        """See `Journal.typical_seconds`."""
        return self.journal.typical_seconds(kinds)

    def _check_room(self, owner: str) -> None:
        row = self.db.one("SELECT count(*) AS n, coalesce(sum(owner = ?), 0) AS own FROM runs "
                          "WHERE status = 'queued'",
                          (owner,))
        waiting, own = (int(row["n"]), int(row["own"])) if row else (0, 0)
        if own >= self._waiting:
            raise Refused(f"{own} of your runs are waiting; at most {self._waiting} may.",
                          hint="Wait until one is done, or cancel one.")
        if waiting >= self._total:
            raise Refused(f"{waiting} runs are waiting; the queue holds {self._total}.",
                          hint="Try again later.")

    def _owned(self, run: str, owner: str) -> Job:
        job = self.get(run, owner)
        if job is None:
            raise unknown_run(run)
        return job

    def _known(self, run: str) -> Job:
        row = self.db.one(f"{_SELECT} WHERE r.id = ?", (run,))
        if row is None:
            raise unknown_run(run)
        return _job(row)


def unknown_run(run: str) -> StudioError:
    """The same words for a run that does not exist and one of another owner."""
    return StudioError(f"There is no run '{run[:64]}'.")


def _broken_off(status: str, crashes: int) -> str:
    if status == "queued":
        return "The command that wanted this run ended before it began."
    times = "" if crashes < 2 else f" for the {crashes}. time"
    return f"Weft ended while this was running{times}."


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"], owner=row["owner"], status=row["status"], document=row["document"], graph=row["graph"],
        targets=None if row["targets"] is None else tuple(json.loads(row["targets"])),
        params=json.loads(row["params"]), priority=row["priority"], batch=row["batch"],
        retried_from=row["retried_from"], crashes=row["crashes"],
        error=json.loads(row["error"]) if row["error"] else None, created=row["created"],
        started=row["started"],
        finished=row["finished"], process=row["process"])
