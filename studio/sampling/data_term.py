"""How a latent fits to what is known of a picture, and the way downhill, through the decoder.

The data term is |A d(z) - y|^2 with d the decoder. Its gradient says where to, a second decoding how far:
along one line the residual is nearly straight, so that two points tell the length at which it is least (the
Cauchy step). So a step is a displacement of the latent, whatever the scale of a model's latents and pixels.
"""

from __future__ import annotations

import torch

from studio.errors import StudioError
from studio.models.family import Parts
from studio.sampling.measurement import Measurement

# Root mean square of the trial step, in units of a latent, which have a spread of about 1.
TRIAL = 0.05
# Where the residual hardly changes along the line, no step is longer than this.
LONGEST = 2.0


def downhill(
    parts: Parts, measurement: Measurement, wanted: torch.Tensor, latent: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(the displacement along the gradient that lowers the data term most, the data term before, one a
    picture: mean squared residual over all of y). `wanted`: `measurement.wanted()` on the latent's device.
    fp32, no graph left."""
    with torch.inference_mode(False), torch.enable_grad():
        point = torch.empty(latent.shape, dtype=torch.float32, device=latent.device).copy_(latent)
        point.requires_grad_(True)
        residual = measurement(parts.family.decode(parts, point).float() / 2 + 0.5) - wanted
        (slope,) = torch.autograd.grad(residual.square().sum() / 2, point)
    if not bool(torch.isfinite(slope).all()):
        raise StudioError("The gradient of the data term is not finite.", hint="Lower the force or the rate.")
    with torch.no_grad():
        residual = residual.detach()
        size = slope.flatten(1).square().mean(1).sqrt().reshape(-1, 1, 1, 1)
        trial = slope * (TRIAL / size.clamp_min(1e-20))
        other = measurement(parts.family.decode(parts, point.detach() - trial).float() / 2 + 0.5) - wanted
        change = residual - other
        along, length = ((residual * change), (change * change))
        share = along.flatten(1).sum(1) / length.flatten(1).sum(1).clamp_min(1e-20)
        share = share.clamp(0, LONGEST / TRIAL).reshape(-1, 1, 1, 1)
        return -share * trial, residual.flatten(1).square().mean(1)
