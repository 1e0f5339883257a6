"""The whole service with unusual and incomplete records of people.

The number in a test's name is that of the pitfall in the table of docs/source.md.
"""

import base64
import json
from datetime import UTC, datetime

import pytest
import redis

from ledger.choices import address_hash, store_choices
from ledger.engine import open_engine, writing
from schemas.choices import Choice
from tests.e2e.house import NEVER_KEPT, House
from tests.pitfalls.pitfall_house import (
    CALLIGRAPHY,
    CERAMICS,
    FINANCE,
    WELCOME,
    after_a_while,
    behave,
    finish,
    hook,
    is_titled,
    switch_on,
    wait_letters,
)
from tests.servers.programs import wait_until

# Who is greeted how: by a first name that is one, or by none. Never by a title.
GREETINGS = {
    "Joël": ("joel", "Hello Joël,"),  # the salutation says Mr
    "Zoë": ("zoe", "Hello Zoë,"),  # an emoji stands in the name
    "ليلى": ("layla", "مرحبًا ليلى،"),  # from right to left, and Dr
    "נועה": ("noa.levi", "היי נועה,"),
    "Mara": ("office", "Hallo Mara Kontor!"),  # a company
    "Siobhán": ("siobhan", "Hello,"),  # no guessed name; the salutation holds a first name
}


@pytest.mark.parametrize(
    ("name", "address", "greeting"),
    [(name, *how) for name, how in GREETINGS.items()],
    ids=["a title", "an emoji", "Arabic", "Hebrew", "a company", "no guessed name"],
)
def test_23_every_member_is_greeted_by_a_first_name_or_by_none(
    house: House, name: str, address: str, greeting: str
) -> None:
    house.sandbox.enrol(name, CERAMICS)
    [mail] = wait_letters(house, address, CERAMICS, 1)
    _is_greeted(mail, greeting)
    assert "  " not in mail["to"]


@pytest.mark.parametrize("holds", ["title", "first-name"])
def test_23_without_a_guessed_name_no_salutation_takes_its_place(house: House, holds: str) -> None:
    after_a_while(house)
    switch_on(house, "no-guessed-name")
    switch_on(house, "salutation", holds=holds)
    title = {"title": FINANCE, "first-name": CALLIGRAPHY}[holds]
    house.sandbox.enrol("Joël", title)
    house.sandbox.enrol("Zoë", title)
    for address, greeting in (
        ("joel", "مرحبًا،" if title == CALLIGRAPHY else "Hello,"),
        ("zoe", "Hello,"),
    ):
        [mail] = wait_letters(house, address, title, 1)
        _is_greeted(mail, greeting)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("Tomasz", "no-email"), ("Ada", "member-inactive"), ("Priya", "member-inactive")],
    ids=["no address", "not active", "archived"],
)
def test_24_an_unreachable_member_gets_no_email_and_why_has_the_reason(
    house: House, name: str, reason: str
) -> None:
    before = len(house.mails())
    member = house.sandbox.enrol(name, CERAMICS)
    finish(house, member)
    house.wait_idle()
    ended = house.rows(f"SELECT state, reason FROM actions WHERE course_member_id = {member}")
    assert ended == [("skipped", reason)] * 2
    assert f"[{reason}]" in house.run("why", name).stdout
    assert len(house.mails()) == before


def test_24_a_member_without_an_account_gets_emails(house: House) -> None:
    house.sandbox.enrol("Jonas", CERAMICS)
    [mail] = wait_letters(house, "jonas", CERAMICS, 1)
    assert '<html lang="en"' in mail["html"]


@pytest.mark.parametrize(
    ("lacks", "reason", "name", "address"),
    [
        ("email", "no-email", "נועה", "noa.levi"),
        ("active", "member-inactive", "ليلى", "layla"),
        ("not-archived", "member-inactive", "Siobhán", "siobhan"),
    ],
    ids=["address", "active", "not archived"],
)
def test_24_a_member_who_became_unreachable_gets_no_further_email(
    house: House, lacks: str, reason: str, name: str, address: str
) -> None:
    before = len(house.mails(address))
    after_a_while(house)
    switch_on(house, "incomplete-person", lacks=lacks)
    member = house.sandbox.enrol(name, FINANCE)
    house.wait_idle()
    ended = house.rows(f"SELECT state, reason FROM actions WHERE course_member_id = {member}")
    assert ended == [("skipped", reason)]
    assert len(house.mails(address)) == before
    behave(house)
    after_a_while(house)


@pytest.mark.parametrize(
    ("name", "address", "language"),
    [("Lucía", "lucia", "es"), ("Jonas", "jonas", "ar")],
    ids=["as in her account", "without an account, at an Arabic location"],
)
def test_27_an_email_is_in_the_language_of_the_account_else_of_the_location(
    house: House, name: str, address: str, language: str
) -> None:
    house.sandbox.enrol(name, CALLIGRAPHY)
    [mail] = wait_letters(house, address, CALLIGRAPHY, 1)
    assert f'<html lang="{language}"' in mail["html"]
    assert is_titled(mail, WELCOME, CALLIGRAPHY)


