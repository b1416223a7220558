"""How pass sets become calls of the attention kernel: which rows, queries and keys each call takes.

Worked out once for each shape of a sequence and each set of passes, from plain numbers; a site only runs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from studio.controls.control import Columns, Extension, Pass, PassSet
from studio.controls.fused import columns_bias, columns_scale, joined, take
from studio.errors import StudioError, did_you_mean
from studio.models.family import TokenLayout

MOST_KEPT = 64
ALL = slice(None)
Index = slice | list[int]


@lru_cache(maxsize=1024)
def row_index(rows: tuple[int, ...], total: int) -> Index:
    """Rows as an index: a slice (no copy) where they lie evenly, ALL where they are all."""
    if rows == tuple(range(total)):
        return ALL
    step = rows[1] - rows[0] if len(rows) > 1 else 1
    if step > 0 and rows == tuple(range(rows[0], rows[-1] + 1, step)):
        return slice(rows[0], rows[-1] + 1, step)
    return list(rows)


def pick(tensor: torch.Tensor, index: Index) -> torch.Tensor:
    """Rows of a tensor."""
    return tensor if index is ALL else tensor[index]


@dataclass(frozen=True, eq=False)
class KernelCall:
    """One call of the kernel: some rows of a pass, its queries and keys in the order of the sequence,
    extensions behind them.

    `where`: (span, start, stop) on the axis of these queries. `part`: these rows among the pass set's.
    `extensions`: (number, rows of it). `terms`: (keys, weight) that multiply values; `logs` those that are
    added to scores. `named_queries`, `named_keys`: where queries and keys stand in the pass's own mask, None
    = the same order; the last `open_keys` keys are not in it. `kv` numbers equal sets of keys. `led`:
    rows, and keys on the axis of this call: with those keys the scores are those rows'; None = its own.
    """

    rows: Index
    part: Index
    count: int
    queries: tuple[slice, ...]
    where: tuple[tuple[str, int, int], ...]
    keys: tuple[slice, ...]
    extensions: tuple[tuple[int, Index], ...]
    extended: int
    terms: tuple[tuple[tuple[int, ...], float], ...]
    logs: tuple[tuple[tuple[int, ...], float], ...]
    named_queries: tuple[int, ...] | None
    named_keys: tuple[int, ...] | None
    open_keys: int
    kv: int
    led: tuple[Index, slice] | None = None
    masks: dict[tuple[int, int], tuple[object, object, torch.Tensor | None]] = field(default_factory=dict)
    factors: list[torch.Tensor] = field(default_factory=list)

    def mask(
        self, own: torch.Tensor | None, network: torch.Tensor | None, like: torch.Tensor
    ) -> torch.Tensor | None:
        """The mask of this call: the pass's own, the network's and the weights on scores; None = all seen."""
        if own is None and network is None and not self.logs:
            return None
        key = (id(own), id(network))
        found = self.masks.get(key)
        if found is None:
            if len(self.masks) >= MOST_KEPT:
                self.masks.clear()
            # both are kept in the entry, so that their ids stay theirs
            found = self.masks[key] = (own, network, self._mask(own, network, like))
        return found[2]

    def factor(self, like: torch.Tensor) -> torch.Tensor:
        """Factors of the values: key, 1."""
        if not self.factors:
            keys = sum(span.stop - span.start for span in self.keys) + self.extended
            self.factors.append(columns_scale(self.terms, keys, like))
        return self.factors[0]

    def _mask(
        self, own: torch.Tensor | None, network: torch.Tensor | None, like: torch.Tensor
    ) -> torch.Tensor | None:
        mask = None if own is None else self._own(own, like)
        if network is not None:
            part = network if network.shape[0] == 1 else pick(network, self.rows)
            part = part if part.shape[2] == 1 else take(part, self.queries)
            part = take(part, self.keys, dim=3)
            mask = joined(mask, _opened(part, self.extended))
        if self.logs:
            keys = sum(span.stop - span.start for span in self.keys) + self.extended
            mask = joined(mask, columns_bias(self.logs, keys, like))
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(like.dtype)
        return mask

    def _own(self, mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor | None:
        """A pass's mask in the order of this call."""
        mask = mask.to(like.device)
        if mask.shape[0] > 1:
            mask = pick(mask, self.part)
        for dim, order in ((2, self.named_queries), (3, self.named_keys)):
            if order is not None and mask.shape[dim] > 1:
                mask = mask.index_select(dim, torch.tensor(order, device=mask.device))
        if mask.shape[3] == 1 and self.open_keys:
            named = sum(span.stop - span.start for span in self.keys) + self.extended - self.open_keys
            mask = mask.expand(-1, -1, -1, named)
        mask = _opened(mask, self.open_keys)
        seen = mask if mask.dtype == torch.bool else mask > -math.inf
        if not bool(seen.any(-1).all()):
            raise StudioError(
                "A mask leaves a query without any key; every query must see at least one.",
                hint="Let image tokens see the picture's base prompt.",
            )
        # where everything is seen a kernel without a mask is faster
        return None if mask.dtype == torch.bool and bool(seen.all()) else mask


