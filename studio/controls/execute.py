"""What happens at one attention site, on tensors alone (controls.md 3.3).

Order: edits, extensions, passes and their combination, probes, readers of the output. Nothing here writes
into what the network or a control handed over. Tensors: row, head, token, channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Protocol

import torch

from studio.controls.control import AttentionControl, Call, Extension, Maps, Outputs, PassSet
from studio.controls.fused import attention_mass, replace_logits, take
from studio.controls.passes import ALL, Here, KernelCall, Owned, network_mask, pick, row_index
from studio.controls.plan import Edit, SitePlan
from studio.errors import StudioError


class Kernel(Protocol):
    """The network's own attention function, with the arguments of this call."""

    gqa: bool

    def plain(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The call as the network made it, with these tensors and its other arguments untouched."""

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention with the network's scale and a mask of ours."""


def execute(plan: SitePlan, call: Call, here: Here, kernel: Kernel, maps: Maps) -> tuple[torch.Tensor, Call]:
    """The output of the site, row, head, token, channel, and the call with its edited q, k and v."""
    edited = edit(plan.edits, call, here) if plan.edits else call
    if plan.general:
        out = _Site(plan, edited, here, kernel).run()
    else:
        out = kernel.plain(edited.q, edited.k, edited.v)
    if plan.probes:
        _probe(plan.probes, call, edited, here, kernel, maps)
    if plan.reads:
        outputs = {name: out[:, :, span] for name, span in here.layout.spans.items()}
        for control in plan.reads:
            control.read(edited, outputs, maps)
    return out, edited


def edit(edits: Sequence[Edit], call: Call, here: Here) -> Call:
    """The call with q, k and v as the edits want them. Every edit sees the original tensors; of several, only
    what each declared to write is taken, so that their order does not matter."""
    active = [(c, writes) for c, writes in edits if any(write.role in here.roles for write in writes)]
    if not active:
        return call
    if len(active) == 1:
        return _with(call, *_edited(active[0][0], call))
    now, own = [call.q, call.k, call.v], [False, False, False]
    for control, writes in active:
        new = _edited(control, call)
        for write in writes:
            rows = call.layout.rows(write.role)
            if not rows:
                continue
            index, span = row_index(rows, here.rows), call.layout.span(write.span)
            for letter in write.tensors:
                place = "qkv".index(letter)
                if not own[place]:
                    now[place], own[place] = now[place].clone(), True
                now[place][index, :, span] = new[place][index, :, span]
    return _with(call, *now)


def _edited(control: AttentionControl, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k, v = control.edit(call)
    if q.shape != call.q.shape or k.shape != call.k.shape or v.shape != call.v.shape:
        raise StudioError(
            f"The edit of {control.name!r} changed the shape of q, k or v at {call.site.name}.",
            hint="Append keys with `extend`; an edit keeps shapes.",
        )
    return q, k, v


def _with(call: Call, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Call:
    return Call(call.site, call.step, call.layout, q, k, v, call.mask, call.scale, call.maps)


class _Site:
    """One run of a site where the network's own call is not enough."""

    def __init__(self, plan: SitePlan, call: Call, here: Here, kernel: Kernel) -> None:
        self.call = call
        self.here = here
        self.kernel = kernel
        self.extensions: list[Extension] = [
            extension for control in plan.extends for extension in control.extend(call) if extension.rows
        ]
        self.sets: list[PassSet] = []
        self.names: list[str] = []
        for control in plan.owners:
            for one in control.passes(call):
                if one.rows:
                    self.sets.append(one)
                    self.names.append(control.name)
        columns = [(terms, control.name) for control in plan.columns for terms in control.columns(call)]
        self.weights = [(terms, name) for terms, name in columns if terms.rows and terms.tokens]
        self.columns = [terms for terms, _ in self.weights]
        self.keys: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def run(self) -> torch.Tensor:
        """row, head, token, channel."""
        call, here = self.call, self.here
        if not (self.extensions or self.sets or self.columns or here.hidden):
            return self.kernel.plain(call.q, call.k, call.v)
        program = here.program(self.extensions, self.sets, self.columns, self.names)
        here.weighed.update(self.weights[number][1] for number in program.weighed)
        self.network = network_mask(call.mask, here)
        rows, heads, length = call.q.shape[:3]
        # tokens before heads in memory, as the network takes the heads together afterwards
        out = call.q.new_empty((rows, length, heads, call.v.shape[3])).transpose(1, 2)
        alone: dict[str, list[int]] = {name: list(range(here.rows)) for name in here.hidden}
        for owned in program.inner:
            results = [self._pass(owned, number) for number in range(len(owned.passes))]
            if owned.source is None:
                parts: Outputs = results[0]
            else:
                parts = self._combined(owned, None, results)
            self._write(out, owned, parts, alone)
        written: list[tuple[Owned, frozenset[str]]] = []
        for owned in program.outer:
            results = [self._pass(owned, number) for number in range(len(owned.passes))]
            inner = {
                name: pick(out, owned.index)[:, :, here.layout.spans[name]]
                for name in here.layout.spans
                if name not in alone or not set(owned.rows) & set(alone[name])
            }
            parts = self._combined(owned, inner, results)
            self._write(out, owned, parts, alone)
            written.append((owned, frozenset(parts)))
        if len(written) > 1:
            self._check_outer(written)
        for name, left in alone.items():
            if left:
                # nobody sees them: they attend to themselves
                index, span = row_index(tuple(left), here.rows), here.layout.spans[name]
                q, k, v = (pick(tensor, index)[:, :, span] for tensor in (call.q, call.k, call.v))
                out[index, :, span] = self.kernel.attend(q, k, v, None)
        return out

    def _pass(self, owned: Owned, number: int) -> Mapping[str, torch.Tensor]:
        """The outputs of one pass by query span: row of the set, head, token, channel."""
        own = None if owned.source is None else self.sets[owned.source].passes[number].mask
        found: dict[str, torch.Tensor] = {}
        for one in owned.passes[number].calls:
            out = self._run(one, own)
            for name, start, stop in one.where:
                piece = out[:, :, start:stop]
                if one.part is ALL:
                    found[name] = piece
                    continue
                if name not in found:
                    found[name] = piece.new_empty((one.count, *piece.shape[1:]))
                found[name][one.part] = piece
        return found

    def _run(self, one: KernelCall, own: torch.Tensor | None) -> torch.Tensor:
        q = take(pick(self.call.q, one.rows), one.queries)
        if one.kv not in self.keys:
            self.keys[one.kv] = (self._gather(one, self.call.k, "k"), self._gather(one, self.call.v, "v"))
        k, v = self.keys[one.kv]
        if one.terms:
            v = v * one.factor(v)
        mask = one.mask(own, self.network, q)
        if one.led is None:
            return self.kernel.attend(q, k, v, mask)
        rows, block = one.led
        other_q = take(pick(self.call.q, rows), one.queries)
        other_k = take(pick(self.call.k, rows), one.keys)
        other_k = torch.nn.functional.pad(other_k, (0, 0, 0, one.extended))
        return replace_logits(q, k, v, other_q, other_k, block, mask=mask, scale=self.call.scale)

    def _gather(self, one: KernelCall, tensor: torch.Tensor, which: str) -> torch.Tensor:
        """The keys or values of a call, extensions behind them."""
        base = take(pick(tensor, one.rows), one.keys)
        if not one.extensions:
            return base
        further = [
            pick(self.extensions[i].k if which == "k" else self.extensions[i].v, rows)
            for i, rows in one.extensions
        ]
        return torch.cat([base, *(part.to(base.dtype) for part in further)], dim=2)

    def _combined(
        self, owned: Owned, inner: Outputs | None, results: Sequence[Mapping[str, torch.Tensor]]
    ) -> Outputs:
        assert owned.source is not None
        parts = self.sets[owned.source].combine(inner, results)
        name = self.names[owned.source]
        strange = [span for span in parts if span not in self.here.layout.spans]
        missing = [span for span in self.here.shown if span not in parts] if inner is None else []
        if strange or missing:
            raise StudioError(
                f"The output of {name!r} at {self.call.site.name} "
                + (f"names {strange[0]!r}, which is not there." if strange else f"lacks {missing[0]!r}."),
                hint=f"This call has {', '.join(self.here.layout.spans)}.",
            )
        return parts

    def _write(self, out: torch.Tensor, owned: Owned, parts: Outputs, alone: dict[str, list[int]]) -> None:
        for name, part in parts.items():
            out[owned.index, :, self.here.layout.spans[name]] = part
            if name in alone:
                alone[name] = [row for row in alone[name] if row not in owned.rows]

    def _check_outer(self, written: Sequence[tuple[Owned, frozenset[str]]]) -> None:
        for (one, mine), (other, theirs) in combinations(written, 2):
            if set(one.rows) & set(other.rows) and mine & theirs:
                assert one.source is not None and other.source is not None
                raise StudioError(
                    f"{self.names[one.source]!r} and {self.names[other.source]!r} both change the output of "
                    f"{sorted(mine & theirs)[0]!r} at {self.call.site.name}.",
                    hint="Give them different steps or blocks, or leave one of them out.",
                )


def _probe(
    controls: Sequence[AttentionControl], original: Call, edited: Call, here: Here, kernel: Kernel, maps: Maps
) -> None:
    """Read every map wanted at the site; those of the same rows share one probe."""
    together: dict[tuple[tuple[int, ...], str, bool], list[tuple[str, tuple[tuple[int, ...], ...]]]] = {}
    for control in controls:
        for number, probe in enumerate(control.probe(original)):
            if probe.rows:
                before = probe.before or edited is original
                name = control.name if number == 0 else f"{control.name}/{number}"
                key = (probe.rows, probe.span, before)
                together.setdefault(key, []).append((name, probe.groups))
    layout = here.layout
    network = network_mask(original.mask, here) if together else None
    for (rows, span, before), wanted in together.items():
        index = row_index(rows, here.rows)
        call = original if before else edited
        names = here.ordered({*here.shown, span})
        keys, image = here.merged(names), layout.span("image")
        offset = sum(layout.size(name) for name in names[: names.index(span)])
        mask = None
        if network is not None:
            part = network if network.shape[0] == 1 else pick(network, index)
            mask = take(part if part.shape[2] == 1 else part[:, :, image], keys, dim=3)
        mass = attention_mass(
            pick(call.q, index)[:, :, image],
            take(pick(call.k, index), keys),
            [group for _, groups in wanted for group in groups],
            offset=offset,
            mask=mask,
            scale=call.scale,
            gqa=kernel.gqa,
        )
        roles = [layout.roles[row] for row in rows]
        for (name, _), value in zip(wanted, mass.split([len(g) for _, g in wanted], -1), strict=True):
            maps.add(name, call.site, call.step, roles, value)
