"""Train the embedded x2 upscaler: an SRVGGNetCompact on drawn scenes, 256 pixels in, 512 out.

    python -m studio.training.upscaler --minutes 40                   resumes from checkpoints/upscaler.pt
    python -m studio.training.upscaler --minutes 0 --export FOLDER    measures it and writes the model

The answer is the scene drawn at 512. The input is the scene drawn at 256, the answer shrunk by boxes, or,
half of the time, the drawing after the embedded autoencoder's round trip with a little noise on the latent
(up to 0.15, as its decoder was trained with): that is what finished pictures look like. New scenes are drawn
all along. Loss L1 + 10 x MSE.
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
from safetensors.torch import save_file
from torch import Tensor, nn

from studio.scenes.draw import draw
from studio.scenes.world import Scene, sample_scene
from studio.upscaling.engines import apply, filtered
from studio.upscaling.networks import SRVGGNetCompact
from studio.values import Image

SIZE, SCALE = 256, 2
WIDTH, DEPTH = 32, 8
CROP = 48
LATENT_NOISE = 0.15
# Scenes held at once, at the start, and steps until the next one is drawn.
MOST, FIRST, EVERY = 240, 24, 10
# Seeds of what is measured lie beyond all that is trained on; their combinations are never drawn in training.
HELD_OUT_SEED = 9_000_000
KINDS = ("drawn", "shrunk", "decoded")
VAE = Path("assets/models/scenes-sd3/vae")


def make_network() -> SRVGGNetCompact:
    return SRVGGNetCompact(3, WIDTH, DEPTH, SCALE)


def load_vae(folder: Path, device: str) -> AutoencoderTiny:
    model = AutoencoderTiny.from_pretrained(
        folder, low_cpu_mem_usage=False, torch_dtype=torch.float32, local_files_only=True
    )
    return model.eval().requires_grad_(False).to(device)


def tensor_of(pictures: np.ndarray) -> Tensor:
    """uint8 [n, h, w, 3] -> [n, 3, h, w] in 0..1."""
    return torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def round_trip(vae: AutoencoderTiny, picture: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """The picture (uint8 [h, w, 3]) encoded and decoded, with `noise` of standard deviation on the latent."""
    device = next(vae.parameters()).device
    latent = vae.encode(tensor_of(picture[None]).to(device) * 2 - 1).latents
    generator = torch.Generator("cpu").manual_seed(seed)
    latent = latent + noise * torch.randn(latent.shape, generator=generator).to(device)
    decoded = (vae.decode(latent).sample[0] / 2 + 0.5).clamp(0, 1)
    found: np.ndarray = decoded.mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    return found


class Pairs:
    """Scenes with their answer and their three inputs, drawn one after the other; scene k is a pure function
    of k, and `drawn` counts them."""

    def __init__(self, vae: AutoencoderTiny, drawn: int, size: int = SIZE) -> None:
        self.vae, self.drawn, self.size = vae, drawn, size
        self.held: deque[dict[str, np.ndarray]] = deque(maxlen=MOST)

    def add(self) -> None:
        rng = np.random.default_rng([71, self.drawn])
        scene = sample_scene(rng)
        level = float(rng.random() ** 2 * LATENT_NOISE)
        self.held.append(pair_of(scene, self.vae, level, self.drawn, self.size))
        self.drawn += 1

    def batch(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(inputs [count, 3, 48, 48], answers at twice the size); half the crops are the richest of four."""
        inputs, answers = [], []
        for index in range(count):
            pair = self.held[int(rng.integers(len(self.held)))]
            kind = KINDS[int(rng.choice(3, p=(0.25, 0.25, 0.5)))]
            tries = [rng.integers(self.size - CROP + 1, size=2) for _ in range(4 if index % 2 else 1)]
            y, x = max(tries, key=lambda at: richness(pair["drawn"], at))
            inputs.append(_turned(pair[kind][y : y + CROP, x : x + CROP], index))
            cut = slice(y * SCALE, (y + CROP) * SCALE), slice(x * SCALE, (x + CROP) * SCALE)
            answers.append(_turned(pair["answer"][cut], index))
        return tensor_of(np.stack(inputs)), tensor_of(np.stack(answers))


