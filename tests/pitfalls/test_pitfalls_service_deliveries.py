"""The whole service with faulty deliveries.

The number in a test's name is that of the pitfall in the table of docs/source.md.
"""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from schemas.records import ACTION_NAMES
from tests.e2e.house import House
from tests.house.source_tree import modules
from tests.pitfalls.pitfall_house import (
    CALLIGRAPHY,
    CERAMICS,
    COMPLETED,
    FINANCE,
    MEMBERS,
    behave,
    finish,
    hook,
    hooks_of,
    letters,
    signed,
    switch_on,
    tries,
    wait_letters,
)

OTHER_LOCATION_ID = 1_416_000_003


def test_01_without_webhooks_about_courses_a_relay_is_enough(
    house: House,
) -> None:
    switch_on(house, "no-deliveries")
    member = house.sandbox.enrol("Joël", FINANCE)
    completed = finish(house, member)
    house.wait_idle()
    assert tries(house, member) + tries(house, completed) == []
    assert letters(house, "joel", FINANCE) == []
    reported = house.relay(
        {"entity": "CourseMember", "id": member},
        {"entity": "CourseCompletedLesson", "id": completed},
    )
    assert (reported.status_code, reported.json()) == (202, {"accepted": 2})
    wait_letters(house, "joel", FINANCE, 2)


def test_01_a_new_course_webhook_is_noticed_and_accepted(house: House) -> None:
    switch_on(house, "course-actions")
    noticed = " ".join(house.run("doctor").stdout.split())
    assert "Nexudus has webhooks about courses now: CourseMemberCreate" in noticed
    member = house.sandbox.enrol("Joël", CERAMICS, deliver=False)
    whole = {"Id": member, "CourseId": 1, "CoworkerId": 2, "CoworkerFullName": "Joël Núñez"}
    answer = hook(house, "/hooks/nexudus?action_name=CourseMemberCreate", [whole])
    assert answer == {"accepted": 1}
    wait_letters(house, "joel", CERAMICS, 1)


def test_15_local_times_marked_as_utc_are_not_used(house: House) -> None:
    switch_on(house, "local-times-in-deliveries", zone="Asia/Dubai")
    evening = "2026-01-05T21:30:00Z"  # the day after in Dubai
    member = house.sandbox.enrol("ليلى", FINANCE, at=evening)
    house.sandbox.post("/sandbox/finish-course", course_member_id=member, at=evening)
    house.wait_idle()
    [(said,)] = house.rows(
        "SELECT d.body FROM deliveries d JOIN notifications n ON n.delivery_id = d.id "
        f"WHERE n.record_id = {member} ORDER BY d.id LIMIT 1"
    )
    assert json.loads(said)[0]["CreatedOn"].startswith("2026-01-06T01:30:00")
    happened = house.rows(
        f"SELECT DISTINCT happened_at FROM events WHERE course_member_id = {member}"
    )
    assert happened == [("2026-01-05 21:30:00.000000",)]
    reported = json.loads(house.run("why", "layla.haddad@example.org", "--json").stdout)
    assert {one["happened_at"][:16] for one in reported[0]["events"]} == {"2026-01-05T21:30"}


def test_15_the_day_an_email_names_is_that_of_the_record(house: House) -> None:
    home = ZoneInfo("Europe/Berlin")
    now = datetime.now(UTC)
    # Where it is another day by now: one of both always is, seen from Berlin.
    false_day, zone = next(
        (pretended.astimezone(home).date(), zone)
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago")
        for pretended in [now.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC)]
        if pretended.astimezone(home).date() != now.astimezone(home).date()
    )
    switch_on(house, "local-times-in-deliveries", zone=zone)
    member = house.sandbox.enrol("Siobhán", CERAMICS)
    house.sandbox.post("/sandbox/finish-course", course_member_id=member)
    house.wait_idle()
    found = letters(house, "siobhan", CERAMICS)
    [end] = [mail for mail in found if mail["subject"].startswith("You finished “Ceramics")]
    text = " ".join(end["text"].split())
    assert f"on {now.astimezone(home):%-d %B %Y}" in text
    assert f"{false_day:%-d %B %Y}" not in text


@pytest.mark.parametrize(
    ("name", "title", "route", "shape"),
    [
        ("Joël", CALLIGRAPHY, MEMBERS, "array"),
        ("נועה", FINANCE, MEMBERS, "bare"),
        ("נועה", CERAMICS, "/hooks/nexudus?resource=CourseMember", "array"),
        ("נועה", CALLIGRAPHY, "/hooks/nexudus?action_name=Some&resource=coursemembers", "bare"),
    ],
    ids=["array by path", "bare by path", "array by resource", "bare by resource"],
)
def test_16_a_body_without_action_or_time_is_recognised_by_its_address(
    house: House, name: str, title: str, route: str, shape: str
) -> None:
    member = house.sandbox.enrol(name, title, deliver=False)
    hook(house, route, [{"Id": member}] if shape == "array" else {"Id": member})
    wait_letters(house, {"Joël": "joel", "נועה": "noa.levi"}[name], title, 1)


def test_16_a_bare_record_is_accepted_and_leads_to_the_email(
    house: House,
) -> None:
    switch_on(house, "bare-object-deliveries")
    member = house.sandbox.enrol("Jonas", FINANCE)
    completed = finish(house, member)
    wait_letters(house, "jonas", FINANCE, 2)
    assert {one["status"] for one in tries(house, member) + tries(house, completed)} == {202}


