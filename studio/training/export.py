"""Write a checkpoint as an embedded model: a stock diffusers folder with its card.

python -m studio.training.export --scores checkpoints/scores.json
python -m studio.training.export --model scenes-flux --scores checkpoints/scores_flux.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny

from studio.scenes.caption import VOCABULARY
from studio.scenes.words import VALUES
from studio.training.judge import STUDENTS, checkpoint_of, load_autoencoder, load_student
from studio.training.latent_space import encode, load_space
from studio.training.recipe import (
    NATIVE,
    SHIFT,
    TEXT_TOKENS,
    latent_to_rgb,
    make_tokenizer,
    save_pipeline,
    write_card,
)
from studio.training.recipe_flux import PLAIN, save_flux
from studio.training.scene_store import pictures_of, scenes_of

LIMITS = (
    "It knows one procedural world of paper-cut scenes and the words in its vocabulary, nothing else. "
    "It was trained on square pictures; other shapes work less well. "
    "Dots and stripes, sometimes drawn plain, and two objects of which only the relation is said (a cup left "
    "of a star), sometimes drawn twice, go wrong most often."
)
GUIDANCE = 3.0
SAMPLER = "dpmpp_2m_sde"  # docs/training.md, "Why new noise draws more of a prompt"
PREVIEWED = 11  # seed of the scenes that the colours of previews are fitted to
SAVE: Mapping[str, Callable[..., None]] = {"scenes-sd3": save_pipeline, "scenes-flux": save_flux}


def facts_of(model: str, stages: dict[str, float]) -> dict[str, Any]:
    """The part of a card that depends on the network. A FLUX-shaped one that has seen no guided stage (256g)
    is guided by two passes like the other."""
    if model == "scenes-sd3":
        return {
            "title": "Scenes (demo model)",
            "family": "sd3",
            "sampler": SAMPLER,
            "cfg_scale": GUIDANCE,
            "max_sequence_length": 0,
            "load": {"text_encoder_3": None, "tokenizer_3": None},
        }
    distilled = any(name.endswith("g") and minutes > 0 for name, minutes in stages.items())
    return {
        "title": "Scenes, FLUX-shaped (demo model)",
        "family": "flux",
        "sampler": SAMPLER,
        "spacing": "flux",
        "guidance": GUIDANCE if distilled else PLAIN,
        "cfg_scale": 1.0 if distilled else GUIDANCE,
        "max_sequence_length": TEXT_TOKENS,
        "load": {},
    }


def card_of(
    model: str,
    checkpoint: Path,
    shards: Path,
    autoencoder: AutoencoderTiny,
    scores: dict,
    hardware: str,
    before: str = "",
    data: str = "latents of scenes with eight captions each",
) -> dict:
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")["state"]
    space = load_space(shards / "latent_space.npz")
    pictures = pictures_of(scenes_of(PREVIEWED, 64), NATIVE)
    facts = facts_of(model, state["stages"])
    return {
        "name": model,
        **{name: facts.pop(name) for name in ("title", "family")},
        "licence": "Apache-2.0",
        "size": [256, 256],
        "steps": 20,
        "shift": SHIFT,
        **facts,
        "sizes": [[256, 256]],
        "latent_rgb": latent_to_rgb(autoencoder, encode(pictures, space).astype(np.float32), pictures),
        "vocabulary": {
            **{name: list(table) for name, table in VALUES.items() if table},
            "other": [word for word in VOCABULARY if not any(word in table for table in VALUES.values())],
        },
        "training": {
            "data": f"drawn by studio/scenes (seeded, held-out combinations never drawn): {data}",
            "recipe": f"studio/training/{model.replace('-', '_')}.py and autoencoder.py, seed 0",
            "steps": state["step"],
            "samples": state["samples"],
            "minutes_by_stage": {k: round(v, 1) for k, v in state["stages"].items()},
            "hardware": hardware,
            **({"before": before} if before else {}),
        },
        "scores": scores,
        "limits": LIMITS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=tuple(STUDENTS), default="scenes-sd3")
    parser.add_argument("--checkpoint", type=Path, help="default: where the model's recipe writes")
    parser.add_argument(
        "--autoencoder",
        type=Path,
        default=Path("checkpoints/autoencoder.pt"),
        help="a checkpoint, or assets/models/scenes-sd3/vae",
    )
    parser.add_argument("--shards", type=Path, default=Path("checkpoints/shards"))
    parser.add_argument("--out", type=Path, help="default: assets/models/MODEL")
    parser.add_argument("--scores", type=Path, help="JSON of `python -m studio eval prompts --json`")
    parser.add_argument("--hardware", default="two CPU cores (AMD EPYC, AVX-512 bf16), shared")
    parser.add_argument(
        "--data", default="latents of scenes with eight captions each", help="how many scenes, for the card"
    )
    parser.add_argument("--before", default="", help="what a warm start had seen before, for the card")
    arguments = parser.parse_args()
    model = arguments.model
    checkpoint = arguments.checkpoint or checkpoint_of(model)
    out = arguments.out or Path("assets/models") / model
    student = load_student(checkpoint, model)
    autoencoder = load_autoencoder(arguments.shards, arguments.autoencoder)
    scores = json.loads(arguments.scores.read_text()) if arguments.scores else {}
    card = card_of(
        model,
        checkpoint,
        arguments.shards,
        autoencoder,
        scores,
        arguments.hardware,
        arguments.before,
        arguments.data,
    )
    SAVE[model](out, student, autoencoder, make_tokenizer())
    write_card(out, card)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.2f} MB, {card['training']['samples']} samples")


if __name__ == "__main__":
    main()
