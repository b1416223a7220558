"""Word weights written into a prompt: "a (red:1.4) star" is the prompt "a red star" with a weight on "red".

`(words:number)` is a weight from 0 to 4; weights inside weights multiply. Every other bracket is text, and so
is one behind a backslash: `\\(`, `\\)`; `\\\\` is a backslash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from studio.errors import StudioError

MOST_WEIGHT = 4.0
MOST_DEPTH = 16
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
LIKE_A_NUMBER = re.compile(r"[+-]?[\d.,;+-]+%?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
BEGUN = re.compile(r"\((?:[^():]|\([^()]*\))+(?<!\d):\s*(?:\d+\.?\d*|\.\d+)(?!\w|:|\.\d)")
HINT = f"Write (word:1.3) with a number from 0 to {MOST_WEIGHT:g}, or \\( and \\) for brackets that are text."


@dataclass(frozen=True)
class WeightedPrompt:
    """A prompt without its weights, and (start, stop, weight) of the characters that have one other than 1,
    in order and apart from each other."""

    text: str
    weights: tuple[tuple[int, int, float], ...] = ()


@dataclass
class _Bracket:
    """An open bracket: where it and the last colon behind it stand in what was read, and in the prompt."""

    at: int
    source: int
    colon: int = -1


def read_weights(prompt: str) -> WeightedPrompt:
    """The prompt and its weights. StudioError for a weight that is none, out of range, on nothing, or whose
    bracket is never closed."""
    read: list[str] = []
    weights: list[float] = []
    opened: list[_Bracket] = []
    index = 0
    while index < len(prompt):
        sign = prompt[index]
        if sign == "\\" and prompt[index + 1 : index + 2] in ("(", ")", "\\"):
            read.append(prompt[index + 1])
            weights.append(1.0)
            index += 2
            continue
        if sign == "(":
            opened.append(_Bracket(len(read), index))
            if len(opened) > MOST_DEPTH:
                raise StudioError(
                    f"The prompt has {len(opened)} brackets inside each other; {MOST_DEPTH} are possible.",
                    hint=HINT,
                    socket="text",
                )
        elif sign == ":" and opened:
            opened[-1].colon = len(read)
        read.append(sign)
        weights.append(1.0)
        if sign == ")" and opened:
            _close(opened.pop(), read, weights, prompt[: index + 1])
        index += 1
    for bracket in opened:
        if bracket.colon >= 0 and NUMBER.fullmatch("".join(read[bracket.colon + 1 :]).strip()):
            raise StudioError(
                f"The bracket in {_short(prompt[bracket.source :])!r} is never closed.",
                hint=HINT,
                socket="text",
            )
    return WeightedPrompt("".join(read), tuple(_runs(read, weights)))


def unclosed(prompt: str) -> str:
    """What somebody began as a weight and never closed, such as "(red:1.4"; empty if nothing is. It is read
    as text."""
    depth: list[int] = []
    for i, sign in enumerate(prompt):
        if sign in "()" and prompt[i - 1 : i] == "\\":
            continue
        if sign == "(":
            depth.append(i)
        elif sign == ")" and depth:
            depth.pop()
    begun = [found for i in depth if (found := BEGUN.match(prompt, i))]
    return _short(begun[0].group().rstrip()) if begun else ""


def has_weights(prompt: str) -> bool:
    """Whether somebody meant to write a weight, well formed or not."""
    try:
        return bool(read_weights(prompt).weights)
    except StudioError:
        return True


def unweighted(prompt: str) -> str:
    """The words of a prompt for somebody who reads no weights; itself where its weights cannot be read."""
    try:
        return read_weights(prompt).text
    except StudioError:
        return prompt


def _close(bracket: _Bracket, read: list[str], weights: list[float], upto: str) -> None:
    """Take the weight of a bracket that was just closed out of what was read, if it has one."""
    if bracket.colon < 0:
        return
    number = "".join(read[bracket.colon + 1 : -1]).strip()
    shown = _short(upto[bracket.source :])
    if not NUMBER.fullmatch(number):
        if not number or LIKE_A_NUMBER.fullmatch(number):
            given = f"{number!r} is not a weight" if number else "the weight is missing"
            raise StudioError(f"In {shown!r} {given}.", hint=HINT, socket="text")
        return
    weight = float(number)
    if not 0 <= weight <= MOST_WEIGHT:
        raise StudioError(f"In {shown!r} the weight {number} is out of range.", hint=HINT, socket="text")
    if not "".join(read[bracket.at + 1 : bracket.colon]).strip():
        raise StudioError(f"{shown!r} puts a weight on nothing.", hint=HINT, socket="text")
    for values in (read, weights):
        del values[bracket.colon :], values[bracket.at]
    for i in range(bracket.at, len(weights)):
        weights[i] *= weight


def _runs(read: list[str], weights: list[float]) -> list[tuple[int, int, float]]:
    """Characters next to each other with one weight, without the spaces at either end."""
    runs: list[tuple[int, int, float]] = []
    for i, (sign, weight) in enumerate(zip(read, weights, strict=True)):
        if weight == 1 or sign.isspace():
            continue
        gap = runs and all(weights[j] == weight for j in range(runs[-1][1], i))
        if gap and runs[-1][2] == weight:
            runs[-1] = (runs[-1][0], i + 1, weight)
        else:
            runs.append((i, i + 1, weight))
    return runs


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
