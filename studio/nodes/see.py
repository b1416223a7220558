"""Looking into the model: what to watch during a run, and pictures and masks of what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

from studio.api import (
    Attachment,
    Choice,
    Conditioning,
    Context,
    Image,
    Mask,
    Model,
    Number,
    Refusal,
    Slider,
    StudioError,
    Text,
    View,
    node,
)
from studio.controls.attention_cut import AttentionCut
from studio.controls.block_chart import block_chart
from studio.controls.concepts import best_blocks, check_names, check_readable, make_concepts
from studio.controls.drawing import strip
from studio.controls.estimates import Estimates
from studio.controls.four_block import FourBlock, block_table
from studio.controls.heat_maps import heat_maps, outlined, word_mask
from studio.controls.reading import check_picture, maps_of
from studio.controls.region_maps import RegionMaps, RegionWord
from studio.controls.regional import Regional
from studio.controls.sites import best_map_sites
from studio.controls.where import Where, parse_blocks
from studio.controls.word_looks import WordLooks
from studio.models.embedded import map_blocks
from studio.models.family import Parts, parts_of
from studio.models.pictures import decode_latent
from studio.models.text import encode_prompt
from studio.models.words import FILLERS, find_words, segment_conditioning, segment_words, words_of
from studio.nodes.edit import sites_of
from studio.nodes.prompt import outline, prompt_of, refused, review_carried, review_cut, review_there
from studio.nodes.steer_checks import review_watched
from studio.values import Latent, Seen, TokenSpan

MOST_WORDS = 32
MOST_COLUMNS = 128
# a mask of more of the picture than this is hardly a thing in it
TOO_MUCH = 0.75


def review_words(view: View) -> Iterator[Refusal]:
    """A word that the prompt does not have, and settings that name no block or no step."""
    yield from review_where(view)
    text, words = prompt_of(view, "positive"), view.widgets.get("words")
    if text is None or not isinstance(words, str):
        return
    for name in filter(None, (piece.strip() for piece in words.split(","))):
        yield from review_there(outline(view), text, name, "words")


def review_where(view: View) -> Iterator[Refusal]:
    """Blocks and steps that cannot be meant."""
    yield from review_carried(view)
    model = outline(view)
    try:
        blocks = parse_blocks(str(view.widgets.get("blocks", "")))
        where = Where(
            blocks or (), float(view.widgets.get("start", 0.0)), float(view.widgets.get("end", 1.0))
        )
        if model is not None and model.sites:
            where.check(view.title, model.sites)
    except StudioError as error:
        yield refused(error)


def review_concepts(view: View) -> Iterator[Refusal]:
    """Beside blocks and steps: concepts that no model could tell apart or read."""
    yield from review_where(view)
    concepts, model = view.widgets.get("concepts"), outline(view)
    if not isinstance(concepts, str):
        return
    names = [name.strip() for name in concepts.split(",") if words_of(name)]
    try:
        check_names(names)
        chosen = parse_blocks(str(view.widgets.get("blocks", "")))
        if model is not None and model.sites and chosen:
            check_readable(chosen, model.sites)
    except StudioError as error:
        yield refused(error)
    for name in names:
        yield from review_cut(model, name, "concepts", f"The concept {name[:40]!r}")


@node(group="See", title="Watch words", technique="word_maps", review=review_words)
def watch_words(
    model: Model,
    positive: Conditioning,
    words: Text = "",
    blocks: Text = "",
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
    spread: Annotated[int, Slider(0, 3, 1)] = 0,
    every: bool = False,
) -> Attachment:
    """Look where in the picture each word is at work, while it is painted. The picture stays the same, bit
    for bit.

    positive: the prompt that Sample gets
    words: such as "red star, house"; empty = every word that can stand for something to see
    blocks: numbers such as "0-3, 8"; empty = the blocks in which words are clearest, as measured for this
        model or published for its like; "all" takes more time
    start: from which part of the run on
    end: up to which part of the run
    spread: for masks: 0 cuts where picture and word look at each other, which is clearest as a rule; above
        it, where the picture looks at the word, spread so often to what belongs to it
    every: keep the map of each block and each step, for the grids of "Show maps"; takes more memory
    """
    parts = parts_of(model)
    chosen = parse_blocks(blocks)
    if chosen is None:
        chosen = best_map_sites(map_blocks(model.card), sites_of(parts))
    found = word_spans(parts, positive.text, words)
    others = tuple(sorted({token.index for token in parts.family.tokens(parts, positive.text)}))
    where = Where(chosen, start, end)
    if not spread:
        return WordLooks(found, others, where, every, led_by=positive.text)  # type: ignore[return-value]
    return AttentionCut(found, others, where, every, spread, led_by=positive.text)  # type: ignore[return-value]


@node(group="See", title="Watch regions", technique="region_maps", review=review_where)
def watch_regions(
    model: Model,
    regions: Attachment,
    blocks: Text = "",
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
    every: bool = False,
) -> Attachment:
    """Look where in the picture each region and each word of its own prompt is at work. The picture stays the
    same, bit for bit.

    regions: the attachment of "Regions", which also goes to Sample
    blocks: numbers such as "0-3, 8"; empty = the blocks in which words are clearest; "all" takes more time
    start: from which part of the run on
    end: up to which part of the run
    every: keep the map of each block and each step, for the grids of "Show maps"; takes more memory
    """
    if not isinstance(regions, Regional):
        raise StudioError(
            "These are no regions.", socket="regions", hint="Connect the attachment of a 'Regions' node."
        )
    parts = parts_of(model)
    chosen = parse_blocks(blocks)
    if chosen is None:
        chosen = best_map_sites(map_blocks(model.card), sites_of(parts))
    words = region_words(parts, regions)[:MOST_COLUMNS]
    return RegionMaps(regions, tuple(words), Where(chosen, start, end), every)  # type: ignore[return-value]


@node(group="See", title="Watch blocks", technique="four_block", review=review_where)
def watch_blocks(
    blocks: Text = "all",
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
) -> Attachment:
    """Look how much the picture looks at the words and the words at the picture, block by block. The picture
    stays the same, bit for bit.

    blocks: numbers such as "0-3, 8", or "all"
    start: from which part of the run on
    end: up to which part of the run
    """
    return FourBlock(Where(parse_blocks(blocks) or (), start, end))  # type: ignore[return-value]


@node(group="See", title="Watch concepts", technique="concepts", review=review_concepts)
def watch_concepts(
    model: Model,
    concepts: Text = "star, house, sky",
    blocks: Text = "",
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
    every: bool = False,
    *,
    ctx: Context,
) -> Attachment:
    """Look where in the picture things are, named in your own words, whether the prompt has them or not. Each
    place is shared out among the concepts, so name the background too.

    concepts: two or more, separated by commas
    blocks: numbers such as "3-5"; empty = those in which words are clearest, where that was measured for
        this model, else the later half of those in which words have a stream of their own
    start: from which part of the run on
    end: up to which part of the run
    every: keep the map of each block and each step, for the grids of "Show maps"; takes more memory
    """
    parts = parts_of(model)
    ctx.policy.check_prompt(concepts, socket="concepts")
    names = [name.strip() for name in concepts.split(",") if words_of(name)]
    _, warnings, _ = encode_prompt(parts, ", ".join(names), model.title, ctx.kept)
    for warning in warnings:
        ctx.warn(warning)
    chosen = parse_blocks(blocks)
    if chosen is None:
        chosen = best_blocks(map_blocks(model.card), sites_of(parts))
    pieces = [segment_conditioning(parts, name, kept=ctx.kept) for name in names]
    return make_concepts(pieces, Where(chosen, start, end), every=every)  # type: ignore[return-value]


@node(group="See", title="Watch estimates", technique="estimates")
def watch_estimates(count: Annotated[int, Slider(2, 16, 1)] = 8) -> Attachment:
    """Keep what the model believes the finished picture to be, at steps spread over the run.

    count: how many steps; the last one is always among them
    """
    return Estimates(count)  # type: ignore[return-value]


@node(group="See", title="Show maps", review=review_watched)
def show_maps(
    seen: Seen,
    image: Image | None = None,
    of: Annotated[str, Choice("words", "concepts", "regions")] = "words",
    word: Text = "",
    grid: Annotated[str, Choice("mean", "blocks", "steps")] = "mean",
    range: Annotated[str, Choice("own", "between words", "plain")] = "own",
    strength: Annotated[float, Slider(0, 1, 0.05)] = 0.75,
    smooth: bool = True,
    picture: Annotated[int, Number(0, 63)] = 0,
) -> Image:
    """A heat map for each word, concept or region that was watched, laid over the picture.

    seen: the second output of Sample
    image: the finished picture; its outlines show through the heat
    of: what to show: words of the prompt, concepts, or regions with the words of their own prompts
    word: such as "star, house"; empty = all that were watched
    grid: one map for the whole run, or one for each block or each step (needs "every" at Watch)
    range: own = each map from its least to its most; between words = who wins at each place; plain = one
        scale from 0 for all
    strength: 0 = the picture alone, 1 = the heat alone
    smooth: soft between the model's tokens, or one square for each
    picture: which one, if the run made several; 0 is the first
    """
    return heat_maps(
        seen,
        image,
        of=of,
        word=word,
        grid=grid,
        range=range,
        strength=strength,
        smooth=smooth,
        picture=picture,
    )


@node(group="See", title="Show blocks")
def show_blocks(seen: Seen, picture: Annotated[int, Number(0, 63)] = 0, *, ctx: Context) -> Image:
    """A chart of how much picture and words look at each other: by block, and over the steps.

    seen: the second output of Sample
    picture: which one, if the run made several; 0 is the first
    """
    maps = maps_of(seen, FourBlock.technique, "'Watch blocks'")
    check_picture(maps, picture)
    table = block_table(maps, picture)
    ctx.note("blocks", [asdict(row) for row in table])
    return block_chart(table, "Picture and words, block by block")


@node(group="See", title="Show estimates")
def show_estimates(
    model: Model, seen: Seen, picture: Annotated[int, Number(0, 63)] = 0, *, ctx: Context
) -> Image:
    """What the model believed the finished picture to be, step by step; the last one is the picture itself.

    seen: the second output of Sample
    picture: which one, if the run made several; 0 is the first
    """
    if not seen.estimates:
        raise StudioError(
            "No estimates were kept.",
            socket="seen",
            hint="Connect 'Watch estimates' to the attachments of Sample, and its second output here.",
        )
    parts = parts_of(model)
    shown = []
    for i, estimate in enumerate(seen.estimates):
        ctx.step(i, len(seen.estimates))
        batch, _, height, width = estimate.latent.shape
        side = parts.family.size_step(parts)
        pixels = side // parts.family.latent_shape(parts, 1, side, side)[2]
        latent = Latent(width * pixels, height * pixels, batch, 0, estimate.latent, parts.family.name)
        decoded = decode_latent(parts, latent, picture)
        shown.append((decoded, f"step {estimate.step + 1}", f"noise {estimate.sigma:.2f}"))
    return strip(shown, "What the model believed, step by step")


@node(group="See", title="Mask from words", review=review_watched)
def mask_from_words(
    seen: Seen,
    image: Image,
    word: Text = "",
    of: Annotated[str, Choice("words", "concepts")] = "words",
    pick: Annotated[str, Choice("largest", "point", "all")] = "largest",
    x: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
    y: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
    smooth: bool = True,
    grow: Annotated[int, Slider(-64, 64, 1)] = 0,
    soften: Annotated[int, Slider(0, 64, 1)] = 0,
    picture: Annotated[int, Number(0, 63)] = 0,
    amount: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
    follow: bool = False,
    *,
    ctx: Context,
) -> Mask:
    """Cut out what a word stands for in the picture, without any other model. Watch more than this one word:
    the others say where it is not.

    seen: the second output of Sample, with "Watch words" or "Watch concepts" in its attachments
    image: the finished picture; the mask gets its size
    word: such as "star", or "red star, moon" for both together; empty = the first that was watched
    of: words of the prompt or concepts
    pick: the largest piece, the one nearest to a point, or all pieces
    x: the point from the left, 0 to 1
    y: the point from the top, 0 to 1
    smooth: a smooth edge, or the squares of the model's tokens
    grow: pixels added all around; below 0, taken away
    soften: pixels over which the edge fades
    picture: which one, if the run made several; 0 is the first
    amount: how much of the thing; 0.5 = where Otsu's threshold parts it from the rest
    follow: the edge lies where the picture has one, in place of a smooth one
    """
    mask, cells = word_mask(
        seen,
        image.width,
        image.height,
        of=of,
        word=word,
        pick=pick,
        at=(x, y),
        smooth=smooth,
        grow=grow,
        soften=soften,
        picture=picture,
        amount=amount,
        follow=image if follow else None,
    )
    share = float(cells.float().mean())
    ctx.note("mask", {"word": word, "share": share, "grid": list(cells.shape)})
    if share > TOO_MUCH:
        ctx.warn(
            f"The mask of {word or 'the first word'!r} covers {share:.0%} of the picture: this word has no "
            "clear place in it. Watch more words beside it, other blocks, or try concepts."
        )
    return mask


@node(group="See", title="Show mask")
def show_mask(image: Image, mask: Mask) -> Image:
    """The picture with a mask on it: what lies outside turns pale, a line runs along the edge.

    mask: of the same size as the picture
    """
    return outlined(image, mask)


def word_spans(parts: Parts, prompt: str, words: str) -> tuple[TokenSpan, ...]:
    """The spans of a list of words such as "red star, house"; of every word worth watching if it is empty."""
    named = [piece.strip() for piece in words.split(",") if piece.strip()]
    if not named:
        every = dict.fromkeys(word.text.casefold() for word in words_of(prompt))
        named = [word for word in every if word not in FILLERS][:MOST_WORDS]
        if not named:
            raise StudioError(
                "The prompt has no word to watch.", socket="words", hint="Write a prompt, or name a word."
            )
    return tuple(find_words(parts, prompt, word) for word in named)


def region_words(parts: Parts, regions: Regional) -> list[RegionWord]:
    """The columns of regions that change anything: each as a whole ("1 star"), then its words ("1: red"); the
    numbers are those of the list, from 1."""
    found: list[RegionWord] = []
    for place, text in regions.kept().items():
        read = text.edited or text.prompt
        if read is None:
            continue
        span = f"text/seg:{regions.name}.{place}" + (".edited" if text.edited else "")
        every = tuple(range(read.embeds.shape[1]))
        found.append(RegionWord(f"{place + 1} {text.region.name or text.region.id}", place, span, every))
        for word in segment_words(parts, read.text):
            found.append(RegionWord(f"{place + 1}: {word.text}", place, span, word.tokens))
    return found
