"""Blend two checkpoints of one recipe: start + share * (tuned - start), weight by weight.

    python -m studio.training.blend START TUNED --share 0.35 --out checkpoints/blend.pt

A network that was tuned for one thing forgets a little of the rest; on the line between both there are
networks that keep most of each (WiSE-FT, arXiv 2109.01903). START may be a checkpoint or an exported folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.training.recipe import Student, read_exported


def blend(start: dict[str, Tensor], tuned: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """share 0 gives the start, 1 the tuned weights, both exactly."""
    if share in (0.0, 1.0):
        return dict(start if share == 0.0 else tuned)
    return {name: torch.lerp(value, tuned[name], share) for name, value in start.items()}


def weights_of(path: Path) -> dict[str, Tensor]:
    """The averaged weights of a scenes-sd3 checkpoint, or those of an exported folder."""
    if path.is_dir():
        student = Student()
        read_exported(student, path)
        return student.state_dict()
    found: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")["average"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("start", type=Path)
    parser.add_argument("tuned", type=Path)
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if not 0 <= arguments.share <= 1:
        parser.error(f"--share is {arguments.share}; it may be 0 to 1")
    state: dict[str, Any] = torch.load(arguments.tuned, weights_only=True, map_location="cpu")["state"]
    state["blend"] = arguments.share
    made = blend(weights_of(arguments.start), weights_of(arguments.tuned), arguments.share)
    torch.save(
        {"average": made, "student": made, "kind": "adamw", "optimisers": [], "state": state}, arguments.out
    )


if __name__ == "__main__":
    main()
