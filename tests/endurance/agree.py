"""Compares what Coursebell decides with what `tests.second_decider` decides, on random histories.

    python -m tests.endurance.agree --count 100000 --first 0

It uses one core and no network. For each history on which they differ it prints the smallest part
that still shows it, and what each decided; a history that takes too long counts as one. If there is
any, it exits with 1.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from schemas.errors import ConfigurationError
from tests.builders.histories import Stage
from tests.builders.random_histories import RandomCase, random_case
from tests.second_decider import SecondDecider

_SHOWN = 10  # differences, then it stops
_EVERY = 5_000  # histories, after which it reports
_LONGEST_S = 120  # for one history, most of it for finding the smallest part


def both(case: RandomCase) -> tuple[list[str], list[str]]:
    """Return what Coursebell and what the second decider decide."""
    first = Stage(case.load(), case.zone, case.people).play(case.history)
    second = SecondDecider(case.rules, case.zone, case.people).play(case.history)
    return first, second


def difference(seed: int) -> str:
    """Return what differs in the case of this seed, or an empty text."""
    case = random_case(seed)
    if not _differs(case):
        return ""
    smallest = _shrunk(case)
    first, second = both(smallest)
    parts = (smallest.rules, smallest.history, "Coursebell:", *first, "Second:", *second)
    return "\n".join((f"seed {seed}: {smallest.zone} {smallest.people}", *parts))


def _too_long(*_: object) -> None:
    raise TimeoutError


def _difference_in_time(seed: int) -> str:
    signal.alarm(_LONGEST_S)
    try:
        return difference(seed)
    except TimeoutError:
        return f"seed {seed}: it took more than {_LONGEST_S} s"
    finally:
        signal.alarm(0)


def _differs(case: RandomCase) -> bool:
    first, second = both(case)
    return first != second


def _shrunk(case: RandomCase) -> RandomCase:
    """Leave out lines while both still differ."""
    for smaller in _smaller(case):
        try:
            if _differs(smaller):
                return _shrunk(smaller)
        except (AssertionError, ConfigurationError):
            continue  # a part that cannot be played
    return case


def _smaller(case: RandomCase) -> Iterator[RandomCase]:
    history, rules = case.history.split("\n"), case.rules.split("\n")
    for index in range(len(history)) if len(history) > 1 else ():
        yield replace(case, history="\n".join(history[:index] + history[index + 1 :]))
    for index, line in enumerate(rules):
        if line.startswith("  - "):
            yield replace(case, rules="\n".join(rules[:index] + rules[index + 1 :]))


def main() -> None:
    """Compare, and report."""
    parser = argparse.ArgumentParser(description="Compare two deciders on random histories.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    began, found = time.monotonic(), 0
    for number in range(1, arguments.count + 1):
        if text := _difference_in_time(arguments.first + number - 1):
            found += 1
            sys.stdout.write(f"{text}\n\n")
        if number % _EVERY == 0 or number == arguments.count or found == _SHOWN:
            took_s = time.monotonic() - began
            sys.stdout.write(f"{number} histories, {found} differences, {took_s:.0f} s\n")
            sys.stdout.flush()
        if found == _SHOWN:
            break
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
