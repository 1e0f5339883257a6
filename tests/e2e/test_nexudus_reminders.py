"""What Nexudus itself sent counts for reminders, over HTTP; nothing of its text is kept."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ledger.choices import address_hash, store_choices
from ledger.engine import open_engine, writing
from schemas.choices import Choice
from schemas.entity import PATHS, Entity
from tests.e2e.house import NEVER_KEPT, House, open_house
from tests.servers.programs import wait_until

RULES = """
version: 1
timing:
  {quiet_hours: none, spread: none, flood: none, cap_per_day: none, count_nexudus: true}
rules:
  - {name: hi, event: enrolled, action: email, template: welcome}
  - {name: start, event: not_started, action: email, template: not-started, after: 1s, send: none}
"""
MESSAGES = f"/api/{PATHS[Entity.MESSAGE]}"
ADDRESSES = {"Joël": "joel.nunez@example.org", "Zoë": "zoe.brandt@example.org"}


def agree(house: House, *names: str) -> None:
    key = (house.folder / "secret_key").read_text().strip()
    engine = open_engine(house.environment["COURSEBELL_DATABASE_URL"])
    with writing(engine) as connection:
        for name in names:
            hashed = address_hash(ADDRESSES[name], key)
            chosen = {"reminder": Choice(agreed=True, chosen_at=datetime.now(UTC))}
            store_choices(connection, [hashed], chosen)
    engine.dispose()


def test_a_reminder_of_nexudus_replaces_ours_and_its_text_is_kept_nowhere(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    with open_house(tmp_path, COURSEBELL_RULES=str(rules)) as house:
        agree(house, *ADDRESSES)
        people = {name: house.sandbox.person(name) for name in ADDRESSES}
        house.sandbox.post("/sandbox/message", coworker_id=people["Joël"], reminder=True)
        house.sandbox.post("/sandbox/message", coworker_id=people["Zoë"])
        house.sandbox.post("/sandbox/message", coworker_id=people["Zoë"], incoming=True)
        # A time ahead counts as when it is found, so the reminder is due a second after that.
        ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        members = [house.sandbox.enrol(name, "Freelance Finance", at=ahead) for name in ADDRESSES]

        def both_reminders() -> bool:
            if house.is_idle():  # read again, so that a timer that is due is noticed
                house.relay(*({"entity": "CourseMember", "id": one} for one in members))
            return house.rows("SELECT count(*) FROM actions WHERE rule = 'start'") == [(2,)]

        wait_until(both_reminders, f"both reminders planned; {house.tail()}")
        house.wait_idle()
        ended = house.rows(
            "SELECT coworker_id, state, reason FROM actions WHERE rule = 'start' ORDER BY 2"
        )
        assert ended == [
            (people["Zoë"], "done", None),
            (people["Joël"], "skipped", "nexudus-reminded"),
        ]
        assert len(house.mails("zoe")) == 2
        assert len(house.mails("joel")) == 1
        assert house.sandbox.get("/sandbox/reads").json()["by_path"][MESSAGES] == 2
        kept = b"".join(path.read_bytes() for path in house.folder.glob("ledger.db*"))
        assert NEVER_KEPT.encode() not in kept
        assert NEVER_KEPT not in house.logs()
        checks = json.loads(house.run("doctor", "--json").stdout)["checks"]
        assert [one["verdict"] for one in checks if one["name"] == "CoworkerMessage-List"] == ["ok"]
