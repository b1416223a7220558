"""Which pictures a picture was made from, and which were made from it; deleted ones stay as tombstones."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.history.generation import Generation

if TYPE_CHECKING:
    from studio.history.store import History

MAX_DEPTH = 50
MAX_KIN = 1000

_QUERY = """
WITH RECURSIVE kin (id, role, depth) AS (
    SELECT {far}, role, 1 FROM parents WHERE {near} = :id
    UNION
    SELECT p.{far}, p.role, kin.depth + 1 FROM kin JOIN parents p ON p.{near} = kin.id
    WHERE kin.depth < :depth
)
SELECT kin.id, kin.role, min(kin.depth) AS depth, g.deleted IS NOT NULL AS deleted, g.owner
FROM kin LEFT JOIN generations g ON g.id = kin.id
WHERE kin.id != :id AND (g.owner IS NULL OR g.owner = :owner)
GROUP BY kin.id ORDER BY min(kin.depth), coalesce(g.created, 0), kin.id LIMIT :most
"""


@dataclass(frozen=True)
class Kin:
    """A relative: its id, the role of the nearest link, how many links away, the picture unless deleted."""

    id: str
    role: str
    depth: int
    deleted: bool
    generation: Generation | None


def ancestors(history: History, owner: str, identity: str, depth: int = 20) -> list[Kin]:
    """What this picture was made from, nearest first, at most `depth` (1..50) links away."""
    return _kin(history, owner, identity, depth, near="child", far="parent")


def descendants(history: History, owner: str, identity: str, depth: int = 20) -> list[Kin]:
    """What was made from this picture, nearest first, at most `depth` (1..50) links away."""
    return _kin(history, owner, identity, depth, near="parent", far="child")


@dataclass(frozen=True)
class Family:
    """A picture with all that it came from and that came from it.

    `members`: pictures by id, None for one that was deleted. `links`: (parent, child, role).
    """

    start: str
    members: dict[str, Generation | None]
    links: tuple[tuple[str, str, str], ...]


def family(history: History, owner: str, identity: str, depth: int = 20) -> Family:
    """Ancestors and descendants of a picture, with the links between them; see `ancestors`."""
    start = history.show(owner, identity)
    kin = [*ancestors(history, owner, start.id, depth), *descendants(history, owner, start.id, depth)]
    members: dict[str, Generation | None] = {start.id: start, **{k.id: k.generation for k in kin}}
    marks = ",".join("?" * len(members))
    rows = history.db.rows(f"SELECT parent, child, role FROM parents WHERE child IN ({marks}) "
                           f"AND parent IN ({marks}) ORDER BY child, parent", [*members, *members])
    return Family(start.id, members, tuple((row["parent"], row["child"], row["role"]) for row in rows))


def _kin(history: History, owner: str, identity: str, depth: int, *, near: str, far: str) -> list[Kin]:
    start = history.show(owner, identity).id
    rows = history.db.rows(_QUERY.format(near=near, far=far),
                           {"id": start, "owner": owner, "depth": min(max(depth, 1), MAX_DEPTH),
                            "most": MAX_KIN})
    kin = []
    for row in rows:
        found = history.get(owner, row["id"])
        kin.append(Kin(row["id"], row["role"], row["depth"], deleted=found is None, generation=found))
    return kin
