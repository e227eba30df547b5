"""report.png: the picture of chart.py by matplotlib, for a README."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.report import chart, colours, view
from edgebert.report.chart import Mark, Panel
from edgebert.results import Report
from edgebert.runtime.quiet import quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID, LIMIT, FLOOR = "#1e293b", "#64748b", "#e2e8f0", "#b91c1c", "#b45309"


def write_figure(report: Report, path: Path) -> None:
    """Writes the panels side by side as PNG, 160 dots an inch."""
    with quiet():  # it tells of its caches
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    panels = chart.panels(report)
    figure = Figure(figsize=(max(1, len(panels)) * chart.WIDTH / 72, chart.HEIGHT / 72 + 0.75), facecolor="white")
    FigureCanvasAgg(figure)
    share = chart.HEIGHT / 72 / (chart.HEIGHT / 72 + 0.75)
    for i, panel in enumerate(panels):
        axes = figure.add_axes((i / len(panels), 0, 1 / len(panels), share))
        _draw(axes, panel)
    score = report.teacher.test
    figure.text(
        0.014,
        0.955,
        f"{report.device.title}: {report.task} on {report.data.name}",
        fontsize=14,
        weight="bold",
        color=INK,
    )
    figure.text(
        0.014,
        0.912,
        f"{score.metric}, {score.split}, n = {score.n:,}. Circle: a model file, area = its size; "
        "hollow fp32, full int8; ring: packaged. Diamond: in torch.",
        fontsize=9,
        color=MUTED,
    )
    if not panels:
        figure.text(0.5, 0.4, "nothing was timed", ha="center", color=MUTED)
    figure.savefig(path, dpi=160)


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_xlim(0, chart.WIDTH)
    axes.set_ylim(chart.HEIGHT, 0)
    axes.set_axis_off()
    style = "italic" if panel.predicted else "normal"
    axes.text(chart.LEFT, 12, panel.title, fontsize=11, weight="bold", style=style, color=INK, va="center")
    axes.text(chart.LEFT, 26, panel.y_title, fontsize=8.5, color=MUTED, va="center")
    _draw_axes(axes, panel)
    _draw_limits(axes, panel)
    for mark in panel.marks:
        _draw_mark(axes, mark)
    for label in panel.labels:
        weight = "bold" if label.strong else "normal"
        axes.text(
            label.x, label.y, label.text, fontsize=8.5, ha="center", va="center", weight=weight, style=style, color=INK
        )


def _draw_axes(axes: Axes, panel: Panel) -> None:
    for tick in panel.x.ticks():
        axes.plot([panel.x(tick)] * 2, [chart.TOP, chart.BOTTOM], color=GRID, lw=0.8, zorder=0)
        axes.text(panel.x(tick), chart.BOTTOM + 12, f"{tick:g}", fontsize=8.5, ha="center", va="center", color=MUTED)
    for tick in panel.y.ticks():
        axes.plot([chart.LEFT, chart.RIGHT], [panel.y(tick)] * 2, color=GRID, lw=0.8, zorder=0)
        axes.text(chart.LEFT - 6, panel.y(tick), f"{tick:g}", fontsize=8.5, ha="right", va="center", color=MUTED)
    middle = (chart.LEFT + chart.RIGHT) / 2
    style = "italic" if panel.predicted else "normal"
    axes.text(
        middle, chart.BOTTOM + 28, panel.x_title, fontsize=8.5, ha="center", va="center", color=MUTED, style=style
    )
    y = chart.SIZES_Y
    axes.text(chart.LEFT, y, "area = file", fontsize=8.5, va="center", color=MUTED)
    for x, radius, text in panel.sizes:
        axes.plot(x, y, "o", ms=2 * radius, mfc="none", mec=MUTED, mew=0.8)
        axes.text(x + radius + 5, y, text, fontsize=8.5, va="center", color=MUTED)


def _draw_limits(axes: Axes, panel: Panel) -> None:
    if panel.floor:
        y, text = panel.floor
        axes.plot([chart.LEFT, chart.RIGHT], [y, y], color=FLOOR, lw=1.2, ls=(0, (5, 3)), zorder=1)
        axes.text(chart.LEFT + 3, y + 8, text, fontsize=8.5, ha="left", va="center", color=FLOOR)
    if panel.budget:
        x, label = panel.budget
        axes.plot([x, x], [chart.TOP, chart.BOTTOM], color=LIMIT, lw=1.2, ls=(0, (5, 3)), zorder=1)
        axes.text(label.x, label.y, label.text, fontsize=8.5, ha="center", va="center", color=LIMIT)


def _draw_mark(axes: Axes, mark: Mark) -> None:
    predicted = mark.predicted
    ink = colours.LIGHT[colours.rank_colour(mark.entry.rank)]
    if mark.low_x is not None and mark.high_x is not None:
        axes.plot([mark.low_x, mark.high_x], [mark.y, mark.y], "|-", color=ink, lw=1.2, ms=8, zorder=2)
    torch = mark.entry.precision == view.TORCH
    shape, size = ("D", 1.4 * mark.radius) if torch else ("o", 2 * mark.radius)
    fill = 1.0 if torch else colours.fill(mark.entry.precision, predicted)
    axes.plot(mark.x, mark.y, shape, ms=size, color=ink, alpha=fill, mew=0, zorder=3)
    axes.plot(mark.x, mark.y, shape, ms=size, mfc="none", mec="none" if predicted else ink, mew=1.4, zorder=3)
    if predicted:
        _dashed_ring(axes, mark, ink)
    if mark.entry.packaged:
        axes.plot(mark.x, mark.y, "o", ms=size + 7, mfc="none", mec=INK, mew=1.6, zorder=4)


def _dashed_ring(axes: Axes, mark: Mark, ink: str) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((mark.x, mark.y), mark.radius, fill=False, ec=ink, lw=1.4, ls=(0, (2, 1.5)), zorder=3))
