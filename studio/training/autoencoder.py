"""Train the decoder of the embedded models' autoencoder on crops of drawn scenes; the encoder is linear and
fixed.

    python -m studio.training.autoencoder --minutes 30        resumes from checkpoints/autoencoder.pt

The decoder sees latents with a little noise (up to 0.15 of their standard deviation): a transformer's
latents are never exact, and a decoder that knows clean ones only turns their errors into speckle. Loss 4 x
MSE + L1.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch.nn import functional

from studio.training.latent_space import BLOCK, encode, load_space, make_autoencoder

CROP = 64


class Crops:
    """Random crops from pictures of every scale that the transformer is trained on, with their latents."""

    def __init__(self, folder: Path, space: dict[str, np.ndarray], seed: int) -> None:
        self.space = space
        self.stacks: list[np.ndarray] = []
        for path in sorted(folder.glob("pictures-*.npz")):
            with np.load(path) as shard:
                self.stacks.append(shard["data"])
        if not self.stacks:
            raise SystemExit(
                f"no picture shards in {folder}; run studio.training.scene_store --pictures first"
            )
        # Large pictures are what the artist sees: they get most of the crops.
        weights = np.array([{64: 0.15, 128: 0.25}.get(stack.shape[1], 0.6) for stack in self.stacks])
        sizes = np.array([stack.shape[1] for stack in self.stacks])
        self.weights = weights / np.array([(sizes == size).sum() for size in sizes])
        self.weights /= self.weights.sum()
        self.rng = np.random.default_rng(seed)

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(latents [count, channel, 8, 8], pictures [count, 3, 64, 64] in -1..1)."""
        crops = np.empty((count, CROP, CROP, 3), np.uint8)
        for i in range(count):
            stack = self.stacks[self.rng.choice(len(self.stacks), p=self.weights)]
            picture = stack[self.rng.integers(len(stack))]
            room = (picture.shape[0] - CROP) // BLOCK
            y, x = (self.rng.integers(0, room + 1, 2) * BLOCK) if room else (0, 0)
            crops[i] = picture[y : y + CROP, x : x + CROP]
        latents = torch.from_numpy(encode(crops, self.space).astype(np.float32))
        return latents, torch.from_numpy(crops).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def whole_picture_psnr(
    model: AutoencoderTiny, folder: Path, space: dict[str, np.ndarray], size: int, count: int = 24
) -> float:
    """Mean PSNR in dB of encode-decode over whole held-back pictures of `size` pixels."""
    path = sorted(folder.glob(f"pictures-{size}-*.npz"))[-1]
    with np.load(path) as shard:
        pictures = shard["data"][-count:]
    with torch.no_grad():
        decoded = model.decode(torch.from_numpy(encode(pictures, space).astype(np.float32))).sample
    got = decoded.add(1).mul(127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    error = ((got - pictures.astype(np.float32)) ** 2).mean((1, 2, 3))
    return float((10 * np.log10(255**2 / error)).mean())


def train(folder: Path, out: Path, minutes: float, batch: int, rate: float) -> None:
    space = load_space(folder / "latent_space.npz")
    torch.manual_seed(0)
    model = make_autoencoder(space).to(memory_format=torch.channels_last)
    average = make_autoencoder(space)
    optimiser = torch.optim.AdamW(model.decoder.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0}
    if out.exists():
        saved = torch.load(out, weights_only=True)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["state"]
    crops = Crops(folder, space, seed=1 + state["step"])
    generator = torch.Generator().manual_seed(1 + state["step"])
    deadline, began, reported = time.time() + minutes * 60, time.time(), time.time()
    last, losses = time.time(), []
    while time.time() < deadline:
        done = (time.time() - began) / (minutes * 60)
        scale = min(1.0, (state["step"] + 1) / 200) * min(1.0, (1 - done) / 0.35 + 0.02)
        for group in optimiser.param_groups:
            group["lr"] = rate * scale
        latents, pictures = crops.batch(batch)
        level = torch.rand(batch, 1, 1, 1, generator=generator) ** 2 * 0.15
        latents = latents + level * torch.randn(latents.shape, generator=generator)
        with torch.autocast("cpu", torch.bfloat16):
            decoded = model.decoder(latents.to(memory_format=torch.channels_last))
        error = decoded.float() - pictures
        loss = 4 * error.square().mean() + error.abs().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.decoder.parameters(), 1.0)
        optimiser.step()
        state["step"] += 1
        decay = min(0.998, (1 + state["step"]) / (20 + state["step"]))
        with torch.no_grad():
            for mean, new in zip(average.decoder.parameters(), model.decoder.parameters(), strict=True):
                mean.lerp_(new, 1 - decay)
        losses.append(float(functional.mse_loss(decoded.float().detach(), pictures)))
        now = time.time()
        state["seconds"] += now - last
        last = now
        if now - reported > 120 or now >= deadline:
            reported = now
            row = {
                "step": state["step"],
                "minutes": round(state["seconds"] / 60, 1),
                "mse": round(float(np.mean(losses)), 5),
                **{
                    f"psnr{size}": round(whole_picture_psnr(average, folder, space, size), 2)
                    for size in (64, 128, 256)
                },
            }
            print(json.dumps(row), flush=True)
            losses = []
            saved = {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "state": state,
            }
            torch.save(saved, out.with_suffix(".tmp"))
            os.replace(out.with_suffix(".tmp"), out)
            last = time.time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, default=Path("checkpoints/shards"))
    parser.add_argument("--out", type=Path, default=Path("checkpoints/autoencoder.pt"))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    arguments = parser.parse_args()
    train(arguments.shards, arguments.out, arguments.minutes, arguments.batch, arguments.rate)


if __name__ == "__main__":
    main()
