"""Do our own checks get through, and do others still tell us? Pure.

Unlike silence, which may only be unusual, a check that does not get through is deaf for certain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ledger.checks import CheckKind, Run
from ledger.intake import Origin
from ledger.stories.hearing import Told
from schemas.reasons import Reason
from schemas.skew import is_ahead

LATE_AFTER = 3  # times the time between two checks
LONGEST_FIRST_LOOK = timedelta(hours=1)  # it reads all there is
FEWEST_LATELY = 5  # records; of fewer nothing is concluded

_OTHERS = (Origin.HOOK, Origin.RELAY)
# A moment's trouble, which counts once it lasts.
_MAY_PASS = (Reason.NEXUDUS_DOWN, Reason.NEXUDUS_BUSY)


class CheckTrouble(StrEnum):
    """What is wrong with our own check of one kind of record."""

    LATE = "late"
    FAILING = "failing"
    STUMBLED = "stumbled"  # failed just now, in a way that may pass


@dataclass(frozen=True, slots=True)
class Loss:
    """Hooks or a relay that told of most records before, and lately of few."""

    told: Told
    by: Origin
    heard: int  # of the records made lately
    of: int


def judge_check(
    last: Run | None, under_way: Run | None, every_s: float, now: datetime
) -> CheckTrouble | None:
    """Judge our own check of one kind by its last run that ended, and the one that did not yet.

    None: all is well, or checks are off, or the first had no time to run yet.
    """
    if not every_s:
        return None
    moments = [run.ended_at or run.begun_at for run in (last, under_way) if run is not None]
    newest = max((at for at in moments if not is_ahead(at, now)), default=None)
    patience = LATE_AFTER * timedelta(seconds=every_s)
    if last is None and under_way is not None and under_way.kind is CheckKind.BASELINE:
        patience = max(patience, LONGEST_FIRST_LOOK)
    # Nothing but times in the future says nothing; no run at all is one that had no time yet.
    is_late = bool(moments) if newest is None else now - newest > patience
    if under_way is not None and under_way.reason is not None:
        may_pass = under_way.reason in _MAY_PASS and not is_late
        return CheckTrouble.STUMBLED if may_pass else CheckTrouble.FAILING
    return CheckTrouble.LATE if is_late else None


def judge_told(told: Told) -> Loss | None:
    """Judge whether hooks or relays of a location arrive no more; None: no reason to think so.

    Where nobody ever told us anything there is nothing to lose: we look for ourselves.
    """
    before, lately = _by_others(told.before), _by_others(told.lately)
    heard, of = sum(lately.values()), sum(told.lately.values())
    was_most = 2 * sum(before.values()) > sum(told.before.values())
    if not was_most or of < FEWEST_LATELY or 2 * heard >= of:
        return None
    return Loss(told, max(before, key=lambda origin: before[origin]), heard, of)


def _by_others(told: Mapping[Origin, int]) -> dict[Origin, int]:
    return {origin: told.get(origin, 0) for origin in _OTHERS}