def test_16_a_body_without_any_id_is_kept_and_answered_2xx(house: House) -> None:
    for route in (MEMBERS, COMPLETED, "/hooks/nexudus", "/hooks/nexudus?resource=CourseMember"):
        assert hook(house, route, [{"CourseId": 1, "CoworkerId": 2}]) == {"accepted": 0}


@pytest.mark.parametrize(
    ("form", "title"),
    [("raw", FINANCE), ("utf16-units", CERAMICS), ("code-points", CALLIGRAPHY)],
    ids=["raw", "utf16-units", "code-points"],
)
def test_17_a_name_with_accent_and_emoji_verifies_in_every_form_and_leads_to_an_email(
    house: House, form: str, title: str
) -> None:
    switch_on(house, "signature-form", form=form)
    member = house.sandbox.enrol("Zoë", title)
    wait_letters(house, "zoe", title, 1)
    assert {one["status"] for one in tries(house, member)} == {202}
    kept = house.rows(
        "SELECT DISTINCT d.signature_form FROM deliveries d "
        f"JOIN notifications n ON n.delivery_id = d.id WHERE n.record_id = {member}"
    )
    assert kept == [(form,)]


def test_17_a_tampered_delivery_is_401_and_is_not_kept(house: House) -> None:
    before = house.rows("SELECT count(*) FROM deliveries")
    body = '[{"Id": 1416100000, "CoworkerFullName": "Zoë 🎓"}]'.encode()
    tampered = body.replace(b"1416100000", b"1416100001")
    assert house.post(MEMBERS, tampered, signed(body)).status_code == 401
    for form in ("wrong", "none"):
        switch_on(house, "signature-form", form=form)
        member = house.sandbox.enrol(
            "Mara", CERAMICS if form == "wrong" else FINANCE, deliver=False
        )
        record = {"entity": "CourseMember", "id": member, "times": 2}
        assert house.sandbox.post("/sandbox/deliver", **record)["statuses"] == [401, 401]
    assert house.rows("SELECT count(*) FROM deliveries") == before


def test_19_a_relay_reports_changes_of_a_location_without_webhooks(
    house: House,
) -> None:
    switch_on(house, "hooks-for-one-location", business_id=OTHER_LOCATION_ID)
    unreported = house.sandbox.enrol("Jonas", CERAMICS)
    reported = house.sandbox.enrol("Jonas", CALLIGRAPHY)
    wait_letters(house, "jonas", CALLIGRAPHY, 1)
    assert {one["status"] for one in tries(house, reported)} == {202}
    assert tries(house, unreported) == []
    assert letters(house, "jonas", CERAMICS) == []
    house.relay({"entity": "CourseMember", "id": unreported})
    wait_letters(house, "jonas", CERAMICS, 1)


@pytest.mark.parametrize(
    ("ways", "name", "address", "title"),
    [
        ({"duplicate-deliveries": {"times_each": 3}}, "Mara", "office", CALLIGRAPHY),
        ({"late-deliveries": {"seconds": 0.5, "jitter": 0.5}}, "ليلى", "layla", CALLIGRAPHY),
        (
            {"out-of-order-deliveries": {"together": 3, "seconds": 1.0}},
            "Siobhán",
            "siobhan",
            FINANCE,
        ),
        (
            {
                "duplicate-deliveries": {"times_each": 2},
                "late-deliveries": {"seconds": 0.2, "jitter": 0.5},
                "out-of-order-deliveries": {"together": 4, "seconds": 1.0},
            },
            "Siobhán",
            "siobhan",
            CALLIGRAPHY,
        ),
    ],
    ids=["twice and more", "late", "backwards", "all of it"],
)
def test_20_changes_delivered_twice_late_or_out_of_order_are_emailed_about_once(
    house: House, ways: dict[str, dict[str, object]], name: str, address: str, title: str
) -> None:
    for way, parameters in ways.items():
        switch_on(house, way, **parameters)
    member = house.sandbox.enrol(name, title)
    completed = finish(house, member)
    wait_letters(house, address, title, 2)
    least = 2 if "duplicate-deliveries" in ways else 1
    assert len(tries(house, completed)) >= least
    events = house.rows(f"SELECT kind FROM events WHERE course_member_id = {member} ORDER BY kind")
    assert events == [("course_started",), ("enrolled",), ("lesson_completed",)]


def test_22_misspelt_names_of_the_source_are_used_as_they_are(house: House) -> None:
    house.sandbox.sign_in()
    items = house.sandbox.get("/api/utils/enums", {"name": "eWebhookAction"}).json()
    ours = list(enumerate(ACTION_NAMES, 1))
    assert [(item["Id"], item["Name"]) for item in items] == ours
    assert (45, "HelDeskMessageCreated") in ours
    assert not any("HelpDeskMessageCreated" in name for _, name in ours)


def test_22_no_other_misspelt_name_is_used() -> None:
    slips = ("CaneBeUsed", "Elegible", "Precission", "Plaform", "Estimaged")
    assert [(path, slip) for path, _, text in modules() for slip in slips if slip in text] == []


def test_18_afterwards_no_webhook_has_counted_a_failure(house: House) -> None:
    behave(house)
    house.wait_idle()
    assert hooks_of(house) == [(True, 0), (True, 0)]
