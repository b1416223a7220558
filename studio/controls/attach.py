"""Attention controls on a network, for the length of a `with` block (controls.md 3.5, 3.6).

    with attach(transformer, controls, adapter, steps=steps, roles=roles) as attached:
        with attached.call(step, roles):
            transformer(**kwargs)

Without controls nothing is attached at all. A control that was planned at a site but did not act there, for
whatever reason, is an error (`ControlNotApplied`), never silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from diffusers.hooks import HookRegistry
from diffusers.models.attention_dispatch import attention_backend

from studio.controls.acted import told_of
from studio.controls.control import AttentionControl, Call, TextSegment
from studio.controls.execute import execute
from studio.controls.intercept import Hooks, Kernel, NetworkHook, SiteHook, own_backends
from studio.controls.maps import MapStore
from studio.controls.passes import Here
from studio.controls.plan import Plan, StepPlan
from studio.controls.steady import may_skip, unchanged
from studio.errors import StudioError
from studio.models.alone import OneThread
from studio.models.family import AttentionAdapter, Site, TokenLayout
from studio.values import SeenMap, Step

Segments = tuple[tuple[str, int], ...]

_ALONE = OneThread("Controls are attached to this network already.", "Attach all controls of a run together.")


class ControlNotApplied(StudioError):  # noqa: N818 - a fact about the run
    """Controls were planned at sites where the network's attention was not seen; `sites` are their names."""

    def __init__(self, message: str, sites: Sequence[str], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sites = tuple(sites)


@contextmanager
def attach(
    transformer: torch.nn.Module,
    controls: Sequence[AttentionControl],
    adapter: AttentionAdapter,
    *,
    steps: Sequence[Step],
    roles: Sequence[str],
) -> Iterator[Attached]:
    """Put controls on a network; it is as it was when the block ends, also by an exception.

    `steps`: all of the run; `roles`: those of its rows, with or without the picture's number. Neutral
    controls are dropped. Another thread that attaches to the same network waits; the same thread is refused.
    Raises StudioError for controls that do not go together.
    """
    active = [control for control in controls if not control.is_neutral()]
    sites = tuple(adapter.sites(transformer))
    attached = Attached(transformer, adapter, Plan(active, sites, steps, roles))
    if not active:
        yield attached
        return
    with ExitStack() as stack:
        stack.enter_context(_ALONE(transformer))
        stack.enter_context(own_backends(transformer))
        hooks = Hooks()
        stack.push(_detach(transformer, hooks))
        hooks.put(transformer, NetworkHook(attached))
        for site in sites:
            hooks.put(transformer.get_submodule(site.name), SiteHook(attached, site))
        HookRegistry.check_if_exists_or_initialize(transformer).invalidate_child_registries_cache()
        attached.thread = threading.get_ident()
        yield attached


class Attached:
    """Controls on a network. `maps`: what they read; `sites`: every attention module of the network."""

    def __init__(self, transformer: torch.nn.Module, adapter: AttentionAdapter, plan: Plan) -> None:
        self.plan = plan
        self.sites = plan.sites
        self.thread: int | None = None
        self._transformer = transformer
        self._adapter = adapter
        labels = {control.name: control.labels for control in plan.controls}
        self.maps = MapStore([control.name for control in plan.controls if control.detail], labels)
        self._now: _Forward | None = None
        self._layouts: dict[object, _Sequence] = {}
        self._acted: dict[int, tuple[StepPlan, int]] = {}
        self._skipped = 0
        self._forwards = 0

    def segments(self, step: Step) -> tuple[TextSegment, ...]:
        """The prompts that must be appended to the text at a step."""
        return self.plan.at(step).segments

    def call(self, step: Step, roles: Sequence[str], *, segments: Segments = ()) -> _CallScope:
        """Around every forward. `roles`: one a row, such as "cond:0"; `segments`: (name, tokens) of the
        prompts that were appended, in their order."""
        return _CallScope(self, step, tuple(roles), tuple(segments))

    def skips(self, sites: Sequence[Site], *, recorded: Step | None = None) -> bool:
        """A cache announces, inside `call`, that it will not run these sites. Accepted only if nobody acts
        there at this step, nor did at the step whose result is used again (`recorded`), or only those whose
        effect stays the same (`AttentionControl.steady`); if it is refused, the network must run in full."""
        if not self.plan.controls:
            return True
        now = self._running()
        names = [site.name for site in sites]
        if not may_skip(self.plan, names, now.step, recorded):
            return False
        now.left_out.update(names)
        self._skipped += len(names)
        return True

    def skip_blocks(self, blocks: Sequence[str], recorded: Step) -> bool:
        """`skips` for all sites in some blocks, by module name."""
        return self.skips(self._within(blocks), recorded=recorded)

    def unchanged(self, blocks: Sequence[str], recorded: Step) -> bool:
        """Whether the controls do the same in these blocks at this step as at an earlier one."""
        if not self.plan.controls:
            return True
        sites = [site.name for site in self._within(blocks)]
        return unchanged(self.plan, sites, self._running().step, recorded)

    @contextmanager
    def rows(self, rows: Sequence[int]) -> Iterator[None]:
        """Around calls of blocks with some rows of the batch alone."""
        now = self._now
        if now is None or now.sequence is None:
            yield
            return
        whole = now.sequence
        now.sequence = self._part(whole.layout, tuple(rows))
        try:
            yield
        finally:
            now.sequence = whole

    def _within(self, blocks: Sequence[str]) -> tuple[Site, ...]:
        return tuple(s for s in self.sites if any(s.name.startswith(f"{name}.") for name in blocks))

    def _part(self, layout: TokenLayout, rows: tuple[int, ...]) -> _Sequence:
        pad = None if layout.pad is None else layout.pad[list(rows)]
        return self._known(replace(layout, roles=tuple(layout.roles[row] for row in rows), pad=pad))

    def seen(self) -> tuple[SeenMap, ...]:
        """Every map that was read, as values."""
        return self.maps.seen()

    def report(self) -> dict[str, object]:
        """JSON values: how often the network ran, and which control acted at how many sites and steps."""
        weighed = {name for known in self._layouts.values() for name in known.weighed}
        return {
            "forwards": self._forwards,
            "sites": len(self.sites),
            "skipped": self._skipped,
            "controls": told_of(self.plan.controls, tuple(self._acted.values()), weighed),
        }

    # what the hooks ask (intercept.Watcher)

    def forward(self, original: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
        """One call of the whole network, inside `call`."""
        now = self._running()
        now.seen.clear()
        now.ran = True
        if now.plan.sites:
            now.sequence = self._sequence(kwargs, now)
        with self._adapter.place(self._transformer, now.segments), attention_backend("native"):
            output = original(**kwargs)
        missing = [name for name in now.plan.sites if name not in now.seen and name not in now.left_out]
        if missing:
            raise ControlNotApplied(
                f"The network's attention was not seen at {len(missing)} of {len(now.plan.sites)} places "
                f"where a control acts: {_some(missing)}.",
                missing,
                hint="Attention controls need the native attention of torch and every block to run: switch "
                "off step caches, layer skipping and other attention backends.",
            )
        self._forwards += 1
        self._acted.setdefault(id(now.plan), (now.plan, now.step.index))
        return output

    def works(self, site: Site) -> bool:
        """Whether anybody acts at this site in the call that runs."""
        return self._now is not None and site.name in self._now.plan.sites

    def attention(self, site: Site, kernel: Kernel) -> torch.Tensor | None:
        """The output of a site's joint call; None for any other call, such as that of an adapter for
        pictures."""
        now = self._now
        assert now is not None and now.sequence is not None
        here = now.sequence.at(site)
        rows, length = len(here.layout.roles), here.layout.length
        if not (kernel.q.shape[0] == rows and kernel.q.shape[2] == kernel.k.shape[2] == length):
            return None
        plan = now.plan.sites[site.name]
        q, k, v = kernel.q, kernel.k, kernel.v
        call = Call(site, now.step, here.layout, q, k, v, kernel.mask, kernel.scale, self.maps)
        out, edited = execute(plan, call, here, kernel, self.maps)
        now.seen.add(site.name)
        now.last = edited if plan.afters else None
        return out

    def after(self, site: Site, output: Any) -> Any:
        """What an attention module returns, after the controls that read or change it."""
        now = self._now
        if now is None or now.last is None:
            return output
        call, now.last = now.last, None
        for control in now.plan.sites[site.name].afters:
            image, text = self._adapter.outputs(site, output, call.layout)
            changed = control.after(call, image, text, self.maps)
            if changed is not None:
                output = self._replaced(site, output, call.layout, changed, control.name)
        return output

    def _replaced(
        self,
        site: Site,
        output: Any,
        layout: TokenLayout,
        changed: tuple[torch.Tensor, torch.Tensor | None],
        name: str,
    ) -> Any:
        """A copy of a module's output with other tokens in it."""
        copy = (
            tuple(item.clone() if isinstance(item, torch.Tensor) else item for item in output)
            if isinstance(output, tuple)
            else output.clone()
        )
        for own, new in zip(self._adapter.outputs(site, copy, layout), changed, strict=True):
            if new is None:
                continue
            if own is None or own.shape != new.shape:
                given = "nothing" if own is None else tuple(own.shape)
                raise StudioError(
                    f"{name!r} returns an output of {tuple(new.shape)} at {site.name}, where there is "
                    f"{given}."
                )
            own.copy_(new)
        return copy

    def _running(self) -> _Forward:
        if self._now is None:
            raise StudioError(
                "The network was called outside of `attached.call`, so that nobody knows the step and the "
                "rows.",
                hint="Write `with attached.call(step, roles): transformer(...)`.",
            )
        if threading.get_ident() != self.thread:
            raise StudioError("The network is used by another run, whose controls are attached to it.")
        return self._now

    def _sequence(self, kwargs: dict[str, Any], now: _Forward) -> _Sequence:
        """The layout of a call; the same object again while nothing about it changes, so that what was worked
        out for it stays."""
        layout = self._adapter.token_layout(self._transformer, kwargs, now.roles, now.segments)
        self.maps.grid = layout.grid
        return self._known(layout)

    def _known(self, layout: TokenLayout) -> _Sequence:
        spans = tuple((name, span.start, span.stop) for name, span in layout.spans.items())
        key = (spans, layout.grid, layout.roles, layout.length)
        known = self._layouts.get(key)
        if known is None or not _equal(known.layout.pad, layout.pad):
            known = self._layouts[key] = _Sequence(self._adapter, layout)
        return known


class _CallScope:
    """See Attached.call."""

    def __init__(self, attached: Attached, step: Step, roles: tuple[str, ...], segments: Segments) -> None:
        self._attached = attached
        self._forward = _Forward(attached.plan.at(step), step, roles, segments)

    def __enter__(self) -> None:
        attached, forward = self._attached, self._forward
        if not attached.plan.controls:
            return
        if attached._now is not None:
            raise StudioError("`attached.call` lies inside another one.")
        wanted = [segment.name for segment in forward.plan.segments]
        given = [name for name, _ in forward.segments]
        if sorted(wanted) != sorted(given):
            raise StudioError(
                f"Step {forward.step.index} needs the appended prompts {wanted}, and has {given}.",
                hint="Append `attached.segments(step)` with the adapter's join_text.",
            )
        attached._now = forward

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        attached, forward = self._attached, self._forward
        attached._now = None
        if kind is None and forward.plan.sites and not forward.ran:
            raise ControlNotApplied(
                "The network that the controls are attached to was not called.", tuple(forward.plan.sites)
            )


class _Forward:
    """One call of the network."""

    __slots__ = ("last", "left_out", "plan", "ran", "roles", "seen", "segments", "sequence", "step")

    def __init__(self, plan: StepPlan, step: Step, roles: tuple[str, ...], segments: Segments) -> None:
        self.plan = plan
        self.step = step
        self.roles = roles
        self.segments = segments
        self.sequence: _Sequence | None = None
        self.seen: set[str] = set()
        self.left_out: set[str] = set()
        self.last: Call | None = None
        self.ran = False


class _Sequence:
    """A token layout and how each kind of site sees it."""

    def __init__(self, adapter: AttentionAdapter, layout: TokenLayout) -> None:
        self.layout = layout
        self._adapter = adapter
        self._kinds: dict[str, Here] = {}

    @property
    def weighed(self) -> set[str]:
        """Names of the controls whose weights on words any pass had a use for."""
        return {name for here in self._kinds.values() for name in here.weighed}

    def at(self, site: Site) -> Here:
        kind = "joint" if site.joint else site.kind
        here = self._kinds.get(kind)
        if here is None:
            here = self._kinds[kind] = Here(self._adapter.at_site(self.layout, site))
        return here


def _detach(transformer: torch.nn.Module, hooks: Hooks) -> Callable[..., None]:
    """What takes the hooks off at the end of the block and complains about hooks put on in between."""

    def leave(kind: type[BaseException] | None, *rest: object) -> None:
        later = hooks.remove()
        registry = vars(transformer).get("_diffusers_hook")
        if registry is not None:
            registry.invalidate_child_registries_cache()
        if later and kind is None:
            raise StudioError(
                f"The hooks {_some(later)} were put on the network after the attention controls and are "
                "still there.",
                hint="Take hooks off in the reverse order of putting them on. They keep working.",
            )

    return leave


def _equal(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
