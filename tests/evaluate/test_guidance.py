"""The table of guidance rules, on the miniature: what each costs is exact, whatever it paints."""

from __future__ import annotations

import pytest

from studio.errors import StudioError
from studio.evaluate.guidance import PLAIN, evaluate


def test_every_rule_draws_and_costs_what_it_says() -> None:
    seen: list[tuple[int, int]] = []
    rows = evaluate(1, ref="tiny:sd3", progress=lambda done, total: seen.append((done, total)))
    costs = {row["rule"]: (row["forwards"], row["rows"]) for row in rows}
    # the card asks for 4 steps
    assert costs == {
        "cfg": (4, 8), "none (scale 1)": (4, 4), "cfg, first 40 %": (4, 5), "cfg 8": (4, 8),
        "cfg 8, rescale 0.7": (4, 8), "cfg++ 0.4": (4, 8), "adaptive 0.991": costs["adaptive 0.991"],
        "linear_ag": (4, 5), "apg 8": (4, 8), "cfg-zero*": (3, 6), "slg 2.8": (4, 8), "pag 1": (8, 12),
        "seg 1": (8, 12), "w2sd, first half": (8, 14), "rcfg 1.5": (4, 5), "scorer": (4, 8),
    }  # fmt: skip
    assert 5 <= costs["adaptive 0.991"][1] <= 8
    assert seen[-1] == (len(rows), len(rows)) and all(row["n"] == 1 for row in rows)
    assert rows[0]["psnr_db"] is None and all(row["psnr_db"] for row in rows[1:])


def test_one_rule_beside_cfg() -> None:
    rows = evaluate(1, ref="tiny:sd3", only="apg 8")
    assert [row["rule"] for row in rows] == [PLAIN, "apg 8"]
    with pytest.raises(StudioError, match="no guidance rule 'apg8'") as caught:
        evaluate(1, ref="tiny:sd3", only="apg8")
    assert "apg 8" in caught.value.hint
