"""From results files to the tables of the README and docs/performance.md."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield tuple(map(importlib.import_module, ("run", "tables", "update_readme")))
    for name in ("run", "tables", "update_readme", "plots"):
        sys.modules.pop(name, None)


MACHINE = {"cpu": "A CPU", "isa": "avx2", "threads": 2}


def row(framework, variant, milliseconds, batch=1, mode="infer", model="resnet50", **more):
    return {
        **{"model": model, "mode": mode, "dtype": "float32", "batch": batch, "threads": 2},
        **{"framework": framework, "variant": variant, "version": "1.0"},
        **{"milliseconds": milliseconds, "images_per_second": batch * 1e3 / milliseconds},
        **{"peak_mb": 100 * milliseconds, **more},
    }


def duel(variant, milliseconds, own, **more):
    more |= {"striate_milliseconds": own, "ratio": milliseconds / own}
    return row("torch", variant, milliseconds, **more)


@pytest.fixture
def results(scripts, tmp_path, monkeypatch):
    """A file of three pieces: of the first case, the second piece has the better peer."""
    run, _, update = scripts
    for module in (run, update):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(run, "commit", lambda: "abc123")
    pieces = run.PIECES["nets"]
    first = [row("striate", "", 10.0), duel("eager", 30.0, 10.0)]
    second = [row("striate", "", 12.0), duel("compile", 18.0, 12.0)]
    third = [
        row("striate", "", 100.0, 16, "train"),
        duel("eager", 150.0, 100.0, batch=16, mode="train"),
    ]
    for piece, rows in zip((pieces[1], pieces[0], pieces[2]), (first, second, third), strict=True):
        run.merge("nets", piece, {"machine": MACHINE, "rows": rows})
    return json.loads((tmp_path / "nets.json").read_text())


def test_pieces_add_up(scripts, results):
    run = scripts[0]
    assert results["pieces"] == [" ".join(piece) for piece in run.PIECES["nets"][:3]]
    assert run.done("nets") == results["pieces"]
    rows = results["rows"]
    assert len(rows) == 5
    assert {r["commit"] for r in rows} == {"abc123"}
    assert rows[0]["milliseconds"] == 12.0, "a later piece replaces the row of the same case"
    assert (rows[0]["best_peer"], rows[0]["ratio"]) == ("torch compile", 1.5)
    again = [row("striate", "", 12.0), duel("compile", 9.0, 12.0)]
    run.merge("nets", run.PIECES["nets"][0], {"machine": MACHINE, "rows": again})
    replaced = json.loads((run.RESULTS / "nets.json").read_text())
    assert len(replaced["rows"]) == 5
    assert replaced["rows"][0]["ratio"] == 0.75


def test_ratios_stand_beside_their_floors(scripts, results):
    lines = scripts[1].ratios(results).splitlines()
    assert lines[0].startswith("|  | LeNet-5 | AlexNet | VGG-16 |")
    assert "| **1.50** (≥ 1.1) |" in lines[2]
    assert lines[2].count("not measured") == 5
    assert "| 1.50, missed (≥ 1.6) |" in lines[4]


def test_details(scripts, results):
    _, tables, _ = scripts
    assert "| ResNet-50 | infer | torch compile 1.0 | 1 | 83.3 | 55.6 | 1.50 |" in tables.networks(
        results
    )
    assert "| ResNet-50 | 16 | 10,000 | 15,000 |  |  |" in tables.memory(results)
    assert "A CPU, avx2, threads: 2; commit abc123; `python benchmarks/run.py nets`" in (
        tables.source(results)
    )


def test_direct_convolution_is_summarised_over_shapes(scripts):
    shared = {"isa": "avx2", "pass": "forward", "milliseconds": 1.0, "gflops": 9.0}
    rows = [
        shared | {"winograd": False, "fraction_of_peak": 0.9, "algorithm": "direct"},
        shared | {"winograd": False, "fraction_of_peak": 0.4, "algorithm": "direct"},
        shared | {"winograd": True, "fraction_of_peak": 0.5, "algorithm": "winograd4"},
    ]
    rows = [r | {"convolution": "3->64 7x7 s2 @ 224x224"} for r in rows]
    _, tables, _ = scripts
    summary = tables.convolutions_summary({"rows": rows})
    assert "| avx2 | forward | 2 | 60.0%, missed | 85% | 40% |" in summary
    assert "1.00 ms, 9 (winograd4, 50%)" in tables.convolutions({"rows": rows})


def test_pages_are_filled_between_markers(scripts, results):
    update = scripts[2]
    text = "Before.\n<!-- benchmark ratios -->\nold\n<!-- /benchmark -->\nAfter.\n"
    filled = update.updated(text)
    assert filled.startswith("Before.\n<!-- benchmark ratios -->\nA CPU, avx2")
    assert filled.endswith("|\n<!-- /benchmark -->\nAfter.\n")
    assert update.updated(filled) == filled
    missing = update.updated(text.replace("ratios", "operations"))
    assert "Not measured.\n" in missing


def test_pages_show_the_committed_results(scripts, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["update_readme.py", "--check"])
    scripts[2].main()


def test_plot(scripts, tmp_path):
    pytest.importorskip("matplotlib", reason="the picture takes matplotlib: extra `plot`")
    plots = importlib.import_module("plots")
    rows = [
        row(framework, "", 5.0 * batch / threads, batch) | {"threads": threads}
        for framework in ("striate", "openvino")
        for threads in (1, 2)
        for batch in (1, 8, 64)
    ]
    pictures = [tmp_path / "a" / "x.svg", tmp_path / "b" / "x.svg"]
    for picture in pictures:
        plots.scaling({"rows": rows}, picture)
    text = pictures[0].read_text()
    assert text == pictures[1].read_text()
    assert "striate, threads: 2" in text
    assert "openvino, threads: 1" in text
    assert len(text) < 100_000
