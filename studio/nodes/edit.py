"""Change a picture by changing its prompt, and keep what should stay: composition, look, or subject."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple, cast

from studio.api import (
    Attachment,
    Choice,
    Conditioning,
    Latent,
    Mask,
    Model,
    Refusal,
    Slider,
    StudioError,
    Text,
    View,
    node,
)
from studio.controls.blend import Blend
from studio.controls.inject_qk import BLOCKS, PROJECTIONS, InjectQK
from studio.controls.keep_subject import KeepSubject
from studio.controls.share_kv import KeepLook
from studio.controls.sites import (
    check_sites,
    few_step_sites,
    joint_count,
    last_sites,
    map_sites,
    vital_sites,
    words_site,
)
from studio.controls.text_layers import TextLayers, with_pooled
from studio.controls.where import parse_blocks
from studio.models.device import start_noise
from studio.models.embedded import card_calibration
from studio.models.family import Parts, Site, adapter_for, parts_of
from studio.models.words import changed_words, find_words

# DiTCtrl shares the last 5 of 30 blocks.
LOOK_SHARE = 1 / 6


def review_blocks(view: View) -> Iterator[Refusal]:
    """Block lists that nobody can read."""
    for socket in ("blocks", "look_at"):
        try:
            parse_blocks(str(view.widgets.get(socket, "")))
        except StudioError as error:
            yield Refusal(error.message, error.hint, socket)


@node(group="Steer", title="Edit by prompt", technique="edit", review=review_blocks)
def edit_by_prompt(
    model: Model,
    source: Conditioning,
    target: Conditioning,
    tau: Annotated[float, Slider(0, 1, 0.05)] = 0.2,
    words: Annotated[str, Text(max=300)] = "",
    eta: Annotated[float, Slider(0, 1, 0.05)] = 0.5,
    threshold: Annotated[float, Slider(-0.1, 1, 0.05)] = 0.3,
    projection: Annotated[str, Choice(*PROJECTIONS)] = "qiki",
    block: Annotated[str, Choice("none", *BLOCKS)] = "none",
    blocks: Annotated[str, Text(max=300)] = "",
    look_at: Annotated[str, Text(max=300)] = "",
) -> list[Attachment]:
    """Change words of a prompt and keep the rest of the picture: both pictures are painted together from one
    seed, and the new one takes its composition from the old one.

    source: the prompt of the picture as it was
    target: the new prompt; the same that leads Sample
    tau: how long the new picture is laid out like the old one: 0.2 = the first fifth; less for a new shape
    words: words whose place may change, with commas between; empty = those in which the prompts differ
    eta: how long everything outside these words is put back to the old picture; 1 = to the end, 0 = never
    threshold: how far around the words the change may reach; lower is further, below 0 everywhere
    projection: for comparing: what is copied; qiki = what the picture's parts ask and answer
    block: for comparing: one block of the scores in place of that; T2I = from the text to the picture
    blocks: where the old picture leads, such as "0-9, 12"; empty = everywhere
    look_at: blocks that say where the words lie; empty = the best known ones of this model
    """
    parts = parts_of(model)
    sites = sites_of(parts)
    edit = InjectQK(
        source,
        tau,
        chosen(blocks, sites, "blocks"),
        few_step_sites(sites),
        projection,
        "" if block == "none" else block,
    )
    before, after = changed_words(parts, source.text, target.text, words)
    if not before and not after:
        return cast("list[Attachment]", [edit])
    blend = Blend(
        source,
        before,
        after,
        chosen(look_at, sites, "look_at") or best_map_sites(model, sites),
        eta,
        threshold,
        max_pool=parts.family.name == "sd3",
    )
    return cast("list[Attachment]", [edit, blend])


@node(group="Steer", title="Keep the look", technique="look", review=review_blocks)
def keep_look(
    model: Model,
    source: Conditioning,
    target: Conditioning,
    words: Annotated[str, Text(max=300)] = "",
    new_words: Annotated[str, Text(max=300)] = "",
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.04,
    end: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
    threshold: Annotated[float, Slider(0, 1, 0.05)] = 0.3,
    text_too: bool = False,
    blocks: Annotated[str, Text(max=300)] = "",
    look_at: Annotated[str, Text(max=300)] = "",
) -> Attachment:
    """Keep colours and surface while pose, place or shape follow a new prompt: the new picture looks at the
    parts of the old one in place of its own.

    source: the prompt of the picture as it was
    target: the new prompt; the same that leads Sample
    words: the object in the old prompt, to keep it apart from its background; empty = the whole picture
    new_words: what it is called in the new prompt; empty = the same
    start: from which part of the steps on; too early brings the old shape back
    end: up to which part of the steps
    threshold: how much of the picture counts as the object; lower is more
    text_too: the old prompt's words are looked at too
    blocks: where it is done, such as "20-23"; empty = the last sixth of the model
    look_at: blocks that say where the object is; empty = the best known ones of this model
    """
    parts = parts_of(model)
    sites = sites_of(parts)
    named = bool(words.strip() or new_words.strip())
    control = KeepLook(
        source,
        chosen(blocks, sites, "blocks") or last_sites(sites, LOOK_SHARE),
        start,
        end,
        text_too,
        find_words(parts, source.text, words.strip() or new_words) if named else None,
        find_words(parts, target.text, new_words.strip() or words) if named else None,
        (chosen(look_at, sites, "look_at") or best_map_sites(model, sites)) if named else (),
        threshold,
    )
    return cast(Attachment, control)


@node(group="Steer", title="Keep the subject", technique="subject", review=review_blocks)
def keep_subject(
    model: Model,
    reference: Latent,
    description: Conditioning,
    mask: Mask | None = None,
    strength: Annotated[float, Slider(0, 2, 0.05)] = 1.0,
    key_scale: Annotated[float, Slider(0.5, 2, 0.05)] = 1.1,
    text_scale: Annotated[float, Slider(0.5, 2, 0.05)] = 1.1,
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
    blocks: Annotated[str, Text(max=300)] = "",
) -> Attachment:
    """Put the subject of a picture into a new scene.

    reference: the picture with the subject, encoded at the size of the canvas
    description: the prompt of what it shows
    mask: where the subject is; without one the whole picture counts
    strength: how much the new picture looks at the subject; 0 = not at all, 1 = as the method says
    key_scale: how sharply the subject is recognised
    text_scale: how sharply the new prompt is followed against it; this alone changes a picture
    start: from which part of the steps on
    end: up to which part of the steps; ending early gives more freedom
    blocks: where it is done; empty = the blocks that carry a subject
    """
    parts = parts_of(model)
    sites = sites_of(parts)
    if reference.tensor is None:
        raise StudioError(
            "The reference is an empty canvas.",
            hint="Put Load picture and Encode picture before it.",
            socket="reference",
        )
    picture = reference.tensor[:1]
    shape = cast("tuple[int, int, int, int]", tuple(picture.shape))
    control = KeepSubject(
        picture,
        start_noise(shape, reference.seed),
        description,
        chosen(blocks, sites, "blocks") or vital_sites(sites),
        mask,
        strength,
        key_scale,
        text_scale,
        start,
        end,
    )
    return cast(Attachment, control)


class ChangedWords(NamedTuple):
    """A prompt to paint with, and the control that goes with it."""

    prompt: Conditioning
    control: Attachment


@node(group="Steer", title="Change words in chosen blocks", technique="text_layers", review=review_blocks)
def change_words(
    model: Model,
    prompt: Conditioning,
    words: Conditioning,
    blocks: Annotated[str, Text(max=300)] = "",
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
    pooled: Annotated[str, Choice("own", "words")] = "own",
) -> ChangedWords:
    """Let another prompt speak in a few blocks only: the word that these blocks carry changes, the rest of
    the picture stays.

    prompt: the prompt of the picture; take it from here to Sample
    words: the same prompt with other words
    blocks: where the other words speak, such as "10"; empty = where rendered text was found in SD3
    start: from which part of the steps on; later keeps more of the picture
    end: up to which part of the steps
    pooled: whose short summary of the prompt leads the picture as a whole
    """
    sites = sites_of(parts_of(model))
    control = TextLayers(words, chosen(blocks, sites, "blocks") or words_site(sites), start, end)
    led = with_pooled(prompt, words) if pooled == "words" else prompt
    return ChangedWords(led, cast(Attachment, control))


def sites_of(parts: Parts) -> tuple[Site, ...]:
    """The sites of a model's network, in the order in which they run."""
    return tuple(adapter_for(parts.transformer).sites(parts.transformer))


def chosen(text: str, sites: Sequence[Site], socket: str) -> tuple[int, ...] | None:
    """Blocks that the user wrote, checked against the model; None for nothing."""
    found = parse_blocks(text)
    check_sites(found, sites, socket=socket)
    return found or None


def best_map_sites(model: Model, sites: Sequence[Site]) -> tuple[int, ...]:
    """Where words are located best: as measured in the model's card (`eval blocks`), else `map_sites`."""
    measured = card_calibration(model.card, "map_blocks", "scenes") or {}
    found = measured.get("chosen")
    known = range(joint_count(sites))
    own = tuple(i for i in found if i in known) if isinstance(found, list | tuple) else ()
    return own or map_sites(sites)
