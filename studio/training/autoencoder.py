"""Train the decoder of the embedded models' autoencoder on crops of drawn scenes; the encoder is linear and
fixed.

    python -m studio.training.autoencoder --minutes 30        resumes from checkpoints/autoencoder.pt

The decoder sees latents with a little noise (up to 0.15 of their standard deviation): a transformer's
latents are never exact, and a decoder that knows clean ones only turns their errors into speckle. Loss 4 x
MSE + L1, and L1 of the differences of neighbouring pixels later.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file
from torch import Tensor

from studio.training.latent_space import BLOCK, load_space, make_autoencoder
from studio.training.run import fast_bfloat16

CROP = 64
# Differences of neighbours join the loss when the colours stand; from the start they stall it.
SHARPEN_AFTER = 1000


class Crops:
    """Random crops from pictures of every scale that the transformer is trained on, with their latents.

    The pictures are held on the device; new shards are taken in by `refresh` as they are drawn.
    """

    def __init__(self, folder: Path, space: dict[str, np.ndarray], seed: int, device: str) -> None:
        self.folder, self.device = folder, device
        self.projection = torch.from_numpy(space["projection"]).float().to(device)
        self.bias = torch.from_numpy(space["bias"]).float().to(device)
        self.stacks: dict[str, Tensor] = {}
        self.generator = torch.Generator(device).manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.refresh()
        if not self.stacks:
            raise SystemExit(
                f"no picture shards in {folder}; run studio.training.scene_store --pictures first"
            )

    def refresh(self, most: int = 1 << 30) -> None:
        """Take in at most so many new shards."""
        fresh = [p for p in sorted(self.folder.glob("pictures-*.npz")) if ".tmp" not in p.name]
        for path in [p for p in fresh if p.name not in self.stacks][:most]:
            with np.load(path) as shard:
                self.stacks[path.name] = torch.from_numpy(shard["data"]).to(self.device)
        self.names = list(self.stacks)
        # Large pictures are what the artist sees: they get most of the crops.
        sizes = np.array([self.stacks[name].shape[1] for name in self.names])
        shares = np.array([{64: 0.1, 128: 0.15, 256: 0.6}.get(int(size), 0.15) for size in sizes])
        weights = shares / np.array([(sizes == size).sum() for size in sizes])
        self.weights = weights / weights.sum() if len(weights) else weights

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """(latents [count, channel, 8, 8], pictures [count, 3, 64, 64] in -1..1), all of one shard."""
        stack = self.stacks[self.names[int(self.rng.choice(len(self.names), p=self.weights))]]
        room = (stack.shape[1] - CROP) // BLOCK + 1
        chosen: dict[str, Any] = {"generator": self.generator, "device": self.device}
        which = torch.randint(len(stack), (count, 1, 1), **chosen)
        reach = torch.arange(CROP, device=self.device)
        y, x = (torch.randint(room, (count, 1), **chosen) * BLOCK + reach for _ in range(2))
        crops = stack[which, y[:, :, None], x[:, None, :]]
        return self.encode(crops), crops.permute(0, 3, 1, 2).float().div(127.5).sub(1)

    def encode(self, pictures: Tensor) -> Tensor:
        """uint8 [n, size, size, 3] -> latents [n, channel, size / 8, size / 8], as `latent_space.encode`."""
        n, size, _, _ = pictures.shape
        cut = pictures.reshape(n, size // BLOCK, BLOCK, size // BLOCK, BLOCK, 3).transpose(2, 3)
        flat = cut.reshape(n, size // BLOCK, size // BLOCK, -1).float() / 255
        return (flat @ self.projection.T + self.bias).permute(0, 3, 1, 2)


@torch.no_grad()
def whole_picture_psnr(model: AutoencoderTiny, crops: Crops, size: int, count: int = 24) -> float | None:
    """Mean PSNR in dB of encode-decode over whole pictures of `size` pixels; None where there are none."""
    found = [stack for stack in crops.stacks.values() if stack.shape[1] == size]
    if not found:
        return None
    pictures = found[-1][-count:]
    got = model.decode(crops.encode(pictures)).sample.float()
    got = got.add(1).mul(127.5).clamp(0, 255).permute(0, 2, 3, 1)
    error = (got - pictures.float()).square().mean((1, 2, 3))
    return round(float((10 * (255**2 / error).log10()).mean()), 2)


def edges(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbouring pixels, down and across."""
    return pictures.diff(dim=2), pictures.diff(dim=3)


def train(
    folder: Path, out: Path, minutes: float, batch: int, rate: float, device: str, warm: Path | None
) -> None:
    space = load_space(folder / "latent_space.npz")
    torch.manual_seed(0)
    model, average = (make_autoencoder(space).to(device) for _ in range(2))
    if warm and not out.exists():
        stored = load_file(warm / "diffusion_pytorch_model.safetensors")
        model.decoder.load_state_dict(
            {k.removeprefix("decoder."): v.float() for k, v in stored.items() if k.startswith("decoder.")}
        )
        average.load_state_dict(model.state_dict())
    model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.decoder.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0}
    if out.exists():
        saved = torch.load(out, weights_only=True, map_location=device)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["state"]
    crops = Crops(folder, space, seed=1 + state["step"], device=device)
    deadline, began, reported = time.time() + minutes * 60, time.time(), time.time()
    last = time.time()
    losses: deque[Tensor] = deque(maxlen=200)
    half = fast_bfloat16(device)
    while time.time() < deadline:
        done = (time.time() - began) / (minutes * 60)
        scale = min(1.0, (state["step"] + 1) / 200) * min(1.0, (1 - done) / 0.35 + 0.02)
        for group in optimiser.param_groups:
            group["lr"] = rate * scale
        latents, pictures = crops.batch(batch)
        drawn: dict[str, Any] = {"generator": crops.generator, "device": device}
        level = torch.rand(batch, 1, 1, 1, **drawn) ** 2 * 0.15
        latents = latents + level * torch.randn(latents.shape, **drawn)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            decoded = model.decoder(latents.to(memory_format=torch.channels_last))
        error = decoded.float() - pictures
        loss = 4 * error.square().mean() + error.abs().mean()
        if state["step"] > SHARPEN_AFTER:
            loss = loss + sum(edge.abs().mean() for edge in edges(error))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.decoder.parameters(), 1.0)
        optimiser.step()
        state["step"] += 1
        decay = min(0.998, (1 + state["step"]) / (20 + state["step"]))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.decoder.parameters()), list(model.decoder.parameters()), 1 - decay
            )
        losses.append(error.detach().square().mean())
        if state["step"] % 25 == 0:
            losses[-1].item()  # wait for the device
            crops.refresh(most=1)
        now = time.time()
        state["seconds"] += now - last
        last = now
        if now - reported > 60 or now >= deadline:
            reported = now
            row = {
                "decoder_step": state["step"],
                "minutes": round(state["seconds"] / 60, 1),
                "mse": round(float(torch.stack(list(losses)).mean()), 5),
                **{f"psnr{size}": whole_picture_psnr(average, crops, size) for size in (64, 128, 256, 512)},
            }
            print(json.dumps(row), flush=True)
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
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--warm", type=Path, help="the vae folder of an exported model to start from")
    arguments = parser.parse_args()
    train(
        arguments.shards,
        arguments.out,
        arguments.minutes,
        arguments.batch,
        arguments.rate,
        arguments.device,
        arguments.warm,
    )


if __name__ == "__main__":
    main()
