"""Records: the newest version stays, what is gone stays known, and lists add what they show."""

import random
import string
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ledger.engine import Engine, reading, writing
from ledger.intake import Origin, store_notifications
from ledger.listings import Listing, accept_listings, listed_at
from ledger.members import members_by_name, name_of_member
from ledger.record_queries import count_seen, enrolments_before_start, update_names
from ledger.records import (
    SeenVersion,
    StoredRecord,
    accept_record,
    is_answered,
    mark_decided,
    mark_gone,
    note_seen,
    present_below,
    record_of,
    references_of,
    unknown_among,
)
from schemas.entity import CoworkerKind, Entity, References
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.records import CompletedLesson, CourseMember, Lesson, Record, dump_record, load_record
from tests.contract.ledger_rig import ANA, COURSE, MEMBER, NOW, at, at_once, minutes
from workers.versions import version_of_row

ENROLMENT = CourseMember(
    record_id=MEMBER,
    created_at=at(-100),
    updated_at=NOW,
    course_id=COURSE,
    course_title="Ceramics: Feuer & Glasur 🔥",
    coworker_id=ANA,
    coworker_kind=CoworkerKind.COMPANY,
    full_name="Ana Müller",
    company_name=None,
    team_names=None,
    last_completed_lesson_id=None,
    last_access_at=at(-1),
    approved=True,
    blocked=False,
)
BELOW = ("course_member_id", MEMBER)


def completed(record_id: int, updated_at: datetime = NOW, member: int = MEMBER) -> CompletedLesson:
    return CompletedLesson(
        record_id, updated_at, updated_at, record_id + 100, "Ton", member, "Ana Müller"
    )


def a_lesson(record_id: int) -> Lesson:
    found = load_record(
        Entity.LESSON,
        {
            "Id": record_id,
            "UpdatedOn": NOW.isoformat(),
            "CourseId": COURSE,
            "Title": "Ton",
            "Active": True,
            "CompletionType": 3,
        },
    )
    assert isinstance(found, Lesson)
    return found


def accept(engine: Engine, record: Record, now: datetime = NOW) -> None:
    entity = Entity.COURSE_MEMBER if isinstance(record, CourseMember) else Entity.COMPLETED_LESSON
    with writing(engine) as connection:
        accept_record(connection, entity, record, now)


def accept_list(
    engine: Engine,
    records: Sequence[Record],
    now: datetime = NOW,
    asked_at: datetime | None = None,
    member: int = MEMBER,
) -> None:
    with writing(engine) as connection:
        parent = ("course_member_id", member)
        listing = Listing(Entity.COMPLETED_LESSON, parent, records, now, asked_at or now)
        accept_listings(connection, [listing])


def gone(engine: Engine, record_id: int, now: datetime) -> None:
    with writing(engine) as connection:
        mark_gone(connection, Entity.COURSE_MEMBER, record_id, now)


def enrolment(engine: Engine, record_id: int = MEMBER) -> StoredRecord | None:
    with reading(engine) as connection:
        return record_of(connection, Entity.COURSE_MEMBER, record_id)


def read(record: CourseMember, fetched_at: datetime, gone_at: datetime | None) -> StoredRecord:
    values = dump_record(Entity.COURSE_MEMBER, record)
    references = References.of(record)
    return StoredRecord(Entity.COURSE_MEMBER, values, fetched_at, gone_at, references=references)


def present(engine: Engine, member: int = MEMBER) -> list[int]:
    with reading(engine) as connection:
        below = ("course_member_id", member)
        found = present_below(connection, Entity.COMPLETED_LESSON, below)
    return [record.record_id for record in found]


def listed(engine: Engine) -> datetime | None:
    with reading(engine) as connection:
        return listed_at(connection, Entity.COMPLETED_LESSON, MEMBER)


def test_a_record_comes_back_as_it_was_accepted(ledger_engine: Engine) -> None:
    assert enrolment(ledger_engine) is None
    accept(ledger_engine, ENROLMENT, at(3))
    assert enrolment(ledger_engine) == read(ENROLMENT, at(3), None)


def test_a_record_of_another_kind_with_the_same_id_is_another_record(
    ledger_engine: Engine,
) -> None:
    accept(ledger_engine, ENROLMENT)
    with reading(ledger_engine) as connection:
        assert record_of(connection, Entity.COMPLETED_LESSON, MEMBER) is None


