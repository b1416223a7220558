"""What the controls of one run read: running means for each control and role, and every single map of a
control that asks for detail."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import torch

from studio.errors import StudioError
from studio.models.family import Site
from studio.values import SeenMap, Step


@dataclass(eq=False)
class _Mean:
    """Sum of `count` maps: row, image token, group; fp32."""

    total: torch.Tensor
    count: int


@dataclass(frozen=True, eq=False)
class _Detail:
    name: str
    site: Site
    step: Step
    roles: tuple[str, ...]
    value: torch.Tensor


class MapStore:
    """See `control.Maps`. Roles are those of the rows ("target:0"); a picture's number is left out when
    maps are asked for by role.

    `detail`: names of controls whose maps are kept one by one. `labels`: what their columns stand for. A map
    under NAME/more belongs to the control NAME. `grid`: rows and columns of the image tokens.
    """

    def __init__(
        self, detail: Sequence[str] = (), labels: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.grid: tuple[int, int] | None = None
        self._detail = frozenset(detail)
        self._labels = dict(labels or {})
        self._means: dict[tuple[str, tuple[str, ...]], _Mean] = {}
        self._details: list[_Detail] = []

    def add(self, name: str, site: Site, step: Step, roles: Sequence[str], value: torch.Tensor) -> None:
        """Keep a map; value: row, image token (or 1), group; one role for each row."""
        if value.ndim != 3 or len(value) != len(roles):
            raise StudioError(
                f"A map of {name!r} has the shape {tuple(value.shape)} for {len(roles)} rows; it must be "
                "row, image token, group."
            )
        value = value.float()
        key = (name, tuple(roles))
        mean = self._means.get(key)
        if mean is None:
            self._means[key] = _Mean(value.clone(), 1)
        elif mean.total.shape != value.shape:
            raise StudioError(
                f"The maps of {name!r} had the shape {tuple(mean.total.shape)} and now have "
                f"{tuple(value.shape)}; all maps of one name have one shape."
            )
        else:
            mean.total += value
            mean.count += 1
        if _owner(name, self._detail) is not None:
            self._details.append(_Detail(name, site, step, key[1], _plain(value)))

    def mean(self, name: str, role: str) -> torch.Tensor | None:
        """Mean over all sites and steps so far for one role ("target", or "target:0" for one picture): batch,
        image token, group; None before the first."""
        pictures: dict[str, list[tuple[torch.Tensor, int]]] = {}
        for (owner, roles), mean in self._means.items():
            if owner == name:
                for row, full in enumerate(roles):
                    if role in (full, full.partition(":")[0]):
                        pictures.setdefault(full, []).append((mean.total[row], mean.count))
        if not pictures:
            return None
        rows = []
        for full in sorted(pictures, key=_picture):
            total = torch.stack([part for part, _ in pictures[full]]).sum(0)
            rows.append(total / sum(count for _, count in pictures[full]))
        return torch.stack(rows)

    def names(self) -> tuple[str, ...]:
        """Whose maps there are, in the order of their first."""
        return tuple(dict.fromkeys(name for name, _ in self._means))

    def seen(self) -> tuple[SeenMap, ...]:
        """Every map as a value: first the means (site "", step -1), then those kept one by one."""
        found = []
        for name in self.names():
            roles = [r.partition(":")[0] for owner, rows in self._means if owner == name for r in rows]
            for role in dict.fromkeys(roles):
                mean = self.mean(name, role)
                assert mean is not None
                found.append(SeenMap(name, role, self._picture(_plain(mean)), labels=self._words(name)))
        for detail in self._details:
            found += self._single(detail)
        return tuple(found)

    def _single(self, detail: _Detail) -> list[SeenMap]:
        """One map for each role, its pictures as the batch."""
        rows: dict[str, list[int]] = {}
        for row, full in enumerate(detail.roles):
            rows.setdefault(full.partition(":")[0], []).append(row)
        site, step = detail.site, detail.step
        return [
            SeenMap(
                detail.name,
                role,
                self._picture(detail.value[sorted(own, key=lambda row: _picture(detail.roles[row]))]),
                site=site.name,
                block=site.block,
                kind=site.kind,
                step=step.index,
                sigma=step.sigma,
                index=site.index,
                labels=self._words(detail.name),
            )
            for role, own in rows.items()
        ]

    def _picture(self, value: torch.Tensor) -> torch.Tensor:
        """batch, image token, group -> batch, grid row, grid column, group; facts of the whole picture have a
        grid of 1 x 1."""
        batch, tokens, groups = value.shape
        if tokens == 1:
            return value.reshape(batch, 1, 1, groups)
        if self.grid is None or self.grid[0] * self.grid[1] != tokens:
            raise StudioError(f"A map of {tokens} tokens does not fit the grid {self.grid} of the picture.")
        return value.reshape(batch, *self.grid, groups)

    def _words(self, name: str) -> tuple[str, ...]:
        owner = _owner(name, self._labels)
        return () if owner is None else self._labels[owner]


def _owner(name: str, known: Container[str]) -> str | None:
    """The control that a map belongs to: the longest known name that begins the map's."""
    parts = name.split("/")
    owners = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((owner for owner in owners if owner in known), None)


def _picture(role: str) -> int:
    """The picture's number in a row's role; 0 where it has none."""
    number = role.partition(":")[2]
    return int(number) if number.isdigit() else 0


def _plain(value: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU, fp32, that outlives inference mode."""
    with torch.inference_mode(False):
        return torch.empty(value.shape, dtype=torch.float32).copy_(value)