def pair_of(
    scene: Scene, vae: AutoencoderTiny, level: float, seed: int, size: int = SIZE
) -> dict[str, np.ndarray]:
    answer, small = draw(scene, size * SCALE), draw(scene, size)
    return {
        "answer": answer,
        "drawn": small,
        "shrunk": filtered(Image(answer), size, size, "area").pixels,
        "decoded": round_trip(vae, small, level, seed),
    }


def richness(picture: np.ndarray, at: np.ndarray) -> float:
    """How much a crop varies: the sum of the channels' standard deviations."""
    y, x = at
    return float(picture[y : y + CROP, x : x + CROP].astype(np.float32).std((0, 1)).sum())


def _turned(picture: np.ndarray, index: int) -> np.ndarray:
    """One of the mirror images; scenes have an up, so they are not turned upside down."""
    return picture[:, ::-1] if index % 4 >= 2 else picture


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """In dB, of uint8 pictures."""
    error = np.square(one.astype(np.float64) - other.astype(np.float64)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004, eq. 13) of uint8 pictures: 11 x 11 Gaussian windows of sigma
    1.5 without padding, mean over places and channels."""
    reach = torch.arange(11, dtype=torch.float64) - 5
    bell = torch.exp(-(reach**2) / (2 * 1.5**2))
    bell = bell / bell.sum()

    def blurred(values: Tensor) -> Tensor:
        rows = nn.functional.conv2d(values, bell[None, None, :, None])
        return nn.functional.conv2d(rows, bell[None, None, None, :])

    x, y = (torch.from_numpy(p.copy()).double().permute(2, 0, 1)[:, None] for p in (one, other))
    mx, my = blurred(x), blurred(y)
    vx, vy, both = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


def measure(network: nn.Module, vae: AutoencoderTiny, count: int, level: float = 0.0) -> dict[str, Any]:
    """Mean PSNR (dB) and SSIM against the drawing at 512 over `count` held-out scenes, for every kind of
    input: the network's beside Lanczos'."""
    rows: dict[str, list[float]] = {}
    device = str(next(network.parameters()).device)
    for index in range(count):
        rng = np.random.default_rng(HELD_OUT_SEED + index)
        pair = pair_of(sample_scene(rng, held_out_only=True), vae, level, index)
        for kind in KINDS:
            given, (height, width) = Image(pair[kind]), pair["answer"].shape[:2]
            ways = {
                "network": apply(network, given, device).pixels,
                "lanczos": filtered(given, width, height, "lanczos").pixels,
            }
            for way, made in ways.items():
                rows.setdefault(f"{kind}.{way}.psnr_db", []).append(psnr(made, pair["answer"]))
                rows.setdefault(f"{kind}.{way}.ssim", []).append(ssim(made, pair["answer"]))
    means = {name: float(np.mean(values)) for name, values in rows.items()}
    found: dict[str, Any] = {"n": count}
    for kind in KINDS:
        gain = means[f"{kind}.network.psnr_db"] - means[f"{kind}.lanczos.psnr_db"]
        found[kind] = {
            "gain_db": round(gain, 2),
            **{
                f"{way}_{unit}": round(means[f"{kind}.{way}.{unit}"], 2 if unit == "psnr_db" else 4)
                for way in ("network", "lanczos")
                for unit in ("psnr_db", "ssim")
            },
        }
    return found


class Training:
    """Everything that a checkpoint holds."""

    def __init__(self, out: Path, rate: float, device: str) -> None:
        torch.manual_seed(0)
        self.out, self.rate, self.device = out, rate, device
        self.network, self.average = make_network().to(device), make_network().to(device)
        self.average.requires_grad_(False).load_state_dict(self.network.state_dict())
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.state: dict[str, Any] = {"step": 0, "minutes": 0.0, "drawn": 0}
        if out.exists():
            saved = torch.load(out, weights_only=True, map_location=device)
            self.network.load_state_dict(saved["network"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.state = saved["state"]

    def save(self) -> None:
        saved = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "state": self.state,
        }
        self.out.parent.mkdir(parents=True, exist_ok=True)
        torch.save(saved, self.out.with_suffix(".tmp"))
        os.replace(self.out.with_suffix(".tmp"), self.out)

    def step(self, inputs: Tensor, answers: Tensor, scale: float) -> Tensor:
        """One step at `scale` of the rate; returns the mean squared error."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * scale
        made = self.network(inputs.to(self.device, memory_format=torch.channels_last))
        error = made - answers.to(self.device)
        squared = error.square().mean()
        self.optimiser.zero_grad(set_to_none=True)
        (error.abs().mean() + 10 * squared).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.state["step"] += 1
        decay = min(0.998, (1 + self.state["step"]) / (20 + self.state["step"]))
        with torch.no_grad():
            own: list[Tensor] = list(self.network.parameters())
            average: list[Tensor] = list(self.average.parameters())
            torch._foreach_lerp_(average, own, 1 - decay)
        return squared.detach()