def test_a_newer_version_replaces_an_older_one(ledger_engine: Engine) -> None:
    accept(ledger_engine, ENROLMENT, at(1))
    newer = replace(ENROLMENT, updated_at=at(5), approved=False)
    accept(ledger_engine, newer, at(6))
    assert enrolment(ledger_engine) == read(newer, at(6), None)


def test_an_older_version_never_replaces_a_newer_one(ledger_engine: Engine) -> None:
    newer = replace(ENROLMENT, updated_at=at(5), approved=False)
    accept(ledger_engine, newer, at(6))
    accept(ledger_engine, ENROLMENT, at(7))
    assert enrolment(ledger_engine) == read(newer, at(6), None)


def test_the_newest_version_stays_whichever_is_stored_last(ledger_engine: Engine) -> None:
    at_once(8, lambda n: accept(ledger_engine, replace(ENROLMENT, updated_at=at(n)), at(9)))
    found = enrolment(ledger_engine)
    assert found is not None
    assert found.record.updated_at == at(7)


def test_the_same_version_read_again_is_fresh_again(ledger_engine: Engine) -> None:
    accept(ledger_engine, ENROLMENT, at(1))
    accept(ledger_engine, ENROLMENT, at(50))
    assert enrolment(ledger_engine) == read(ENROLMENT, at(50), None)


def test_a_record_that_is_gone_stays_known_with_the_time_it_was_missed_first(
    ledger_engine: Engine,
) -> None:
    accept(ledger_engine, ENROLMENT, at(1))
    gone(ledger_engine, MEMBER, at(2))
    gone(ledger_engine, MEMBER, at(3))
    assert enrolment(ledger_engine) == read(ENROLMENT, at(1), at(2))


def test_a_record_never_seen_cannot_be_gone(ledger_engine: Engine) -> None:
    gone(ledger_engine, MEMBER, at(2))
    assert enrolment(ledger_engine) is None


def test_a_record_that_comes_back_is_there_again_and_an_old_version_brings_none_back(
    ledger_engine: Engine,
) -> None:
    newer = replace(ENROLMENT, updated_at=at(5))
    accept(ledger_engine, newer, at(6))
    gone(ledger_engine, MEMBER, at(7))
    accept(ledger_engine, ENROLMENT, at(8))
    assert enrolment(ledger_engine) == read(newer, at(6), at(7))
    accept(ledger_engine, newer, at(9))
    assert enrolment(ledger_engine) == read(newer, at(9), None)


def test_a_record_missing_from_a_complete_list_is_gone(ledger_engine: Engine) -> None:
    assert (present(ledger_engine), listed(ledger_engine)) == ([], None)
    accept_list(ledger_engine, [completed(3), completed(1), completed(2)], at(1))
    assert (present(ledger_engine), listed(ledger_engine)) == ([1, 2, 3], at(1))
    accept_list(ledger_engine, [completed(1)], at(2))
    assert (present(ledger_engine), listed(ledger_engine)) == ([1], at(2))
    accept_list(ledger_engine, [], at(3))
    assert (present(ledger_engine), listed(ledger_engine)) == ([], at(3))


def test_a_list_says_nothing_about_the_records_of_another_parent(ledger_engine: Engine) -> None:
    accept_list(ledger_engine, [completed(9, member=MEMBER + 1)], member=MEMBER + 1)
    accept_list(ledger_engine, [completed(1)])
    accept_list(ledger_engine, [])
    assert present(ledger_engine, MEMBER + 1) == [9]


