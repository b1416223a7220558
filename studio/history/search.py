"""Text and filters to rows of one owner, newest first, paged by (created, id).

What a person types is never FTS syntax: each word becomes a quoted string, words are joined by AND.
"""
from __future__ import annotations

import math
import re
import sqlite3
import unicodedata
from dataclasses import dataclass

from studio.db.database import Db, Value
from studio.errors import StudioError
from studio.history.generation import HELPERS, Generation, Parents, clean, from_row

MAX_LIMIT = 500
MAX_WORDS = 32
SELECT = ("SELECT g.*, coalesce(f.missing, 1) AS missing "
          "FROM generations g LEFT JOIN files f ON f.hash = g.file ")
# Scripts written without spaces: the index sees a sentence as one word; these are looked for by letters.
_NO_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
                        "\U00020000-\U0003ffff]")
_HELPER = ("(g.title IN (" + ", ".join(f"'{title}'" for title in HELPERS) + ") "
           "AND g.node != 'save' AND g.node NOT LIKE '%/save')")
_LIKE = ("(g.prompt LIKE :{0} ESCAPE '\\' OR g.title LIKE :{0} ESCAPE '\\' "
         "OR g.negative LIKE :{0} ESCAPE '\\' OR g.note LIKE :{0} ESCAPE '\\' "
         "OR EXISTS (SELECT 1 FROM tags t WHERE t.generation = g.id AND t.tag LIKE :{0} ESCAPE '\\'))")


@dataclass(frozen=True, kw_only=True)
class Query:
    """What to look for; None and "" mean: whatever. Times are Unix seconds, `since` included, `until` not.

    `prefix`: the last word of `text` may be unfinished. `model`: its reference or digest.
    `helpers`: see `Generation.helper`.
    """

    text: str = ""
    prefix: bool = False
    model: str | None = None
    seed: int | None = None
    starred: bool | None = None
    tag: str | None = None
    node_kind: str | None = None
    since: float | None = None
    until: float | None = None
    width: int | None = None
    height: int | None = None
    parent: str | None = None
    run: str | None = None
    missing: bool | None = None
    helpers: bool | None = None


@dataclass(frozen=True)
class Page:
    """Some rows; `next` goes into `before` for the following ones, None at the end."""

    items: tuple[Generation, ...]
    next: str | None = None


def find(db: Db, owner: str, query: Query, *, limit: int = 50, before: str | None = None,
         skip: int = 0) -> Page:
    """The rows of `owner` that fit, newest first; `limit` is 1..500; `skip` rows are passed over."""
    if not 1 <= limit <= MAX_LIMIT:
        raise StudioError(f"A page holds 1 to {MAX_LIMIT} pictures, not {limit}.")
    where, values = _conditions(owner, query)
    if before is not None:
        values["before_time"], values["before_id"] = _position(before)
        where += " AND (g.created, g.id) < (:before_time, :before_id)"
    values["limit"], values["skip"] = limit + 1, max(0, skip)
    # The plus keeps SQLite from walking through time when the index of seeds finds the few rows at once.
    order = "+g.created" if query.seed is not None else "g.created"
    rows = db.rows(f"{SELECT} WHERE {where} ORDER BY {order} DESC, g.id DESC "
                   "LIMIT :limit OFFSET :skip", values)
    items = complete(db, rows[:limit])
    more = len(rows) > limit
    return Page(items, f"{items[-1].created!r}~{items[-1].id}" if more else None)


def count(db: Db, owner: str, query: Query) -> int:
    """How many rows of `owner` fit."""
    where, values = _conditions(owner, query)
    # Joined only if needed: counting alone then reads nothing but an index.
    files = "LEFT JOIN files f ON f.hash = g.file" if query.missing is not None else ""
    row = db.one(f"SELECT count(*) AS n FROM generations g {files} WHERE {where}", values)
    return int(row["n"]) if row else 0


def days(db: Db, owner: str, query: Query, zone: float = 0.0) -> list[tuple[int, int]]:
    """How many rows fit on each day, newest first: (days since 1970-01-01, rows).

    `zone`: seconds that local time is ahead of UTC.
    """
    where, values = _conditions(owner, query)
    values["zone"] = zone
    files = "LEFT JOIN files f ON f.hash = g.file" if query.missing is not None else ""
    rows = db.rows(f"SELECT CAST((g.created + :zone) / 86400 AS INTEGER) AS day, count(*) AS n "
                   f"FROM generations g {files} WHERE {where} GROUP BY day ORDER BY day DESC", values)
    return [(int(row["day"]), int(row["n"])) for row in rows]


