"""A clean picture that a rule follows: taken out of its latent, fitted to a run, and told from others."""

from __future__ import annotations

import hashlib

import torch

from studio.controls.bounds import repeated
from studio.errors import StudioError
from studio.values import Latent


def clean_picture(reference: Latent | None, missing: str, *, hint: str, socket: str) -> torch.Tensor:
    """The tensor of a latent that holds a picture; StudioError in the words of `missing` if there is none, or
    noise in it."""
    if reference is None or reference.tensor is None or reference.sigma:
        raise StudioError(missing, socket=socket, hint=hint)
    return reference.tensor


def fitted(picture: torch.Tensor, latent: torch.Tensor, what: str, *, socket: str) -> torch.Tensor:
    """The picture, repeated for every one of the latent's batch; StudioError for another size."""
    hint = "Encode it in the canvas's size, with the model that samples."
    return repeated(picture, latent, f"{what} has", hint=hint, socket=socket)


def content(tensor: torch.Tensor) -> str:
    """What tells a tensor from others: a wrap or a guidance is known by its parameters."""
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