def test_a_list_says_nothing_about_records_of_another_kind(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        parent = ("course_id", COURSE)
        accept_listings(connection, [Listing(Entity.LESSON, parent, [a_lesson(5)], NOW, NOW)])
    accept(ledger_engine, ENROLMENT)
    with writing(ledger_engine) as connection:
        accept_listings(connection, [Listing(Entity.LESSON, parent, [], at(1), at(1))])
        assert present_below(connection, Entity.LESSON, ("course_id", COURSE)) == []
    found = enrolment(ledger_engine)
    assert found is not None
    assert found.gone_at is None


def test_a_record_back_on_the_list_is_there_again(ledger_engine: Engine) -> None:
    accept_list(ledger_engine, [completed(1)], at(1))
    accept_list(ledger_engine, [], at(2))
    accept_list(ledger_engine, [completed(1)], at(3))
    assert present(ledger_engine) == [1]


def test_a_list_requested_earlier_removes_nothing_that_was_created_meanwhile(
    ledger_engine: Engine,
) -> None:
    # One worker asks for the list and is slow; another finds a completion that is newer.
    accept_list(ledger_engine, [completed(1)], minutes(-5))
    accept_list(ledger_engine, [completed(1), completed(2)], at(2), asked_at=at(1))
    accept_list(ledger_engine, [completed(1)], at(3), asked_at=NOW)
    assert present(ledger_engine) == [1, 2]
    accept_list(ledger_engine, [completed(1)], at(5), asked_at=at(4))
    assert present(ledger_engine) == [1]


def test_one_transaction_reads_one_snapshot(ledger_engine: Engine) -> None:
    accept(ledger_engine, ENROLMENT, at(1))
    with reading(ledger_engine) as connection:
        before = record_of(connection, Entity.COURSE_MEMBER, MEMBER)
        at_once(1, lambda _: accept(ledger_engine, replace(ENROLMENT, updated_at=at(5)), at(6)))
        assert record_of(connection, Entity.COURSE_MEMBER, MEMBER) == before
    assert enrolment(ledger_engine) != before


def test_a_version_dated_far_ahead_is_replaced_by_a_later_read(ledger_engine: Engine) -> None:
    ahead = replace(ENROLMENT, updated_at=minutes(60 * 24 * 365), full_name="Ahead")
    later = replace(ENROLMENT, updated_at=minutes(5), full_name="Later")
    with writing(ledger_engine) as connection:
        accept_record(connection, Entity.COURSE_MEMBER, ahead, NOW)
        accept_record(connection, Entity.COURSE_MEMBER, later, minutes(6))
        found = record_of(connection, Entity.COURSE_MEMBER, MEMBER)
    assert found is not None
    assert found.record == later


def test_a_slow_read_never_restores_an_older_version(ledger_engine: Engine) -> None:
    newer = replace(ENROLMENT, updated_at=minutes(4))  # changed after the slow one had asked
    with writing(ledger_engine) as connection:
        accept_record(connection, Entity.COURSE_MEMBER, newer, minutes(5))
        accept_record(connection, Entity.COURSE_MEMBER, ENROLMENT, minutes(3))
        found = record_of(connection, Entity.COURSE_MEMBER, MEMBER)
    assert found is not None
    assert found.record == newer


def shown(record: CourseMember, digest: str) -> SeenVersion:
    return SeenVersion(
        record.record_id,
        record.updated_at,
        digest,
        created_at=record.created_at,
        course_id=record.course_id,
        coworker_id=record.coworker_id,
        full_name=record.full_name,
    )


def see(engine: Engine, *versions: SeenVersion, suppressed: Reason | None = None) -> None:
    with writing(engine) as connection:
        note_seen(connection, Entity.COURSE_MEMBER, versions, NOW, suppressed)


def decide(engine: Engine, record: CourseMember, digest: str, read_at: datetime, upto: int) -> None:
    with writing(engine) as connection:
        accept_record(connection, Entity.COURSE_MEMBER, record, read_at)
        version = shown(record, digest)
        mark_decided(connection, [(Entity.COURSE_MEMBER, version, upto, read_at)])


def changes(engine: Engine, *versions: SeenVersion) -> list[str]:
    with reading(engine) as connection:
        found = unknown_among(connection, Entity.COURSE_MEMBER, versions)
    return [one.digest for one in found]


def refers_to(engine: Engine) -> References:
    with reading(engine) as connection:
        return references_of(connection, Entity.COURSE_MEMBER, MEMBER)


def answered(engine: Engine) -> bool:
    with reading(engine) as connection:
        return is_answered(connection, Entity.COURSE_MEMBER, MEMBER)


def test_a_decision_on_an_older_version_does_not_replace_one_on_a_newer(
    ledger_engine: Engine,
) -> None:
    newer = replace(ENROLMENT, updated_at=at(5))
    with writing(ledger_engine) as connection:
        said = [Notification(Entity.COURSE_MEMBER, MEMBER)]
        store_notifications(connection, said, Origin.HOOK, NOW)
    decide(ledger_engine, newer, "newer", at(6), upto=1)
    decide(ledger_engine, ENROLMENT, "older", at(4), upto=0)  # it was read first, and was slow
    assert changes(ledger_engine, shown(newer, "newer"), shown(ENROLMENT, "older")) == ["older"]
    assert answered(ledger_engine)


def test_a_requested_version_is_a_change_again_after_a_decision_on_another(
    ledger_engine: Engine,
) -> None:
    newer = shown(replace(ENROLMENT, updated_at=at(5)), "newer")
    see(ledger_engine, newer)
    assert changes(ledger_engine, newer) == []
    decide(ledger_engine, ENROLMENT, "older", at(6), upto=0)
    assert changes(ledger_engine, newer) == ["newer"]


def test_a_list_never_restores_a_gone_record_and_its_row_is_a_change(
    ledger_engine: Engine,
) -> None:
    decide(ledger_engine, ENROLMENT, "one", at(1), upto=0)
    gone(ledger_engine, MEMBER, at(2))
    see(ledger_engine, shown(ENROLMENT, "one"))
    found = enrolment(ledger_engine)
    assert found is not None
    assert found.gone_at == at(2)
    assert changes(ledger_engine, shown(ENROLMENT, "one")) == ["one"]
    accept(ledger_engine, ENROLMENT, at(3))
    assert changes(ledger_engine, shown(ENROLMENT, "one")) == []


def test_references_come_from_the_record_read_and_before_that_from_lists(
    ledger_engine: Engine,
) -> None:
    see(ledger_engine, replace(shown(ENROLMENT, "one"), course_id=None))
    assert refers_to(ledger_engine) == References(None, ANA)
    see(ledger_engine, replace(shown(ENROLMENT, "one"), course_id=7, coworker_id=None))
    assert refers_to(ledger_engine) == References(7, ANA)
    assert enrolment(ledger_engine) is None, "it was not read yet"
    accept(ledger_engine, ENROLMENT)
    see(ledger_engine, replace(shown(ENROLMENT, "two"), course_id=8))
    assert refers_to(ledger_engine) == References(COURSE, ANA)


def test_a_read_does_not_clear_what_a_list_showed(ledger_engine: Engine) -> None:
    see(ledger_engine, shown(ENROLMENT, "one"), suppressed=Reason.BEFORE_START)
    accept(ledger_engine, ENROLMENT)
    with reading(ledger_engine) as connection:
        assert count_seen(connection, Entity.COURSE_MEMBER) == 1
        assert name_of_member(connection, ANA) == "Ana Müller"
        [before] = enrolments_before_start(connection, ANA)
    assert (before.course_member_id, before.created_at) == (MEMBER, ENROLMENT.created_at)
    assert changes(ledger_engine, shown(ENROLMENT, "one")) == []


def test_of_a_name_longer_than_an_index_entry_the_beginning_is_kept(ledger_engine: Engine) -> None:
    long = "".join(random.Random(7).choices(string.ascii_letters, k=6_000))  # noqa: S311 - no secret
    row = {"CoworkerId": ANA, "CoworkerFullName": long}
    with writing(ledger_engine) as connection:
        seen = [version_of_row(Entity.COURSE_MEMBER, MEMBER, NOW, row)]
        note_seen(connection, Entity.COURSE_MEMBER, seen, NOW)
    with reading(ledger_engine) as connection:
        assert name_of_member(connection, ANA) == long[:200]


def test_a_listed_member_is_found_by_part_of_the_last_name_in_any_case(
    ledger_engine: Engine,
) -> None:
    def found(part: str) -> list[str]:
        with reading(ledger_engine) as connection:
            return [one.full_name for one in members_by_name(connection, part)]

    see(ledger_engine, replace(shown(ENROLMENT, "one"), full_name="Ana  Müller"))
    assert found("a MÜL") == ["Ana  Müller"]
    see(ledger_engine, replace(shown(ENROLMENT, "two"), full_name="Ana Weiß"))
    assert (found("mül"), found("WEISS")) == ([], ["Ana Weiß"])
    with writing(ledger_engine) as connection:
        renamed = replace(shown(ENROLMENT, "two"), full_name="Ana Öz%")
        update_names(connection, Entity.COURSE_MEMBER, [renamed])
    assert (found("weiss"), found("öZ%"), found("Ö%")) == ([], ["Ana Öz%"], [])
