"""Calls of the tiny networks and small controls, for the tests of attaching."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from studio.controls.attach import Attached, attach
from studio.controls.control import (
    POSITIVE,
    AttentionControl,
    Call,
    Columns,
    Extension,
    Maps,
    Need,
    Outputs,
    Owns,
    Pass,
    PassSet,
    Probe,
    TextSegment,
    Write,
)
from studio.models.family import Site, adapter_for
from studio.models.tiny import TEXT_WIDTH, TRANSFORMERS
from studio.values import Conditioning, Step

FAMILIES = sorted(TRANSFORMERS)
ROLES = ("uncond:0", "source:0", "target:0")
STEPS = tuple(Step(i, 4, 1 - i / 4, 1 - (i + 1) / 4) for i in range(4))
GRID = (4, 6)
TEXT = 7
Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def call_of(
    family: str,
    rows: int = 3,
    *,
    text: Sequence[int] = (),
    same: bool = False,
    grid: tuple[int, int] = GRID,
) -> dict[str, Any]:
    """Keyword arguments as a stock pipeline makes them, every row with a latent of its own; `same`: all rows
    are equal. `text`: tokens of each row (ragged where the family takes it)."""
    sizes = tuple(text) or (TEXT,) * rows
    height, width = grid

    def draws(*shape: int, seed: int) -> torch.Tensor:
        made = draw(rows, *shape, seed=seed)
        return made[:1].expand_as(made).contiguous() if same else made

    embeds, pooled = draws(max(sizes), TEXT_WIDTH, seed=1), draws(32, seed=2)
    level = torch.full((rows,), 0.7)
    if family == "sd3":
        return {
            "hidden_states": draws(4, height * 2, width * 2, seed=3),
            "encoder_hidden_states": embeds,
            "pooled_projections": pooled,
            "timestep": level * 1000,
        }
    if family == "z_image":
        captions = [row[:size] for row, size in zip(embeds, sizes, strict=True)]
        return {"x": list(draws(16, 1, height * 2, width * 2, seed=3)), "t": level, "cap_feats": captions}
    packed = draws(height * width, 16, seed=3)
    if family == "qwen_image":
        return {
            "hidden_states": packed,
            "encoder_hidden_states": embeds,
            "encoder_hidden_states_mask": torch.arange(max(sizes))[None] < torch.tensor(sizes)[:, None],
            "timestep": level,
            "img_shapes": [[(1, height, width)]] * rows,
        }
    axes = 3 if family == "flux" else 4
    ids = torch.zeros(height, width, axes)
    ids[..., 1] = torch.arange(height)[:, None]
    ids[..., 2] = torch.arange(width)[None]
    texts = torch.zeros(max(sizes), axes)
    if family == "flux2":
        texts[:, 3] = torch.arange(max(sizes))
    return {
        "hidden_states": packed,
        "encoder_hidden_states": embeds,
        "timestep": level,
        "guidance": level * 5,
        "img_ids": ids.flatten(0, 1),
        "txt_ids": texts,
        **({"pooled_projections": pooled} if family == "flux" else {}),
    }


def run(network: torch.nn.Module, call: Mapping[str, Any]) -> torch.Tensor:
    with torch.inference_mode():
        output = network(**call, return_dict=False)[0]
        return torch.stack(output) if isinstance(output, list) else output


def attached_to(
    network: torch.nn.Module,
    *controls: AttentionControl,
    roles: Sequence[str] = ROLES,
    steps: Sequence[Step] = STEPS,
) -> AbstractContextManager[Attached]:
    return attach(network, controls, adapter_for(network), steps=steps, roles=roles)


def step_of(
    attached: Attached,
    network: torch.nn.Module,
    call: Mapping[str, Any],
    step: Step = STEPS[0],
    roles: tuple[str, ...] = ROLES,
) -> torch.Tensor:
    """One network call under the controls, with the prompts that they append."""
    segments = [(s.name, s.conditioning.embeds) for s in attached.segments(step)]
    longer = adapter_for(network).join_text(call, segments) if segments else call
    sizes = tuple((name, int(embeds.shape[1])) for name, embeds in segments)
    with attached.call(step, roles, segments=sizes):
        return run(network, longer)


def controlled(
    network: torch.nn.Module,
    call: Mapping[str, Any],
    *controls: AttentionControl,
    roles: tuple[str, ...] = ROLES,
) -> torch.Tensor:
    """The first step under these controls."""
    with attached_to(network, *controls, roles=roles) as attached:
        return step_of(attached, network, call, roles=roles)


def state(network: torch.nn.Module) -> dict[str, Any]:
    """Everything that attaching could leave behind: attributes of every module, hooks, backends, weights."""
    found: dict[str, Any] = {}
    for name, module in network.named_modules():
        registry = vars(module).get("_diffusers_hook")
        processor = getattr(module, "processor", None)
        found[name] = (
            sorted(vars(module)),
            vars(module).get("forward"),
            None if registry is None else (tuple(registry._hook_order), tuple(registry._fn_refs)),
            None if processor is None else dict(vars(processor)),
        )
    found["weights"] = fingerprint(*network.state_dict().values())
    return found


def fingerprint(*tensors: torch.Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Control(AttentionControl):
    """A control out of functions; `need` at the steps below `until`, at joint sites unless `everywhere`."""

    who: str = "test"
    need: Need = Need.NONE
    until: int = 99
    everywhere: bool = False
    sites: tuple[str, ...] = ()
    written: tuple[Write, ...] = ()
    owned: tuple[Owns, ...] = (Owns(POSITIVE),)
    neutral: bool = False
    keeps: bool = False
    words: tuple[str, ...] = ()
    prompts: tuple[TextSegment, ...] = ()
    on_edit: Callable[[Call], Tensors] | None = field(default=None, compare=False)
    on_extend: Callable[[Call], Sequence[Extension]] | None = field(default=None, compare=False)
    on_passes: Callable[[Call], Sequence[PassSet]] | None = field(default=None, compare=False)
    on_columns: Callable[[Call], Sequence[Columns]] | None = field(default=None, compare=False)
    on_probe: Callable[[Call], Sequence[Probe]] | None = field(default=None, compare=False)
    on_read: Callable[..., None] | None = field(default=None, compare=False)
    on_after: Callable[..., Any] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.who

    @property
    def detail(self) -> bool:
        return self.keeps

    @property
    def labels(self) -> tuple[str, ...]:
        return self.words

    def is_neutral(self) -> bool:
        return self.neutral

    def segments(self, step: Step) -> tuple[TextSegment, ...]:
        return self.prompts if step.index < self.until else ()

    def needs(self, site: Site, step: Step) -> Need:
        here = site.name in self.sites if self.sites else site.joint or self.everywhere
        return self.need if here and step.index < self.until else Need.NONE

    def writes(self, site: Site, step: Step) -> tuple[Write, ...]:
        return self.written

    def owns(self, site: Site, step: Step) -> tuple[Owns, ...]:
        return self.owned

    def edit(self, call: Call) -> Tensors:
        assert self.on_edit is not None
        return self.on_edit(call)

    def extend(self, call: Call) -> Sequence[Extension]:
        assert self.on_extend is not None
        return self.on_extend(call)

    def passes(self, call: Call) -> Sequence[PassSet]:
        assert self.on_passes is not None
        return self.on_passes(call)

    def columns(self, call: Call) -> Sequence[Columns]:
        assert self.on_columns is not None
        return self.on_columns(call)

    def probe(self, call: Call) -> Sequence[Probe]:
        assert self.on_probe is not None
        return self.on_probe(call)

    def read(self, call: Call, outputs: Outputs, maps: Maps) -> None:
        assert self.on_read is not None
        self.on_read(call, outputs, maps)

    def after(
        self, call: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Maps
    ) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        assert self.on_after is not None
        found: tuple[torch.Tensor, torch.Tensor | None] | None = self.on_after(call, image, text, maps)
        return found


def looking(**more: Any) -> Control:
    """Wants something of every joint site and changes nothing."""
    return Control("look", Need.AFTER, on_after=lambda *_: None, **more)


def copying(tensors: str = "qk", span: str = "image", until: int = 99, who: str = "edit") -> Control:
    """Source row -> target row, some tensors of a span."""

    def edit(call: Call) -> Tensors:
        found = {"q": call.q, "k": call.k, "v": call.v}
        source, target = list(call.layout.rows("source")), list(call.layout.rows("target"))
        where = call.layout.span(span)
        for letter in tensors:
            found[letter] = found[letter].clone()
            found[letter][target, :, where] = found[letter][source, :, where]
        return found["q"], found["k"], found["v"]

    return Control(who, Need.EDIT, until, written=(Write("target", span, tensors),), on_edit=edit)


def whole(rows: tuple[str, ...] = POSITIVE, who: str = "owner", split: bool = False) -> Control:
    """Owns rows and makes of them what the network would; `split`: text and image in passes of their own."""

    def passes(call: Call) -> Sequence[PassSet]:
        own = tuple(n for n in call.layout.spans if not n.startswith("text/seg:"))
        made = tuple(Pass((name,), own) for name in own) if split else (Pass(own, own),)
        return (
            PassSet(
                call.layout.rows(*rows),
                made,
                lambda _, outputs: {k: v for o in outputs for k, v in o.items()},
            ),
        )

    return Control(who, Need.PASSES, owned=(Owns(rows),), on_passes=passes)


def segment(name: str, tokens: int = 3, seed: int = 20) -> TextSegment:
    return TextSegment(name, Conditioning(name, "tiny", draw(1, tokens, TEXT_WIDTH, seed=seed)))
