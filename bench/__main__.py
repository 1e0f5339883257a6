"""Measure the receiver, the workers, a large ledger and cold starts.

`python -m bench` measures everything and writes docs/performance.md. With `--quick` it measures
only the receiver and the CPU time of the workers, for 90 seconds, and writes nothing. It measures
a part once more if a ratio is worse than half of the published one, and fails if that ratio is
worse again. Traffic stays on this machine.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from bench.figures import InvalidMeasurementError, Row, over_runs
from bench.performance import FULL, PARTS, QUICK, RECEIVER, WORKER, measure
from bench.report import PAGE, circumstances, worse_than_half, write_report

_LONGEST_QUICK_S = 420
_DOCS = Path(__file__).parent.parent / "docs"


def main() -> int:
    """Measure, print, and write the page or compare with it."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=1, help="repeat everything this many times")
    asked = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda *_: sys.exit(1))  # ends the servers too
    if asked.quick:
        signal.alarm(_LONGEST_QUICK_S)
    began = time.monotonic()
    try:
        worse = _quick() if asked.quick else _full(asked.runs)
    except InvalidMeasurementError as error:
        sys.stderr.write(f"INVALID, so nothing counts: {error}\n")
        return 1
    _say(f"Took {time.monotonic() - began:.0f} s.")
    return 1 if worse else 0


def _full(runs: int) -> bool:
    about = circumstances(runs)
    measured = [[_shown(row) for row in measure(PARTS, FULL)] for _ in range(runs)]
    write_report(_DOCS, about, over_runs(measured))
    _say(f"Written to docs/{PAGE}.")
    return False


def _quick() -> bool:
    """Measure receiver and workers; return whether a ratio is worse than half of the published."""
    worse = [_has_worsened(part) for part in (RECEIVER, WORKER)]
    return any(worse)


def _has_worsened(part: str) -> bool:
    """Measure, and once more if a ratio is worse than half: a busy minute is no regression."""
    suspects: set[str] | None = None
    for is_last in (False, True):
        try:
            rows = [_shown(row) for row in measure((part,), QUICK)]
        except Exception as error:  # a server may fail in many ways on a busy machine; raised below
            if is_last:
                raise
            _say(f"INVALID, once more: {type(error).__name__}: {error}")
            continue
        found = worse_than_half(_DOCS, rows)
        worse = {name for name in found if suspects is None or name in suspects}
        for name in sorted(worse):
            _say(f"{'WORSE' if is_last else 'Once more, WORSE'} THAN HALF: {name}: {found[name]}")
        if not worse:
            return False
        suspects = worse
    return True


def _shown(row: Row) -> Row:
    goal = f", goal {row.goal}" if row.goal else ""
    _say(f"{row.part}: {row.name}: {row.found} {row.unit}{goal}")
    return row


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
