"""Outages: why actions cannot be delivered or records cannot be read, and retries.

An outage of a channel, which is a kind of action or one endpoint, is a row that every worker sees.
Until its time, no action of it is claimed; then one is tried. If it is delivered or answered at
all, the outage ends for all.
For the source, outages are the lookups waiting for one reason; and while several actions in a row
could not read what they need, a row of its own delays the reads of all actions.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, delete, func, select, update

from ledger.channels import goes_through
from ledger.controls import set_value, value_of
from ledger.engine import insert_into
from ledger.interventions import AUTOMATIC
from ledger.tables import (
    UNFINISHED_REPORTS,
    WAITING_ACTIONS,
    WAITING_LOOKUPS,
    actions,
    lookups,
    outages,
    reports,
    sign_ins,
)
from schemas.actions import ActionState
from schemas.reasons import EXPLANATIONS, Reason

# An action with one of these reasons waits for the end of an outage, not for its own time.
OUTAGE_REASONS = frozenset(
    {
        Reason.MAIL_NOT_SET,
        Reason.MAIL_UNREACHABLE,
        Reason.MAIL_BUSY,
        Reason.MAIL_REFUSES_US,
        Reason.MAIL_TLS,
        Reason.MAIL_STARTTLS,
        Reason.MAIL_CERTIFICATE,
        Reason.MAIL_LOGIN,
        Reason.MAIL_SENDER,
        Reason.MAIL_RELAY,
        Reason.MAIL_INTERRUPTED,
        Reason.DELIVERY_DOWN,
        Reason.DELIVERY_BUSY,
        Reason.ENDPOINT_ADDRESS,
        Reason.ENDPOINT_REFUSES,
        Reason.WRITE_DENIED,
    }
)
_OF_MAIL = frozenset(reason for reason in OUTAGE_REASONS if reason.startswith("mail-"))


@dataclass(frozen=True, slots=True)
class Outage:
    """Why no action of a channel is delivered, since when, and when the next one is tried.

    `kind` is the channel: see `schemas.actions.channel_of`.
    `tries` counts the failures in a row; `answer` is the server's, without addresses.
    """

    kind: str
    reason: Reason
    since: datetime
    until: datetime
    tries: int
    answer: str


LASTING = timedelta(hours=1)  # a shorter outage usually ends by itself
_PAST = "past_outages"  # the control with those of a channel that lasted
_MOST_PAST = 10


@dataclass(frozen=True, slots=True)
class PastOutage:
    """From when until when nothing could be sent through a channel."""

    begin: datetime
    end: datetime


_SOURCE = "source.read"  # in place of a kind of action; kinds are names of folders
_OF_SOURCE = (Reason.NEXUDUS_DOWN, Reason.NEXUDUS_REFUSED)


def outages_now(connection: Connection) -> dict[str, Outage]:
    """Return the current outages, by channel."""
    found = _rows(connection)
    found.pop(_SOURCE, None)
    return found


def source_pause(connection: Connection) -> Outage | None:
    """Return until when no action reads the source, as earlier ones failed; None if any may."""
    return _rows(connection).get(_SOURCE)


def _rows(connection: Connection) -> dict[str, Outage]:
    rows = connection.execute(select(outages))
    return {
        row.kind: Outage(row.kind, Reason(row.reason), row.since, row.until, row.tries, row.answer)
        for row in rows
    }


def pause_source(
    connection: Connection,
    reason: Reason,
    answer: str,
    now: datetime,
    wait_s: Callable[[int], float],
) -> Outage:
    """Note that an action could not read the source; return until when the others wait.

    `wait_s` gives the seconds to wait after so many failures in a row.
    """
    outage, _ = note_outage(connection, _SOURCE, reason, answer, now, wait_s)
    return outage


def end_source_pause(connection: Connection, now: datetime, *, least: int) -> None:
    """Let actions read the source again, since one just did.

    After at least `least` failures in a row, make those due that wait for this.
    """
    failures = connection.scalar(
        delete(outages).where(outages.c.kind == _SOURCE).returning(outages.c.tries)
    )
    if failures is not None and failures >= least:
        _make_actions_due(connection, _OF_SOURCE, now)


def note_outage(  # noqa: PLR0913, PLR0917 - each is a column of the row
    connection: Connection,
    kind: str,
    reason: Reason,
    answer: str,
    now: datetime,
    wait_s: Callable[[int], float],
) -> tuple[Outage, bool]:
    """Store that an action failed for a reason that affects all actions of its channel, `kind`.

    `wait_s` gives the seconds to wait after so many failures in a row. Failures of actions that
    started before the outage count once.

    Returns the outage, and whether it is a new one: it was not there, or had another reason.
    """
    known = _rows(connection).get(kind)
    is_new = known is None or known.reason is not reason
    tries = 1 if known is None else known.tries + (known.until <= now)
    until = now + timedelta(seconds=wait_s(tries))
    if known is not None and known.until > now:
        until = known.until
    since = now if known is None else known.since
    values = {
        "reason": reason,
        "since": since,
        "until": until,
        "tries": tries,
        "answer": answer,
    }
    statement = insert_into(connection, outages).values(kind=kind, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[outages.c.kind], set_=values)
    )
    return Outage(kind, reason, since, until, tries, answer), is_new


def end_outage(connection: Connection, kind: str, now: datetime) -> bool:
    """End the outage of a channel, and make due what waits for it; False if there was none."""
    ended = delete(outages).where(outages.c.kind == kind)
    outage = connection.execute(ended.returning(outages.c.since, outages.c.reason)).first()
    if outage is None:
        return False
    if now - outage.since >= LASTING:
        _note_past(connection, kind, PastOutage(outage.since, now))
    if outage.reason in _OF_MAIL:
        _make_reports_due(connection, now)
    # Skips rows that another worker has locked, so that two transactions never deadlock.
    waiting = (
        select(actions.c.id)
        .where(
            goes_through({kind}),
            WAITING_ACTIONS,
            actions.c.reason.in_(OUTAGE_REASONS),
            actions.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    connection.execute(update(actions).where(actions.c.id.in_(waiting)).values(due_at=now))
    return True


def _make_reports_due(connection: Connection, now: datetime) -> None:
    """Make the reports due that wait for the mail server."""
    is_waiting = and_(UNFINISHED_REPORTS, reports.c.state == ActionState.WAITING)
    waiting = (
        select(reports.c.id)
        .where(is_waiting, reports.c.reason.in_(_OF_MAIL), reports.c.due_at > now)
        .with_for_update(skip_locked=True)
    )
    connection.execute(update(reports).where(reports.c.id.in_(waiting)).values(due_at=now))


def past_outages(connection: Connection, kind: str) -> list[PastOutage]:
    """Return the last outages of a channel that lasted an hour or more, the earliest first."""
    text = value_of(connection, f"{_PAST}.{kind}")
    stored: list[list[str]] = [] if text is None else json.loads(text)
    return [PastOutage(*(datetime.fromisoformat(at) for at in one)) for one in stored]


def _note_past(connection: Connection, kind: str, outage: PastOutage) -> None:
    # One that ends later was noted while a clock was ahead.
    before = [one for one in past_outages(connection, kind) if one.end <= outage.end]
    last = [*before, outage][-_MOST_PAST:]
    text = json.dumps([[one.begin.isoformat(), one.end.isoformat()] for one in last])
    set_value(connection, f"{_PAST}.{kind}", text, AUTOMATIC, outage.end)


def retry_outages_now(connection: Connection, now: datetime) -> None:
    """Let workers retry at once, since settings or the mail server may have been fixed."""
    connection.execute(update(outages).where(outages.c.until > now).values(until=now))
    _make_actions_due(connection, OUTAGE_REASONS, now)
    _make_reports_due(connection, now)


MOST_COUNTED = 1_000  # so that a large backlog costs no more than a small one


@dataclass(frozen=True, slots=True)
class SourceOutage:
    """Why records cannot be read, since when, and the error of the one that is tried next.

    `last_error` is the sentence of the reason if that record was not tried.
    `count` is how many records wait for this reason, `MOST_COUNTED` if at least as many do.
    """

    reason: Reason
    count: int
    since: datetime
    next_at: datetime
    last_error: str

    @property
    def unread(self) -> str:
        """How many records are unread, in words."""
        if self.count >= MOST_COUNTED:
            return f"{MOST_COUNTED:,} records or more unread"
        return "1 record unread" if self.count == 1 else f"{self.count} records unread"


def source_outages(connection: Connection) -> list[SourceOutage]:
    """Return why records cannot be read now, one entry a reason."""
    found: list[SourceOutage] = []
    while True:
        last = found[-1].reason if found else ""
        reason = connection.scalar(_NEXT_REASON, {"last": last})
        if reason is None:
            return found
        found.append(_source_outage(connection, Reason(reason)))


def _source_outage(connection: Connection, reason: Reason) -> SourceOutage:
    row = connection.execute(_WAITING_FOR, {"why": reason}).one()
    why = row.last_error or EXPLANATIONS[reason].sentence
    return SourceOutage(reason, row.number, row.since, row.due_at, why)


# Built once, as they are asked each second.
_NEXT_REASON = select(func.min(lookups.c.reason)).where(
    WAITING_LOOKUPS, lookups.c.reason > bindparam("last")
)
_WAITS = and_(WAITING_LOOKUPS, lookups.c.reason == bindparam("why"))
_SOME = select(lookups.c.id).where(_WAITS).limit(MOST_COUNTED).subquery()
_WAITING_FOR = (
    select(
        select(func.count()).select_from(_SOME).scalar_subquery().label("number"),
        select(func.min(lookups.c.asked_at)).where(_WAITS).scalar_subquery().label("since"),
        lookups.c.due_at,
        lookups.c.last_error,
    )
    .where(_WAITS)
    .order_by(lookups.c.due_at)
    .limit(1)
)


def retry_unanswered(connection: Connection, now: datetime) -> int:
    """Make everything that waits because the source did not answer due; return how many lookups.

    Called when one of them succeeds: the outage is over for all.
    """
    return _make_due(connection, Reason.NEXUDUS_DOWN, now)


def retry_refused(connection: Connection, now: datetime) -> int:
    """Make everything that waits because the source refused us due; return how many lookups.

    Called when a worker starts, as it is restarted after a password or a right was corrected.
    """
    connection.execute(update(sign_ins).values(refused_until=None))
    return _make_due(connection, Reason.NEXUDUS_REFUSED, now)


def _make_due(connection: Connection, reason: Reason, now: datetime) -> int:
    is_source = outages.c.kind == _SOURCE
    connection.execute(delete(outages).where(is_source, outages.c.reason == reason))
    _make_actions_due(connection, (reason,), now)
    waiting_lookups = (
        select(lookups.c.id)
        .where(
            WAITING_LOOKUPS,
            lookups.c.reason == reason,
            lookups.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    again = connection.execute(
        update(lookups).where(lookups.c.id.in_(waiting_lookups)).values(due_at=now)
    )
    return again.rowcount


def _make_actions_due(connection: Connection, reasons: Iterable[Reason], now: datetime) -> None:
    # Skips rows that another worker has locked, so that two transactions never deadlock; that
    # worker sets their due time.
    waiting = (
        select(actions.c.id)
        .where(
            WAITING_ACTIONS,
            actions.c.reason.in_(reasons),
            actions.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    connection.execute(update(actions).where(actions.c.id.in_(waiting)).values(due_at=now))