def train(training: Training, vae: AutoencoderTiny, minutes: float, batch: int, steps: int = 0) -> None:
    """Train until `minutes` are spent in all, over restarts; `steps` > 0: at most so many now."""
    state = training.state
    pairs = Pairs(vae, max(0, state["drawn"] - FIRST))
    before, began, saved = state["minutes"], time.time(), time.time()
    losses: deque[Tensor] = deque(maxlen=200)
    first = state["step"]
    while state["minutes"] < minutes and not (steps and state["step"] - first >= steps):
        while len(pairs.held) < FIRST or state["step"] >= pairs.drawn * EVERY:
            pairs.add()
        done = state["minutes"] / minutes
        scale = min(1.0, (state["step"] + 1) / 100) * min(1.0, (1 - done) / 0.6 + 0.01)
        rng = np.random.default_rng([83, state["step"]])
        losses.append(training.step(*pairs.batch(batch, rng), scale))
        state["minutes"], state["drawn"] = before + (time.time() - began) / 60, pairs.drawn
        if time.time() - saved > 60:
            saved = time.time()
            training.save()
            error = float(torch.stack(list(losses)).mean())
            row = {
                "step": state["step"],
                "minutes": round(state["minutes"], 1),
                "scenes": pairs.drawn,
                "psnr_of_crops": round(-10 * float(np.log10(error)), 2),
            }
            print(json.dumps(row), flush=True)
    training.save()


def export(training: Training, vae: AutoencoderTiny, folder: Path, count: int) -> dict[str, Any]:
    """Write the moving average in fp16 with its card; the figures are those of the fp16 weights."""
    half = {name: value.half().contiguous().cpu() for name, value in training.average.state_dict().items()}
    network = make_network()
    network.load_state_dict({name: value.float() for name, value in half.items()})
    scores = measure(network.eval(), vae, count)
    card = {
        "name": folder.name,
        "title": "Scenes x2 (demo upscaler)",
        "kind": "upscaler",
        "licence": "Apache-2.0",
        "scale": SCALE,
        "network": f"SRVGGNetCompact, width {WIDTH}, depth {DEPTH}",
        "training": {
            "data": "drawn by studio/scenes: 256 px in, 512 px as the answer; "
            f"{training.state['drawn']} scenes, held-out combinations never drawn",
            "recipe": "studio/training/upscaler.py, seed 0",
            "steps": training.state["step"],
            "minutes": round(training.state["minutes"], 1),
        },
        "scores": {"against": "the same held-out scenes drawn at 512 px", **scores},
        "limits": "Made for paper-cut scenes like those of scenes-sd3; photographs are not its world.",
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(half, folder / "model.safetensors")
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    (folder / "card.json").write_text(text, encoding="utf-8")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("checkpoints/upscaler.pt"))
    parser.add_argument("--vae", type=Path, default=VAE, help="the autoencoder whose pictures it will see")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--export", type=Path, help="measure, and write the model into this folder")
    parser.add_argument("--count", type=int, default=24, help="held-out scenes to measure on")
    given = parser.parse_args()
    training, vae = Training(given.out, given.rate, given.device), load_vae(given.vae, given.device)
    train(training, vae, given.minutes, given.batch)
    if given.export:
        print(json.dumps(export(training, vae, given.export, given.count)["scores"], indent=1))


if __name__ == "__main__":
    main()
