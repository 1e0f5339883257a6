"""Reports on the real ledger, with a source and a mailer in memory."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from ledger.engine import reading, writing
from ledger.reports import note_report_state
from ledger.tables import reports
from schemas.actions import audience_of
from schemas.settings import MailAddress, Settings, load_settings
from tests.contract.study_rig import LISBON, Space
from workers.actions.email.action import EmailAction
from workers.actions.email.letter import Letters
from workers.actions.email.letterhead import Letterhead
from workers.actions.email.message import read_message
from workers.preference_links import PreferenceLinks
from workers.reports.alerts import AlertState
from workers.reports.plan import plan_reports
from workers.reports.send import send_reports
from workers.reports.situation import ALERTS
from workers.reports.tools import ReportTools

KEY = "a-key-for-hashes"
OPS, BOSS = "ops@example.org", "boss@example.org"
GIVEN = {"COURSEBELL_ZONE": "Europe/Lisbon", "COURSEBELL_OPERATOR_EMAIL": OPS}


@dataclass
class ReportDesk:
    """Plans and sends the reports of a space."""

    space: Space
    settings: Settings = field(default_factory=lambda: load_settings(GIVEN))
    has_mailer: bool = True
    stopping: bool = False

    def __post_init__(self) -> None:
        # The clock of a test is far from that of a database server, which the operator knows.
        state = AlertState({"clocks": 1}).plain
        now = self.space.clock.now()
        with writing(self.space.engine) as connection:
            for one in (OPS, BOSS):
                note_report_state(connection, "trouble", str(audience_of(one)), state, now)

    @property
    def tools(self) -> ReportTools:
        head = Letterhead(
            MailAddress("Rita", "rita@example.org"),
            None,
            None,
            None,
            LISBON,
            PreferenceLinks("https://courses.example.org", KEY),
            KEY,
        )
        mailer = self.space.mailer if self.has_mailer else None
        return ReportTools(
            self.space.engine,
            self.settings,
            self.space.rules,
            EmailAction(Letters(), mailer, head, rate=self.space.rate),
            KEY,
            self.space.lend,
            self.space.clock,
            is_stopping=lambda: self.stopping,
        )

    def given(self, **settings: str) -> None:
        """Change settings."""
        names = {f"COURSEBELL_{name.upper()}": text for name, text in settings.items()}
        self.settings = load_settings(GIVEN | names)

    def work(self) -> None:
        """Plan what is to be reported now, and send what is due."""
        plan_reports(self.tools)
        send_reports(self.tools)

    def at(self, moment: datetime) -> None:
        self.space.clock.time = moment
        self.work()

    @property
    def subjects(self) -> list[str]:
        return [str(mail.message["Subject"]) for mail in self.space.mailer.caught]

    def text(self, number: int = -1) -> str:
        return read_message(self.space.mailer.caught[number].content).text

    def rows(self) -> list[Any]:
        with reading(self.space.engine) as connection:
            return list(connection.execute(select(reports).order_by(reports.c.id)))

    def ends(self) -> list[tuple[str, str, str | None]]:
        """Return name, state and reason of each report."""
        return [(row.name, row.state, row.reason) for row in self.rows()]

    def alerts(self) -> list[tuple[str, str, str | None]]:
        """Return the same of alerts alone."""
        return [one for one in self.ends() if one[0] in ALERTS]
