"""`sweep WORKFLOW.json --axis …`: every combination of some values, as pictures and one labelled sheet."""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.cli import shared
from studio.cli.run import add_workflow, read_file, read_workflow
from studio.graph.document import Graph
from studio.graph.sweep import Cell, Sweep, make_sweep, read_axis
from studio.pixels import encode, read_picture
from studio.sheet import sheet
from studio.sweeps import CellState, RunningSweep, forecast

if TYPE_CHECKING:
    from studio.studio import Studio

OWNER = "local"


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("sweep", help="compare values: a picture for each combination")
    add_workflow(parser)
    parser.add_argument(
        "--axis",
        action="append",
        required=True,
        dest="axes",
        metavar="NODE.SOCKET=VALUES",
        help="what varies: schedule.steps=4,8 or 4:20:4, canvas.seed=*4, prompt:red->blue,green; up to three",
    )
    parser.add_argument("--out", metavar="DIR", help="write the pictures and sheet.png into this folder")
    parser.add_argument(
        "--plan", action="store_true", help="only say what would be made and how long it takes"
    )
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """Make what is not there yet; exit code 1 when a cell failed or the sweep was stopped."""
    if args.targets:
        raise shared.BadCall("A sweep makes every output.", hint="Leave --target away.")
    if args.out is not None and Path(args.out).exists() and not Path(args.out).is_dir():
        raise shared.BadCall(f"'{args.out}' is a file, not a folder.", hint="--out takes a folder.")
    read = read_file(args.workflow)
    with shared.open_studio(args) as studio:
        sweep = _read(studio, read, args)
        told = forecast(studio, sweep, OWNER)
        if not args.json:
            time_left = "" if told.seconds is None else f", about {told.seconds:.0f} s"
            shared.say(f"{told.cells} pictures, {told.there} there already{time_left}")
        if args.plan:
            if args.json:
                shared.show({"status": "planned", **told.to_json(), "axes": _axes(sweep)})
            return shared.FINISHED
        begun = time.monotonic()
        running = _run(studio, sweep)
        return _report(studio, running, told.to_json(), time.monotonic() - begun, args)


def _read(studio: Studio, read: Graph | bytes, args: argparse.Namespace) -> Sweep:
    document = read_workflow(studio, read, args.workflow, args.settings)
    try:
        most = studio.policy.max_cells
        axes = [read_axis(document, studio.registry, text, most=most) for text in args.axes]
        return make_sweep(document, axes, most=most, seconds=studio.engine.seen.seconds)
    except shared.StudioError as error:
        raise shared.BadCall(error.message, hint=error.hint, node=error.node, socket=error.socket) from None


def _run(studio: Studio, sweep: Sweep) -> RunningSweep:
    """Make the cells; Ctrl+C stops between and inside them."""
    running = RunningSweep(studio, sweep, OWNER)
    interrupt = shared.Interrupt()
    with shared.progress_line("Comparing") as tick, interrupt.guard():
        done = 0

        def on_cell(cell: Cell, state: CellState) -> None:
            nonlocal done
            done += 1
            tick(done, len(sweep.cells), sweep.name(cell)[:40])

        worker = threading.Thread(target=running.work, args=(on_cell,), daemon=True)
        worker.start()
        while not running.over.wait(0.2):
            if interrupt.is_set():
                running.stop()
        worker.join()
    return running


def _report(
    studio: Studio, running: RunningSweep, told: dict[str, Any], seconds: float, args: argparse.Namespace
) -> int:
    sweep = running.sweep
    cells = [_cell(sweep, cell, state) for cell, state in zip(sweep.cells, running.cells, strict=True)]
    status = {"done": "finished", "stopped": "cancelled", "error": "failed"}[running.state]
    failed = [cell for cell in cells if cell["state"] == "error"]
    result = {"status": "failed" if failed and status == "finished" else status, "seconds": round(seconds, 2)}
    result |= {"forecast": told, "axes": _axes(sweep), "cells": cells, "sheet": None}
    if args.out is not None:
        try:
            result["sheet"] = _write(studio, running, cells, Path(args.out))
        except OSError as error:
            return shared.fail(shared.from_os_error(error), as_json=args.json)
    if args.json:
        shared.show(result)
    for cell in [] if args.json else cells:
        print(f"{cell['state']:8}{', '.join(cell['labels'])}  {', '.join(cell['generations'])}")
    for cell in failed:
        shared.say(f"Error: {cell['name']}: {cell['error']['message']} {cell['error']['hint']}".rstrip())
    shared.say(f"{result['status']} in {seconds:.1f} s")
    return shared.FINISHED if result["status"] == "finished" else shared.FAILED


def _axes(sweep: Sweep) -> list[dict[str, Any]]:
    return [
        {"node": a.node, "socket": a.widget, "label": a.label, "find": a.find, "values": list(a.values)}
        for a in sweep.axes
    ]


def _cell(sweep: Sweep, cell: Cell, state: CellState) -> dict[str, Any]:
    return {
        "at": list(cell.at),
        "labels": list(sweep.labels(cell)),
        "name": sweep.name(cell),
        "state": state.state,
        "generations": [output["generation"] for output in state.outputs],
        "files": [],
        "error": dict(state.error) if state.error else None,
    }


def _write(studio: Studio, running: RunningSweep, cells: list[dict[str, Any]], folder: Path) -> str:
    """Every picture as 0-1.png (its places; -2 for a second output), and the sheet of the first of each."""
    folder.mkdir(parents=True, exist_ok=True)
    first = {}
    for told in cells:
        for count, generation in enumerate(told["generations"]):
            data = studio.history.picture(OWNER, generation).read_bytes()
            name = "-".join(map(str, told["at"])) + (f"-{count + 1}" if count else "")
            (folder / f"{name}.png").write_bytes(data)
            told["files"].append(str(folder / f"{name}.png"))
            if not count:
                first[tuple(told["at"])] = read_picture(data)
    axes = [(axis.title, axis.labels) for axis in running.sweep.axes]
    drawn = sheet(first, axes, fonts=studio.settings.assets_folder / "ui" / "fonts")
    (folder / "sheet.png").write_bytes(encode(drawn, "PNG"))
    return str(folder / "sheet.png")