def ids(db: Db, owner: str, query: Query, limit: int) -> list[str]:
    """The ids of at most `limit` rows that fit, newest first."""
    where, values = _conditions(owner, query)
    values["limit"] = limit
    files = "LEFT JOIN files f ON f.hash = g.file" if query.missing is not None else ""
    rows = db.rows(f"SELECT g.id FROM generations g {files} WHERE {where} "
                   "ORDER BY g.created DESC, g.id DESC LIMIT :limit", values)
    return [str(row["id"]) for row in rows]


def complete(db: Db, rows: list[sqlite3.Row]) -> tuple[Generation, ...]:
    """Generations of rows of SELECT, with their tags and parents."""
    ids = [row["id"] for row in rows]
    marks = ",".join("?" * len(ids))
    tags: dict[str, list[str]] = {}
    parents: dict[str, list[tuple[str, str]]] = {}
    if ids:
        for row in db.rows(f"SELECT generation, tag FROM tags WHERE generation IN ({marks}) ORDER BY tag",
                           ids):
            tags.setdefault(row["generation"], []).append(row["tag"])
        for row in db.rows(f"SELECT child, parent, role FROM parents WHERE child IN ({marks})", ids):
            parents.setdefault(row["child"], []).append((row["parent"], row["role"]))
    none: Parents = ()
    return tuple(from_row(row, tuple(tags.get(row["id"], ())),
                          tuple(parents.get(row["id"], none))) for row in rows)


def fts_words(text: str) -> tuple[list[str], list[str]]:
    """The words of a text: quoted strings for the index, and words to be looked for by letters."""
    indexed, literal = [], []
    for word in clean(text, 10_000).split()[:MAX_WORDS]:
        if _NO_SPACES.search(word):
            literal.append(word)
        elif any(_is_word_part(letter) for letter in word):
            indexed.append('"' + word[:200].replace('"', '""') + '"')
    return indexed, literal


def _is_word_part(letter: str) -> bool:
    """As the index of migration m001 sees it: letters, numbers, private use, symbols such as emoji."""
    kind = unicodedata.category(letter)
    return kind[0] in "LN" or kind in ("Co", "So")


def _conditions(owner: str, query: Query) -> tuple[str, dict[str, Value]]:
    parts, values = ["g.owner = :owner", "g.deleted IS NULL"], dict[str, Value](owner=owner)
    if query.text.strip():
        parts += _text_conditions(query, values)
    for name in ("seed", "run", "width", "height"):
        value = getattr(query, name)
        if value is not None:
            parts.append(f"g.{name} = :{name}")
            values[name] = value
    if query.seed is not None and not -2**63 <= query.seed < 2**63:
        parts.append("0")  # more than a column holds
        values["seed"] = 0
    if query.starred is not None:
        parts.append("g.starred = :starred")
        values["starred"] = int(query.starred)
    if query.helpers is not None:
        parts.append(_HELPER if query.helpers else f"NOT {_HELPER}")
    if query.missing is not None:
        parts.append("coalesce(f.missing, 1) = :missing")
        values["missing"] = int(query.missing)
    for name, condition in (
        ("since", "g.created >= :since"),
        ("until", "g.created < :until"),
        ("tag", "EXISTS (SELECT 1 FROM tags t WHERE t.generation = g.id AND t.tag = :tag)"),
        ("parent", "EXISTS (SELECT 1 FROM parents p WHERE p.child = g.id AND p.parent = :parent)"),
        ("node_kind", "EXISTS (SELECT 1 FROM graph_kinds k WHERE k.graph = g.graph AND k.kind = :node_kind)"),
        ("model", "(g.model = :model OR json_extract(g.record, '$.model.ref') = :model "
                  "OR json_extract(g.record, '$.model.digest') = :model)"),
    ):
        value = getattr(query, name)
        if value is not None:
            parts.append(condition)
            values[name] = clean(value) if isinstance(value, str) else value
    return " AND ".join(parts), values


def _text_conditions(query: Query, values: dict[str, Value]) -> list[str]:
    indexed, literal = fts_words(query.text)
    parts = []
    if indexed:
        unfinished = query.prefix and not query.text[-1:].isspace()
        values["match"] = " AND ".join(indexed) + ("*" if unfinished else "")
        parts.append("g.number IN (SELECT rowid FROM generations_fts WHERE generations_fts MATCH :match)")
    for number, word in enumerate(literal):
        for special in "\\%_":
            word = word.replace(special, "\\" + special)
        values[f"like{number}"] = f"%{word}%"
        parts.append(_LIKE.format(f"like{number}"))
    return parts or ["0"]  # nothing but signs that no text is made of: nothing is found


def _position(before: str) -> tuple[float, str]:
    created, _, identity = before.partition("~")
    try:
        moment = float(created)
        if not math.isfinite(moment):
            raise ValueError(created)
        return moment, clean(identity, 64)
    except ValueError as error:
        raise StudioError("That is not a place in the list of pictures.",
                          hint="Start again from the first page.") from error
