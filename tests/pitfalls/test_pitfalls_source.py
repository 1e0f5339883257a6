"""The source client with each fault of the source, which the stand-in shows on request.

The numbers are those of the table in docs/source.md.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.engine import Engine, writing
from ledger.records import accept_record
from schemas.entity import PATHS, CoworkerKind, Entity
from schemas.errors import (
    CoursebellError,
    SourceRefused,
    SourceThrottled,
    SourceUnavailable,
)
from schemas.records import CompletedLesson, Course, CourseMember, Coworker, Lesson
from tests.contract.source_rig import (
    Line,
    answer,
    grants,
    line_to,
    reads,
    sqlite_ledger,
    tell_the_truth,
)
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from workers.source.client import Gone, Source, whole_record
from workers.source.http import Transport
from workers.source.reads import probe_all

MEMBERS = f"/api/{PATHS[Entity.COURSE_MEMBER]}"
COMPLETED = f"/api/{PATHS[Entity.COMPLETED_LESSON]}"
COWORKERS = f"/api/{PATHS[Entity.COWORKER]}"
LONG_ENOUGH_S = 61.0  # after which a refused token counts as old, not as a missing right


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Running]:
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as found:
        yield found


@pytest.fixture
def sandbox(stand_in: Running) -> Iterator[Running]:
    stand_in.post("/sandbox/reads/reset")
    yield stand_in
    behave(stand_in)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with sqlite_ledger(tmp_path) as found:
        yield found


@pytest.fixture
def line(sandbox: Running, engine: Engine) -> Iterator[Line]:
    with line_to(sandbox.addresses["api"], engine) as found:
        yield found


@pytest.fixture
def source(line: Line) -> Source:
    return line.source()


@pytest.fixture
def course_id(sandbox: Running) -> int:
    return sandbox.course("Finance")


@pytest.fixture
def member_id(sandbox: Running) -> Iterator[int]:
    found = sandbox.enrol("Joël", "Finance")
    yield found
    behave(sandbox)
    sandbox.post("/sandbox/delete", entity="CourseMember", id=found)


def misbehave(sandbox: Running, name: str, **how: object) -> None:
    """Switch a misbehaviour on, until the test is over."""
    sandbox.post("/sandbox/misbehaviours", name=name, on=True, **how)


def behave(sandbox: Running) -> None:
    """Switch all misbehaviours off."""
    answer = sandbox.web.delete(sandbox.addresses["api"] + "/sandbox/misbehaviours", timeout=10)
    assert answer.status_code == 200


def fetched(source: Source, member_id: int) -> CourseMember:
    found = source.fetch(Entity.COURSE_MEMBER, member_id)
    assert isinstance(found, CourseMember)
    return found


def finish(sandbox: Running, member_id: int) -> int:
    done = sandbox.post("/sandbox/finish-lesson", course_member_id=member_id)
    return int(done["completed_lesson_id"])


@pytest.mark.parametrize("status", [409, 429, 503])
def test_02_throttling_is_a_request_to_slow_down_and_no_conflict(
    line: Line, sandbox: Running, member_id: int, status: int
) -> None:
    misbehave(sandbox, "throttle", status=status, retry_after="7", path=MEMBERS)
    with pytest.raises(SourceThrottled) as caught:
        line.source().fetch(Entity.COURSE_MEMBER, member_id)
    assert caught.value.retry_after_s == 7
    assert line.gate.back_offs == [7]  # shared with all processes


def test_03_every_kind_of_request_honours_it(line: Line, sandbox: Running) -> None:
    source = line.source()
    misbehave(sandbox, "throttle", path="/api", retry_after="3")
    for ask in (
        lambda: source.fetch(Entity.COURSE, 7),
        lambda: source.lessons_of(7),
        lambda: source.several(Entity.COURSE, [7, 8]),
        lambda: list(source.changed_since(Entity.COURSE, datetime.now(UTC))),
        lambda: source.all_of(Entity.LANGUAGE),
    ):
        with pytest.raises(SourceThrottled):
            ask()
    assert line.gate.back_offs == [3] * 5


def test_04_500_for_a_deleted_id_is_gone_and_500_for_all_is_an_outage(
    source: Source, sandbox: Running, member_id: int
) -> None:
    done_id = finish(sandbox, member_id)
    sandbox.post("/sandbox/delete", entity="CourseCompletedLesson", id=done_id)
    misbehave(sandbox, "dead-id-500")
    assert source.fetch(Entity.COMPLETED_LESSON, done_id) == Gone()
    misbehave(sandbox, "outage-500", path="/api/content")
    with pytest.raises(SourceUnavailable):
        source.fetch(Entity.COMPLETED_LESSON, done_id)
    with pytest.raises(SourceUnavailable):
        source.fetch(Entity.COURSE_MEMBER, member_id)


def test_05_a_missing_id_as_a_json_string_is_gone(source: Source) -> None:
    assert source.fetch(Entity.COURSE_MEMBER, 4_242) == Gone()


@pytest.mark.parametrize(
    ("name", "how", "error"),
    [
        ("html-errors", {"status": 200}, SourceUnavailable),
        ("html-errors", {"status": 404}, SourceUnavailable),
        ("html-errors", {"status": 502}, SourceUnavailable),
        ("empty-200", {}, SourceUnavailable),
        ("not-json", {}, SourceUnavailable),
        ("bad-gzip", {}, SourceUnavailable),
        ("truncated-body", {}, SourceUnavailable),
        ("connection-reset", {}, SourceUnavailable),
        ("too-large", {}, SourceRefused),
        ("redirect", {}, SourceRefused),
    ],
)
def test_05_an_unusable_answer_never_counts_as_gone(  # noqa: PLR0913, PLR0917 - a table's columns
    source: Source,
    sandbox: Running,
    member_id: int,
    name: str,
    how: dict[str, object],
    error: type[CoursebellError],
) -> None:
    misbehave(sandbox, name, path="/api/content", **how)
    with pytest.raises(error):
        source.fetch(Entity.COURSE_MEMBER, member_id)
    with pytest.raises(error):
        source.completions_of(member_id)
    behave(sandbox)
    assert fetched(source, member_id).record_id == member_id


def test_05_an_answer_in_another_encoding_than_it_says_is_read_or_refused_but_never_garbled(
    source: Source, sandbox: Running, member_id: int
) -> None:
    whole = fetched(source, member_id)
    assert "ë" in (whole.full_name or "")
    misbehave(sandbox, "wrong-charset", path="/api/content")
    try:
        assert fetched(source, member_id) == whole
    except SourceUnavailable:
        behave(sandbox)
        assert fetched(source, member_id) == whole


@pytest.mark.parametrize("name", ["not-successful-200", "bad-request-says-500"])
def test_06_a_status_that_says_one_thing_and_a_body_another_is_a_refusal(
    source: Source, sandbox: Running, member_id: int, name: str
) -> None:
    misbehave(sandbox, name, path="/api/content")
    with pytest.raises(SourceRefused):
        source.fetch(Entity.COURSE_MEMBER, member_id)


@pytest.mark.parametrize("status", [401, 403])
def test_07_a_missing_role_is_a_refusal_and_causes_no_repeated_sign_ins(
    line: Line, sandbox: Running, member_id: int, status: int
) -> None:
    source = line.source()
    fetched(source, member_id)
    before = grants(sandbox)
    line.clock.move(LONG_ENOUGH_S)
    misbehave(sandbox, "missing-right", entity="CourseMember", status=status)
    for _ in range(4):
        with pytest.raises(SourceRefused):
            source.fetch(Entity.COURSE_MEMBER, member_id)
        line.clock.move(5)
    assert grants(sandbox) - before == (1 if status == 401 else 0)
    assert isinstance(source.fetch(Entity.COURSE, sandbox.course("Finance")), Course)


def test_07_a_role_that_is_missing_for_hours_does_not_cause_a_sign_in_each_minute(
    line: Line, sandbox: Running, member_id: int
) -> None:
    source = line.source()
    fetched(source, member_id)
    before = grants(sandbox)
    misbehave(sandbox, "missing-right", entity="CourseMember")
    for _ in range(30):
        line.clock.move(LONG_ENOUGH_S)
        with pytest.raises(SourceRefused):
            source.fetch(Entity.COURSE_MEMBER, member_id)
    assert grants(sandbox) - before == 1


def test_07_a_granted_role_is_used_at_once_even_if_the_token_was_revoked_meanwhile(
    line: Line, sandbox: Running, member_id: int
) -> None:
    ours, another = line.source(), line.source()
    fetched(ours, member_id)
    misbehave(sandbox, "missing-right", entity="CourseMember")
    line.clock.move(LONG_ENOUGH_S)
    with pytest.raises(SourceRefused):
        ours.fetch(Entity.COURSE_MEMBER, member_id)
    behave(sandbox)
    sandbox.post("/sandbox/tokens/expire")
    line.clock.move(LONG_ENOUGH_S)
    fetched(another, member_id)  # which signs in anew
    before = grants(sandbox)
    fetched(ours, member_id)
    assert grants(sandbox) == before
    # And once it was read, a token that ends is no missing right any more.
    sandbox.post("/sandbox/tokens/expire")
    line.clock.move(LONG_ENOUGH_S)
    fetched(ours, member_id)
    assert grants(sandbox) == before + 1


def test_07_a_refused_password_is_tried_only_once(
    line: Line, sandbox: Running, course_id: int
) -> None:
    misbehave(sandbox, "refuse-sign-in")
    before = grants(sandbox)
    for _ in range(4):
        with pytest.raises(SourceRefused):
            line.source().fetch(Entity.COURSE, course_id)
    assert grants(sandbox) - before == 1


def test_08_a_token_that_another_client_revoked_is_replaced_once(
    line: Line, sandbox: Running, course_id: int
) -> None:
    source = line.source()
    source.fetch(Entity.COURSE, course_id)
    misbehave(sandbox, "kick-out")
    sandbox.sign_in()
    sandbox.post("/sandbox/tokens/expire")
    line.clock.move(LONG_ENOUGH_S)
    before = grants(sandbox)
    for _ in range(3):
        assert isinstance(source.fetch(Entity.COURSE, course_id), Course)
    assert 1 <= grants(sandbox) - before <= 2  # a refresh, and the password if that is refused


@pytest.mark.parametrize("name", ["client-id-header-only", "client-id-field-only"])
def test_08_the_client_id_is_found_wherever_the_source_looks_for_it(
    line: Line, sandbox: Running, course_id: int, name: str
) -> None:
    misbehave(sandbox, name)
    source = line.source()
    before = grants(sandbox)
    source.fetch(Entity.COURSE, course_id)
    line.clock.move(604_799)
    source.fetch(Entity.COURSE, course_id)
    assert grants(sandbox) - before == 2  # the second by refresh: a password would be a third


def test_08_a_refused_refresh_falls_back_to_the_password(
    line: Line, sandbox: Running, course_id: int
) -> None:
    source = line.source()
    source.fetch(Entity.COURSE, course_id)
    misbehave(sandbox, "refuse-refresh")
    line.clock.move(604_799)
    before = grants(sandbox)
    assert isinstance(source.fetch(Entity.COURSE, course_id), Course)
    assert grants(sandbox) - before == 2


def test_09_the_stated_lifetime_of_a_token_is_honoured(
    line: Line, sandbox: Running, course_id: int
) -> None:
    misbehave(sandbox, "short-life", expires_in=600)
    source = line.source()
    before = grants(sandbox)
    source.fetch(Entity.COURSE, course_id)
    line.clock.move(500)
    source.fetch(Entity.COURSE, course_id)
    assert grants(sandbox) - before == 1
    line.clock.move(100)
    source.fetch(Entity.COURSE, course_id)
    assert grants(sandbox) - before == 2


def test_09_a_token_without_a_stated_lifetime_is_not_used_for_hours(
    line: Line, sandbox: Running, course_id: int
) -> None:
    misbehave(sandbox, "no-expires-in")
    source = line.source()
    before = grants(sandbox)
    source.fetch(Entity.COURSE, course_id)
    line.clock.move(3600)
    source.fetch(Entity.COURSE, course_id)
    assert grants(sandbox) - before == 2


def test_10_an_ignored_filter_is_refused_and_not_read_as_everything(
    source: Source, sandbox: Running, member_id: int
) -> None:
    finish(sandbox, member_id)
    misbehave(sandbox, "ignore-filters")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for ask in (
        lambda: source.lessons_of(4_242),
        lambda: source.completions_of(4_242),
        lambda: source.sections_of(4_242),
        lambda: list(source.changed_since(Entity.COURSE_MEMBER, tomorrow)),
        lambda: list(source.changed_since(Entity.COMPLETED_LESSON, tomorrow)),
    ):
        with pytest.raises(SourceRefused, match="ignored the filter"):
            ask()


@pytest.mark.parametrize("name", ["words-for-direction", "ignore-order"])
def test_11_an_ignored_order_loses_no_row(
    source: Source, sandbox: Running, member_id: int, name: str
) -> None:
    since = datetime.now(UTC) - timedelta(minutes=2)
    done = [finish(sandbox, member_id) for _ in range(4)]
    misbehave(sandbox, name)
    misbehave(sandbox, "cut-size", rows=2)
    pages = source.changed_since(Entity.COMPLETED_LESSON, since)
    assert set(done) <= {row.record_id for page in pages for row in page.rows}


def test_11_relations_are_filtered_by_their_name_without_id(
    source: Source, sandbox: Running, member_id: int
) -> None:
    done = finish(sandbox, member_id)
    assert [one.record_id for one in source.completions_of(member_id)] == [done]


def test_12_a_partial_row_is_never_a_record(
    source: Source, sandbox: Running, course_id: int, member_id: int
) -> None:
    whole = source.lessons_of(course_id)
    sandbox.post("/sandbox/reads/reset")
    misbehave(sandbox, "partial-rows", entity="CourseLesson", fields="SectionId,UnlockType")
    assert source.lessons_of(course_id) == whole
    assert sum(f"/{one.record_id}" in path for one in whole for path in reads(sandbox)) == len(
        whole
    )
    misbehave(sandbox, "partial-many", entity="CourseMember", fields="CoworkerFullName")
    [row] = source.several(Entity.COURSE_MEMBER, [member_id])
    assert whole_record(Entity.COURSE_MEMBER, row) is None


def test_12_partial_rows_of_several_ids_are_found_out_by_a_probe(
    source: Source, sandbox: Running, engine: Engine
) -> None:
    now = datetime.now(UTC)
    members = [sandbox.enrol(name, "Ceramics") for name in ("Zoë", "Mara")]
    remember(engine, source, Entity.COURSE_MEMBER, members, now)
    assert probe_all(engine, source, now, anew=True)[Entity.COURSE_MEMBER].holds
    misbehave(sandbox, "partial-many", entity="CourseMember", fields="LastAccess")
    proof = probe_all(engine, source, now, anew=True)[Entity.COURSE_MEMBER]
    assert not proof.holds
    assert "differ" in proof.sentence
    behave(sandbox)
    for way in ("ignored", "404"):
        misbehave(sandbox, "many-by-id-off", way=way)
        assert not probe_all(engine, source, now, anew=True)[Entity.COURSE_MEMBER].holds


def remember(engine: Engine, source: Source, entity: Entity, ids: list[int], now: datetime) -> None:
    for record_id in ids:
        record = source.fetch(entity, record_id)
        assert not isinstance(record, Gone)
        with writing(engine) as connection:
            accept_record(connection, entity, record, now)


def test_13_the_kind_of_a_coworker_is_read_as_a_word_and_as_a_number(
    source: Source, sandbox: Running, member_id: int
) -> None:
    assert fetched(source, member_id).coworker_kind is CoworkerKind.INDIVIDUAL
    misbehave(sandbox, "kind-as-number")
    assert fetched(source, member_id).coworker_kind is CoworkerKind.INDIVIDUAL


def test_14_one_instant_is_one_instant_however_it_is_written(
    source: Source, sandbox: Running, member_id: int
) -> None:
    plain = fetched(source, member_id).created_at
    misbehave(sandbox, "no-zone")
    assert fetched(source, member_id).created_at == plain
    behave(sandbox)
    misbehave(sandbox, "fractions")
    exact = fetched(source, member_id).created_at
    assert exact.replace(microsecond=0) == plain
    assert exact.tzinfo is UTC


def test_25_filter_values_are_encoded(source: Source) -> None:
    rows = source.lists.whole(Entity.COWORKER, {"Coworker_Email": "siobhan+courses@example.org"})
    assert [row["Email"] for row in rows] == ["siobhan+courses@example.org"]
    assert [row["Id"] for row in source.several(Entity.COWORKER, [rows[0]["Id"]])] == [
        rows[0]["Id"]
    ]


def test_31_ids_beyond_32_bits_are_ids(source: Source, sandbox: Running) -> None:
    misbehave(sandbox, "large-ids", first=2**32 + 7)
    member = sandbox.enrol("Zoë", "Finance")
    assert member > 2**32
    assert fetched(source, member).record_id == member


def test_32_a_blocking_firewall_is_an_outage_and_no_missing_role(
    source: Source, sandbox: Running, member_id: int
) -> None:
    misbehave(sandbox, "edge-block", path="/api/content")
    with pytest.raises(SourceUnavailable, match="edge"):
        source.fetch(Entity.COURSE_MEMBER, member_id)


def test_33_a_refused_sign_in_may_be_400_or_401(
    line: Line, sandbox: Running, course_id: int
) -> None:
    for name in ("", "invalid-grant-as-401"):
        if name:
            misbehave(sandbox, name)
        misbehave(sandbox, "refuse-sign-in")
        with pytest.raises(SourceRefused, match="COURSEBELL_NEXUDUS"):
            line.source().fetch(Entity.COURSE, course_id)
        line.clock.move(10_000)


@pytest.mark.parametrize("only", [False, True])
def test_33_a_coworker_is_found_where_either_document_says(
    source: Source,
    sandbox: Running,
    only: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    misbehave(sandbox, "sys-coworkers", only=only)
    person = sandbox.person("Joël")
    assert isinstance(source.fetch(Entity.COWORKER, person), Coworker)
    assert source.fetch(Entity.COWORKER, 4_242) == Gone()


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_33_an_error_at_the_other_path_does_not_change_a_certain_answer(
    source: Source, sandbox: Running, status: int
) -> None:
    answer(
        sandbox, "/api/sys/coworkers", status, body="<html>", headers={"Content-Type": "text/html"}
    )
    try:
        assert source.fetch(Entity.COWORKER, 4_242) == Gone()
    finally:
        tell_the_truth(sandbox)


def test_33_undocumented_fields_and_other_page_sizes_are_accepted(
    source: Source, sandbox: Running, course_id: int, member_id: int
) -> None:
    lessons = [one.record_id for one in source.lessons_of(course_id)]
    done = finish(sandbox, member_id)
    misbehave(sandbox, "other-fields")
    misbehave(sandbox, "cut-size", rows=2)
    assert [one.record_id for one in source.lessons_of(course_id)] == lessons
    assert all(isinstance(one, Lesson) for one in source.lessons_of(course_id))
    assert isinstance(source.fetch(Entity.COMPLETED_LESSON, done), CompletedLesson)


def test_a_list_that_never_ends_is_abandoned(
    source: Source, sandbox: Running, course_id: int
) -> None:
    misbehave(sandbox, "never-ending-list", entity="CourseLesson")
    sandbox.post("/sandbox/reads/reset")
    with pytest.raises(SourceUnavailable, match="does not end"):
        source.lessons_of(course_id)
    assert sum(reads(sandbox).values()) < 5


@pytest.mark.parametrize("way", ["repeat", "skip"])
def test_a_list_that_shifts_while_it_is_read_does_not_make_records_look_deleted(
    source: Source, sandbox: Running, course_id: int, way: str
) -> None:
    whole = {one.record_id for one in source.lessons_of(course_id)}
    misbehave(sandbox, "cut-size", rows=2)
    misbehave(sandbox, "shifting-pages", entity="CourseLesson", way=way)
    try:
        found = {one.record_id for one in source.lessons_of(course_id)}
    except SourceUnavailable:
        return
    assert found == whole


@pytest.mark.parametrize("name", ["slow-headers", "slow-body"])
def test_a_slow_answer_is_abandoned_at_the_deadline(
    line: Line, sandbox: Running, course_id: int, name: str
) -> None:
    misbehave(sandbox, name, path="/api/content", seconds=0.05, bytes=1)
    with closing(Transport(line.base_url, whole_s=0.5)) as hurried:
        with pytest.raises(SourceUnavailable, match="time"):
            hurried.get(f"{PATHS[Entity.COURSE]}/{course_id}", {}, "no-token")
        behave(sandbox)
        assert hurried.get(f"{PATHS[Entity.COURSE]}/{course_id}", {}, "no-token").status == 401
