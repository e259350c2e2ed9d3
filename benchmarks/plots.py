"""How throughput grows with the batch and with a second thread, as one picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from tables import NAMES

_COLOURS = {"striate": "#b3361e", "openvino": "#3b5b92"}
_DASHES = {1: "--", 2: "-"}


def scaling(result: dict, path: Path) -> None:
    """One panel a network; images per second over the batch."""
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "striate", "font.size": 9}
    models = list(dict.fromkeys(row["model"] for row in result["rows"]))
    figure, panels = plt.subplots(1, len(models), figsize=(3.2 * len(models), 3), squeeze=False)
    for panel, model in zip(panels[0], models, strict=True):
        lines: dict[tuple[str, int], list[tuple[int, float]]] = {}
        for row in result["rows"]:
            if row["model"] == model:
                points = lines.setdefault((row["framework"], row["threads"]), [])
                points.append((row["batch"], row["images_per_second"]))
        for (framework, threads), points in sorted(lines.items(), reverse=True):
            panel.plot(
                *zip(*sorted(points), strict=True),
                color=_COLOURS[framework],
                linestyle=_DASHES[threads],
                marker=".",
                label=f"{framework}, threads: {threads}",
            )
        panel.set(title=NAMES[model], xscale="log", xlabel="batch")
        panel.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
        panel.minorticks_off()
        panel.set_ylim(bottom=0)
        panel.yaxis.set_major_formatter("{x:,.0f}")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("images per second")
    panels[0][-1].legend(fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
