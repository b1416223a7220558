"""Words of a prompt: characters -> tokens -> characters through the real tokenizer classes, and what is said
when a word cannot be found (T9)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import combining

import pytest
import torch

from studio.errors import BadModel, StudioError
from studio.models.device import place
from studio.models.family import Parts
from studio.models.folders import check_folder
from studio.models.loading import load_folder
from studio.models.text import encode_prompt
from studio.models.tiny import save_tiny
from studio.models.words import find_words, named_words, segment_conditioning, word_diff, words_of

LENGTH = 77
T5_LENGTH = 90
PROMPTS = (
    "a red boat on the sea",
    "A Red  boat,\ton the SEA.",
    "the lighthouse; a boat-house (red!) and the cat's boat...",
    "boat boat boat",
    "un café au lait, naïve Straße",
    "un cafe\u0301 au lait, nai\u0308ve Straße",
    "红色的船 and a 🚢 at 7 pm",
    "सुंदर नाव और एक",
    "  boat  ",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return load_folder(check_folder(save_tiny("sd3", tmp_path_factory.mktemp("sd3"), t5=True)), place("cpu"))


def clip_tokenizer() -> Any:
    """CLIP's byte-level BPE with the merges of a few words."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [
        "b o",
        "a t</w>",
        "bo at</w>",
        "r e",
        "re d</w>",
        "l i",
        "li g",
        "lig h",
        "ligh t",
        "t h",
        "th e</w>",
    ]
    pairs = [(left, right) for left, right in (merge.split() for merge in merges)]
    merged = [left + right for left, right in pairs]
    names = ["<|startoftext|>", "<|endoftext|>", *letters, *(c + "</w>" for c in letters), *merged]
    return CLIPTokenizer(
        vocab={name: i for i, name in enumerate(names)}, merges=pairs, model_max_length=LENGTH
    )


def t5_tokenizer() -> Any:
    """T5's unigram model: a few pieces with a leading space, letters, everything else unknown."""
    from transformers import T5Tokenizer

    pieces = [("▁", -2.0), ("▁boat", -3.0), ("▁light", -4.0), ("house", -4.0), ("▁the", -3.0), ("▁re", -4.0)]
    letters = [(c, -6.0) for c in "abcdefghijklmnopqrstuvwxyzABCDRST.,;!()-'é"]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *pieces, *letters]
    return T5Tokenizer(vocab=vocab, extra_ids=0)


@pytest.fixture(scope="module")
def subwords(tiny: Parts) -> Parts:
    """The miniature with the tokenizers of the great models; its text encoders are not asked here."""
    components = {
        **tiny.components,
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(),
        "tokenizer_3": t5_tokenizer(),
    }
    return replace(tiny, components=components, card={"max_sequence_length": T5_LENGTH})


