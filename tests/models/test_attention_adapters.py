"""The attention adapters against what the networks really do: every claim of a layout is compared with the
shapes, values and outputs seen at scaled_dot_product_attention in tiny networks of the real classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from studio.errors import StudioError
from studio.models.family import Site, TokenLayout, adapter_for
from studio.models.tiny import TEXT_WIDTH, TRANSFORMERS, tiny_transformer

FAMILIES = sorted(TRANSFORMERS)
ROLES = ("uncond:0", "uncond:1", "cond:0", "cond:1")
SIZES = ((4, 6), (10, 3))
JOINT = {"sd3": 2, "flux": 4, "flux2": 4, "qwen_image": 2, "z_image": 2}
TEXT = 7


@dataclass(frozen=True)
class Seen:
    """One attention as the network computed it."""

    site: str
    q: torch.Tensor
    k: torch.Tensor
    mask: torch.Tensor | None


class Sdpa(TorchFunctionMode):
    """Records every attention and, where `visible` gives a mask for the site, lets it decide who sees
    whom."""

    def __init__(self, visible: Callable[[str], torch.Tensor | None]) -> None:
        super().__init__()
        self.visible, self.site = visible, ""
        self.seen: list[Seen] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.nn.functional.scaled_dot_product_attention:
            named = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | kwargs
            self.seen.append(Seen(self.site, named["query"], named["key"], named.get("attn_mask")))
            mask = self.visible(self.site)
            if mask is not None:
                return func(named["query"], named["key"], named["value"], attn_mask=mask)
        return func(*args, **kwargs)


@contextmanager
def watched(network: Any, sites: tuple[Site, ...], mode: Sdpa) -> Iterator[dict[str, Any]]:
    """Tells the mode which site runs and keeps what each module returned."""
    outputs: dict[str, Any] = {}
    handles = []
    for site in sites:
        module = network.get_submodule(site.name)

        def before(*_: Any, name: str = site.name) -> None:
            mode.site = name

        def after(_module: Any, _args: Any, output: Any, name: str = site.name) -> None:
            outputs[name] = output

        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with mode, torch.no_grad():
            yield outputs
    finally:
        for handle in handles:
            handle.remove()


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def call_of(
    family: str, grid: tuple[int, int], text: tuple[int, ...] = (TEXT,) * len(ROLES), references: int = 0
) -> dict[str, Any]:
    """Keyword arguments as the stock pipeline makes them: rows of `text` tokens, a picture of `grid` tokens,
    and references of half its height."""
    rows, (height, width) = len(text), grid
    embeds = draw(rows, max(text), TEXT_WIDTH, seed=1)
    pooled, level = draw(rows, 32, seed=2), torch.full((rows,), 0.7)
    packed = draw(rows, height * width + references * (height // 2) * width, 16, seed=3)
    if family == "sd3":
        return {
            "hidden_states": draw(rows, 4, height * 2, width * 2, seed=3),
            "encoder_hidden_states": embeds,
            "pooled_projections": pooled,
            "timestep": level * 1000,
        }
    if family in ("flux", "flux2"):
        axes = 3 if family == "flux" else 4
        ids = [picture_ids(0, height, width, axes)]
        ids += [picture_ids(10 * n, height // 2, width, axes) for n in range(1, references + 1)]
        texts = torch.zeros(max(text), axes)
        if family == "flux2":
            texts[:, 3] = torch.arange(max(text))
        more = {"pooled_projections": pooled} if family == "flux" else {}
        return {
            "hidden_states": packed,
            "encoder_hidden_states": embeds,
            "timestep": level,
            "guidance": level * 5,
            "img_ids": torch.cat(ids),
            "txt_ids": texts,
            **more,
        }
    if family == "qwen_image":
        mask = torch.arange(max(text))[None] < torch.tensor(text)[:, None]
        return {
            "hidden_states": packed,
            "encoder_hidden_states": embeds,
            "encoder_hidden_states_mask": mask,
            "timestep": level,
            "img_shapes": [[(1, height, width), *[(1, height // 2, width)] * references]] * rows,
        }
    picture = draw(rows, 16, 1, height * 2, width * 2, seed=3)
    captions = [row[:size] for row, size in zip(embeds, text, strict=True)]
    return {"x": list(picture), "t": level, "cap_feats": captions}


def picture_ids(picture: int, height: int, width: int, axes: int) -> torch.Tensor:
    ids = torch.zeros(height, width, axes)
    ids[..., 0] = picture
    ids[..., 1] = torch.arange(height)[:, None]
    ids[..., 2] = torch.arange(width)[None]
    return ids.flatten(0, 1)


def answer(network: Any, call: dict[str, Any]) -> torch.Tensor:
    output = network(**call, return_dict=False)[0]
    return torch.stack(output) if isinstance(output, list) else output


def plain(network: Any, call: dict[str, Any]) -> tuple[torch.Tensor, list[Seen]]:
    mode = Sdpa(lambda site: None)
    with watched(network, adapter_for(network).sites(network), mode):
        return answer(network, call), mode.seen


def hidden(layout: TokenLayout) -> torch.Tensor:
    """Who sees whom if the segments are there but no control names them: row, 1, query, key."""
    group = torch.zeros(layout.length, dtype=torch.long)
    for number, name in enumerate(layout.spans):
        if name.startswith("text/seg:"):
            group[layout.span(name)] = number
    mask = (group[:, None] == group[None])[None, None]
    return mask if layout.pad is None else mask & layout.pad[:, None, None]


def joined(
    network: Any, call: dict[str, Any], segments: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, list[Seen], TokenLayout, dict[str, Any]]:
    """The network with segments that nobody sees."""
    adapter = adapter_for(network)
    sizes = tuple((name, embeds.shape[1]) for name, embeds in segments.items())
    longer = adapter.join_text(call, tuple(segments.items()))
    layout = adapter.token_layout(network, longer, ROLES, sizes)
    sites = {site.name: site for site in adapter.sites(network)}
    mode = Sdpa(lambda name: hidden(adapter.at_site(layout, sites[name])))
    with watched(network, tuple(sites.values()), mode) as outputs, adapter.place(network, sizes):
        return answer(network, longer), mode.seen, layout, outputs


SEGMENTS = {"boat": draw(1, 3, TEXT_WIDTH, seed=11), "a tree": draw(len(ROLES), 5, TEXT_WIDTH, seed=12)}


@pytest.mark.parametrize("family", FAMILIES)
def test_sites_are_all_attentions_in_the_order_in_which_they_run(family: str) -> None:
    network = tiny_transformer(family)
    sites = adapter_for(network).sites(network)
    _, seen = plain(network, call_of(family, SIZES[0]))
    assert [call.site for call in seen] == [site.name for site in sites]
    joint = [site for site in sites if site.joint]
    assert [site.index for site in joint] == list(range(JOINT[family]))
    assert {site.index for site in sites if not site.joint} <= {-1}
    for kind in {site.kind for site in sites}:
        assert [site.block for site in sites if site.kind == kind] == list(
            range(sum(site.kind == kind for site in sites))
        )


def test_second_attentions_of_sd35_see_the_image_alone() -> None:
    from diffusers import SD3Transformer2DModel

    network = SD3Transformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=32,
        dual_attention_layers=(0, 1),
        qk_norm="rms_norm",
    ).eval()
    adapter = adapter_for(network)
    sites = adapter.sites(network)
    assert [(site.name.split(".")[-1], site.kind, site.index, site.block) for site in sites] == [
        ("attn", "joint_double", 0, 0),
        ("attn2", "image_self", -1, 0),
        ("attn", "joint_double", 1, 1),
        ("attn2", "image_self", -1, 1),
        ("attn", "joint_double", 2, 2),
    ]
    call = call_of("sd3", SIZES[1])
    output, seen = plain(network, call)
    assert [site.name for site in sites] == [one.site for one in seen]
    layout = adapter.token_layout(network, call, ROLES, ())
    assert [one.q.shape[2] for one in seen] == [adapter.at_site(layout, site).length for site in sites]
    assert dict(adapter.at_site(layout, sites[1]).spans) == {"image": slice(0, 30)}
    with_segments, *_ = joined(network, call, SEGMENTS)
    assert torch.allclose(with_segments, output, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_layout_has_the_lengths_seen_at_every_site(family: str, size: tuple[int, int]) -> None:
    network = tiny_transformer(family)
    adapter = adapter_for(network)
    call = call_of(family, size)
    layout = adapter.token_layout(network, call, ROLES, ())
    assert layout.grid == size and layout.size("image") == size[0] * size[1]
    assert layout.roles == ROLES and layout.pad is None
    sites = {site.name: adapter.at_site(layout, site) for site in adapter.sites(network)}
    for one in plain(network, call)[1]:
        assert one.q.shape[0] == len(ROLES)
        assert one.q.shape[2] == one.k.shape[2] == sites[one.site].length
        covered = sorted((span.start, span.stop) for span in sites[one.site].spans.values())
        assert [start for start, _ in covered] == [0, *(stop for _, stop in covered[:-1])]
        assert covered[-1][1] == sites[one.site].length


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_spans_hold_the_tokens_that_they_name(family: str, size: tuple[int, int]) -> None:
    """Another picture changes the keys of "image" alone at the first joint site, another prompt those of
    "text"; one changed patch changes the token at its row and column."""
    network = tiny_transformer(family)
    adapter = adapter_for(network)
    call = call_of(family, size)
    layout = adapter.token_layout(network, call, ROLES, ())
    first = next(site.name for site in adapter.sites(network) if site.joint)

    def changed(other: dict[str, Any]) -> list[int]:
        keys = [
            next(one.k for one in plain(network, c)[1] if one.site == first)
            for c in (call, {**call, **other})
        ]
        return (keys[0] != keys[1]).any(dim=(0, 1, 3)).nonzero().flatten().tolist()

    def tokens(name: str) -> list[int]:
        span = layout.span(name)
        return list(range(span.start, span.stop))

    if family == "z_image":
        # the refiners have mixed the tokens of each stream by then
        assert set(tokens("image")) <= set(changed({"x": [x + 1 for x in call["x"]]}))
        assert changed({"cap_feats": [c + 1 for c in call["cap_feats"]]}) == tokens("text")
        return
    assert changed({"encoder_hidden_states": call["encoder_hidden_states"] + 1}) == tokens("text")
    row, column = size[0] - 2, 1
    picture = call["hidden_states"].clone()
    if family == "sd3":
        picture[:, :, row * 2 + 1, column * 2] += 1
    else:
        picture[:, row * size[1] + column] += 1
    assert changed({"hidden_states": picture}) == [tokens("image")[row * layout.grid[1] + column]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_segments_leave_the_picture_as_it_was(family: str, size: tuple[int, int]) -> None:
    network = tiny_transformer(family)
    call = call_of(family, size)
    before = {name: value for name, value in vars(network).items() if not name.startswith("_")}
    output, _ = plain(network, call)
    with_segments, seen, layout, outputs = joined(network, call, SEGMENTS)
    assert with_segments.shape == output.shape
    assert torch.allclose(with_segments, output, atol=1e-5)
    adapter = adapter_for(network)
    sites = {site.name: site for site in adapter.sites(network)}
    for one in seen:
        assert one.q.shape[2] == adapter.at_site(layout, sites[one.site]).length
    assert {name for name in layout.spans if "seg" in name} == {"text/seg:boat", "text/seg:a tree"}
    for name, site in sites.items():
        if site.joint:
            image, text = adapter.outputs(site, outputs[name], layout)
            spans = [span for key, span in layout.spans.items() if key.startswith("image")]
            assert image.shape[:2] == (len(ROLES), sum(span.stop - span.start for span in spans))
            if site.text_out:
                assert text is not None and text.shape[1] == layout.length - image.shape[1]
            else:
                assert text is None
    assert {name: value for name, value in vars(network).items() if not name.startswith("_")} == before
    again, _ = plain(network, call)
    assert torch.equal(again, output)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_segment_is_what_it_would_be_as_a_prompt_of_its_own(family: str) -> None:
    """At the first joint site its queries and keys equal those of the same prompt as the base: the same
    positions, and no trace of the other prompts."""
    network = tiny_transformer(family)
    call = call_of(family, SIZES[1])
    _, seen, layout, _ = joined(network, call, SEGMENTS)
    adapter = adapter_for(network)
    first = next(site.name for site in adapter.sites(network) if site.joint)
    inside = next(one for one in seen if one.site == first)
    for name, embeds in SEGMENTS.items():
        alone = call_of(family, SIZES[1], text=(embeds.shape[1],) * len(ROLES))
        rows = embeds.expand(len(ROLES), -1, -1)
        alone |= {"cap_feats": list(rows)} if family == "z_image" else {"encoder_hidden_states": rows}
        own = adapter.token_layout(network, alone, ROLES, ()).span("text")
        outside = next(one for one in plain(network, alone)[1] if one.site == first)
        span = layout.span(f"text/seg:{name}")
        assert torch.allclose(inside.k[:, :, span], outside.k[:, :, own], atol=1e-5)
        assert torch.allclose(inside.q[:, :, span], outside.q[:, :, own], atol=1e-5)


def test_without_place_segments_would_stand_elsewhere() -> None:
    """What `place` is for: Qwen-Image counts an appended prompt on from the base prompt, and a longer caption
    of Z-Image moves the picture."""
    for family in ("qwen_image", "z_image"):
        network = tiny_transformer(family)
        adapter = adapter_for(network)
        call = call_of(family, SIZES[0])
        long = draw(1, 40, TEXT_WIDTH, seed=13)
        longer = adapter.join_text(call, (("boat", long),))
        first = next(site.name for site in adapter.sites(network) if site.joint)
        keys = {}
        for placed in (True, False):
            mode = Sdpa(lambda site: None)
            with (
                watched(network, adapter.sites(network), mode),
                adapter.place(network, (("boat", 40),) if placed else ()),
            ):
                answer(network, longer)
            keys[placed] = next(one.k for one in mode.seen if one.site == first)
        if family == "qwen_image":
            layout = adapter.token_layout(network, longer, ROLES, (("boat", 40),))
            span = layout.span("text/seg:boat")
            assert not torch.allclose(keys[True][:, :, span], keys[False][:, :, span], atol=1e-2)
        else:
            image = slice(0, 24)
            assert not torch.allclose(keys[True][:, :, image], keys[False][:, :, image], atol=1e-2)


@pytest.mark.parametrize("family", ["qwen_image", "z_image"])
def test_prompts_of_different_lengths(family: str) -> None:
    """Padding is told, hidden from everybody, and appended prompts stand behind it in every row."""
    network = tiny_transformer(family)
    adapter = adapter_for(network)
    lengths = (7, 40, 33, 64)
    call = call_of(family, SIZES[0], text=lengths)
    layout = adapter.token_layout(network, call, ROLES, ())
    first = next(site for site in adapter.sites(network) if site.joint)
    output, seen = plain(network, call)
    own = next(one for one in seen if one.site == first.name)
    assert layout.pad is not None and own.mask is not None
    assert torch.equal(layout.pad[:, None, None], own.mask)
    with_segments, after, longer, _ = joined(network, call, SEGMENTS)
    assert torch.allclose(with_segments, output, atol=1e-5)
    assert longer.pad is not None and longer.pad[:, longer.span("text/seg:boat")].all()
    inside = next(one for one in after if one.site == first.name)
    assert inside.q.shape[2] == longer.length


@pytest.mark.parametrize("family", ["flux", "flux2", "qwen_image"])
def test_references_stand_behind_the_picture(family: str) -> None:
    network = tiny_transformer(family)
    adapter = adapter_for(network)
    call = call_of(family, SIZES[0], references=2)
    layout = adapter.token_layout(network, call, ROLES, ())
    assert layout.span("image") == slice(TEXT, TEXT + 24)
    assert layout.span("image/ref:1") == slice(TEXT + 24, TEXT + 36)
    assert layout.span("image/ref:2") == slice(TEXT + 36, TEXT + 48)
    output, seen = plain(network, call)
    assert {one.q.shape[2] for one in seen} == {layout.length}
    assert torch.allclose(joined(network, call, SEGMENTS)[0], output, atol=1e-5)


def test_ids_of_a_segment_count_from_zero_in_flux2_and_are_zero_in_flux() -> None:
    for family, wanted in (
        ("flux", torch.zeros(3, 3)),
        ("flux2", torch.tensor([[0.0, 0, 0, i] for i in range(3)])),
    ):
        call = call_of(family, SIZES[0])
        adapter = adapter_for(tiny_transformer(family))
        ids = adapter.join_text(call, (("boat", SEGMENTS["boat"]),))["txt_ids"]
        assert torch.equal(ids[:TEXT], call["txt_ids"]) and torch.equal(ids[TEXT:], wanted)
        assert call["txt_ids"].shape[0] == TEXT


@pytest.mark.parametrize("family", FAMILIES)
def test_bad_segments_and_rows_are_refused(family: str) -> None:
    network = tiny_transformer(family)
    adapter = adapter_for(network)
    call = call_of(family, SIZES[0])
    with pytest.raises(StudioError, match="'boat' has the shape"):
        adapter.join_text(call, (("boat", torch.zeros(1, 3, TEXT_WIDTH - 1)),))
    with pytest.raises(StudioError, match="4 rows, but 1 roles"):
        adapter.token_layout(network, call, ("cond:0",), ())
    with pytest.raises(StudioError, match="segments alone take"):
        adapter.token_layout(network, call, ROLES, (("boat", 96),))
    twice = (("boat", SEGMENTS["boat"]),) * 2
    with pytest.raises(StudioError, match="Two segments are named 'boat'"):
        adapter.token_layout(network, adapter.join_text(call, twice), ROLES, (("boat", 3), ("boat", 3)))


def test_place_leaves_nothing_behind_after_an_error() -> None:
    for family in ("qwen_image", "z_image"):
        network = tiny_transformer(family)
        hooks = len(network.get_submodule("pos_embed")._forward_hooks) if family == "qwen_image" else 0
        with pytest.raises(ZeroDivisionError), adapter_for(network).place(network, (("boat", 3),)):
            raise ZeroDivisionError
        assert "patchify_and_embed" not in vars(network)
        if family == "qwen_image":
            assert len(network.get_submodule("pos_embed")._forward_hooks) == hooks == 0


def test_what_an_adapter_cannot_describe_is_refused() -> None:
    flux2 = tiny_transformer("flux2")
    with pytest.raises(StudioError, match="key-value mode 'cached'"):
        call = {**call_of("flux2", SIZES[0]), "kv_cache_mode": "cached"}
        adapter_for(flux2).token_layout(flux2, call, ROLES, ())
    z_image = tiny_transformer("z_image")
    with pytest.raises(StudioError, match="omni"):
        call = {**call_of("z_image", SIZES[0]), "x": [[torch.zeros(16, 1, 8, 8)]]}
        adapter_for(z_image).token_layout(z_image, call, ROLES, ())
    for other in ((16, 2, 8, 12), (16, 1, 8, 10)):
        call = {**call_of("z_image", SIZES[0])}
        call["x"] = [*call["x"][:-1], torch.zeros(other)] if other[1] == 1 else [torch.zeros(other)] * 4
        with pytest.raises(StudioError, match="one frame and equal sizes"):
            adapter_for(z_image).token_layout(z_image, call, ROLES, ())
    qwen = tiny_transformer("qwen_image")
    with pytest.raises(StudioError, match="2 frames"):
        call = {**call_of("qwen_image", SIZES[0]), "img_shapes": [[(2, 4, 6)]] * 4}
        adapter_for(qwen).token_layout(qwen, call, ROLES, ())
    flux = tiny_transformer("flux")
    call = call_of("flux", SIZES[0])
    with pytest.raises(StudioError, match="do not begin with a whole picture"):
        adapter_for(flux).token_layout(flux, {**call, "img_ids": call["img_ids"] + 1}, ROLES, ())


def test_a_network_of_another_class_is_refused_with_those_known() -> None:
    with pytest.raises(StudioError, match="class Linear") as caught:
        adapter_for(torch.nn.Linear(1, 1))
    assert "SD3Transformer2DModel" in str(caught.value.hint) and "ZImage" in str(caught.value.hint)


def test_a_subclass_has_the_adapter_of_its_base() -> None:
    network = tiny_transformer("sd3")
    derived = type("Mine", (type(network),), {})
    assert adapter_for(derived.__new__(derived)) is adapter_for(network)
