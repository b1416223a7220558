"""`generate PROMPT --out FILE`: a picture from words, by the same path as every other run."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from studio.cli import shared
from studio.cli.run import FORMATS, run_document


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("generate", help="make a picture from words")
    parser.add_argument("prompt", metavar="PROMPT", help="what the picture should show")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="where the picture goes: .png, .jpg or .webp"
    )
    parser.add_argument("--negative", metavar="TEXT", help="what the picture should avoid")
    parser.add_argument(
        "--seed", type=whole, metavar="N", help="0 to 9007199254740991; equal seed, equal picture"
    )
    parser.add_argument("--steps", type=whole, metavar="N", help="number of steps")
    parser.add_argument("--size", type=size, metavar="WxH", help="width and height in pixels, like 256x256")
    parser.add_argument("--cfg", type=number, metavar="X", help="how firmly the picture follows the prompt")
    parser.add_argument("--sampler", metavar="NAME", help="how it steps, like euler (default: as the model)")
    parser.add_argument("--model", metavar="REF", help="embedded:NAME, a diffusers folder, or hub:OWNER/NAME")
    parser.add_argument("--no-cache", action="store_true", help="make everything anew")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def whole(text: str) -> int:
    """A whole number, for argparse; its range is left to the check of the document."""
    if not re.fullmatch(r"-?\d{1,30}", text.strip(), re.ASCII):
        raise argparse.ArgumentTypeError(f"'{text[:60]}' is not a whole number")
    return int(text)


def number(text: str) -> float:
    """A finite number, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text[:60]}' is not a number")
    return value


def size(text: str) -> tuple[int, int]:
    """`WxH`, for argparse; ranges and multiples are left to the check of the document."""
    found = re.fullmatch(r"\s*(-?\d{1,12})\s*[xX×]\s*(-?\d{1,12})\s*", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text[:60]}' is not WxH, like 256x256")
    return int(found[1]), int(found[2])


def act(args: argparse.Namespace) -> int:
    """Build the document, run it, write the file."""
    target = Path(args.out)
    if target.is_dir():
        raise shared.BadCall(f"'{args.out}' is a folder.", hint="--out takes the name of a picture file.")
    if not target.parent.is_dir():
        raise shared.BadCall(
            f"There is no folder '{target.parent}'.", hint="Make it first, or choose another."
        )
    if target.suffix.lower() not in FORMATS:
        raise shared.BadCall(f"'{target.name}' has no known ending.", hint=f"Possible: {', '.join(FORMATS)}.")
    with shared.open_studio(args) as studio:
        document = studio.text_to_image(
            args.prompt,
            negative=args.negative,
            seed=args.seed,
            steps=args.steps,
            size=args.size,
            cfg_scale=args.cfg,
            sampler=args.sampler,
            model=args.model,
        )
        return run_document(studio, document, args, file=args.out)
