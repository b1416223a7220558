"""What the attention adapters of the families share: spans, the cut to one site, appended prompts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from studio.errors import StudioError
from studio.models.family import Site, TokenLayout

Segments = Sequence[tuple[str, int]]


class CommonAdapter:
    """What most adapters do alike; see `models.family.AttentionAdapter`."""

    def at_site(self, layout: TokenLayout, site: Site) -> TokenLayout:
        return cut(layout, site)

    def place(self, transformer: Any, segments: Segments) -> AbstractContextManager[None]:
        return nullcontext()

    def outputs(
        self, site: Site, output: Any, layout: TokenLayout
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return streams(site, output, layout)


def numbered(named: Sequence[tuple[str, str, int]]) -> tuple[Site, ...]:
    """Sites out of (module name, kind, block) in the order they run; the joint ones are counted."""
    sites: list[Site] = []
    joint = 0
    for name, kind, block in named:
        sites.append(Site(name, joint if kind.startswith("joint") else -1, kind, block))
        joint += kind.startswith("joint")
    return tuple(sites)


def text_spans(start: int, tokens: int, segments: Segments) -> dict[str, slice]:
    """ "text" from `start` on and the segments at its end; `tokens` counts all of them."""
    base = tokens - sum(size for _, size in segments)
    if base < 1:
        raise StudioError(
            f"The text of this call has {tokens} tokens, but the segments alone take {tokens - base}.",
            hint="Append them with the adapter's join_text.",
        )
    spans = {"text": slice(start, start + base)}
    stop = start + base
    for name, size in segments:
        key = f"text/seg:{name}"
        if key in spans:
            raise StudioError(f"Two segments are named {name!r}; names must be unique in a run.")
        spans[key] = slice(stop, stop + size)
        stop += size
    return spans


def image_spans(start: int, grid: tuple[int, int], references: Sequence[int]) -> dict[str, slice]:
    """ "image" from `start` on, then "image/ref:1", ... with as many tokens as given."""
    stop = start + grid[0] * grid[1]
    spans = {"image": slice(start, stop)}
    for number, size in enumerate(references, 1):
        spans[f"image/ref:{number}"] = slice(stop, stop + size)
        stop += size
    return spans


def id_grid(ids: torch.Tensor) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Grid of the generated tokens and the sizes of the reference pictures, from FLUX's image ids: axis 0
    tells the pictures apart (0 = generated), 1 and 2 are row and column. ids: token, axis."""
    ids = ids[0] if ids.ndim == 3 else ids
    pictures, counts = torch.unique_consecutive(ids[:, 0], return_counts=True)
    own = ids[: int(counts[0])]
    rows, columns = (int(own[:, axis].max() - own[:, axis].min()) + 1 for axis in (1, 2))
    if float(pictures[0]) != 0 or rows * columns != len(own):
        raise StudioError(
            f"The image ids do not begin with a whole picture: {len(own)} tokens, {rows} rows, "
            f"{columns} columns, picture {float(pictures[0]):g}.",
            hint="Controls need the generated picture first (id 0), row by row, references behind it.",
        )
    return (rows, columns), tuple(int(count) for count in counts[1:])


def check_rows(roles: Sequence[str], rows: int) -> None:
    if len(roles) != rows:
        raise StudioError(f"The call has {rows} rows, but {len(roles)} roles were named: {', '.join(roles)}.")


def cut(layout: TokenLayout, site: Site) -> TokenLayout:
    """The layout at a site: a self site has one stream alone, counted from its own first token."""
    if site.joint:
        return layout
    stream = site.kind.partition("_")[0]
    own = {name: span for name, span in layout.spans.items() if name.partition("/")[0] == stream}
    start, stop = min(span.start for span in own.values()), max(span.stop for span in own.values())
    spans = {name: slice(span.start - start, span.stop - start) for name, span in own.items()}
    pad = None if layout.pad is None else layout.pad[:, start:stop]
    return TokenLayout(spans, layout.grid, layout.roles, stop - start, pad)


def appended(embeds: torch.Tensor, segments: Sequence[tuple[str, torch.Tensor]]) -> torch.Tensor:
    """Text tokens with the segments behind them. embeds: row, token, channel; a segment has 1 row or as
    many."""
    parts = [embeds]
    for name, segment in segments:
        if segment.ndim != 3 or segment.shape[-1] != embeds.shape[-1] or segment.shape[1] < 1:
            raise StudioError(
                f"Segment {name!r} has the shape {tuple(segment.shape)}; 1 row, at least one token and "
                f"{embeds.shape[-1]} channels are possible.",
                hint="Encode it with the model that samples.",
            )
        parts.append(segment.to(embeds.device, embeds.dtype).expand(embeds.shape[0], -1, -1))
    return torch.cat(parts, dim=1)


def streams(site: Site, output: Any, layout: TokenLayout) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(image, text) out of a module's output: a pair, or one sequence in the order of the layout."""
    if isinstance(output, tuple):
        return output[0], output[1]
    if site.kind == "image_self":
        return output, None
    if site.kind == "text_self":
        raise StudioError(f"{site.name} has no image tokens.", hint="Look at joint sites.")
    return output[:, stream(layout, "image")], output[:, stream(layout, "text")]


def stream(layout: TokenLayout, name: str) -> slice:
    """The slice of a whole stream: "image" with its references or "text" with its segments."""
    own = [span for key, span in layout.spans.items() if key.partition("/")[0] == name]
    return slice(min(span.start for span in own), max(span.stop for span in own))