def covered(parts: Parts, prompt: str, indices: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """First and last character that the tokens of each encoder stand for."""
    length = parts.components["tokenizer"].model_max_length
    found: dict[str, tuple[int, int]] = {}
    for token in parts.family.tokens(parts, prompt):
        if token.index in indices:
            name = "clip" if token.index < length else "t5"
            start, stop = found.get(name, (token.start, token.stop))
            found[name] = min(start, token.start), max(stop, token.stop)
    return found


@pytest.mark.parametrize("prompt", PROMPTS)
def test_characters_to_tokens_and_back(subwords: Parts, prompt: str) -> None:
    words = words_of(prompt)
    assert words
    for word in words:
        span = find_words(subwords, prompt, chars=(word.start, word.stop))
        assert span.text == word.text
        clip, t5 = (covered(subwords, prompt, span.tokens)[name] for name in ("clip", "t5"))
        assert clip == (word.start, word.stop)
        # T5 has no pieces for some scripts and takes a whole unknown run, punctuation and all
        assert t5[0] <= word.start and word.stop <= t5[1]
        if word.text.isascii():
            assert t5 == (word.start, word.stop)
        assert set(span.tokens) <= set(find_words(subwords, prompt, word.text).tokens)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_tokens_stand_where_the_encoders_put_them(subwords: Parts, prompt: str) -> None:
    """The ids at the indices named decode to the characters named, in both encoders' own numbering."""
    for name, offset in (("tokenizer", 0), ("tokenizer_3", LENGTH)):
        tokenizer = subwords.components[name]
        length = LENGTH if offset == 0 else T5_LENGTH
        ids = tokenizer(prompt, padding="max_length", max_length=length, truncation=True)["input_ids"]
        own = [t for t in subwords.family.tokens(subwords, prompt) if offset <= t.index < offset + length]
        assert own and not {ids[t.index - offset] for t in own} & {
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
            tokenizer.bos_token_id,
        }
        for token in own:
            piece = tokenizer.convert_ids_to_tokens(ids[token.index - offset])
            plain = piece.removesuffix("</w>").lstrip("▁")
            if plain.isascii() and plain.isalnum():
                letters = [c for c in prompt[token.start : token.stop] if not combining(c)]
                assert "".join(letters).casefold() == plain.casefold()


def test_every_encoder_has_its_tokens(tiny: Parts, subwords: Parts) -> None:
    assert find_words(tiny, "a red boat", "boat").tokens == (3, 16 + 3)
    without = replace(tiny, components={k: v for k, v in tiny.components.items() if k != "text_encoder_3"})
    assert find_words(without, "a red boat", "boat").tokens == (3,)
    # boat is one token, lighthouse is light + h o u s e
    assert find_words(subwords, "boat", "boat").tokens == (1, LENGTH)
    assert find_words(subwords, "lighthouse", "lighthouse").tokens == (1, 2, 3, 4, 5, 6, LENGTH, LENGTH + 1)


def test_the_indices_are_those_of_the_conditioning(tiny: Parts) -> None:
    """A changed word changes the embeddings at its tokens first: T5 sees both ways, CLIP only behind."""
    one, other = (encode_prompt(tiny, f"a red {word} at night", "It")[0].embeds for word in ("boat", "fish"))
    differs = (one != other).any(-1)[0].nonzero().flatten().tolist()
    clip, t5 = find_words(tiny, "a red boat at night", "boat").tokens
    assert differs[0] == clip and t5 in differs
    nearest = (one - other).norm(dim=-1)[0]
    assert int(nearest[16:].argmax()) + 16 == t5


def test_repeated_words(tiny: Parts) -> None:
    prompt = "a red boat and a blue Boat"
    assert find_words(tiny, prompt, "boat").tokens == (3, 7, 19, 23)
    assert find_words(tiny, prompt, "boat").text == "boat, Boat"
    assert find_words(tiny, prompt, "boat", occurrence=0).tokens == (3, 19)
    assert find_words(tiny, prompt, "BOAT", occurrence=1).tokens == (7, 23)
    for occurrence in (2, -1):
        with pytest.raises(StudioError, match=f"stands 2 times.*occurrence {occurrence}") as caught:
            find_words(tiny, prompt, "boat", occurrence=occurrence)
        assert caught.value.hint == "Possible: 0 to 1."


def test_phrases_lists_and_commas(tiny: Parts) -> None:
    prompt = "a red boat , a tree on the sea"
    assert find_words(tiny, prompt, "red boat").tokens == (2, 3, 18, 19)
    assert find_words(tiny, prompt, "RED \n boat").tokens == (2, 3, 18, 19)
    assert find_words(tiny, prompt, "sea, boat").tokens == (3, 9, 19, 25)
    assert find_words(tiny, prompt, ["sea", "boat"]) == find_words(tiny, prompt, "sea,boat,")
    assert find_words(tiny, prompt, "boat , a tree").tokens == (3, 4, 5, 6, 19, 20, 21, 22)
    assert find_words(tiny, prompt, ",").tokens == (4, 20)
    with pytest.raises(StudioError, match="'red tree' is not in the prompt") as caught:
        find_words(tiny, prompt, "red tree")
    assert caught.value.hint == "Its words stand apart in the prompt; name them as 'red, tree'."


def test_whole_words_only_where_spaces_tell_words_apart(subwords: Parts) -> None:
    prompt = "scarlet car, the car's door, car_park"
    place_of = prompt.index(" car,") + 1
    span = find_words(subwords, prompt, "car", occurrence=0)
    assert covered(subwords, prompt, span.tokens)["clip"] == (place_of, place_of + 3)
    assert find_words(subwords, prompt, "car").text == "car"
    with pytest.raises(StudioError, match="stands 2 times"):
        find_words(subwords, prompt, "car", occurrence=2)
    chinese = find_words(subwords, "红色的船", "船")
    assert covered(subwords, "红色的船", chinese.tokens)["clip"] == (3, 4)


def test_composed_and_decomposed_letters_are_the_same(subwords: Parts) -> None:
    for prompt in ("a café", "a cafe\u0301"):
        for word in ("café", "cafe\u0301", "CAFÉ"):
            span = find_words(subwords, prompt, word)
            assert covered(subwords, prompt, span.tokens)["clip"] == (2, len(prompt))
        with pytest.raises(StudioError, match="'cafe' is not in the prompt"):
            find_words(subwords, prompt, "cafe")
    span = find_words(subwords, "die Straße", "STRASSE")
    assert span.text == "Straße"


def test_an_absent_word_is_told_with_the_nearest(tiny: Parts) -> None:
    with pytest.raises(StudioError, match="'boot' is not in the prompt 'a red boat'") as caught:
        find_words(tiny, "a red boat", "boot")
    assert caught.value.hint == "Did you mean 'boat'?" and caught.value.socket == "words"
    with pytest.raises(StudioError, match="'zebra' is not in the prompt") as caught:
        find_words(tiny, "a red boat", "zebra")
    assert caught.value.hint == "The prompt has a, red, boat."
    with pytest.raises(StudioError, match="'boat' is not in the prompt ''") as caught:
        find_words(tiny, "", "boat")
    assert caught.value.hint == "The prompt has no words."


def test_a_word_past_the_token_limit_is_told(tiny: Parts, subwords: Parts) -> None:
    prompt = "a red boat " * 5 + "fish"
    with pytest.raises(
        StudioError, match=r"'fish' stands past the token limit.*up to 'boat a red'"
    ) as caught:
        find_words(tiny, prompt, "fish")
    assert "Shorten the prompt" in str(caught.value.hint)
    with pytest.raises(StudioError, match="'fish' stands past the token limit"):
        find_words(tiny, prompt, "boat, fish")
    with pytest.raises(StudioError, match="'boat' stands past the token limit"):
        find_words(tiny, prompt, "boat", occurrence=4)
    assert find_words(tiny, prompt, "boat").tokens == (3, 6, 9, 12, 19, 22, 25, 28)
    # the word is cut in its middle: T5 and CLIP both keep its beginning
    long = "boat " * (T5_LENGTH - 2) + "lighthouse"
    with pytest.raises(StudioError, match="'lighthouse' stands past the token limit"):
        find_words(subwords, long, "lighthouse")
    # T5 reads a word that CLIP has lost
    middle = "boat " * 77 + "lighthouse"
    assert min(find_words(subwords, middle, "lighthouse").tokens) >= LENGTH


def test_bad_requests_are_refused(tiny: Parts) -> None:
    for arguments in ({}, {"words": "boat", "chars": (0, 1)}):
        with pytest.raises(StudioError, match="either words or a range"):
            find_words(tiny, "a boat", **arguments)
    for words in ("", "  ", [], ["boat", " "]):
        with pytest.raises(StudioError, match="No word was named"):
            find_words(tiny, "a boat", words)
    for chars in ((-1, 2), (2, 2), (3, 2), (0, 7), (1, 2)):
        with pytest.raises(StudioError, match="hold no word"):
            find_words(tiny, "a boat", chars=chars)


def test_a_slow_tokenizer_is_refused(tiny: Parts, tmp_path: Path) -> None:
    from transformers import BertTokenizerLegacy

    words = tmp_path / "vocab.txt"
    words.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nboat\n", encoding="utf-8")
    slow = BertTokenizerLegacy(str(words))
    assert not slow.is_fast
    parts = replace(tiny, components={**tiny.components, "tokenizer": slow})
    with pytest.raises(BadModel, match="slow one"):
        find_words(parts, "boat", "boat")


def test_word_diff() -> None:
    def texts(source: str, target: str) -> tuple[list[str], list[str]]:
        removed, added = word_diff(source, target)
        assert all(source[w.start : w.stop] == w.text for w in removed)
        assert all(target[w.start : w.stop] == w.text for w in added)
        return [w.text for w in removed], [w.text for w in added]

    assert texts("a red heart, left", "a blue heart, left") == (["red"], ["blue"])
    assert texts("a heart", "a big red heart") == ([], ["big", "red"])
    assert texts("a big heart.", "A heart") == (["big"], [])
    assert texts("a red star and a red ring", "a red star and a blue ring") == (["red"], ["blue"])
    assert texts("a cafe\u0301", "a café") == ([], [])
    assert texts("", "a boat") == ([], ["a", "boat"])
    assert texts("boat", "boat") == ([], [])
    source = "a red star and a red ring"
    assert word_diff(source, "a red star and a blue ring")[0][0].start == source.rindex("red")


def test_a_segment_has_its_own_words_and_the_mark_after_each_encoders_last(tiny: Parts) -> None:
    whole, _, _ = encode_prompt(tiny, "a red boat", "It")
    own = segment_conditioning(tiny, "a red boat")
    assert own.text == "a red boat" and own.family == "sd3"
    assert torch.equal(own.embeds, whole.embeds[:, [1, 2, 3, 4, 17, 18, 19, 20]])
    assert own.pooled is not None and whole.pooled is not None and torch.equal(own.pooled, whole.pooled)
    assert not own.embeds.is_inference() and own.embeds.is_contiguous()
    assert segment_conditioning(tiny, "a red boat", limit=6).embeds.shape[1] == 8
    with pytest.raises(StudioError, match="'a red boat' has 6 tokens; 5 are possible"):
        segment_conditioning(tiny, "a red boat", limit=5)
    for text in ("", " "):
        empty = segment_conditioning(tiny, text, limit=1)
        assert torch.equal(empty.embeds, encode_prompt(tiny, text, "It")[0].embeds)
    with pytest.raises(StudioError, match="past the token limit"):
        segment_conditioning(tiny, "a red boat " * 5)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("gren star", "Did you mean 'green star'"),
        ("boot", "Did you mean 'boat'?"),
        ("a gren star and", "Did you mean 'a green star and'"),
        ("xyz qqq", "They have a, red, star, and, boat, green."),
    ],
)
def test_several_misspelt_words_are_taken_as_they_stand_together(words: str, hint: str) -> None:
    with pytest.raises(StudioError) as caught:
        named_words("a red star and a boat", "a green star and a boat", words)
    assert (caught.value.hint or "").startswith(hint)
