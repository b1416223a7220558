"""`eval control`: what the controls can do, measured on the embedded models by the exact scene judge.

One row for each (method, what): `n` usable cases, how many succeeded and were preserved, with 95 % Wilson
intervals, beside the plain way of the same cost on the same cases. Cases are pure functions of their number;
results are written as they come, so that a stopped evaluation goes on where it stood. A case whose source
picture is not what its prompt says cannot judge an edit: it is counted as `unusable`, not as a failure.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studio.errors import StudioError, did_you_mean
from studio.evaluate.kept import Kept
from studio.evaluate.prompts import decoded, settings_of
from studio.models.device import start_noise
from studio.models.embedded import DEFAULT
from studio.models.family import Parts, Site, adapter_for, parts_of
from studio.models.loading import ModelStore
from studio.sampling import samplers, schedules
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import Run, sample_run
from studio.scenes.score import wilson
from studio.values import Conditioning, Latent, Model, Sigmas

# Verdicts of a case: None where the question does not apply; further keys are figures: `summary`.
Result = dict[str, Any]
VERDICTS = ("success", "preserved", "plain_success", "plain_preserved")
# Modules of this package that bring rows: each has ROWS, a tuple of `RowOf`.
MODULES = (
    "control_edit",
    "control_regions",
    "control_see",
    "control_avoid",
    "control_real",
    "control_keep",
    "control_around",
    "control_words",
)


@dataclass(frozen=True)
class RowOf:
    """A row of the table: `judge(bench, index)` gives one case's result, or None if it is unusable."""

    method: str
    what: str
    judge: Callable[[Bench, int], Result | None] = field(compare=False, repr=False)
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.method}.{self.what}"


@dataclass(frozen=True, eq=False)
class Bench:
    """A loaded model with its card's settings, and short ways to make pictures with it."""

    model: Model
    parts: Parts
    settings: Mapping[str, Any]

    @property
    def sites(self) -> tuple[Site, ...]:
        return adapter_for(self.parts.transformer).sites(self.parts.transformer)

    @property
    def cfg_scale(self) -> float:
        return float(self.settings["cfg_scale"])

    def text(self, prompt: str) -> Conditioning:
        """The conditioning of a prompt."""
        return self.parts.family.encode_text(self.parts, prompt)[0]

    def canvas(self, seed: int) -> Latent:
        width, height = self.settings["size"]
        return Latent(int(width), int(height), 1, seed)

    def run(
        self,
        prompt: str | Conditioning,
        seed: int,
        *,
        controls: Sequence[Any] = (),
        negative: str = "",
        cfg_scale: float | None = None,
        latent: Latent | None = None,
        wraps: Sequence[Any] = (),
        sampler: str = "",
        sigmas: Sigmas | None = None,
    ) -> Run:
        """One run with the settings of the card; see `sampler_for` where no sampler is named."""
        positive = self.text(prompt) if isinstance(prompt, str) else prompt
        return sample_run(
            self.parts,
            positive,
            self.text(negative),
            latent or self.canvas(seed),
            sigmas or self.schedule(),
            samplers.sampler(sampler or self.sampler_for([*controls, *wraps], latent)),
            cfg(self.cfg_scale if cfg_scale is None else cfg_scale),
            attachments=controls,
            wraps=wraps,
        )

    def sampler_for(self, made_for: Sequence[Any], latent: Latent | None) -> str:
        """The card's sampler; the one that a control or wrap is made for; euler from a picture on, which new
        noise would lead away from."""
        tied = next((one.only_sampler for one in made_for if getattr(one, "only_sampler", "")), "")
        return str(tied or ("euler" if latent is not None else self.settings["sampler"]))

    def encoded(self, picture: np.ndarray, seed: int) -> Latent:
        """A picture, uint8 [height, width, 3], as a latent of this model."""
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode():
            made = self.parts.family.encode_pixels(self.parts, pixels).float().cpu()
        height, width = picture.shape[:2]
        return Latent(width, height, 1, seed).with_tensor(made.clone(), self.parts.family.name)

    def noise(self, latent: Latent) -> torch.Tensor:
        """The start noise of a latent's seed."""
        shape = self.parts.family.latent_shape(self.parts, latent.batch, latent.width, latent.height)
        return start_noise(shape, latent.seed)

    def schedule(self) -> Sigmas:
        """The card's schedule."""
        return schedules.schedule(
            self.settings["spacing"], int(self.settings["steps"]), float(self.settings["shift"])
        )

    def picture(self, latent: Latent) -> np.ndarray:
        """uint8 [height, width, 3]."""
        return decoded(self.parts, latent)


def rows() -> tuple[RowOf, ...]:
    """Every row there is, in the order of the table."""
    found: list[RowOf] = []
    for name in MODULES:
        found += importlib.import_module(f"studio.evaluate.{name}").ROWS
    return tuple(found)


def chosen(only: str | None, table: Sequence[RowOf]) -> list[RowOf]:
    """Rows of a method, or one row ("edit.colour"); all without a name. StudioError with those there are."""
    if only is None:
        return list(table)
    found = [row for row in table if only in (row.method, row.name)]
    if not found:
        known = list(dict.fromkeys([*(row.method for row in table), *(row.name for row in table)]))
        raise StudioError(
            f"There is no evaluation {only!r}.",
            hint=did_you_mean(only, known) or f"Possible: {', '.join(known)}.",
        )
    return found


def evaluate(
    cases: int = 200,
    *,
    only: str | None = None,
    ref: str = DEFAULT,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
) -> list[dict[str, Any]]:
    """A list of rows (`summary`). `folder`: where partial results lie (default runs/eval); results of other
    weights or settings are never mixed."""
    table = chosen(only, rows())
    store = ModelStore()
    model = store.load(ref)
    settings = settings_of(model) | {"spacing": "flow_diffusers"}
    bench = Bench(model, parts_of(model), settings)
    kept = Kept(folder, "control", json.dumps([model.digest, settings, seed], default=list))
    done = {(row["row"], row["case"]): row["result"] for row in kept.rows()}
    made = []
    for number, row in enumerate(table):
        results = []
        for index in range(cases):
            if (row.name, index) not in done:
                result = row.judge(bench, index + seed * 1_000_003)
                done[row.name, index] = result
                kept.add({"row": row.name, "case": index, "result": result})
            results.append(done[row.name, index])
            if progress:
                progress(number * cases + index + 1, len(table) * cases)
        made.append(summary(row, results, ref))
    return made


def summary(row: RowOf, results: Sequence[Result | None], ref: str) -> dict[str, Any]:
    """One row: `n` usable cases, for each verdict the share and its interval over the cases that answer it,
    and of every further figure the mean, or the median if its name begins so."""
    usable = [result for result in results if result is not None]
    made: dict[str, Any] = {
        "method": row.method,
        "what": row.what,
        "model": ref,
        "n": len(usable),
        "unusable": len(results) - len(usable),
    }
    for verdict in VERDICTS:
        answers = [bool(r[verdict]) for r in usable if r.get(verdict) is not None]
        right = sum(answers)
        made[verdict] = round(right / len(answers), 3) if answers else None
        made[f"{verdict}_interval"] = (
            [round(bound, 3) for bound in wilson(right, len(answers))] if answers else None
        )
    figures = dict.fromkeys(key for r in usable for key in r if key not in VERDICTS)
    for name in figures:
        values = [float(r[name]) for r in usable if r.get(name) is not None]
        if values:
            middle = np.median if name.startswith("median") else np.mean
            made[name] = round(float(middle(values)), 4)
    if row.note:
        made["note"] = row.note
    return made