def test_27_the_language_of_the_portal_account_is_known_before_an_email_is_written(
    house: House,
) -> None:
    house.sandbox.enrol("Lucía", CERAMICS)
    [mail] = wait_letters(house, "lucia", CERAMICS, 1)
    assert mail["subject"].startswith("Ya tienes plaza: Ceramics")
    known = dict(house.rows("SELECT full_name, language FROM people"))
    assert known["Lucía Íñiguez Peña"] == "es-ES"
    assert known.get("Jonas Weber") is None, "without an account"
    assert "es-ES" not in house.logs()


def test_27_an_opt_out_is_taken_from_our_own_choices(house: House) -> None:
    key = (house.folder / "secret_key").read_text().strip()
    engine = open_engine(house.environment["COURSEBELL_DATABASE_URL"])
    hashed = address_hash("office@kontor.example.org", key)
    with writing(engine) as connection:
        chosen = {"all": Choice(agreed=False, chosen_at=datetime.now(UTC))}
        store_choices(connection, [hashed], chosen)
    engine.dispose()
    before = len(house.mails("office"))
    member = house.sandbox.enrol("Mara", FINANCE)
    house.wait_idle()
    ended = house.rows(f"SELECT state, reason FROM actions WHERE course_member_id = {member}")
    assert ended == [("skipped", "opted-out-all")]
    assert len(house.mails("office")) == before


def test_28_windows_names_behind_numbers_become_iana_zones(
    house: House,
) -> None:
    house.sandbox.enrol("Jonas", FINANCE)
    house.sandbox.enrol("נועה", CALLIGRAPHY)
    house.wait_idle()
    known = dict(house.rows("SELECT full_name, zone FROM people"))
    assert known["Jonas Weber"] == "Europe/Berlin"
    assert known["נועה לוי"] == "Asia/Jerusalem"


def test_28_an_unknown_zone_delays_no_email_and_keeps_the_known_one(
    house: House,
) -> None:
    after_a_while(house)
    tomasz = house.sandbox.person("Tomasz")
    fields = {"SimpleTimeZoneId": 999_999, "Email": "tomasz@example.org"}
    house.sandbox.post("/sandbox/change", entity="Coworker", id=tomasz, fields=fields)
    house.sandbox.enrol("Tomasz", CALLIGRAPHY)
    wait_letters(house, "tomasz", CALLIGRAPHY, 1)
    zone = house.rows(f"SELECT zone FROM people WHERE coworker_id = {tomasz}")
    assert zone in ([("Europe/Berlin",)], [(None,)])  # as it was known before, if it was


def test_26_personal_data_that_is_not_needed_is_neither_stored_nor_sent(house: House) -> None:
    after_a_while(house)
    house.sandbox.sign_in()
    person = house.sandbox.person("Mara")
    record = house.sandbox.get(f"/api/spaces/coworkers/{person}").json()
    secrets = [one for one in record.values() if NEVER_KEPT in str(one)]
    assert len(secrets) > 5
    for route in ("/hooks/nexudus?resource=Coworker", "/hooks/nexudus"):
        assert hook(house, route, [record]) == {"accepted": 1}  # as CoworkerUpdate would bring it
    finish(house, house.sandbox.enrol("Siobhán", CALLIGRAPHY))
    wait_letters(house, "siobhan", CALLIGRAPHY, 2)
    assert NEVER_KEPT not in house.logs()
    for kept in (path for path in house.folder.rglob("*") if path.is_file()):
        assert NEVER_KEPT.encode() not in kept.read_bytes(), kept.name
    for mail in house.mails():
        raw = house.sandbox.get(f"/sandbox/mails/{mail['number']}.eml").text
        assert NEVER_KEPT not in raw + mail["text"] + mail["html"]


def test_26_messages_in_the_broker_have_no_personal_data(house: House) -> None:
    house.end("worker")
    house.end("clock")
    try:
        with redis.Redis.from_url(house.broker.url) as broker:
            house.sandbox.enrol("Mara", CALLIGRAPHY)
            wait_until(lambda: "lookup.drain" in _kept_by(broker), "a message in the queue")
            kept = _kept_by(broker)
    finally:
        house.start("worker", "clock")
    for text in (NEVER_KEPT, "office@kontor", "Kontor"):
        assert text not in kept


def _is_greeted(mail: dict[str, str], greeting: str) -> None:
    lines = mail["text"].replace("\u2068", "").replace("\u2069", "").splitlines()
    assert lines[2] == greeting
    whole = mail["text"] + mail["html"] + mail["subject"]
    for title in ("Dear", "Mr ", "Dr ", "None", "Hello ,"):
        assert title not in whole


def _kept_by(broker: redis.Redis) -> str:
    """Return all that the broker holds, the bodies of messages in clear."""
    kept = []
    for key in broker.scan_iter():
        kind = broker.type(key)
        if kind == b"list":
            kept += [_in_clear(one) for one in broker.lrange(key, 0, -1)]
        elif kind == b"hash":
            kept.append(str(broker.hgetall(key)))
        elif kind == b"string":
            kept.append(str(broker.get(key)))
    return " ".join(kept)


def _in_clear(message: bytes | str) -> str:
    sent = json.loads(message)
    if not isinstance(sent, dict):
        return str(sent)  # a moment, of those who count requests
    return f"{sent} {base64.b64decode(sent['body']).decode()}"
