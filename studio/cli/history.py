"""`history list|search|show|replay|export|star|delete`: the pictures made here and how they were made."""

from __future__ import annotations

import argparse
import datetime
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli import shared
from studio.cli.eval import whole
from studio.errors import StudioError

if TYPE_CHECKING:
    from studio.history.store import Generation
    from studio.studio import Studio

OWNER = "local"


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser(
        "history", help="pictures made here: list, search, show, replay, export, star, delete"
    )
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", required=True, parser_class=shared.Parser
    )

    def action(name: str, act: Callable[[Studio, argparse.Namespace], int], text: str) -> shared.Parser:
        part = actions.add_parser(name, help=text)
        shared.add_json(part)
        shared.add_home(part)
        part.set_defaults(act=_with_studio(act))
        return part

    part = action("list", show_list, "newest pictures first")
    part.add_argument("--limit", type=whole, default=20, metavar="N", help="of one page (20)")
    part.add_argument("--before", type=cursor, metavar="CURSOR", help="the `next` of the page before")
    part = action("search", search, "pictures whose texts hold all these words")
    part.add_argument("text", metavar="TEXT")
    part.add_argument("--limit", type=whole, default=20, metavar="N", help="of one page (20)")
    part.add_argument("--before", type=cursor, metavar="CURSOR", help="the `next` of the page before")
    part = action("show", show_one, "everything about one picture")
    part.add_argument("id", metavar="ID")
    part.add_argument("--graph", action="store_true", help="print its workflow instead")
    part = action("replay", replay, "make it again and say whether it is equal")
    part.add_argument("id", metavar="ID")
    part = action("export", export, "a zip of pictures with their workflows")
    part.add_argument("ids", metavar="ID", nargs="+")
    part.add_argument("--out", required=True, metavar="FILE.zip")
    part.add_argument("--strip", action="store_true", help="leave the workflow out of the pictures")
    part = action("star", star, "mark a picture")
    part.add_argument("id", metavar="ID")
    part.add_argument("--off", action="store_true", help="take the mark away")
    part = action("delete", delete, "delete pictures")
    part.add_argument("ids", metavar="ID", nargs="+")


def cursor(text: str) -> str:
    """A place in the list, as `next` of a page gives it, for argparse."""
    if re.fullmatch(r"\d+(\.\d+)?(e[+-]?\d+)?~[0-9A-Za-z_-]{1,64}", text, re.ASCII) is None:
        raise argparse.ArgumentTypeError(f"'{text[:60]}' is not the `next` of a page before")
    return text


def _with_studio(act: Callable[[Studio, argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def opened(args: argparse.Namespace) -> int:
        with shared.open_studio(args) as studio:
            return act(studio, args)

    return opened


def show_list(studio: Studio, args: argparse.Namespace) -> int:
    """The newest pictures."""
    page = studio.history.list(OWNER, limit=args.limit, before=args.before)
    return _page(page.items, page.next, args)


def search(studio: Studio, args: argparse.Namespace) -> int:
    """Full-text search over title, prompt, negative prompt, note and tags."""
    page = studio.history.search(OWNER, args.text, limit=args.limit, before=args.before)
    return _page(page.items, page.next, args)


def show_one(studio: Studio, args: argparse.Namespace) -> int:
    """One picture with its record; with `--graph` its workflow as JSON."""
    found = _find(studio, args.id)
    if args.graph:
        print(studio.history.document(OWNER, found.id))
        return shared.FINISHED
    if args.json:
        shared.show(
            found.as_json() | {"record": found.record, "parents": [list(pair) for pair in found.parents]}
        )
        return shared.FINISHED
    print(_line(found))
    for name in ("title", "negative", "seed", "model", "run", "graph", "pixels", "note"):
        if (value := getattr(found, name)) not in ("", None):
            print(f"  {name}: {value}")
    print(f"  file: {studio.history.files.path(found.file)}{' (missing)' if found.missing else ''}")
    print(f"  tags: {', '.join(found.tags) or 'none'}")
    for key, value in found.record.items():
        if key != "nodes":  # long digests for `replay`; --json has them
            print(f"  record.{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return shared.FINISHED


def replay(studio: Studio, args: argparse.Namespace) -> int:
    """Run the stored graph again, without the cache, and compare pixels. Exit code 1 when they differ."""
    found = _find(studio, args.id)
    cancelled = shared.Interrupt()
    with shared.progress_bar() as bar, cancelled.guard():
        result = studio.replay(found.id, OWNER, on_event=bar, should_stop=cancelled.is_set)
    if args.json:
        shared.show(result.as_json())
    else:
        print(result.words())
    return shared.FINISHED if result.verdict != "different" else shared.FAILED


def export(studio: Studio, args: argparse.Namespace) -> int:
    """Write a zip of pictures, workflows and a list."""
    ids = [_find(studio, given).id for given in args.ids]
    target = Path(args.out)
    if not target.parent.is_dir():
        raise shared.BadCall(f"There is no folder '{target.parent}'.", hint="Make it first.")
    if target.is_dir():
        raise shared.BadCall(f"'{args.out}' is a folder.", hint="--out takes the name of a zip file.")
    count = studio.history.export(OWNER, ids, target, strip=args.strip)
    if args.json:
        shared.show({"status": "finished", "file": str(target), "pictures": count})
    else:
        print(f"{count} pictures in {target}")
    return shared.FINISHED


def star(studio: Studio, args: argparse.Namespace) -> int:
    """Set or take away the star."""
    found = studio.history.star(OWNER, _find(studio, args.id).id, not args.off)
    if args.json:
        shared.show({"id": found.id, "starred": found.starred})
    else:
        print(_line(found))
    return shared.FINISHED


def delete(studio: Studio, args: argparse.Namespace) -> int:
    """Delete pictures; every id must be known, else nothing is deleted."""
    ids = [_find(studio, given).id for given in args.ids]
    count = studio.history.delete(OWNER, *ids)
    if args.json:
        shared.show({"status": "finished", "deleted": ids})
    else:
        print(f"{count} deleted")
    return shared.FINISHED


def _find(studio: Studio, given: str) -> Generation:
    """The picture of an id or of the beginning of one; an unknown id is a bad call."""
    try:
        return studio.history.show(OWNER, given)
    except StudioError as error:
        raise shared.BadCall(error.message, hint=error.hint) from None


def _page(items: tuple[Generation, ...], cursor: str | None, args: argparse.Namespace) -> int:
    if args.json:
        shared.show({"generations": [item.as_json() for item in items], "next": cursor})
        return shared.FINISHED
    for item in items:
        print(_line(item))
    if not items:
        shared.say("No pictures.")
    if cursor:
        shared.say(f"More with --before {cursor}")
    return shared.FINISHED


def _line(item: Generation) -> str:
    day = datetime.datetime.fromtimestamp(item.created).strftime("%Y-%m-%d %H:%M")
    mark = "*" if item.starred else " "
    return f"{mark} {item.id}  {day}  {item.width}x{item.height}  {item.prompt or item.title}"
