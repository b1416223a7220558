"""What a step cache did is kept with the picture, and the page draws it from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from studio.graph.document import Edge, Node
from studio.studio import Studio
from studio.ui.how_it_ran import caches


def test_the_report_of_a_run_is_stored_with_its_picture_and_read_by_the_page(
    studio: Studio, tiny_sd3_folder: Path
) -> None:
    plain = studio.text_to_image("a red star", seed=4, steps=8, size=(64, 64), model=str(tiny_sd3_folder))
    cache = Node("cache", "step_cache", {"mode": "taylor", "every": 3, "growth": 0.0, "warm": 2})
    cached = replace(
        plain,
        nodes=(*plain.nodes, cache),
        edges=(*plain.edges, Edge(("cache", "attachment"), ("sample", "attachments"))),
    )
    told = {}
    for name, document in (("plain", plain), ("cached", cached)):
        generation = studio.run(document).outputs[0].generation
        told[name] = caches(studio.history.show("local", generation).record)
    assert told["plain"] == []
    (row,) = told["cached"]
    assert row["steps"] == 8 and row["skipped"] and row["skipped"][0] > 2
    assert row["seconds_saved"] is not None and row["error_estimate"] is not None
