"""Every kind of record, read by Id and as a row, and the ways the built-in world is uneven."""

import pytest

from sandbox.records import MARKED_SECRET
from schemas.entity import PATHS, Entity
from schemas.records import Message, Section, TimeZone, User, WebHook, load_record
from tests.sandbox.sandbox_rig import Receiver, Running, until
from tests.sandbox.switch_rig import COURSES, COWORKERS, rows


def test_every_kind_is_read_by_id_and_in_a_list(sandbox: Running) -> None:
    sandbox.sign_in()
    member = sandbox.enrol("Joël", "Finance")
    sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    sandbox.post("/sandbox/message", coworker_id=sandbox.person("Joël"))
    for entity in Entity:
        first, *_ = rows(sandbox, f"/api/{PATHS[entity]}")
        whole = sandbox.get(f"/api/{PATHS[entity]}/{first['Id']}").json()
        assert load_record(entity, whole).record_id == first["Id"]
        assert set(first) <= set(whole)


def test_messages_are_listed_by_person_and_from_a_time_with_what_was_said(shared: Running) -> None:
    joel, zoe = shared.person("Joël"), shared.person("Zoë")
    written = {
        at: shared.post("/sandbox/message", coworker_id=who, at=f"2026-03-0{at}T09:00Z", **more)
        for at, who, more in (
            (1, joel, {}),
            (2, joel, {"reminder": True}),
            (3, zoe, {}),
            (4, joel, {"incoming": True}),
        )
    }
    found = rows(
        shared,
        f"/api/{PATHS[Entity.MESSAGE]}",
        CoworkerMessage_Coworker=joel,
        from_CoworkerMessage_CreatedOn="2026-03-02T09:00",
        orderBy="CreatedOn",
        dir=-1,
    )
    assert [row["Id"] for row in found] == [written[at]["message_id"] for at in (4, 2)]
    loaded = [load_record(Entity.MESSAGE, row) for row in found]
    kinds = [(one.incoming, one.is_reminder) for one in loaded if isinstance(one, Message)]
    assert kinds == [(True, False), (False, True)]
    assert all(MARKED_SECRET in row["Subject"] and MARKED_SECRET in row["Body"] for row in found)


def test_lessons_in_a_section_taken_out_do_not_count(shared: Running) -> None:
    [course] = [one for one in shared.get("/sandbox/courses").json() if "الخط" in one["title"]]
    assert [lesson["counts"] for lesson in course["lessons"]] == [True, True, False]
    sections = rows(shared, "/api/content/coursesections", CourseSection_Course=course["id"])
    loaded = [load_record(Entity.SECTION, row) for row in sections]
    assert [one.active for one in loaded if isinstance(one, Section)] == [True, False]
    member = shared.enrol("Joël", "الخط")
    done = shared.post("/sandbox/finish-course", course_member_id=member)
    assert len(done["lesson_ids"]) == 2
    closed = next(row["Id"] for row in sections if not row["Active"])
    shared.post("/sandbox/change", entity="CourseSection", id=closed, fields={"Active": True})
    done = shared.post("/sandbox/finish-course", course_member_id=member)
    assert len(done["lesson_ids"]) == 1


def test_two_locations_have_their_own_zone_language_and_courses(shared: Running) -> None:
    places = [
        shared.get(f"/api/sys/businesses/{row['Id']}").json()
        for row in rows(shared, "/api/sys/businesses")
    ]
    assert [place["SpaceWebsiteLanguageCulture"] for place in places] == ["en-GB", "ar"]
    zones = [
        load_record(
            Entity.TIME_ZONE,
            shared.get(f"/api/sys/simpletimezones/{place['SimpleTimeZoneId']}").json(),
        )
        for place in places
    ]
    names = [zone.name for zone in zones if isinstance(zone, TimeZone)]
    assert names == ["W. Europe Standard Time", "Arabian Standard Time"]
    assert [len(rows(shared, COURSES, Course_Business=place["Id"])) for place in places] == [2, 1]


@pytest.mark.parametrize(
    ("name", "culture"),
    [
        ("ليلى", "ar"),
        ("נועה", "he"),
        ("Mara", "de-DE"),
        ("Lucía", "es-ES"),
        ("Joël", None),
    ],
)
def test_an_account_has_a_language_or_none(shared: Running, name: str, culture: str | None) -> None:
    coworker = shared.get(f"{COWORKERS}/{shared.person(name)}").json()
    user = load_record(Entity.USER, shared.get(f"/api/sys/users/{coworker['UserId']}").json())
    assert isinstance(user, User)
    if culture is None:
        assert user.preferred_language_id is None
    else:
        language = shared.get(f"/api/sys/languages/{user.preferred_language_id}").json()
        assert language["Culture"] == culture


def test_some_people_lack_an_account_a_name_or_an_address(shared: Running) -> None:
    people = {row["FullName"]: row for row in rows(shared, COWORKERS, size=100)}
    assert people["Jonas Weber"]["UserId"] is None
    assert people["Priya Raman"]["Archived"] is True
    assert {row["Salutation"] for row in people.values()} == {None, "Mr", "Dr", "Siobhán"}
    # Unescaped, a plus sign is a blank.
    found = rows(shared, COWORKERS, Coworker_Email="siobhan+courses@example.org")
    assert [row["GuessedFirstName"] for row in found] == [None]
    address = f"{COWORKERS}?Coworker_Email=siobhan+courses@example.org"
    assert shared.get(address).json()["TotalItems"] == 0


def test_a_hooks_record_follows_what_the_hook_does(sandbox: Running, receiver: Receiver) -> None:
    sandbox.sign_in()

    def ours() -> WebHook:
        [row] = rows(sandbox, "/api/sys/webhooks", WebHook_URL=f"{receiver.url}{path}")
        found = load_record(Entity.WEB_HOOK, row)
        assert isinstance(found, WebHook)
        return found

    path = "/hooks/nexudus/course-members"
    assert (ours().active, ours().error_count, ours().last_trigger_at) == (True, 0, None)
    receiver.status = 500
    sandbox.enrol("Joël", "Finance")
    until(lambda: not ours().active)
    assert (ours().error_count, ours().last_error) == (10, "HTTP 500")
    assert ours().last_trigger_at is not None
    failing = rows(sandbox, "/api/sys/webhooks", from_WebHook_ErrorCount=1)
    assert [row["Id"] for row in failing] == [ours().record_id]
    fields = {"Active": True}
    sandbox.post("/sandbox/change", entity="WebHook", id=ours().record_id, fields=fields)
    assert (ours().active, ours().error_count) == (True, 0)
    assert [row["Action"] for row in rows(sandbox, "/api/sys/webhooks")] == [1, 1, 45]
