"""What happened in a run, in SQLite: its events, its nodes, their seconds (engine E10, E30, E36).

Progress and previews are for the moment and stay in memory; everything else survives a crash.
"""
from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from studio.db.database import Db, Parameters
from studio.graph.events import Event

PASSING = ("progress", "preview")
_STATES = {"started": "running", "finished": "ran", "cached": "cached", "skipped": "skipped",
           "failed": "failed",
           "cancelled": "cancelled"}
_SAMPLES = 20  # past runs of a node kind that an estimate looks at


@dataclass(frozen=True)
class NodeState:
    """How a node stands: queued, running, ran, cached, skipped, failed, cancelled; `seconds` if known."""

    state: str
    kind: str = ""
    key: str = ""
    digest: str = ""
    seconds: float | None = None
    error: str = ""


class Journal:
    """Writes and reads the tables `events` and `run_nodes`."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def __repr__(self) -> str:
        return f"Journal({self._db!r})"

    def write(self, events: Sequence[Event]) -> None:
        """Store events and what they say about nodes, in one transaction."""
        lasting = [event for event in events if event.kind not in PASSING and event.seq]
        if not lasting:
            return
        with self._db.transaction():
            self._db.execute_many(
                "INSERT OR IGNORE INTO events (run, seq, node, item, kind, payload) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [(event.run, event.seq, event.node, event.item, event.kind,
                  _json(event)) for event in lasting])
            self._db.execute_many(
                "INSERT INTO run_nodes (run, path, item, kind, key, digest, status, seconds, error) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run, path, item) DO UPDATE SET "
                "kind = CASE excluded.kind WHEN '' THEN kind ELSE excluded.kind END, "
                "key = CASE excluded.key WHEN '' THEN key ELSE excluded.key END, "
                "digest = CASE excluded.digest WHEN '' THEN digest ELSE excluded.digest END, "
                "status = excluded.status, seconds = excluded.seconds, error = excluded.error",
                [row for event in lasting for row in _node_rows(event)])

    def events(self, run: str, since: int = 0) -> list[Event]:
        """The stored events with seq > `since`, in order."""
        rows = self._db.rows("SELECT * FROM events WHERE run = ? AND seq > ? ORDER BY seq", (run, since))
        found = []
        for row in rows:
            payload = json.loads(row["payload"])
            moment = payload.pop("__time__", 0.0)
            found.append(Event(run, row["seq"], row["kind"], row["node"], row["item"], payload, None, moment))
        return found

    def last_seq(self, run: str) -> int:
        """The seq of the last stored event; 0 if there is none."""
        row = self._db.one("SELECT coalesce(max(seq), 0) AS n FROM events WHERE run = ?", (run,))
        return int(row["n"]) if row else 0

    def nodes(self, run: str) -> dict[tuple[str, int | None], NodeState]:
        """The states of a run's nodes by (node path, item); item None where nothing is mapped over a list."""
        return {(row["path"], None if row["item"] < 0 else row["item"]): NodeState(
                    row["status"], row["kind"], row["key"], row["digest"], row["seconds"], row["error"])
                for row in self._db.rows("SELECT * FROM run_nodes WHERE run = ?", (run,))}

    def typical_seconds(self, kinds: Iterable[str] | None = None) -> dict[str, float]:
        """The median seconds of the latest runs of each node kind; kinds that never ran are left out."""
        wanted = list(kinds) if kinds is not None else [
            row["kind"] for row in self._db.rows("SELECT DISTINCT kind FROM run_nodes WHERE status = 'ran'")]
        found = {}
        for kind in wanted:
            seconds = [row["seconds"] for row in self._db.rows(
                "SELECT n.seconds FROM run_nodes n JOIN runs r ON r.id = n.run WHERE n.status = 'ran' "
                "AND n.kind = ? AND n.seconds IS NOT NULL ORDER BY r.number DESC LIMIT ?", (kind, _SAMPLES))]
            if seconds:
                found[kind] = float(statistics.median(seconds))
        return found

    def prune(self, *, events_before: float, runs_before: float) -> None:
        """Forget the events of runs that ended before one moment, and runs that ended before another."""
        with self._db.transaction():
            self._db.execute("DELETE FROM events WHERE run IN (SELECT id FROM runs WHERE finished < ?)",
                             (events_before,))
            self._db.execute("DELETE FROM runs WHERE finished < ? "
                             "AND status NOT IN ('queued', 'running', 'parked')",
                             (runs_before,))
            self._db.execute("DELETE FROM graphs WHERE NOT EXISTS (SELECT 1 FROM runs WHERE graph = hash) "
                             "AND NOT EXISTS (SELECT 1 FROM generations WHERE graph = hash)")


def _json(event: Event) -> str:
    return json.dumps({**event.payload, "__time__": event.time}, separators=(",", ":"), default=str)


def _node_rows(event: Event) -> list[Parameters]:
    """The rows of `run_nodes` that an event brings."""
    if event.kind == "planned":
        return [(event.run, str(node["id"]), -1, str(node.get("kind", "")), str(node.get("key") or ""), "",
                 "queued",
                 None, "") for node in event.payload.get("nodes", ())]
    if event.kind not in _STATES or not event.node:
        return []
    seconds = event.payload.get("seconds")
    return [(event.run, event.node, -1 if event.item is None else event.item, "",
             str(event.payload.get("key") or ""),
             str(event.payload.get("digest") or ""), _STATES[event.kind],
             float(seconds) if isinstance(seconds, (int, float)) else None,
             str(event.payload.get("message") or "") if event.kind == "failed" else "")]
