"""Draws charts as SVG, in the colours of the pages, for light and dark.

A browser shows them in an `img` and so runs no script in them; the one that pygal writes is taken
out all the same. This module imports little, because of the hook below.
"""

import sys
from collections.abc import Sequence
from enum import Enum
from importlib.resources import files
from typing import Any

import pygal
from pygal.style import Style
from pygal.util import template

# It adds a hook that finds its maps, which we do not use, and which makes Python warn of imports.
sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, pygal.PluginImportFixer)]

# Each has a contrast of at least 3:1 with its background.
_LIGHT = ("#0B5C8A", "#B8560B", "#1E7D4F", "#7A4FB5", "#A11D5A", "#6B6459")
_DARK = ("#82C7F2", "#F0A35E", "#7FD6A0", "#CDB8F3", "#F29BC4", "#C9C2B4")
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif"


class Shape(Enum):
    """The kinds of charts that the pages have."""

    STACKED_BARS = pygal.StackedBar
    LYING_BARS = pygal.HorizontalStackedBar
    DOTS = pygal.Dot


def _style(background: str, text: str, line: str, colors: Sequence[str]) -> Style:
    sizes = dict.fromkeys(
        ("label_font_size", "major_label_font_size", "legend_font_size", "value_font_size"), 14
    )
    return Style(
        background=background,
        plot_background=background,
        foreground=text,
        foreground_strong=text,
        foreground_subtle=line,
        guide_stroke_color=line,
        major_guide_stroke_color=line,
        colors=tuple(colors),
        opacity=1,
        opacity_hover=1,
        transition="0s",
        font_family=_FONT,
        **sizes,
    )


def chart_of(
    shape: Shape,
    name: str,
    title: str,
    *,
    one_colour: bool = False,
    **options: Any,  # noqa: ANN401 - pygal's own options
) -> Any:  # noqa: ANN401 - pygal has no types
    """Return an empty chart in the colours of the pages; `title` says what it is."""
    light, dark = (colors[:1] * 24 if one_colour else colors for colors in (_LIGHT, _DARK))
    style = _style("#FFFFFF", "#1F1D1A", "#D8D4CB", light)
    at_night = _style("#1D1C19", "#F1EEE7", "#3B382F", dark)
    here = f"#chart-{name} "
    rules = template(
        (files(pygal) / "css" / "style.css").read_text(encoding="utf-8"),
        style=at_night,
        colors=at_night.get_colors(here, len(dark)),
        strokes="",
        id=here,
    )
    css = ("file://style.css", "file://graph.css")
    chart = shape.value(
        style=style,
        css=(*css, f"inline:@media (prefers-color-scheme: dark) {{ {rules} }}"),
        js=(),
        truncate_label=-1,
        truncate_legend=-1,
        value_formatter=lambda value: f"{value:.0f}",
        explicit_size=True,
        **options,
    )
    chart.uuid = name
    chart.title = None
    chart.add_xml_filter(lambda root: _plain(root, title))
    return chart


def _plain(root: Any, title: str) -> Any:  # noqa: ANN401 - an element tree
    """Return the picture with its title, without script and without what only scripts show."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {"script", "desc"} or child.get("class") == "tooltip":
                parent.remove(child)
        if parent.tag == "title" and parent in list(root):
            parent.text = title
    return root


def drawn(chart: Any) -> bytes:  # noqa: ANN401 - pygal has no types
    """Return a chart as an SVG document."""
    return bytes(chart.render())
