"""`layout SENTENCE`: the boxes that a sentence asks for, and what is wrong with them; nothing is painted."""

from __future__ import annotations

import argparse
from pathlib import Path

from studio.cli import shared
from studio.cli.generate import size
from studio.cli.run import FORMATS

DRAWN = 512
MOST_STRETCHED = 32


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("layout", help="plan boxes from a sentence and look them over")
    parser.add_argument(
        "sentence", metavar="SENTENCE", help='such as "two red stars above a green tree, at night"'
    )
    parser.add_argument(
        "--size", type=size, metavar="WxH", default=(256, 256), help="of the picture (256x256)"
    )
    parser.add_argument("--picture", metavar="FILE", help="plan around what this picture shows")
    parser.add_argument("--draw", metavar="FILE", help="also draw the layout and its report")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """Plan, check and print; needs no model and no torch. Finished also when there is something to mend."""
    from studio.layout.data import layout_json
    from studio.layout.drawing import draw_report, report_text
    from studio.layout.lint import lint
    from studio.layout.measures import measure
    from studio.layout.notes import notes
    from studio.layout.plan import plan_sentence
    from studio.layout.saliency import maps_of
    from studio.pixels import encode, read_picture
    from studio.policy import Policy

    policy = Policy.local()
    policy.check_prompt(args.sentence)
    if args.draw is not None and Path(args.draw).suffix.lower() not in FORMATS:
        raise shared.BadCall(f"'{args.draw}' is no picture file.", hint=f"End it in {', '.join(FORMATS)}.")
    if not args.sentence.strip():
        raise shared.BadCall("The sentence is empty.", hint='Write one, such as "a red star above a house".')
    width, height = args.size
    if width < 1 or height < 1 or max(width, height) > MOST_STRETCHED * min(width, height):
        raise shared.BadCall(f"A picture of {width}x{height} is not possible.", hint="For example 256x256.")
    picture = None
    if args.picture is not None:
        path = Path(args.picture)
        if not path.is_file():
            raise shared.BadCall(
                f"There is no picture at '{args.picture}'.", hint="Give the path of a PNG, JPEG or WEBP."
            )
        picture = read_picture(path.read_bytes(), max_pixels=policy.max_decoded_pixels)
    maps = None if picture is None else maps_of(picture)
    layout, reading = plan_sentence(args.sentence, aspect=width / height, maps=maps)
    findings, measures = lint(layout, maps), measure(layout, maps)
    said = notes(args.sentence, reading)
    if args.draw is not None:
        scale = DRAWN / max(width, height)
        sides = max(round(width * scale), 1), max(round(height * scale), 1)
        drawn = draw_report(layout, findings, measures, *sides, picture)
        Path(args.draw).write_bytes(encode(drawn, FORMATS[Path(args.draw).suffix.lower()]))
    found = layout_json(layout)
    if args.json:
        shared.show(
            {
                "status": "finished",
                "layout": found,
                "passed_over": list(reading.passed_over),
                "notes": list(said),
                "findings": [finding.as_json() for finding in findings],
                "measures": measures.as_json(),
            }
        )
        return shared.FINISHED
    shared.show(found)
    for note in said:
        shared.say(note)
    shared.say(report_text(findings, measures))
    return shared.FINISHED
