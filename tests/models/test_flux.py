"""FLUX beside FluxPipeline on the same weights: the same bits into the network, the same picture out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from studio.errors import BadModel, StudioError
from studio.models.device import place, start_noise
from studio.models.family import Parts, families, parts_of
from studio.models.flux import FAMILY, image_ids, pack, unpack
from studio.models.folders import check_folder
from studio.models.guidance_input import guidance_inputs
from studio.models.loading import ModelStore, load_folder
from studio.models.pictures import decode_latent, encode_picture
from studio.models.text import encode_prompt
from studio.models.tiny import TEXT_LENGTH, save_tiny, tiny_flux_pipeline
from studio.pixels import from_pillow
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.embedded import embedded_guidance
from studio.sampling.loop import sample_latent
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flux, flux_by_size, from_strength
from studio.values import Latent, Row, Sigmas, Step

INPUTS = (
    "hidden_states",
    "timestep",
    "encoder_hidden_states",
    "pooled_projections",
    "guidance",
    "txt_ids",
    "img_ids",
)
SHARED = ("txt_ids", "img_ids")
PROMPT, NEGATIVE, STEPS, SEED, WIDTH, HEIGHT = "a red star on the left", "blue house", 5, 7, 96, 64
NUMBER = 2.5
TOLERANCE = 1e-5


@dataclass
class Pair:
    stock: Any
    ours: Parts
    sigmas: Sigmas


@pytest.fixture(scope="module", params=["tiny", "kl-dynamic", "no-guidance"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A miniature; one with a KL autoencoder and a shift by size; one like FLUX.1-schnell."""
    from diffusers import FluxPipeline, FluxTransformer2DModel

    folder = tmp_path_factory.mktemp("flux") / "flux"
    dynamic = request.param == "kl-dynamic"
    made = tiny_flux_pipeline(vae="kl" if dynamic else "tiny", dynamic=dynamic)
    if request.param == "no-guidance":
        plain = FluxTransformer2DModel.from_config({**made.transformer.config, "guidance_embeds": False})
        plain.load_state_dict(made.transformer.state_dict(), strict=False)
        made.register_modules(transformer=plain)
    made.save_pretrained(folder, safe_serialization=True)
    (folder / "card.json").write_text(f'{{"max_sequence_length": {TEXT_LENGTH}}}')
    stock = FluxPipeline.from_pretrained(
        folder, dtype=torch.float32, low_cpu_mem_usage=False, local_files_only=True
    )
    stock.set_progress_bar_config(disable=True)
    tokens = WIDTH * HEIGHT // 16**2
    sigmas = flux_by_size(STEPS, tokens) if dynamic else flux(STEPS, 3.0)
    return Pair(stock, load_folder(check_folder(folder), place("cpu")), sigmas)


def takes_number(pair: Pair) -> bool:
    return bool(pair.ours.transformer.config.guidance_embeds)


def stock_run(pair: Pair, prompt: str = PROMPT, batch: int = 1, scale: float = 1.0, **kwargs: Any) -> Any:
    return pair.stock(
        prompt,
        negative_prompt=NEGATIVE if scale != 1 else None,
        true_cfg_scale=scale,
        guidance_scale=NUMBER,
        num_inference_steps=STEPS,
        height=HEIGHT,
        width=WIDTH,
        max_sequence_length=TEXT_LENGTH,
        generator=[torch.Generator("cpu").manual_seed(SEED + k) for k in range(batch)],
        num_images_per_prompt=batch,
        **kwargs,
    ).images


def our_run(
    pair: Pair, canvas: Latent, sigmas: Sigmas | None = None, scale: float = 1.0, prompt: str = PROMPT
):
    positive, negative = (encode_prompt(pair.ours, text, "it")[0] for text in (prompt, NEGATIVE))
    guidance = embedded_guidance(NUMBER, scale) if takes_number(pair) else cfg(scale)
    return sample_latent(
        pair.ours, positive, negative, canvas, sigmas or pair.sigmas, sampler("euler"), guidance
    )


