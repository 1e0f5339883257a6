"""Writes docs/performance.md, its plot and its JSON from measured rows."""

import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
import pygal
from pygal.style import Style

from bench.figures import Goal, InvalidMeasurementError, Row
from bench.performance import PARTS, PER_SECOND

# Python warns of this importer, which is of an older form, for every module that is not found.
sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, pygal.PluginImportFixer)]

PAGE, PLOT, DATA = "performance.md", "performance.svg", "performance.json"
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_OURS, _OTHERS = "#1f6feb", "#8b949e"
_STYLE = Style(
    background="#ffffff",
    plot_background="#ffffff",
    foreground="#1f2328",
    foreground_strong="#1f2328",
    foreground_subtle="#59636e",
    font_family="sans-serif",
    label_font_size=13,
    major_label_font_size=13,
    title_font_size=16,
    guide_stroke_color="#d1d9e0",
    major_guide_stroke_color="#d1d9e0",
    opacity=1,
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """When and on what the figures were measured."""

    day: str
    coursebell: str
    runs: int
    cpu: str
    processors: int
    memory_gib: int
    system: str
    python: str
    load_before: float  # processes that wanted a processor in the minute before


def circumstances(runs: int) -> Circumstances:
    """Return what this machine is, and how busy it is now."""
    return Circumstances(
        day=datetime.now(UTC).date().isoformat(),
        coursebell=version("coursebell"),
        runs=runs,
        cpu=_cpu_model(),
        processors=len(psutil.Process().cpu_affinity() or ()) or os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        system=f"{platform.system()} {platform.release().split('-', 1)[0]}",
        python=platform.python_version(),
        load_before=round(os.getloadavg()[0], 2),
    )


def write_report(folder: Path, about: Circumstances, rows: Sequence[Row]) -> None:
    """Put the tables into the page between its markers, and write the plot and the JSON.

    Raises:
        ValueError: the page has no markers.
    """
    page = folder / PAGE
    text = page.read_text(encoding="utf-8")
    before, found_begin, rest = text.partition(_BEGIN)
    _, found_end, after = rest.partition(_END)
    if not found_begin or not found_end:
        raise ValueError(f"{PAGE} has no place for the figures: {_BEGIN} … {_END}")
    tables = "\n".join(_tables(about, rows))
    page.write_text(f"{before}{_BEGIN}\n{tables}\n{_END}{after}", encoding="utf-8")
    (folder / PLOT).write_bytes(_plot(rows))
    data = {"circumstances": asdict(about), "rows": [asdict(row) for row in rows]}
    text = json.dumps(data, indent=1, ensure_ascii=False)
    (folder / DATA).write_text(text + "\n", encoding="utf-8")


def worse_than_half(folder: Path, rows: Sequence[Row]) -> dict[str, str]:
    """Return each ratio that is worse than half of the published one, with both.

    Raises:
        InvalidMeasurementError: a ratio is not published.
    """
    data = json.loads((folder / DATA).read_text(encoding="utf-8"))
    published = {(row["part"], row["name"]): row["found"]["median"] for row in data["rows"]}
    worse: dict[str, str] = {}
    for row in rows:
        if row.unit or row.goal is None:
            continue
        known = published.get((row.part, row.name))
        if known is None:
            raise InvalidMeasurementError(f"{DATA} has no figure with the name {row.name!r}")
        floor = Goal(known * (2 if row.goal.less_is_better else 0.5), row.goal.less_is_better)
        if not floor.is_reached(row.found.median):
            missed = abs(row.found.median / floor.bound - 1)
            worse[row.name] = (
                f"{row.found} misses {floor} by {missed:.0%}; published is {known:.2f}"
            )
    return worse


def _tables(about: Circumstances, rows: Sequence[Row]) -> Iterator[str]:
    several = "" if about.runs == 1 else f" Medians of {about.runs} whole runs, with all extremes."
    yield (
        f"Measured on {about.day} with Coursebell {about.coursebell}, Python {about.python}, on "
        f"{about.processors} processors ({about.cpu}) with {about.memory_gib} GiB, {about.system}; "
        f"load before the run {about.load_before}.{several}"
    )
    for part in PARTS:
        aimed = [row for row in rows if row.part == part and row.goal]
        others = [row for row in rows if row.part == part and not row.goal]
        if not aimed:
            continue
        yield f"\n### {part}\n"
        yield "| figure | median (least-most) | goal | reached |"
        yield "| --- | ---: | --- | --- |"
        for row in aimed:
            reached = "yes" if row.is_reached else "**no**"
            yield f"| {row.name} | {_with_unit(row)} | {row.goal} | {reached} |"
        if others:
            yield "\n| for comparison | median (least-most) |"
            yield "| --- | ---: |"
            for row in others:
                yield f"| {row.name} | {_with_unit(row)} |"


def _with_unit(row: Row) -> str:
    return f"{row.found} {row.unit}".rstrip()


def _plot(rows: Sequence[Row]) -> bytes:
    """Return a chart of the requests a second of every receiver, as SVG."""
    rates = {
        row.name.removeprefix(PER_SECOND): row.found.median
        for row in rows
        if row.name.startswith(PER_SECOND)
    }
    chart = pygal.HorizontalBar(
        style=_STYLE,
        title="Signed deliveries accepted each second, 64 connections, one processor",
        show_legend=False,
        value_formatter=lambda value: f"{value:,.0f}",
        width=900,
        height=360,
        js=(),
        range=(0, max(rates.values(), default=1) * 1.1),
    )
    names = sorted(rates, key=lambda name: rates[name])
    chart.x_labels = [f"{name}: {rates[name]:,.0f}" for name in names]
    chart.add(
        "",
        [
            {"value": rates[name], "color": _OURS if "Coursebell" in name else _OTHERS}
            for name in names
        ],
    )
    return bytes(chart.render())


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
