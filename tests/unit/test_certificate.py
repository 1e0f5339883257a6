"""The outcome of a row: each outcome once, without a ledger and without a source."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from ledger.outcomes import LedgerAction, LedgerEvent, Link
from ledger.record_queries import KnownRecord, LookupStatus, SeenState
from ledger.records import StoredRecord
from schemas.entity import FOLLOWED, Entity, References
from schemas.errors import SourceUnavailable
from schemas.events import enrolled_key, enrolment_requested_key, lesson_completed_key
from schemas.records import CompletedLesson, CourseMember, dump_record
from service.cli.certificate_view import HEADS, lines_of, page_of
from tests.builders.records import NOON, completed_lesson, course_member
from workers.source.lists import Changed, Changes
from workers.source.reads import BurstReads
from workers.sync.audit import missing_trace
from workers.sync.certificate import Certificate, assemble
from workers.sync.document import (
    KIND,
    Issuer,
    Verdict,
    canonical,
    document_of,
    signed,
    signed_page,
    verify,
)
from workers.sync.evidence import Evidence, LedgerCounts, Window, listed_in
from workers.sync.listed_rows import ListRow, Member, Names, Place
from workers.sync.row_outcomes import FindingKind, RowOutcome

WINDOW = Window(
    date(2026, 3, 3),
    date(2026, 3, 3),
    datetime(2026, 3, 3, tzinfo=UTC),
    datetime(2026, 3, 4, tzinfo=UTC),
    ZoneInfo("UTC"),
)
LATER = NOON + timedelta(days=2)
ISSUER = Issuer("https://example.org", "1", "abc", NOON)
KEY = "a secret of this house"
MEMBER = course_member()
REF = (Entity.COURSE_MEMBER, MEMBER.record_id)
ROW = ListRow(Entity.COURSE_MEMBER, MEMBER.record_id, NOON, References.of(MEMBER))
ENROLLED = enrolled_key(MEMBER.course_id, MEMBER.coworker_id)
COURSES = {1234: Place("Finance", 500, "Works")}
HERE = Evidence(WINDOW, LATER, listed=frozenset({REF}), names=Names(courses=COURSES))
ELSEWHERE = References(1234, 77)


def stored(
    record: CourseMember | CompletedLesson,
    gone_at: datetime | None = None,
    *,
    is_decided: bool = True,
) -> StoredRecord:
    """Return a record as it was read."""
    is_member = isinstance(record, CourseMember)
    entity = Entity.COURSE_MEMBER if is_member else Entity.COMPLETED_LESSON
    values = dump_record(entity, record)
    return StoredRecord(entity, values, NOON, gone_at, is_decided, References.of(record))


def knowing(
    stored: StoredRecord | None = None,
    lookup: LookupStatus | None = None,
    seen: SeenState | None = None,
) -> Evidence:
    """Return a ledger that knows this of the enrolment, and of nothing that came of it."""
    return replace(HERE, known={REF: KnownRecord(seen, stored, lookup)})


def happened(key: str = ENROLLED, reason: str | None = None, **different: object) -> LedgerEvent:
    fields = {"kind": key.partition(":")[0], "course_member_id": MEMBER.record_id}
    whole = {"lesson_id": None, **fields, **different}
    return LedgerEvent(
        1,
        key,
        str(whole["kind"]),
        NOON,
        MEMBER.course_id,
        MEMBER.coworker_id,
        int(str(whole["course_member_id"])),
        None,
        reason,
        LATER,
    )


def effect(state: str, reason: str | None = None, *tries: tuple[str, str | None]) -> LedgerAction:
    tried = tries or ((state, reason),)
    return LedgerAction(
        5,
        f"welcome/{ENROLLED}",
        "welcome",
        "v1",
        "enrolled",
        state,
        reason,
        NOON,
        MEMBER.course_id,
        MEMBER.coworker_id,
        MEMBER.record_id,
        1 if state == "done" else 0,
        state == "done",
        NOON,
        tries=tried,
    )


def here_with(
    event: LedgerEvent | None = None,
    done: LedgerAction | None = None,
    member: CourseMember = MEMBER,
    lookup: LookupStatus | None = None,
) -> Evidence:
    """Return a ledger that read one enrolment, which led to this."""
    events = {} if event is None else {event.key: event}
    links = frozenset({Link(1, 5)} if done is not None else set())
    return replace(
        knowing(stored(member), lookup),
        events=events,
        event_ids=frozenset(one.event_id for one in events.values()),
        effects={} if done is None else {5: done},
        links=links,
    )


def certified(rows: list[ListRow], here: Evidence) -> Certificate:
    """Assemble what a source and a database count like that."""
    stated = {entity: sum(row.entity is entity for row in rows) for entity in FOLLOWED}
    read = [one.stored for one in here.known.values() if one.stored and one.stored.gone_at is None]
    counts = LedgerCounts(
        {entity: sum(one.entity is entity for one in read) for entity in FOLLOWED},
        len(here.events),
        len(here.effects),
    )
    return assemble(rows, replace(here, stated=stated, counts=counts))


OUTCOMES: dict[str, tuple[Evidence, RowOutcome, str | None, FindingKind | None]] = {
    "written": (here_with(happened(), effect("done")), RowOutcome.WRITTEN, None, None),
    "planned": (here_with(happened(), effect("planned")), RowOutcome.WAITING, None, None),
    "waiting": (
        here_with(happened(), effect("waiting", "quiet-hours")),
        RowOutcome.WAITING,
        "quiet-hours",
        None,
    ),
    "held": (here_with(happened(), effect("held", "too-old")), RowOutcome.HELD, "too-old", None),
    "skipped": (
        here_with(happened(), effect("skipped", "no-email")),
        RowOutcome.SKIPPED,
        "no-email",
        None,
    ),
    "failed": (
        here_with(happened(), effect("failed", "mail-rejected")),
        RowOutcome.FAILED,
        "mail-rejected",
        None,
    ),
    "unknown": (
        here_with(happened(), effect("unknown", "handover-unknown")),
        RowOutcome.UNKNOWN,
        "handover-unknown",
        None,
    ),
    "no email": (here_with(happened(reason="kind-off")), RowOutcome.UNWRITTEN, "kind-off", None),
    "request": (
        here_with(
            happened(enrolment_requested_key(MEMBER.record_id), "not-approved"),
            member=replace(MEMBER, approved=False),
        ),
        RowOutcome.UNWRITTEN,
        "not-approved",
        None,
    ),
    "enrolled again": (
        here_with(happened(reason="kind-off", course_member_id=8)),
        RowOutcome.REPEAT,
        "duplicate",
        FindingKind.NO_RECORD,
    ),
    "blocked": (
        here_with(member=replace(MEMBER, blocked=True)),
        RowOutcome.NO_EVENT,
        "blocked",
        None,
    ),
    "due": (knowing(lookup=LookupStatus("due")), RowOutcome.OPEN, "due", None),
    "source down": (
        knowing(lookup=LookupStatus("waiting", "nexudus-down")),
        RowOutcome.OPEN,
        "nexudus-down",
        None,
    ),
    "not readable": (
        knowing(lookup=LookupStatus("failed", "unreadable")),
        RowOutcome.OPEN,
        "unreadable",
        FindingKind.UNREADABLE,
    ),
    "before we began": (
        knowing(seen=SeenState("before-start", references=ELSEWHERE)),
        RowOutcome.SEEN,
        "before-start",
        None,
    ),
    "gone since": (
        knowing(stored(MEMBER, LATER + timedelta(seconds=1), is_decided=False)),
        RowOutcome.UNACCOUNTED,
        None,
        FindingKind.NO_EVENT,
    ),
    "gone here": (
        knowing(stored(MEMBER, NOON)),
        RowOutcome.UNACCOUNTED,
        None,
        FindingKind.MISSING_HERE,
    ),
    "never heard of": (HERE, RowOutcome.UNACCOUNTED, None, FindingKind.MISSING_HERE),
    "read before and now missing": (
        knowing(lookup=LookupStatus("done"), seen=SeenState("imported", references=ELSEWHERE)),
        RowOutcome.UNACCOUNTED,
        None,
        FindingKind.MISSING_HERE,
    ),
    "seen by lists, and no more": (
        knowing(seen=SeenState(references=ELSEWHERE)),
        RowOutcome.UNACCOUNTED,
        None,
        FindingKind.MISSING_HERE,
    ),
    "no event": (here_with(), RowOutcome.UNACCOUNTED, None, FindingKind.NO_EVENT),
    "being decided": (
        here_with(lookup=LookupStatus("leased", None)),
        RowOutcome.OPEN,
        "due",
        None,
    ),
    "another person": (
        here_with(happened(), effect("done"), member=replace(MEMBER, coworker_id=9)),
        RowOutcome.UNACCOUNTED,
        None,
        FindingKind.OTHER_KEYS,
    ),
    "no outcome": (here_with(happened()), RowOutcome.UNACCOUNTED, None, FindingKind.NO_OUTCOME),
    "no action": (
        replace(here_with(happened()), links=frozenset({Link(1, 5)})),
        RowOutcome.UNACCOUNTED,
        None,
        FindingKind.NO_ACTION,
    ),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_row_has_one_outcome_and_each_fault_is_reported_once(name: str) -> None:
    here, outcome, reason, kind = OUTCOMES[name]
    made = certified([ROW], here)
    assert dict(made.totals.outcomes) == {(outcome, reason): 1}
    assert [one.kind for one in made.findings] == ([] if kind is None else [kind])
    assert made.closes is (outcome is not RowOutcome.UNACCOUNTED)
    assert made.is_clean is (kind is None)


def test_the_table_has_every_outcome() -> None:
    assert {outcome for _, outcome, _, _ in OUTCOMES.values()} == set(RowOutcome)


def test_of_two_completions_of_one_lesson_the_later_is_a_repeat() -> None:
    first = completed_lesson(1, 7)
    second = replace(first, record_id=2, created_at=NOON + timedelta(hours=1))
    rows = [
        ListRow(Entity.COMPLETED_LESSON, one.record_id, one.created_at, References.of(one))
        for one in (second, first)
    ]
    key = lesson_completed_key(first.course_member_id, 7)
    event = happened(key, "kind-off")._replace(lesson_id=7)
    here = replace(
        HERE,
        listed=frozenset(row.ref for row in rows),
        known={
            (Entity.COMPLETED_LESSON, one.record_id): KnownRecord(stored=stored(one))
            for one in (first, second)
        },
        events={
            key: event,
            "course_started:1234:77": happened("course_started:1234:77", "kind-off"),
        },
        names=Names({MEMBER.record_id: Member(1234, 77)}, courses=COURSES),
    )
    made = certified(rows, here)
    assert made.is_clean
    assert dict(made.totals.outcomes) == {
        (RowOutcome.UNWRITTEN, "kind-off"): 1,
        (RowOutcome.REPEAT, "duplicate"): 1,
    }
    without = certified(rows, replace(here, events={}))
    assert [one.record_id for one in without.findings] == [1], "the repeat is not reported too"


@pytest.mark.parametrize(
    ("action", "is_missing"),
    [
        (effect("done"), False),
        (effect("done")._replace(tries=()), True),
        (effect("done")._replace(has_receipt=False), True),
        (effect("done")._replace(attempts=2), True),
        (effect("skipped", "superseded")._replace(tries=()), False),
        (effect("skipped", "blocked")._replace(tries=()), True),
        (effect("waiting", "gathering")._replace(tries=()), False),
        (effect("waiting", "cap-day")._replace(tries=()), True),
        (effect("waiting", "observe", ("held", "observe")), False),
        (effect("performing")._replace(attempts=1, tries=()), False),
        (effect("held", "flood-guard")._replace(tries=()), True),
    ],
)
def test_an_action_needs_the_attempts_that_its_state_implies(
    action: LedgerAction,
    is_missing: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert (missing_trace(action, traced_since=NOON) is not None) is is_missing


def test_attempts_that_were_deleted_for_their_age_are_not_missed() -> None:
    old = effect("done")._replace(tries=())
    a_year_later = replace(here_with(happened(), old), began_at=NOON + timedelta(days=366))
    made = certified([ROW], a_year_later)
    assert made.is_clean
    document = document_of(made, Issuer("https://example.org", "1", "abc", NOON))
    said = "for emails planned before 2026-03-04 12:00:00 UTC only the outcome was checked"
    assert said in "\n".join(lines_of(document))
    assert said in page_of(signed(document, KEY))
    newer = document_of(
        certified([ROW], replace(a_year_later, began_at=LATER)), Issuer("", "1", "abc", NOON)
    )
    assert "Attempts to send" not in "\n".join(lines_of(newer)) + page_of(signed(newer, KEY))


def a_certificate() -> Certificate:
    return certified([ROW], OUTCOMES["never heard of"][0])


FINE = here_with(happened(), effect("done"))
MISCOUNTED: dict[str, tuple[Evidence, str]] = {
    "a row of the list": (
        replace(FINE, stated={Entity.COURSE_MEMBER: 2}),
        "enrolments at Nexudus: 2 counted, 1 in the tables",
    ),
    "a record": (
        replace(
            FINE, counts=LedgerCounts({Entity.COURSE_MEMBER: 1, Entity.COMPLETED_LESSON: 1}, 1, 1)
        ),
        "finished lessons here: 1 counted, 0 in the tables",
    ),
    "an event": (
        replace(FINE, counts=LedgerCounts({Entity.COURSE_MEMBER: 1}, 2, 1)),
        "events here: 2 counted, 1 in the tables",
    ),
    "an email": (
        replace(FINE, counts=LedgerCounts({Entity.COURSE_MEMBER: 1}, 1, 3)),
        "emails here: 3 counted, 1 in the tables",
    ),
}


@pytest.mark.parametrize("name", MISCOUNTED)
def test_a_count_that_differs_from_the_tables_is_reported(
    name: str,
) -> None:
    here, said = MISCOUNTED[name]
    whole = certified([ROW], FINE)
    assert whole.is_clean
    if not here.stated:
        here = replace(here, stated={Entity.COURSE_MEMBER: 1})
    else:
        here = replace(here, counts=LedgerCounts({Entity.COURSE_MEMBER: 1}, 1, 1))
    made = assemble([ROW], here)
    assert list(made.findings) == []
    assert not made.is_clean
    document = signed(document_of(made, Issuer("https://example.org", "1", "abc", NOON)), KEY)
    sentence = f"The totals do not add up ({said})."
    assert list(lines_of(document))[-1] == f"Differences: none. {sentence}"
    assert sentence in page_of(document)
    assert document["complete"] is False


def test_a_record_that_the_source_lists_on_another_day_keeps_the_sums_equal() -> None:
    elsewhere = replace(MEMBER, created_at=NOON - timedelta(days=1))
    row_of_today = replace(FINE, known={REF: KnownRecord(stored=stored(elsewhere))})
    counts = LedgerCounts({}, 1, 1)
    rows = {Entity.COURSE_MEMBER: 1}
    assert assemble([ROW], replace(row_of_today, stated=rows, counts=counts)).closes
    counts = LedgerCounts({Entity.COURSE_MEMBER: 1}, 1, 1)
    assert assemble([], replace(FINE, counts=counts)).closes


@pytest.mark.parametrize("width", [None, 200, 80, 40])
def test_tables_are_as_wide_as_the_terminal_and_leave_out_nothing_but_zeros(
    width: int | None,
) -> None:
    made = certified([ROW], FINE)
    document = document_of(made, Issuer("https://example.org", "1", "abc", NOON))
    text = list(lines_of(document, width))
    table = [line for line in text if line.startswith(("  day", "  all days", "  2026-"))]
    heads = {head for line in table if line.startswith("  day") for head in HEADS if head in line}
    assert max(len(line) for line in table) <= (width or 200)
    if width is None or width > 100:
        assert heads == set(HEADS)
    else:
        assert heads == {"enrolled", "lessons", "here", "written", "events", "sent"}
        assert any(line.startswith("  Not shown, as 0: waiting, held") for line in text)


def test_emails_counted_on_other_days_are_mentioned() -> None:
    before = effect("done")._replace(happened_at=NOON - timedelta(days=1))
    made = certified([ROW], here_with(happened(), before))
    assert made.carried_over == 1
    document = document_of(made, Issuer("https://example.org", "1", "abc", NOON))
    text = "\n".join(lines_of(document))
    assert "Emails about these days that count on other days: 1" in text
    page = page_of(signed(document, KEY))
    assert "Of the emails about these days, 1 counts on another day." in page
    none = document_of(certified([ROW], here_with(happened(), effect("done"))), ISSUER)
    assert "Of the emails about these days" not in page_of(signed(none, KEY))


def test_days_without_any_row_are_not_presented_as_success() -> None:
    document = document_of(certified([], replace(HERE, listed=frozenset())), ISSUER)
    assert "Nothing to compare: Nexudus has no enrolment" in list(lines_of(document))[-1]
    page = page_of(signed(document, KEY))
    assert '<p class="answer empty">Nothing to compare: ' in page
    assert "Differences: none" not in page


def test_an_email_that_only_waits_for_its_time_is_reported_as_planned() -> None:
    made = certified([ROW], here_with(happened(), effect("planned")))
    document = signed(document_of(made, Issuer("https://example.org", "1", "abc", NOON)), KEY)
    assert document["reasons"] == {"planned": {"rows": 1, "events": 1, "emails": 1}}
    assert "Its email is not due yet" in page_of(document)


def test_a_document_is_the_same_to_the_byte_and_only_as_it_was_signed() -> None:
    maker = Issuer("https://spaces.example.org", "1", "abc", NOON)
    document = document_of(a_certificate(), maker)
    assert canonical(document) == canonical(document_of(a_certificate(), maker))
    whole = signed(document, KEY)
    text = json.dumps(whole, indent=2).encode()
    assert verify(text, KEY) is Verdict.GENUINE
    assert verify(text, "another key") is Verdict.CHANGED
    assert verify(text.replace(b"2026-03-03", b"2026-03-02", 1), KEY) is Verdict.CHANGED
    twice = text.replace(b"{", b'{"closes": true,', 1)
    assert verify(twice, KEY) is Verdict.CHANGED
    assert verify(json.dumps(document).encode(), KEY) is Verdict.CHANGED, "not signed"
    assert verify(b"\xef\xbb\xbf" + text, KEY) is Verdict.GENUINE, "blanks are not signed either"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b'"text"', b"{", b"[" * 100_000])
def test_a_file_that_is_no_certificate_is_reported_as_none(content: bytes) -> None:
    assert verify(content, KEY) is Verdict.NO_CERTIFICATE


def test_a_page_is_signed_as_a_whole() -> None:
    place = '<code id="page-signature">' + "0" * 64 + "</code>"
    page = signed_page(f'<meta name="generator" content="{KIND}"><p>fine</p>{place}', KEY)
    assert verify(page.encode(), KEY) is Verdict.GENUINE
    assert verify(page.replace("fine", "five").encode(), KEY) is Verdict.CHANGED
    assert verify((page + place).encode(), KEY) is Verdict.CHANGED
    assert verify(page.replace(KIND, "a page").encode(), KEY) is Verdict.CHANGED
    assert verify(b"\xef\xbb\xbf" + page.encode(), KEY) is Verdict.CHANGED
    assert verify(page.replace('id="page-signature"', "").encode(), KEY) is Verdict.CHANGED


def test_other_peoples_text_is_only_text_on_the_page() -> None:
    name = "<script>alert(1)</script> ana@example.org"
    made = certified(
        [replace(ROW, person=name)],
        replace(HERE, names=Names(courses={1234: Place(name, 1, name)})),
    )
    page = page_of(signed(document_of(made, Issuer("https://example.org", "1", "abc", NOON)), KEY))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "ana@example.org" not in page
    for_people = page.partition("<details")[0]
    assert for_people.count("alert(1)") == for_people.count("<bdi>&lt;script&gt;alert(1)") > 0
    assert verify(signed_page(page, KEY).encode(), KEY) is Verdict.GENUINE


class TwoPages:
    """A source whose list shows one row twice."""

    def __init__(self, again: dict[str, object]) -> None:
        self._again = again

    def created_between(
        self, entity: Entity, since: datetime, until: datetime
    ) -> Iterator[Changes]:
        assert since < until
        if entity is Entity.COURSE_MEMBER:
            first = {"Id": 5, "CourseId": 1, "CoworkerId": 2}
            yield Changes([Changed(5, NOON, first)], 1)
            yield Changes([Changed(5, NOON, first | self._again)], 1)


def test_a_row_that_is_listed_twice_is_one_row() -> None:
    assert len(listed_in(cast("BurstReads", TwoPages({})), WINDOW).rows) == 1


def test_a_row_that_changes_while_the_list_is_read_gives_no_certificate() -> None:
    with pytest.raises(SourceUnavailable, match="changed while it was read"):
        listed_in(cast("BurstReads", TwoPages({"CoworkerId": 3})), WINDOW)
