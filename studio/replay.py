"""Run a record again; say whether the picture is equal, and which ingredients changed (architecture 7.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import Cancelled, StudioError
from studio.graph.document import loads
from studio.graph.events import Event
from studio.history.compare import compare_pixels
from studio.history.generation import Generation, pixels_digest
from studio.pixels import read_picture

if TYPE_CHECKING:
    from studio.studio import Studio

# Another library build or batch split moves values by about 1e-6 before rounding to 8 bits: one level, or
# two where the steps amplify it.
TOLERANCE = 2


@dataclass(frozen=True)
class Change:
    """An ingredient that is not what it was: `what` as "node 'sample': code", old and new value."""

    what: str
    before: str
    now: str


@dataclass(frozen=True)
class Comparison:
    """`verdict`: "equal" (bit for bit), "within tolerance" or "different".

    `max_difference` in levels of 0..255 and `psnr` in dB (None = equal) are None as well when the stored
    picture is gone or has another size; then only the digests of the pixels were compared.
    """

    generation: str
    verdict: str
    pixels_before: str
    pixels_now: str
    max_difference: int | None
    psnr: float | None
    changes: tuple[Change, ...]
    seconds: float
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `history replay --json` prints."""
        return {
            "status": "finished",
            "generation": self.generation,
            "verdict": self.verdict,
            "equal": self.verdict == "equal",
            "pixels_before": self.pixels_before,
            "pixels_now": self.pixels_now,
            "max_difference": self.max_difference,
            "psnr": self.psnr,
            "changes": [{"what": c.what, "before": c.before, "now": c.now} for c in self.changes],
            "seconds": round(self.seconds, 4),
            "warnings": list(self.warnings),
        }

    def words(self) -> str:
        """The same for a person."""
        lines = [
            {
                "equal": "Equal, bit for bit.",
                "within tolerance": "Within tolerance.",
                "different": "Different.",
            }[self.verdict]
        ]
        if self.max_difference:
            lines[0] += f" Largest difference {self.max_difference} of 255, PSNR {self.psnr:.1f} dB."
        code = [c for c in self.changes if c.what.endswith(": code")]
        rest = [c for c in self.changes if c not in code]
        if code:
            nodes = "1 node" if len(code) == 1 else f"{len(code)} nodes"
            lines.append(f"  changed: the code of {nodes}; --json tells which")
        lines += [f"  changed: {c.what}: {_short(c.before)} -> {_short(c.now)}" for c in rest]
        if self.verdict != "equal" and not self.changes:
            lines.append("  No recorded ingredient changed.")
        return "\n".join(lines)


def _short(value: str) -> str:
    """A value for a line of text: the beginning of a digest."""
    return f"{value[:12]}…" if len(value) > 40 and value.isalnum() else value or "nothing"


def compare_runs(
    studio: Studio,
    old: Generation,
    owner: str,
    *,
    on_event: Callable[[Event], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Comparison:
    """Run the stored graph with the stored seed, cache off, and compare; StudioError when it cannot run."""
    document = loads(studio.history.document(owner, old.id), limits=studio.limits)
    report = studio.run(
        document,
        targets=[old.node] if old.node else None,
        owner=owner,
        on_event=on_event,
        use_cache=False,
        keep=False,
        should_stop=should_stop,
    )
    if report.status == "cancelled":
        raise Cancelled()
    made = next(
        (o for o in report.outputs if o.item == old.item and (not old.node or o.node == old.node)), None
    )
    if made is None or made.image is None:
        facts = report.error or {}
        raise StudioError(
            f"The picture could not be made again: {facts.get('message') or 'no picture came out.'}",
            hint=str(facts.get("hint") or ""),
            node=str(facts.get("node") or ""),
        )
    now = pixels_digest(made.image.pixels)
    difference: int | None = 0
    psnr: float | None = None
    verdict = "equal"
    if now != old.pixels:
        verdict, difference = "different", None
        before = _stored(studio, owner, old)
        if before is not None:
            measured = compare_pixels(before, made.image.pixels)
            if measured.same_size:
                difference, psnr = int(measured.max_difference), float(measured.psnr)
                verdict = "within tolerance" if difference <= TOLERANCE else "different"
    return Comparison(
        old.id,
        verdict,
        old.pixels,
        now,
        difference,
        psnr,
        tuple(changed(old.record, made.record or {})),
        report.seconds,
        report.warnings,
    )


def _stored(studio: Studio, owner: str, old: Generation) -> Any:
    """The stored picture's pixels; None when its file is missing or damaged."""
    try:
        path: Path = studio.history.picture(owner, old.id)
        return read_picture(path.read_bytes()).pixels
    except (StudioError, OSError):
        return None


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """The ingredients that differ: nodes, plugins, libraries, device, dtype, weights, schema."""
    found: list[Change] = []

    def note(what: str, a: object, b: object) -> None:
        if a != b:
            found.append(Change(what, "" if a is None else str(a), "" if b is None else str(b)))

    nodes = _table(before, "nodes"), _table(now, "nodes")
    for name in sorted({*nodes[0], *nodes[1]}):
        a, b = nodes[0].get(name, {}), nodes[1].get(name, {})
        for part in ("kind", "version", "code"):
            note(f"node '{name}': {part}", a.get(part), b.get(part))
    plugins = [{p.get("name"): p for p in record.get("plugins") or ()} for record in (before, now)]
    for name in sorted({*plugins[0], *plugins[1]}, key=str):
        a, b = plugins[0].get(name, {}), plugins[1].get(name, {})
        for part in ("version", "digest"):
            note(f"plugin '{name}': {part}", a.get(part), b.get(part))
    versions = _table(before, "versions"), _table(now, "versions")
    for name in sorted({*versions[0], *versions[1]}):
        note(f"library {name}", versions[0].get(name), versions[1].get(name))
    note("device", before.get("device"), now.get("device"))
    note("dtype", before.get("dtype"), now.get("dtype"))
    note("model weights", _table(before, "model").get("digest"), _table(now, "model").get("digest"))
    note("document schema", before.get("schema"), now.get("schema"))
    return found


def _table(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = record.get(name)
    return dict(found) if isinstance(found, Mapping) else {}
