"""How much the scene judge gets right: objects with every property right, on drawn scenes and on the same
after a round trip through the embedded model's autoencoder.

    python benchmarks/judge.py --scenes 300
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from diffusers import AutoencoderTiny

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio.scenes.detect import detect
from studio.scenes.draw import draw
from studio.scenes.score import PROPERTIES, wilson
from studio.scenes.world import Scene, sample_scene
from studio.settings import ROOT
from studio.training.upscaler import round_trip


def right(picture: np.ndarray, scene: Scene) -> tuple[int, bool]:
    """(drawn objects that the judge finds with every property, whether all is right and nothing is added)."""
    seen = detect(picture)
    told = [tuple(getattr(found, name) for name in PROPERTIES) for found in seen.objects]
    count = 0
    for item in scene.objects:
        wanted = tuple(getattr(item, name) for name in PROPERTIES)
        if wanted in told:
            told.remove(wanted)
            count += 1
    return count, not told and count == len(scene.objects) and seen.background == scene.background


def rows(count: int, seed: int, size: int) -> Iterator[dict[str, object]]:
    autoencoder = AutoencoderTiny.from_pretrained(ROOT / "assets/models/scenes-sd3/vae").float().eval()
    rng = np.random.default_rng(seed)
    scenes = [sample_scene(rng, index % 4 + 1) for index in range(count)]
    drawn = [draw(scene, size) for scene in scenes]
    back = [round_trip(autoencoder, picture, noise=0, seed=0) for picture in drawn]
    error = np.mean([((a.astype(float) - b) ** 2).mean() for a, b in zip(drawn, back, strict=True)])
    objects = sum(len(scene.objects) for scene in scenes)
    for what, pictures in (("drawn", drawn), ("after the autoencoder", back)):
        found = [right(picture, scene) for picture, scene in zip(pictures, scenes, strict=True)]
        good = sum(objects_right for objects_right, _ in found)
        yield {
            "input": what,
            "objects_right": good,
            "objects": objects,
            "share": round(good / objects, 4),
            "interval": [round(end, 4) for end in wilson(good, objects)],
            "scenes_all_right": sum(whole for _, whole in found),
            "scenes": count,
            **({"psnr_db": round(float(10 * np.log10(255**2 / error)), 1)} if what != "drawn" else {}),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--size", type=int, default=256, help="pixels")
    arguments = parser.parse_args()
    for row in rows(arguments.scenes, arguments.seed, arguments.size):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
