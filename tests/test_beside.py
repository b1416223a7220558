"""Waiting runs that are alike are made together; each keeps its picture, record, events, cancel and error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.graph.document import Edge, Graph, Node
from studio.pixels import read_picture
from studio.policy import Policy
from studio.settings import Settings
from studio.studio import Studio


@pytest.fixture
def document(studio: Studio, tiny_sd3_folder: Path) -> Graph:
    return studio.text_to_image("a red star", seed=4, steps=8, size=(64, 64), model=str(tiny_sd3_folder))


@pytest.fixture
def strict(home: Path) -> Iterator[Studio]:
    made = Studio(replace(Settings.from_environ({}, home=home / "strict"), numerics="strict"), Policy.local())
    yield made
    made.close()


def busy(studio: Studio, document: Graph) -> str:
    """A run that holds the worker, so that what is queued behind it waits."""
    long = document.set("schedule", "steps", 200).set("canvas", "width", 512).set("canvas", "height", 512)
    run = studio.submit(long)
    for event in studio.events(run):
        if event.kind == "progress" and event.payload["step"] >= 1:
            break
    return run


def queued(studio: Studio, *documents: Graph) -> list[str]:
    """Runs that began to wait while another one held the worker."""
    holder = busy(studio, documents[0].set("canvas", "seed", 999))
    runs = [studio.submit(document) for document in documents]
    studio.cancel(holder)
    return runs


def over(studio: Studio, run: str) -> dict[str, Any]:
    return list(studio.snapshots(run, interval=0.02))[-1]


def stored(studio: Studio, run: str) -> Any:
    last = over(studio, run)
    assert last["job"]["state"] == "done", last["error"]
    (made,) = last["outputs"]
    return studio.history.show("local", made["generation"])


def pixels(studio: Studio, found: Any) -> Any:
    return read_picture(studio.history.picture("local", found.id).read_bytes()).pixels.astype(int)


def with_seed(document: Graph, seed: int, prompt: str = "") -> Graph:
    made = document.set("canvas", "seed", seed)
    return made.set("prompt", "text", prompt) if prompt else made


def test_runs_of_one_graph_are_one_batch_and_each_has_its_picture_and_record(studio, document) -> None:
    given = [with_seed(document, 5), with_seed(document, 6, "a blue house"), with_seed(document, 70)]
    runs = queued(studio, *given)
    found = [stored(studio, run) for run in runs]
    assert [one.seed for one in found] == [5, 6, 70]
    assert [one.prompt for one in found] == ["a red star", "a blue house", "a red star"]
    assert {one.run for one in found} == set(runs)
    for one, own in zip(found, given, strict=True):
        notes = one.record["notes"]["sample"]
        assert notes["together"] == {"runs": 3} and notes["network"]["forwards"] == 8
        alone = studio.run(own, use_cache=False, keep=False).outputs[0].image.pixels.astype(int)
        assert np.abs(pixels(studio, one) - alone).max() <= 1
        assert studio.replay(one.id).verdict in ("equal", "within tolerance")
    assert np.abs(pixels(studio, found[0]) - pixels(studio, found[2])).max() > 10


def test_each_run_has_its_own_events_in_order(studio, document) -> None:
    runs = queued(studio, with_seed(document, 5), with_seed(document, 6))
    for run in runs:
        events = list(studio.events(run))
        assert [e.seq for e in events] == sorted({e.seq for e in events})
        sample = [e.kind for e in events if e.node == "sample" and e.kind not in ("note", "preview")]
        assert sample[0] == "started" and sample[-1] == "finished" and "progress" in sample


def test_other_settings_stay_alone(studio, document) -> None:
    runs = queued(
        studio, document, document.set("schedule", "steps", 9), document.set("guidance", "cfg_scale", 2.0)
    )
    for run in runs:
        assert "together" not in stored(studio, run).record["notes"]["sample"]


def test_prompts_of_other_weights_or_an_equal_run_end_all_the_same(studio, document) -> None:
    """Equal runs are one computation; the others must not wait for it for ever."""
    runs = queued(studio, with_seed(document, 5), with_seed(document, 5), with_seed(document, 6))
    found = [stored(studio, run) for run in runs]
    assert np.array_equal(pixels(studio, found[0]), pixels(studio, found[1]))


def test_one_that_is_cancelled_ends_at_once_and_alone(studio, document) -> None:
    slow = document.set("schedule", "steps", 150).set("canvas", "width", 256).set("canvas", "height", 256)
    runs = queued(studio, with_seed(slow, 5), with_seed(slow, 6), with_seed(slow, 7))
    for event in studio.events(runs[1]):
        if event.kind == "progress" and event.payload["step"] >= 3:
            break
    begun = time.monotonic()
    assert studio.cancel(runs[1])
    assert over(studio, runs[1])["job"]["state"] == "stopped"
    assert time.monotonic() - begun < 2
    for run in (runs[0], runs[2]):
        assert stored(studio, run).record["notes"]["sample"]["together"] == {"runs": 3}


PICKY = """
from studio.api import Conditioning, Prompt, StudioError, node


