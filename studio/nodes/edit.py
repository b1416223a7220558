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
from studio.controls.keep_subject import MOST_CLEANER, KeepSubject
from studio.controls.share_kv import KeepLook
from studio.controls.sites import (
    best_map_sites,
    check_sites,
    few_step_sites,
    joint_count,
    last_sites,
    vital_sites,
    words_site,
)
from studio.controls.text_layers import TextLayers, with_pooled
from studio.controls.where import parse_blocks
from studio.models.device import start_noise
from studio.models.embedded import map_blocks
from studio.models.family import Parts, Site, adapter_for, parts_of
from studio.models.words import changed_words, check_read, find_words, named_words, places_of, word_diff
from studio.nodes.prompt import outline, prompt_of, refused, review_carried, review_there

# DiTCtrl shares the last 5 of 30 blocks; on the networks measured here that keeps little.
LOOK_SHARE = 1 / 2


def review_blocks(view: View) -> Iterator[Refusal]:
    """Block lists that nobody can read or that the model cannot follow, and ranges that end before they
    start."""
    yield from review_carried(view)
    model = outline(view)
    for socket in ("blocks", "look_at"):
        try:
            found = parse_blocks(str(view.widgets.get(socket, "")))
            if model is not None and model.sites:
                check_sites(found, model.sites, socket=socket)
        except StudioError as error:
            yield refused(error, socket)
    start, end = view.widgets.get("start", 0.0), view.widgets.get("end", 1.0)
    if start > end:
        yield Refusal(f"It starts at {start:g} and ends at {end:g}.", "Let start be below end.", "start")


def review_edit(view: View) -> Iterator[Refusal]:
    """Beside the blocks: words that neither prompt has, or that the model does not read."""
    yield from review_blocks(view)
    source, target = prompt_of(view, "source"), prompt_of(view, "target")
    words, model = view.widgets.get("words"), outline(view)
    if source is None or target is None or not isinstance(words, str):
        return
    try:
        for text, side in _changed(source, target, words):
            for place in side:
                check_read(text, place, len(text) if model is None else model.unread(text))
    except StudioError as error:
        yield refused(error, "words")


def _changed(source: str, target: str, words: str) -> Iterator[tuple[str, list[list[tuple[int, int]]]]]:
    """Each prompt with the places of what an edit looks for in it; StudioError for a word in neither."""
    if words.strip():
        for text, side in zip((source, target), named_words(source, target, words), strict=True):
            yield text, [places for word in side for places in places_of(text, word)]
        return
    for text, changed in zip((source, target), word_diff(source, target), strict=True):
        yield text, [[(word.start, word.stop)] for word in changed]


def review_look(view: View) -> Iterator[Refusal]:
    """Beside the blocks: an object that its prompt does not have."""
    yield from review_blocks(view)
    words, renamed = (view.widgets.get(name) for name in ("words", "new_words"))
    if not isinstance(words, str) or not isinstance(renamed, str) or not (words.strip() or renamed.strip()):
        return
    for socket, name, wanted in (
        ("source", "words", words.strip() or renamed),
        ("target", "new_words", renamed.strip() or words),
    ):
        text = prompt_of(view, socket)
        if text is not None:
            yield from review_there(outline(view), text, wanted, name)


def blends(view: View) -> bool | None:
    """Whether an Edit by prompt has a local blend: it finds words, and it puts the rest back for a while;
    None where only the run can tell."""
    given = view.widgets
    source, target, words = prompt_of(view, "source"), prompt_of(view, "target"), given.get("words")
    eta, threshold = given.get("eta"), given.get("threshold")
    if eta == 0 or (threshold is not None and threshold < 0):
        return False
    if source is None or target is None or not isinstance(words, str) or eta is None or threshold is None:
        return None
    return source != target or bool(words.strip())


@node(group="Steer", title="Edit by prompt", technique="edit", review=review_edit)
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
        led_by=target.text,
    )
    before, after = changed_words(parts, source.text, target.text, words)
    if not before and not after:
        return cast("list[Attachment]", [edit])
    blend = Blend(
        source,
        before,
        after,
        chosen(look_at, sites, "look_at") or best_map_sites(map_blocks(model.card), sites),
        eta,
        threshold,
        max_pool=parts.family.name == "sd3",
        led_by=target.text,
    )
    return cast("list[Attachment]", [edit, blend])


@node(group="Steer", title="Keep the look", technique="look", review=review_look)
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
    """Keep colours and surface that the new prompt does not name, in another scene: the new picture looks at
    the parts of the old one in place of its own.

    source: the prompt of the picture as it was
    target: the new prompt; the same that leads Sample
    words: the object in the old prompt, to keep it apart from its background; empty = the whole picture
    new_words: what it is called in the new prompt; empty = the same
    start: from which part of the steps on; too early brings the old shape back
    end: up to which part of the steps
    threshold: how much of the picture counts as the object; lower is more
    text_too: the old prompt's words are looked at too
    blocks: where it is done, such as "20-23"; empty = the later half; fewer keep less, and free the place
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
        (chosen(look_at, sites, "look_at") or best_map_sites(map_blocks(model.card), sites)) if named else (),
        threshold,
        led_by=target.text,
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
    cleaner: Annotated[float, Slider(1, MOST_CLEANER, 0.5)] = 9.0,
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
    cleaner: how much less noise the subject's picture has than the new one; 1 = the same, the square of the
        schedule's shift = as published (9 for a shift of 3, as measured); above 1 it needs the sampler euler
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
        cleaner,
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
    where = chosen(blocks, sites, "blocks") or words_site(sites)
    control = TextLayers(words, where, start, end, led_by=prompt.text)
    led = with_pooled(prompt, words) if pooled == "words" else prompt
    return ChangedWords(led, cast(Attachment, control))


def sites_of(parts: Parts) -> tuple[Site, ...]:
    """The sites of a model's network, in the order in which they run."""
    return tuple(adapter_for(parts.transformer).sites(parts.transformer))


def chosen(text: str, sites: Sequence[Site], socket: str) -> tuple[int, ...] | None:
    """Blocks that the user wrote, checked against the model: all of them for "all", None for nothing."""
    found = parse_blocks(text)
    check_sites(found, sites, socket=socket)
    return tuple(range(joint_count(sites))) if found == () else found
