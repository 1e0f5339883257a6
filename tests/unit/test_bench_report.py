"""The published figures, and the comparison with them."""

import json
from pathlib import Path

import pytest

from bench.figures import Goal, InvalidMeasurementError, Row, Spread, over_runs
from bench.performance import PER_SECOND, RECEIVER, WORKER
from bench.report import DATA, PAGE, PLOT, circumstances, worse_than_half, write_report

RATIO = Row(RECEIVER, "requests/s beside others", "", Spread(4.0, 3.5, 4.5), Goal(4))
LATENCY = Row(
    RECEIVER,
    "answer time beside others",
    "",
    Spread(0.3, 0.2, 0.4),
    Goal(0.35, less_is_better=True),
)
CPU = Row(RECEIVER, "CPU", "µs", Spread(300, 290, 310), Goal(250, less_is_better=True))
RATE = Row(RECEIVER, f"{PER_SECOND}Coursebell, SQLite", "/s", Spread(5000, 4900, 5100))
PUBLISHED = (RATIO, LATENCY, CPU, RATE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder whose page, plot and JSON hold the published figures."""
    page = "# Title\n\n<!-- figures: begin -->\nold\n<!-- figures: end -->\n\nThe end.\n"
    (tmp_path / PAGE).write_text(page, encoding="utf-8")
    write_report(tmp_path, circumstances(1), PUBLISHED)
    return tmp_path


def with_median(row: Row, median: float) -> Row:
    return Row(row.part, row.name, row.unit, Spread(median, median, median), row.goal)


def test_the_page_has_the_figures_between_its_markers_and_keeps_the_rest(folder: Path) -> None:
    text = (folder / PAGE).read_text(encoding="utf-8")
    assert text.startswith("# Title\n\n<!-- figures: begin -->\nMeasured on ")
    assert text.endswith("\n<!-- figures: end -->\n\nThe end.\n")
    assert "old" not in text
    assert "| requests/s beside others | 4.00 (3.50-4.50) | at least 4 | yes |" in text
    assert "| CPU | 300 (290-310) µs | at most 250 | **no** |" in text
    assert f"| {RATE.name} | 5,000 (4,900-5,100) /s |" in text


def test_a_page_without_a_place_for_the_figures_is_refused(tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("# Title\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no place for the figures"):
        write_report(tmp_path, circumstances(1), PUBLISHED)
    assert not (tmp_path / DATA).exists()


def test_the_plot_names_each_receiver_and_asks_nothing_of_other_hosts(folder: Path) -> None:
    plot = (folder / PLOT).read_text(encoding="utf-8")
    assert "Coursebell, SQLite: 5,000" in plot
    assert "href" not in plot


def test_the_json_has_every_row(folder: Path) -> None:
    data = json.loads((folder / DATA).read_text(encoding="utf-8"))
    assert [row["name"] for row in data["rows"]] == [row.name for row in PUBLISHED]
    assert data["circumstances"]["runs"] == 1


@pytest.mark.parametrize(
    ("row", "median", "worse"),
    [
        (RATIO, 2.01, False),
        (RATIO, 1.99, True),
        (LATENCY, 0.59, False),
        (LATENCY, 0.61, True),
        (CPU, 10_000, False),
        (RATE, 1, False),
    ],
)
def test_a_ratio_may_be_half_as_good_as_published_and_other_figures_do_not_count(
    folder: Path, row: Row, median: float, *, worse: bool
) -> None:
    found = worse_than_half(folder, [with_median(row, median)])
    assert list(found) == ([row.name] if worse else [])


def test_a_ratio_that_is_worse_says_by_how_much(folder: Path) -> None:
    found = worse_than_half(folder, [with_median(RATIO, 1.5), with_median(LATENCY, 0.9)])
    assert found == {
        RATIO.name: "1.50 (1.50-1.50) misses at least 2 by 25%; published is 4.00",
        LATENCY.name: "0.90 (0.90-0.90) misses at most 0.6 by 50%; published is 0.30",
    }


def test_a_ratio_that_is_not_published_is_an_error(folder: Path) -> None:
    unknown = Row(WORKER, "lookups/s beside others", "", Spread(1, 1, 1), Goal(1))
    with pytest.raises(InvalidMeasurementError, match="no figure with the name"):
        worse_than_half(folder, [unknown])


def test_several_runs_become_one_row_each_with_all_extremes() -> None:
    runs = [[with_median(RATIO, median)] for median in (3.0, 5.0, 4.5)]
    assert over_runs(runs) == [
        Row(RATIO.part, RATIO.name, "", Spread(4.5, 3.0, 5.0), RATIO.goal),
    ]
    with pytest.raises(InvalidMeasurementError, match="different rows"):
        over_runs([[RATIO], [CPU]])
