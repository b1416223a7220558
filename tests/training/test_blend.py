"""Both ends of a blend are exact, and the middle lies between them."""

import torch

from studio.training.blend import blend


def test_a_blend_lies_on_the_line_between_two_networks() -> None:
    start = {"a": torch.randn(3, 4), "b": torch.randn(2)}
    tuned = {name: value + 1 for name, value in start.items()}
    assert all(torch.equal(value, start[name]) for name, value in blend(start, tuned, 0.0).items())
    assert all(torch.equal(value, tuned[name]) for name, value in blend(start, tuned, 1.0).items())
    quarter = blend(start, tuned, 0.25)
    assert all(torch.allclose(value, start[name] + 0.25) for name, value in quarter.items())
