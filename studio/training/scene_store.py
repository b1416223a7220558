"""Draw training scenes once and keep them as shards of latents (and, for the autoencoder, of pictures).

python -m studio.training.scene_store --size 64 --count 40960     resumes: shards that exist are not drawn
again; several processes with other seeds draw side by side
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from studio.scenes.draw import draw
from studio.scenes.world import PATTERN_SHARES, Scene, sample_scene
from studio.training.labels import captions_of, emphasis, marks
from studio.training.latent_space import encode, fit, load_space
from studio.training.recipe import PATCH_PIXELS

SHARD = 512
# How many objects a training scene has: the few-object cases teach the words, the full ones the binding.
COUNT_SHARES = {1: 0.28, 2: 0.28, 3: 0.22, 4: 0.22}


def scenes_of(seed: int, count: int, patterned: float | None = None) -> list[Scene]:
    """`count` training scenes (never a held-out combination), a pure function of the seed and of the share of
    striped and dotted objects (None: the world's)."""
    rng = np.random.default_rng(seed)
    counts = rng.choice(list(COUNT_SHARES), size=count, p=list(COUNT_SHARES.values()))
    shares = PATTERN_SHARES if patterned is None else (1 - patterned, patterned / 2, patterned / 2)
    return [sample_scene(rng, int(k), pattern_shares=shares) for k in counts]


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
    folder: Path,
    size: int,
    count: int,
    *,
    seed: int = 1000,
    keep_pictures: bool = False,
    patterned: float | None = None,
    related: float = 0.0,
) -> None:
    """Draw until `count` scenes of `size` pixels lie in `folder`; a shard is written whole or not at all."""
    space = fitted_space(folder)
    kind = "pictures" if keep_pictures else "latents"
    for index in range((count + SHARD - 1) // SHARD):
        path = folder / f"{kind}-{size}-{seed}-{index:04d}.npz"
        if path.exists():
            continue
        scenes = scenes_of(seed * 100_003 + size * 1009 + index, min(SHARD, count), patterned)
        pictures = pictures_of(scenes, size)
        temporary = path.with_suffix(".tmp.npz")
        told = json.dumps([scene.to_dict() for scene in scenes])
        if keep_pictures:
            np.savez(temporary, data=pictures, scenes=told)
        else:
            side, rng = size // PATCH_PIXELS, np.random.default_rng([seed, size, index])
            np.savez(
                temporary,
                data=encode(pictures, space),
                scenes=told,
                counts=np.array([len(scene.objects) for scene in scenes], np.uint8),
                captions=np.stack([captions_of(scene, rng, related=related) for scene in scenes]),
                emphasis=np.stack([emphasis(scene, side) for scene in scenes]),
                marks=np.stack([marks(scene, side) for scene in scenes]),
            )
        os.replace(temporary, path)
        print(path.name, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("checkpoints/shards"))
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument(
        "--pictures", action="store_true", help="keep pictures (autoencoder) instead of latents"
    )
    parser.add_argument("--patterned", type=float, help="share of striped and dotted objects, 0..1")
    parser.add_argument(
        "--related", type=float, default=0.0, help="share of pairs' captions that must say a relation, 0..1"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_shards(
        arguments.out,
        arguments.size,
        arguments.count,
        seed=arguments.seed,
        keep_pictures=arguments.pictures,
        patterned=arguments.patterned,
        related=arguments.related,
    )


if __name__ == "__main__":
    main()
