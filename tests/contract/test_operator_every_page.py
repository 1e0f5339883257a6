"""Every page of operators opens on PostgreSQL too; other tests have them on SQLite."""

import re
from pathlib import Path

import pytest

from ledger.engine import writing
from ledger.pauses import PauseScope, begin_pause
from ledger.tables import actions
from schemas.actions import Mode
from service.desk.routes import ROUTES
from tests.builders.records import COURSE_ID
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import LINK_TOKEN, over

pytestmark = [pytest.mark.engines("postgres"), pytest.mark.usefixtures("engine_name")]
PLACES = {
    "coworker_id": "1",
    "action_id": "1",
    "event_id": "1",
    "pause_id": "1",
    "course_id": str(COURSE_ID),
    "reason": "too-old",
    "name": "welcome",
    "token": LINK_TOKEN,
}
QUERIES = {
    "/": ("before=2", "kind=enrolled"),
    "/people": ("q=person", "q=@example", "q=MÜLLER_%", "q=nobody@example.org", "course=7"),
    "/pause": ("person=1",),
}


def test_every_page_opens(desk: Desk, tmp_path: Path) -> None:
    desk.space.enrol(1)
    desk.space.work()
    for number in (2, 3, 4):
        desk.space.enrol(number)
    desk.space.look_up()
    now = desk.space.clock.now()
    with writing(desk.space.engine) as connection:
        for number, reason in ((2, "too-old"), (3, "paused")):
            is_this = actions.c.id == number
            connection.execute(actions.update().where(is_this).values(state="held", reason=reason))
        begin_pause(connection, PauseScope.ALL, None, until=None, note=None, who="a", now=now)
    with over(desk, tmp_path, COURSEBELL_SMTP_URL="smtp://127.0.0.1:9") as office:
        browser = office.signed_in()
        office.add("Mina Park")
        office.link("Mina Park")
        paths = [
            re.sub(r"<(?:int:)?(\w+)>", lambda found: PLACES[found[1]], one.path)
            for one in ROUTES
            if one.method == "GET"
        ]
        paths += [f"/numbers/pictures/{name}" for name in ("emails", "hours", "courses")]
        paths += [f"{path}?{query}" for path, several in QUERIES.items() for query in several]
        answers = {path: browser.get(path).status_code for path in paths}
        assert {path: code for path, code in answers.items() if code >= 500} == {}
        assert sum(code == 200 for code in answers.values()) > 30
        desk.space.choose(Mode.OBSERVE)
        for path in ("/", "/start", "/start/sending", "/held/observe"):
            assert browser.get(path).status_code == 200