@node(group="Test")
def picky(conditioning: Conditioning, word: Prompt = "") -> Conditioning:
    \"\"\"Refuse one word.\"\"\"
    if word == "boom":
        raise StudioError("Not this word.")
    return conditioning
"""


def test_one_that_fails_on_its_way_does_not_hold_the_others(home, tmp_path, tiny_sd3_folder) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "picky.py").write_text(PICKY)
    settings = replace(Settings.from_environ({}, home=home), plugins_folder=tmp_path / "plugins")
    studio = Studio(settings, Policy.local())
    try:
        plain = studio.text_to_image("a red star", seed=4, steps=8, size=(64, 64), model=str(tiny_sd3_folder))
        edges = [e for e in plain.edges if e.target != ("sample", "positive")]
        edges += [
            Edge(("prompt", "conditioning"), ("picky", "conditioning")),
            Edge(("picky", "conditioning"), ("sample", "positive")),
        ]
        nodes = (*plain.nodes, Node("picky", "picky", {"word": "fine"}))
        document = replace(plain, nodes=nodes, edges=tuple(edges))
        broken = with_seed(document, 6).set("picky", "word", "boom")
        runs = queued(studio, with_seed(document, 5), broken, with_seed(document, 7))
        last = over(studio, runs[1])
        assert (last["job"]["state"], last["error"]["message"]) == ("error", "Not this word.")
        for run in (runs[0], runs[2]):
            assert stored(studio, run).record["notes"]["sample"]["together"] == {"runs": 2}
    finally:
        studio.close()


def test_strict_numerics_forbid_it_and_give_the_same_picture_bit_by_bit(strict, tiny_sd3_folder) -> None:
    document = strict.text_to_image("a red star", seed=4, steps=8, size=(64, 64), model=str(tiny_sd3_folder))
    runs = queued(strict, with_seed(document, 5), with_seed(document, 6))
    for run, seed in zip(runs, (5, 6), strict=True):
        found = stored(strict, run)
        assert "together" not in found.record["notes"]["sample"]
        alone = strict.run(with_seed(document, seed), use_cache=False, keep=False)
        assert np.array_equal(pixels(strict, found), alone.outputs[0].image.pixels)


def test_a_picture_of_a_strict_batch_is_bit_by_bit_the_one_alone(strict, tiny_sd3_folder) -> None:
    document = strict.text_to_image("a red star", seed=4, steps=4, size=(64, 64), model=str(tiny_sd3_folder))
    many = strict.run(document.set("canvas", "batch", 3), keep=False)
    for k, output in enumerate(many.outputs):
        alone = strict.run(document.set("canvas", "seed", 4 + k), keep=False)
        assert np.array_equal(output.image.pixels, alone.outputs[0].image.pixels)