@dataclass(frozen=True, eq=False)
class PassProgram:
    """The calls of one pass; `spans`: its queries."""

    spans: tuple[str, ...]
    calls: tuple[KernelCall, ...]


@dataclass(frozen=True, eq=False)
class Owned:
    """Rows with one plan. `source`: number of their pass set; None = rows without an owner."""

    source: int | None
    rows: tuple[int, ...]
    index: Index
    passes: tuple[PassProgram, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """`weighed`: the numbers of the weights on words that any pass has a use for."""

    inner: tuple[Owned, ...]
    outer: tuple[Owned, ...]
    weighed: frozenset[int]


class Here:
    """One sequence as a kind of site sees it, and the programs worked out for it.

    `shown`: spans that every row sees, in the order of the sequence; `hidden`: segments. `weighed`: names of
    the controls whose weights on words any pass had a use for.
    """

    def __init__(self, layout: TokenLayout) -> None:
        self.layout = layout
        self.rows = len(layout.roles)
        self.roles = frozenset(role.partition(":")[0] for role in layout.roles)
        order = sorted(layout.spans, key=lambda name: layout.spans[name].start)
        self.shown = tuple(name for name in order if not name.startswith("text/seg:"))
        self.hidden = tuple(name for name in order if name.startswith("text/seg:"))
        self.pad = None if layout.pad is None else layout.pad[:, None, None, :]
        self.weighed: set[str] = set()
        self._programs: dict[object, Program] = {}
        covered = sum(layout.size(name) for name in order)
        if covered != layout.length:
            raise StudioError(
                f"The layout of {layout.length} tokens names {covered} of them: {', '.join(order)}.",
                hint="The family's adapter must name every token.",
            )

    def program(
        self,
        extensions: Sequence[Extension],
        sets: Sequence[PassSet],
        columns: Sequence[Columns],
        names: Sequence[str],
    ) -> Program:
        """The calls that these pass sets make; `names`: whose each set is."""
        key = (
            tuple((s.rows, s.outer, tuple((p.queries, p.keys, p.scores) for p in s.passes)) for s in sets),
            tuple((e.name, e.rows, e.k.shape[2], e.weight) for e in extensions),
            tuple(columns),
        )
        program = self._programs.get(key)
        if program is None:
            if len(self._programs) >= MOST_KEPT:
                self._programs.clear()
            program = self._programs[key] = _Builder(self, extensions, columns).program(sets, names)
        return program

    def merged(self, names: Iterable[str]) -> tuple[slice, ...]:
        """Spans as slices of the sequence, in its order, neighbours as one."""
        spans = sorted((self.layout.span(name) for name in names), key=lambda span: span.start)
        found: list[slice] = []
        for span in spans:
            if found and found[-1].stop == span.start:
                found[-1] = slice(found[-1].start, span.stop)
            elif span.stop > span.start:
                found.append(span)
        return tuple(found)

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Spans in the order of the sequence."""
        return sorted(names, key=lambda name: self.layout.span(name).start)


def network_mask(mask: torch.Tensor | None, here: Here) -> torch.Tensor | None:
    """The network's own mask and the layout's padding as row, head, query, key; None where everything is
    seen."""
    if mask is None:
        return here.pad
    if mask.ndim < 4:
        mask = mask[(None,) * (4 - mask.ndim)]
    if mask.dtype == torch.bool and mask.shape[1:3] == (1, 1):
        if here.pad is not None:
            return here.pad
        return None if bool(mask.all()) else mask
    return joined(mask, here.pad)


class _Builder:
    """Makes a program; see Here.program."""

    def __init__(self, here: Here, extensions: Sequence[Extension], columns: Sequence[Columns]) -> None:
        self.here = here
        self.extensions = extensions
        self.columns = columns
        self._kv: dict[object, int] = {}
        self._weighed: set[int] = set()

    def program(self, sets: Sequence[PassSet], names: Sequence[str]) -> Program:
        owner: dict[int, str] = {}
        for one, name in zip(sets, names, strict=True):
            wrong = [row for row in one.rows if not 0 <= row < self.here.rows]
            if wrong or len(set(one.rows)) < len(one.rows):
                raise StudioError(f"{name!r} owns the rows {one.rows}; there are 0 to {self.here.rows - 1}.")
            for row in () if one.outer else one.rows:
                if row in owner:
                    raise StudioError(
                        f"{owner[row]!r} and {name!r} both decide what row {self.here.layout.roles[row]!r} "
                        "sees.",
                        hint="Give them different steps or blocks, or leave one of them out.",
                    )
                owner[row] = name
        inner: list[Owned] = []
        outer: list[Owned] = []
        free = tuple(row for row in range(self.here.rows) if row not in owner)
        if free:
            plain = PassSet(free, (Pass(self.here.shown, self.here.shown),), _nothing)
            inner.append(self._owned(None, plain, "the network"))
        for number, (one, name) in enumerate(zip(sets, names, strict=True)):
            (outer if one.outer else inner).append(self._owned(number, one, name))
        return Program(tuple(inner), tuple(outer), frozenset(self._weighed))

    def _owned(self, number: int | None, one: PassSet, name: str) -> Owned:
        named = {key for item in one.passes for key in item.keys}
        passes = []
        for item in one.passes:
            self._check(item, name)
            joins = []
            for index, extension in enumerate(self.extensions):
                unnamed = extension.name not in named and not one.outer and "image" in item.keys
                if extension.name in item.keys or unnamed:
                    joins.append(index)
            passes.append(self._pass(item, one.rows, joins))
        return Owned(number, one.rows, row_index(one.rows, self.here.rows), tuple(passes))

    def _pass(self, item: Pass, rows: tuple[int, ...], joins: Sequence[int]) -> PassProgram:
        weighed = [
            i
            for i, c in enumerate(self.columns)
            if "text" in item.keys and "image" in item.queries and c.tokens
        ]
        variants: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
        for place, row in enumerate(rows):
            exts = tuple(i for i in joins if row in self.extensions[i].rows)
            cols = tuple(i for i in weighed if row in self.columns[i].rows)
            self._weighed.update(cols)
            variants.setdefault((exts, cols), []).append(place)
        calls = []
        for (exts, cols), places in variants.items():
            groups: list[tuple[tuple[str, ...], tuple[int, ...]]] = [(item.queries, cols)]
            if cols:
                rest = tuple(name for name in item.queries if name != "image")
                groups = [(("image",), cols), *([(rest, ())] if rest else [])]
            for queries, terms in groups:
                calls.append(self._call(item, rows, places, queries, exts, terms))
        return PassProgram(item.queries, tuple(calls))

    def _call(
        self,
        item: Pass,
        rows: tuple[int, ...],
        places: Sequence[int],
        queries: Sequence[str],
        exts: tuple[int, ...],
        cols: tuple[int, ...],
    ) -> KernelCall:
        here, layout = self.here, self.here.layout
        own = tuple(rows[place] for place in places)
        exts = tuple(sorted(exts, key=lambda i: self.extensions[i].name not in item.keys))
        extended = [self.extensions[i] for i in exts]
        named = [e.name for e in extended if e.name in item.keys]
        spans = here.ordered(name for name in item.keys if name in layout.spans)
        asked = here.ordered(queries)
        start, where = 0, []
        for name in asked:
            where.append((name, start, start + layout.size(name)))
            start += layout.size(name)
        place, at = {}, 0
        for key in (*spans, *(e.name for e in extended)):
            place[key] = (at, at + self._size(key))
            at += self._size(key)
        chosen = [self.columns[i] for i in cols]
        text = place["text"][0] if "text" in place else 0
        logs = [(tuple(text + t for t in c.tokens), c.weight) for c in chosen if not c.scale]
        logs += [(tuple(range(*place[e.name])), e.weight) for e in extended if e.weight != 1]
        return KernelCall(
            rows=row_index(own, here.rows),
            part=row_index(tuple(places), len(rows)),
            count=len(rows),
            queries=here.merged(asked),
            where=tuple(where),
            keys=here.merged(spans),
            extensions=tuple((i, self._rows_of(i, own)) for i in exts),
            extended=sum(e.k.shape[2] for e in extended),
            terms=tuple((tuple(text + t for t in c.tokens), c.weight) for c in chosen if c.scale),
            logs=tuple(logs),
            named_queries=self._places(item.queries, asked),
            named_keys=self._places(item.keys, [*spans, *named]),
            open_keys=sum(e.k.shape[2] for e in extended if e.name not in item.keys),
            kv=self._kv.setdefault((own, tuple(spans), exts), len(self._kv)),
            led=self._led(item, places, place),
        )

    def _led(
        self, item: Pass, places: Sequence[int], at: Mapping[str, tuple[int, int]]
    ) -> tuple[Index, slice] | None:
        """Whose scores take the place of a call's, and with which keys; `at`: where its keys lie."""
        if item.scores is None:
            return None
        rows = tuple(item.scores.rows[place] for place in places)
        return row_index(rows, self.here.rows), slice(*at[item.scores.span])

    def _size(self, key: str) -> int:
        """Tokens of a span or an extension."""
        if key in self.here.layout.spans:
            return self.here.layout.size(key)
        return int(next(e.k.shape[2] for e in self.extensions if e.name == key))

    def _rows_of(self, number: int, own: tuple[int, ...]) -> Index:
        """Rows of the sequence as rows of an extension."""
        rows = self.extensions[number].rows
        return row_index(tuple(rows.index(row) for row in own), len(rows))

    def _places(self, named: Sequence[str], ordered: Sequence[str]) -> tuple[int, ...] | None:
        """Where tokens in our order stand among those that a pass names; None if at the same places."""
        starts, at = {}, 0
        for name in named:
            starts[name] = at
            at += self._size(name)
        places = [starts[name] + token for name in ordered for token in range(self._size(name))]
        return None if places == list(range(at)) else tuple(places)

    def _check(self, item: Pass, name: str) -> None:
        """Raise for a pass that names what is not there."""
        spans = self.here.layout.spans
        known = (*spans, *(e.name for e in self.extensions))
        for key in (*item.queries, *item.keys):
            if key not in (spans if key in item.queries else known):
                raise StudioError(
                    f"{name!r} names the tokens {key!r}, which this call does not have.",
                    hint=did_you_mean(key, known) or f"It has {', '.join(known)}.",
                )
        if not item.queries or not item.keys:
            raise StudioError(f"{name!r} makes a pass without queries or keys.")


def _opened(mask: torch.Tensor, keys: int) -> torch.Tensor:
    """A mask with further keys, seen by everybody."""
    if not keys or mask.shape[3] == 1:
        return mask
    return torch.nn.functional.pad(mask, (0, keys), value=mask.dtype == torch.bool)


def _nothing(inner: object, outputs: object) -> dict[str, torch.Tensor]:
    raise AssertionError("rows without an owner have nothing to combine")
