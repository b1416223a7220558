"""A model that does not ship with the studio is said before the run, with what was meant."""

from __future__ import annotations

from tests.nodes.ready import ready_workflow


def test_an_embedded_model_that_is_not_there_is_found_before_anything_runs(engine) -> None:
    graph = ready_workflow("text-to-image").set("model", "model", "embedded:scenes-sd4")
    told = [p for p in engine.check(graph) if p.node == "model"]
    assert [(p.level, p.socket) for p in told] == [("error", "model")]
    assert "scenes-sd4" in told[0].message and "scenes-sd3" in (told[0].hint or "")
    # of a folder or a repository the run tells
    assert not [p for p in engine.check(graph.set("model", "model", "hub:a/b")) if p.node == "model"]
