"""Draws bench/curves.json into docs/images/, for light and dark pages: `bench/.venv/bin/python -m bench.plots`.

Needs matplotlib (bench/requirements.txt) and nothing of this project.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib  # type: ignore[import-not-found, unused-ignore]

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"


class Theme(NamedTuple):
    """Colours: text and axes, grid, and two series that differ in lightness too (readable without colour)."""

    name: str
    ink: str
    grid: str
    first: str
    second: str


THEMES = (
    Theme("light", "#1f2328", "#d8dee4", "#0b5cad", "#c2410c"),
    Theme("dark", "#e6edf3", "#30363d", "#6cb6ff", "#ffa657"),
)

Draw = Callable[[Any, dict[str, Any], Theme], None]


def _against(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xscale("log")
    if axes.get_yscale() != "log":
        axes.set_ylim(bottom=0)


def cpu(axes: Any, data: dict[str, Any], theme: Theme) -> None:
    """CPU per delivery against subscribers."""
    found = data["fan_out"]
    axes.plot(found["subscribers"], found["cpu_us"], "o-", color=theme.first)
    axes.axhline(1.0, color=theme.second, linestyle="--", linewidth=1, label="budget at 1,000")
    _against(axes, "Fan-out: server CPU per delivery", "subscribers of one channel", "µs")
    axes.legend(frameon=False)


def memory(axes: Any, data: dict[str, Any], theme: Theme) -> None:
    """Memory against connections."""
    found = data["fan_out"]
    points = zip(found["subscribers"], found["memory_mib"], strict=True)
    counts, measured = zip(*(point for point in points if point[0] >= 100), strict=True)  # fewer are below a page
    axes.plot(counts, measured, "o-", color=theme.first, label="measured")
    budget = [count * 20 / 1024 for count in counts]
    axes.plot(counts, budget, "--", color=theme.second, linewidth=1, label="20 KiB each")
    axes.set_yscale("log")
    _against(axes, "Memory of subscribed connections", "connections", "MiB")
    axes.legend(frameon=False)


def row_changes(axes: Any, data: dict[str, Any], theme: Theme) -> None:
    """Changes per second against filtered subscribers."""
    found = data["row_changes"]
    axes.plot(found["subscribers"], found["backlog"], "s-", color=theme.second, label="from a backlog")
    axes.plot(found["subscribers"], found["live"], "o-", color=theme.first, label="while they are written")
    _against(axes, "Row changes delivered, each to one subscriber", "filtered subscribers", "changes per second")
    axes.legend(frameon=False)


def history(axes: Any, data: dict[str, Any], theme: Theme) -> None:
    """Time of a page against stored messages."""
    found = data["history_pages"]
    axes.plot(found["stored"], found["anywhere_p99"], "s-", color=theme.second, label="anywhere, p99")
    axes.plot(found["stored"], found["anywhere_p50"], "o-", color=theme.first, label="anywhere, p50")
    axes.plot(found["stored"], found["newest_p50"], ":", color=theme.first, label="newest, p50")
    _against(axes, "History: a page of 50 messages", "messages stored in the room", "ms")
    axes.legend(frameon=False)


def writes(axes: Any, data: dict[str, Any], theme: Theme) -> None:
    """Time of a write with and without a watch, in times of that without; the µs stand beside it."""
    found = data["writes"]
    places = range(len(found["table"]))
    for offset, key, colour, label in (
        (-0.2, "single_us", theme.first, "single-row commit"),
        (0.2, "bulk_us", theme.second, "row of a commit of 1,000"),
    ):
        times = [each / found[key][0] for each in found[key]]
        bars = axes.barh([place + offset for place in places], times, 0.38, color=colour, label=label)
        axes.bar_label(bars, [f" {each:,.{0 if each > 100 else 1}f} µs" for each in found[key]], color=theme.ink)
    axes.set_yticks(list(places), [name.replace(", ", ",\n") for name in found["table"]])
    axes.invert_yaxis()
    axes.set_xlabel("times the same write to a table that is not watched")
    axes.set_title("SQLite writes by another process", loc="left", fontsize=11, fontweight="bold")
    axes.margins(x=0.15)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.2), ncols=2)


PLOTS: dict[str, Draw] = {
    "cpu": cpu,
    "memory": memory,
    "row-changes": row_changes,
    "history": history,
    "writes": writes,
}


def main() -> None:
    """Draw them all."""
    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker  # type: ignore[import-not-found, unused-ignore]

    data = json.loads((ROOT / "bench" / "curves.json").read_text())
    IMAGES.mkdir(parents=True, exist_ok=True)
    matplotlib.rcParams.update({"svg.hashsalt": "bench", "font.size": 10, "font.family": "DejaVu Sans"})
    for theme in THEMES:
        for name, draw in PLOTS.items():
            figure, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
            axes.tick_params(colors=theme.ink)
            draw(axes, data, theme)
            for text in (axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label):
                text.set_color(theme.ink)
            for label in axes.get_legend().get_texts():
                label.set_color(theme.ink)
            for side, spine in axes.spines.items():
                spine.set_visible(side in ("left", "bottom"))
                spine.set_color(theme.grid)
            axes.grid(color=theme.grid, linewidth=0.6)
            axes.set_axisbelow(True)
            if axes.get_xscale() == "log":
                axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
            if name != "writes":
                axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
            target = IMAGES / f"bench-{name}-{theme.name}.svg"
            figure.savefig(target, transparent=True, metadata={"Date": None})
            pyplot.close(figure)
            print(target.relative_to(ROOT))


if __name__ == "__main__":
    main()
