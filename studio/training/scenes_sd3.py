"""Train `assets/models/scenes-sd3`: an SD3-shaped rectified-flow transformer on drawn scenes, small pictures
first (`studio/training/stages.py`).

    python -m studio.training.scenes_sd3 --stages 64:40,128:55,256:40        minutes per stage; resumes
    python -m studio.training.scenes_sd3 --device cuda --stages 128:3,256:6 --batch 1024
"""

from __future__ import annotations

from pathlib import Path

from studio.training.recipe import Student, read_exported
from studio.training.stages import Recipe, command

RECIPE = Recipe(
    out=Path("checkpoints/scenes_sd3.pt"),
    stages="64:40,128:55,256:40",
    make=Student,
    read=read_exported,
)

if __name__ == "__main__":
    command(RECIPE, __doc__)
