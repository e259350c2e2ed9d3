"""Results files as the tables of the README and of docs/performance.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

NAMES = {
    "lenet5": "LeNet-5",
    "alexnet": "AlexNet",
    "vgg16": "VGG-16",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "resnet152": "ResNet-152",
}
TRAIN_BATCH = {"lenet5": 64}
FLOORS = {
    ("infer", 1): dict(zip(NAMES, (0.5, 1.1, 2.2, 1.45, 1.1, 1.1), strict=True)),
    ("infer", 16): dict(zip(NAMES, (1.2, 1.3, 2.5, 1.7, 1.2, 1.2), strict=True)),
    ("train", 16): dict(zip(NAMES, (5, 1.6, 3.0, 2.0, 1.6, 1.6), strict=True)),
}
"""The ratios to the best peer's throughput that were asked for; TRAIN_BATCH overrides the batch."""


def table(header: list[str], rows: Iterable[list[str]], text_columns: int = 1) -> str:
    rule = ["---"] * text_columns + ["--:"] * (len(header) - text_columns)
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows)) + "\n"


def cases(result: dict) -> Iterator[tuple[str, str, int, dict | None]]:
    """(model, mode, batch, Striate's row or None) in the order of FLOORS."""
    own = {
        (row["model"], row["mode"], row["batch"]): row
        for row in result["rows"]
        if row["framework"] == "striate" and "ratio" in row
    }
    for mode, batch in FLOORS:
        for model in NAMES:
            images = TRAIN_BATCH.get(model, batch) if mode == "train" else batch
            yield model, mode, images, own.get((model, mode, images))


def source(result: dict) -> str:
    machine = result["machine"]
    commits = dict.fromkeys(row["commit"] for row in result["rows"])
    return (
        f"{machine['cpu']}, {machine['isa']}, threads: {machine['threads']}; "
        f"commit {', '.join(commits)}; `{result['command']}`\n"
    )


def ratios(result: dict) -> str:
    """Networks across, the ratio to the best peer beside its floor."""
    rows = iter(cases(result))
    lines = []
    for (mode, batch), floors in FLOORS.items():
        line = [f"inference, batch {batch}"]
        if mode == "train":
            line = [f"training step, batch {batch} (LeNet-5: {TRAIN_BATCH['lenet5']})"]
        for floor in floors.values():
            _, _, _, row = next(rows)
            if row is None:
                line.append(f"not measured (≥ {floor:g})")
            elif row["ratio"] < floor:
                line.append(f"{row['ratio']:.2f}, missed (≥ {floor:g})")
            else:
                line.append(f"**{row['ratio']:.2f}** (≥ {floor:g})")
        lines.append(line)
    return table(["", *NAMES.values()], lines)


def networks(result: dict) -> str:
    """A line per case: both throughputs, in the minute in which they were compared."""
    lines = []
    for model, mode, batch, row in cases(result):
        if row is None:
            continue
        peer = best_peer(result, row)
        lines.append(
            [
                NAMES[model],
                mode,
                f"{peer_name(peer)} {peer['version']}",
                f"{batch}",
                f"{batch * 1e3 / peer['striate_milliseconds']:,.1f}",
                f"{peer['images_per_second']:,.1f}",
                f"{peer['ratio']:.2f}",
            ]
        )
    header = ["network", "mode", "best peer", "batch", "Striate, images/s", "peer", "ratio"]
    return table(header, lines, text_columns=3)


def memory(result: dict) -> str:
    """Peak resident memory of the training processes, Striate's beside PyTorch's variants."""
    variants = ("eager", "channels_last", "compile")
    lines = []
    for model, mode, batch, row in cases(result):
        if mode == "train" and row is not None:
            peers = {peer["variant"]: peer for peer in peers_of(result, row)}
            peaks = [peers[v]["peak_mb"] if v in peers else None for v in variants]
            megabytes = [row["peak_mb"], *peaks]
            lines.append(
                [NAMES[model], f"{batch}", *("" if x is None else f"{x:,.0f}" for x in megabytes)]
            )
    return table(["network", "batch", "Striate, MB", *(f"PyTorch {v}" for v in variants)], lines)


def peers_of(result: dict, own: dict) -> list[dict]:
    return [
        row
        for row in result["rows"]
        if "striate_milliseconds" in row
        and all(row[key] == own[key] for key in ("model", "mode", "dtype", "batch", "threads"))
    ]


def best_peer(result: dict, own: dict) -> dict:
    return min(peers_of(result, own), key=lambda row: row["ratio"])


def peer_name(row: dict) -> str:
    return f"{row['framework']} {row['variant']}".strip()


def machine(result: dict) -> str:
    rates = {(r["isa"], r["threads"], r["measure"]): r for r in result["rows"]}
    keys = dict.fromkeys((isa, threads) for isa, threads, _ in rates)
    lines = [
        [isa, f"{threads}"]
        + [f"{rates[isa, threads, m]['rate']:.1f}" for m in ("multiply_add", "read", "triad")]
        for isa, threads in keys
    ]
    caches = ", ".join(f"{k} {v}" for k, v in result["machine"].get("caches", {}).items())
    header = ["set", "threads", "multiply-add, GFLOP/s", "read, GB/s", "triad, GB/s"]
    return table(header, lines) + f"\nData caches: {caches}.\n"


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def convolutions_summary(result: dict) -> str:
    """Per instruction set and pass: direct convolution's share of the peak."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in result["rows"]:
        if not row["winograd"]:
            groups.setdefault((row["isa"], row["pass"]), []).append(row["fraction_of_peak"])
    floors = {"forward": 0.85, "input_grad": 0.85, "weight_grad": 0.75}
    lines = []
    for (isa, kind), fractions in groups.items():
        mean, floor = geometric_mean(fractions), floors[kind]
        verdict = "" if mean >= floor else ", missed"
        count, least = f"{len(fractions)}", f"{min(fractions):.0%}"
        lines.append([isa, kind, count, f"{mean:.1%}{verdict}", f"{floor:.0%}", least])
    header = ["set", "pass", "shapes", "geometric mean", "floor", "least"]
    return table(header, lines, text_columns=2)


def convolutions(result: dict) -> str:
    """One line a convolution: the chosen algorithms, milliseconds and direct-equivalent speed."""
    shapes: dict[str, dict[str, dict]] = {}
    for row in result["rows"]:
        if row["winograd"]:
            shapes.setdefault(row["convolution"], {})[row["pass"]] = row
    lines = [
        [shape]
        + [
            f"{row['milliseconds']:.2f} ms, {row['gflops']:,.0f} ({row['algorithm']}, "
            f"{row['fraction_of_peak']:.0%})"
            for row in passes.values()
        ]
        for shape, passes in shapes.items()
    ]
    return table(["convolution", "forward", "input gradient", "weight gradient"], lines)


def operations(result: dict) -> str:
    lines = [
        [
            row["operation"],
            f"{row['milliseconds']:.2f}",
            f"{row['gb_per_second']:.1f}",
            f"{row['fraction_of_triad']:.0%}",
        ]
        for row in result["rows"]
    ]
    return table(["operation", "ms", "GB/s", "of a triad's"], lines)
