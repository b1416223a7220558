"""Draw training scenes once and keep them as shards of latents (and, for the autoencoder, of pictures).

python -m studio.training.scene_store --size 64 --count 40960     resumes: shards that exist are not drawn
again
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from studio.scenes.draw import draw
from studio.scenes.world import Scene, sample_scene
from studio.training.latent_space import encode, fit, load_space

SHARD = 1024
# How many objects a training scene has: the few-object cases teach the words, the full ones the binding.
COUNT_SHARES = {1: 0.34, 2: 0.30, 3: 0.20, 4: 0.16}


def scenes_of(seed: int, count: int) -> list[Scene]:
    """`count` training scenes (never a held-out combination), a pure function of the seed."""
    rng = np.random.default_rng(seed)
    counts = rng.choice(list(COUNT_SHARES), size=count, p=list(COUNT_SHARES.values()))
    return [sample_scene(rng, int(k)) for k in counts]


def pictures_of(scenes: list[Scene], size: int) -> np.ndarray:
    return np.stack([draw(scene, size) for scene in scenes])


def fitted_space(folder: Path) -> dict[str, np.ndarray]:
    """The latent space in `folder/latent_space.npz`, fitted on the first call (a few hundred pictures a
    size)."""
    path = folder / "latent_space.npz"
    if not path.exists():
        stacks = [
            pictures_of(scenes_of(7, n), size) for size, n in ((64, 400), (128, 200), (256, 120), (256, 120))
        ]
        fitted = fit(stacks)
        np.savez(path.with_suffix(".tmp.npz"), allow_pickle=False, **fitted)
        os.replace(path.with_suffix(".tmp.npz"), path)
    return load_space(path)


def write_shards(
    folder: Path, size: int, count: int, *, seed: int = 1000, keep_pictures: bool = False
) -> None:
    """Draw until `count` scenes of `size` pixels lie in `folder`; a shard is written whole or not at all."""
    space = fitted_space(folder)
    kind = "pictures" if keep_pictures else "latents"
    for index in range((count + SHARD - 1) // SHARD):
        path = folder / f"{kind}-{size}-{seed}-{index:04d}.npz"
        if path.exists():
            continue
        scenes = scenes_of(seed * 100_003 + size * 1009 + index, min(SHARD, count))
        pictures = pictures_of(scenes, size)
        array = pictures if keep_pictures else encode(pictures, space)
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, data=array, scenes=json.dumps([scene.to_dict() for scene in scenes]))
        os.replace(temporary, path)
        print(f"{path.name} {array.shape}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("checkpoints/shards"))
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument(
        "--pictures", action="store_true", help="keep pictures (autoencoder) instead of latents"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_shards(
        arguments.out, arguments.size, arguments.count, seed=arguments.seed, keep_pictures=arguments.pictures
    )


if __name__ == "__main__":
    main()
