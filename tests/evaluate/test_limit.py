"""Operations are those counted by hand, and the speed of this machine is one."""

from __future__ import annotations

import pytest
import torch

from studio.evaluate.limit import Limit, flops_of, gemm_speed, limit_of


def test_a_linear_layer_a_convolution_and_attention_by_hand() -> None:
    linear, convolution = torch.nn.Linear(128, 256), torch.nn.Conv2d(3, 8, 3, padding=1)
    query, key = torch.randn(1, 4, 100, 32), torch.randn(1, 4, 60, 32)
    attend = torch.nn.functional.scaled_dot_product_attention
    for grad in (False, True):
        with torch.inference_mode(not grad):
            assert flops_of(lambda: linear(torch.randn(64, 128))) == 2 * 64 * 128 * 256
            assert flops_of(lambda: convolution(torch.randn(1, 3, 16, 16))) == 2 * 16 * 16 * 8 * 27
            assert flops_of(lambda: attend(query, key, key)) == 4 * 2 * 2 * 100 * 60 * 32


def test_a_networks_operations_grow_with_its_tokens_as_expected(tiny_sd3_folder) -> None:  # type: ignore[no-untyped-def]
    from diffusers import SD3Transformer2DModel

    network = SD3Transformer2DModel.from_pretrained(tiny_sd3_folder / "transformer", low_cpu_mem_usage=False)
    config = network.config

    def call(side: int) -> float:
        with torch.inference_mode():
            return flops_of(
                lambda: network(
                    hidden_states=torch.randn(1, config.in_channels, side, side),
                    timestep=torch.tensor([500.0]),
                    encoder_hidden_states=torch.randn(1, 4, config.joint_attention_dim),
                    pooled_projections=torch.randn(1, config.pooled_projection_dim),
                )
            )

    assert 3.5 < call(16) / call(8) < 8  # four times the image tokens; attention grows with the square


def test_the_speed_is_finite_and_the_limit_is_their_ratio() -> None:
    speed = gemm_speed("cpu", torch.float32)
    assert 1e8 < speed < 1e15 and gemm_speed("cpu", torch.float32) == speed
    found = limit_of(lambda: torch.randn(64, 32) @ torch.randn(32, 16), torch.device("cpu"), torch.float32)
    assert found.flops == 2 * 64 * 32 * 16 and found.seconds == found.flops / speed
    told = Limit(5e9, 1e10).columns(2.0)
    assert told == {"gflop": 5.0, "gemm_gflops": 10.0, "of_limit": 0.25, "limit_seconds": 0.5}
    assert list(told)[-1] == "limit_seconds" and "of_limit" not in Limit(1, 1).columns()


@pytest.mark.parametrize("took", [0.0])
def test_no_time_is_no_share(took: float) -> None:
    assert Limit(1.0, 1.0).columns(took)["of_limit"] is None
