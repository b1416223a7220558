"""Write a checkpoint as the embedded model: a stock diffusers folder with its card.

python -m studio.training.export --scores checkpoints/scores.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

from studio.scenes.caption import VOCABULARY
from studio.scenes.words import VALUES
from studio.training.judge import load_autoencoder, load_student
from studio.training.latent_space import encode, load_space
from studio.training.recipe import SHIFT, latent_to_rgb, make_tokenizer, save_pipeline, write_card

LIMITS = (
    "It knows one procedural world of paper-cut scenes and the words in its vocabulary, nothing else. "
    "It was trained on square pictures; other shapes work less well. "
    "Four objects, and relations between objects, go wrong most often."
)


def card_of(
    checkpoint: Path, shards: Path, autoencoder: AutoencoderTiny, scores: dict, hardware: str
) -> dict:
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")["state"]
    space = load_space(shards / "latent_space.npz")
    with np.load(sorted(shards.glob("pictures-256-*.npz"))[-1]) as shard:
        pictures = shard["data"][:128]
    return {
        "name": "scenes-sd3",
        "title": "Scenes (demo model)",
        "family": "sd3",
        "licence": "Apache-2.0",
        "size": [256, 256],
        "steps": 20,
        "cfg_scale": 3.0,
        "shift": SHIFT,
        "max_sequence_length": 0,
        "load": {"text_encoder_3": None, "tokenizer_3": None},
        "sizes": [[256, 256]],
        "latent_rgb": latent_to_rgb(autoencoder, encode(pictures, space).astype(np.float32), pictures),
        "vocabulary": {
            **{name: list(table) for name, table in VALUES.items() if table},
            "other": [word for word in VOCABULARY if not any(word in table for table in VALUES.values())],
        },
        "training": {
            "data": "drawn by studio/scenes (seeded, held-out combinations never drawn): latents of 61,440 "
            "scenes at 64 px, 61,440 at 128 px and 18,432 at 256 px, captions written anew each time",
            "recipe": "studio/training/scenes_sd3.py and autoencoder.py, seed 0",
            "steps": state["step"],
            "samples": state["samples"],
            "minutes_by_stage": {k: round(v, 1) for k, v in state["stages"].items()},
            "hardware": hardware,
        },
        "scores": scores,
        "limits": LIMITS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/scenes_sd3.pt"))
    parser.add_argument("--autoencoder", type=Path, default=Path("checkpoints/autoencoder.pt"))
    parser.add_argument("--shards", type=Path, default=Path("checkpoints/shards"))
    parser.add_argument("--out", type=Path, default=Path("assets/models/scenes-sd3"))
    parser.add_argument("--scores", type=Path, help="JSON of `python -m studio eval prompts --json`")
    parser.add_argument("--hardware", default="two CPU cores (AMD EPYC, AVX-512 bf16), shared")
    arguments = parser.parse_args()
    student = load_student(arguments.checkpoint)
    autoencoder = load_autoencoder(arguments.shards, arguments.autoencoder)
    scores = json.loads(arguments.scores.read_text()) if arguments.scores else {}
    card = card_of(arguments.checkpoint, arguments.shards, autoencoder, scores, arguments.hardware)
    save_pipeline(arguments.out, student, autoencoder, make_tokenizer())
    write_card(arguments.out, card)
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{arguments.out}: {size / 1e6:.2f} MB, {card['training']['samples']} samples")


if __name__ == "__main__":
    main()