@contextmanager
def recorded(transformer: torch.nn.Module) -> Iterator[list[dict[str, torch.Tensor | None]]]:
    calls: list[dict[str, torch.Tensor | None]] = []

    def note(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert not args
        given = {name: kwargs.get(name) for name in INPUTS}
        calls.append({name: None if value is None else value.clone() for name, value in given.items()})

    handle = transformer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and torch.equal(one, other)


def row(calls: dict[str, torch.Tensor | None], start: int, stop: int) -> dict[str, torch.Tensor | None]:
    return {
        name: value if value is None or name in SHARED else value[start:stop] for name, value in calls.items()
    }


@pytest.mark.parametrize("prompt", [PROMPT, "", "dragon 🐉 " * 40])
def test_prompts_are_encoded_bit_by_bit_as_the_pipeline_does(pair: Pair, prompt: str) -> None:
    with torch.inference_mode():
        embeds, pooled, ids = pair.stock.encode_prompt(prompt, max_sequence_length=TEXT_LENGTH)
    ours, _, _ = encode_prompt(pair.ours, prompt, "it")
    assert torch.equal(ours.embeds, embeds) and torch.equal(ours.pooled, pooled)
    assert same(FAMILY.text_inputs(pair.ours, [ours], 1)["txt_ids"], ids)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_network_is_given_the_same_bits_at_every_step(pair: Pair, batch: int) -> None:
    with recorded(pair.stock.transformer) as theirs:
        stock_run(pair, batch=batch, output_type="latent")
    with recorded(pair.ours.transformer) as mine:
        our_run(pair, Latent(WIDTH, HEIGHT, batch, SEED))
    assert len(theirs) == len(mine) == STEPS
    for stock_call, our_call in zip(theirs, mine, strict=True):
        for name in INPUTS:
            assert same(stock_call[name], our_call[name]), name
    assert (theirs[0]["guidance"] is not None) == takes_number(pair)


def test_the_two_passes_of_cfg_are_the_rows_of_one_call(pair: Pair) -> None:
    with recorded(pair.stock.transformer) as theirs:
        stock_run(pair, scale=2.0, output_type="latent")
    positive, negative = (encode_prompt(pair.ours, text, "it")[0] for text in (PROMPT, NEGATIVE))
    number = (NUMBER,) if takes_number(pair) else ()
    rows = (Row(negative, "uncond", guidance=number), Row(positive, "cond", guidance=number))
    from studio.sampling.denoiser import make_predict

    predict = make_predict(pair.ours)
    with recorded(pair.ours.transformer) as mine, torch.inference_mode():
        for index, call in enumerate(theirs[::2]):
            step = Step(index, STEPS, pair.sigmas.values[index], pair.sigmas.values[index + 1])
            predict(unpack(call["hidden_states"], HEIGHT // 8, WIDTH // 8), step, rows)
    assert len(theirs) == 2 * STEPS and len(mine) == STEPS
    for index, our_call in enumerate(mine):
        for half in (0, 1):
            stock_call = theirs[2 * index + half]
            for name, value in row(our_call, half, half + 1).items():
                assert same(stock_call[name], value), name


@pytest.mark.parametrize(("scale", "batch"), [(1.0, 1), (1.0, 3), (2.0, 1), (2.0, 2)])
def test_final_latents_equal_those_of_the_pipeline(pair: Pair, scale: float, batch: int) -> None:
    packed = stock_run(pair, scale=scale, batch=batch, output_type="latent")
    ours = our_run(pair, Latent(WIDTH, HEIGHT, batch, SEED), scale=scale).tensor
    stock = unpack(packed, HEIGHT // 8, WIDTH // 8)
    assert stock.abs().max() > 0.1
    assert (stock - ours).abs().max() < TOLERANCE


def test_the_decoded_picture_equals_that_of_the_pipeline(pair: Pair) -> None:
    stock = from_pillow(stock_run(pair)[0])
    ours = decode_latent(pair.ours, our_run(pair, Latent(WIDTH, HEIGHT, seed=SEED)))
    assert stock.pixels.std() > 1 and (ours.width, ours.height) == (WIDTH, HEIGHT)
    assert abs(stock.pixels.astype(int) - ours.pixels.astype(int)).max() <= 1


def test_starting_from_a_picture_equals_the_img2img_pipeline(pair: Pair) -> None:
    from diffusers import FluxImg2ImgPipeline

    encoded = encode_picture(pair.ours, from_pillow(stock_run(pair, prompt="a green tree")[0]), seed=SEED)
    img2img = FluxImg2ImgPipeline(**pair.stock.components)
    img2img.set_progress_bar_config(disable=True)
    packed = img2img(
        PROMPT,
        # handed a latent, the pipeline encodes nothing: a KL encoder would draw from its distribution
        image=encoded.tensor,
        strength=0.6,
        num_inference_steps=STEPS,
        guidance_scale=NUMBER,
        max_sequence_length=TEXT_LENGTH,
        output_type="latent",
        generator=torch.Generator("cpu").manual_seed(SEED),
        height=HEIGHT,
        width=WIDTH,
    ).images
    ours = our_run(pair, encoded, from_strength(pair.sigmas, 0.6)).tensor
    assert (unpack(packed, HEIGHT // 8, WIDTH // 8) - ours).abs().max() < TOLERANCE


def test_the_number_changes_the_picture_and_none_is_the_usual_one(pair: Pair) -> None:
    if not takes_number(pair):
        pytest.skip("this network takes no number")
    positive, _, _ = encode_prompt(pair.ours, PROMPT, "it")

    def run(guidance):
        canvas = Latent(WIDTH, HEIGHT, seed=SEED)
        return sample_latent(
            pair.ours, positive, positive, canvas, pair.sigmas, sampler("euler"), guidance
        ).tensor

    assert torch.equal(run(cfg(1.0)), run(embedded_guidance(3.5)))
    assert (run(embedded_guidance(1.0)) - run(embedded_guidance(3.5))).abs().max() > 1e-3
    carded = replace(pair.ours, card={**pair.ours.card, "guidance": 2.0})
    assert torch.equal(
        guidance_inputs(carded, [None, 4.0], 2)["guidance"], torch.tensor([2.0, 2.0, 4.0, 4.0])
    )


def test_a_network_without_the_number_refuses_it_with_the_reason(pair: Pair) -> None:
    if takes_number(pair):
        pytest.skip("this network takes the number")
    positive, _, _ = encode_prompt(pair.ours, PROMPT, "it")
    with pytest.raises(StudioError, match=r"guidance_embeds is off.*2\.5 would do nothing") as caught:
        sample_latent(
            pair.ours,
            positive,
            positive,
            Latent(WIDTH, HEIGHT),
            pair.sigmas,
            sampler("euler"),
            embedded_guidance(NUMBER),
        )
    assert caught.value.socket == "guidance" and "cfg_scale" in (caught.value.hint or "")


def test_a_senseless_number_in_the_card_is_refused(pair: Pair) -> None:
    if not takes_number(pair):
        pytest.skip("this network takes no number")
    with pytest.raises(BadModel, match="guidance is 'much'"):
        guidance_inputs(replace(pair.ours, card={"guidance": "much"}), [None], 1)


def test_tokens_are_those_of_the_t5_encoder(pair: Pair) -> None:
    text = "A red star, on the  left"
    found = FAMILY.tokens(pair.ours, text)
    words = [text[token.start : token.stop] for token in found]
    assert words == ["A", "red", "star", ",", "on", "the", "left"]
    ids = pair.ours.components["tokenizer_2"](text).input_ids
    vocabulary = pair.ours.components["tokenizer_2"].get_vocab()
    assert [ids[token.index] for token in found] == [vocabulary[word.lower()] for word in words]
    assert len(FAMILY.tokens(pair.ours, "red " * 50)) == TEXT_LENGTH - 2


def test_what_both_encoders_do_not_know_or_cut_is_told(pair: Pair) -> None:
    _, warnings, unknown = encode_prompt(pair.ours, "a red dragon " + "and a tree " * 9, "The model")
    assert list(unknown) == ["dragon"]
    assert any("too long" in warning for warning in warnings)


def test_packing_is_the_pipelines_and_its_inverse() -> None:
    from diffusers import FluxPipeline

    latent = torch.randn(2, 4, 6, 10)
    stock = FluxPipeline._pack_latents(latent, 2, 4, 6, 10)
    assert torch.equal(pack(latent), stock) and torch.equal(unpack(stock, 6, 10), latent)
    ids = FluxPipeline._prepare_latent_image_ids(1, 3, 5, torch.device("cpu"), torch.float32)
    assert torch.equal(image_ids(3, 5), ids)


def test_rows_stand_positive_then_negative(pair: Pair) -> None:
    text, _, _ = encode_prompt(pair.ours, PROMPT, "it")
    rows = [Row(text, role) for role in ("uncond", "target.uncond", "cond", "target")]
    assert [r.role for r in FAMILY.order(rows)] == ["cond", "target", "uncond", "target.uncond"]


def test_the_miniature_loads_by_its_reference_and_as_a_folder(tmp_path) -> None:
    store = ModelStore(device="cpu", models_folder=tmp_path)
    folder = save_tiny("flux", tmp_path / "mine")
    model = store.load("tiny:flux")
    assert model == store.load(str(folder)) == store.load("tiny:flux") and model.family == "flux"
    assert families()["FluxPipeline"] is parts_of(model).family is FAMILY
    info = next(info for info in store.list() if info.ref == str(folder))
    assert (info.family, info.problem) == ("flux", "") and info.bytes > 10_000
    parts = parts_of(model)
    assert FAMILY.size_step(parts) == 16 and FAMILY.latent_shape(parts, 2, 96, 64) == (2, 4, 8, 12)
    store.close()


@pytest.mark.parametrize(
    ("part", "name", "value", "words"),
    [
        ("transformer", "in_channels", 20, "in_channels is 20, four times vae.latent_channels is 16"),
        ("transformer", "pooled_projection_dim", 24, "text_encoder's width is 32"),
        ("transformer", "joint_attention_dim", 24, "text_encoder_2's width is 32"),
        ("transformer", "axes_dims_rope", (4, 6, 4), "attention_head_dim is 16"),
        ("text_encoder", "max_position_embeddings", 8, "8 positions"),
    ],
)
def test_components_of_two_models_are_told_apart_by_numbers(
    pair: Pair, part: str, name: str, value: object, words: str
) -> None:
    class Odd:
        def __init__(self, config: Any) -> None:
            self.config = config

    class Changed:
        def __init__(self, config: Any) -> None:
            self._config = config

        def __getattr__(self, key: str) -> Any:
            return value if key == name else getattr(self._config, key)

    FAMILY.check(pair.ours)
    odd = Odd(Changed(pair.ours.components[part].config))
    with pytest.raises(BadModel, match=words):
        FAMILY.check(replace(pair.ours, components={**pair.ours.components, part: odd}))


def test_start_noise_is_drawn_at_the_unpacked_shape(pair: Pair) -> None:
    with recorded(pair.stock.transformer) as theirs:
        stock_run(pair, output_type="latent")
    shape = FAMILY.latent_shape(pair.ours, 1, WIDTH, HEIGHT)
    assert torch.equal(theirs[0]["hidden_states"], pack(start_noise(shape, SEED)))
