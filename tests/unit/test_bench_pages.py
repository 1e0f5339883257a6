"""The benchmark of a large ledger opens every page of operators."""

from bench.pages import unmeasured


def test_no_page_is_left_out_of_the_benchmark() -> None:
    assert unmeasured() == set()
