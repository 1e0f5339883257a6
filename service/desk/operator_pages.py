"""What all views of the operators' pages share."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ledger.clock import Clock
from ledger.engine import Engine
from schemas.settings import Settings
from service.desk.counting import numbers_look
from service.desk.drafts import ReportDrafts
from service.desk.frame import DeskFrame
from service.desk.inquiries import Inquiries
from service.desk.languages import FOLDER
from service.desk.lately import SentLately
from service.desk.past_player import PastPlayer
from service.desk.pictures import KeptPictures
from service.desk.sign_in_flow import ProviderSignIns
from service.desk.state import RulesNow
from service.desk.trial_sender import TrialSender
from service.desk.trouble import ConditionWatch, returned_look
from service.limits import AddressLimit

MOST_WRONG = 10  # passwords in a minute


class OperatorPages:
    """What all views share. `wake` wakes workers after something became due.

    `locales` has the catalogues of the pages' languages, if they are not those of this package.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        clock: Clock,
        wake: Callable[[], object],
        locales: Path | None = None,
    ) -> None:
        self.settings = settings
        self.locales = locales or FOLDER
        self.engine = engine
        self.clock = clock
        self.wake = wake
        self.frame = DeskFrame(settings)
        self.watch = ConditionWatch(settings, engine, clock)
        self.returned = returned_look(settings, engine, clock)
        self.rules = RulesNow(settings, clock)
        self.inquiries = Inquiries(clock)
        self.past = PastPlayer(engine, clock)
        self.wrong_addresses = AddressLimit(clock, MOST_WRONG)
        self.wrong_names = AddressLimit(clock, MOST_WRONG)
        # Of operators who signed in there before.
        self.wrong_browsers = AddressLimit(clock, MOST_WRONG)
        self.sign_ins = ProviderSignIns(settings, engine, clock)
        self.is_public = settings.public_url.startswith("https://")
        self.sent_lately = SentLately(engine, clock)
        self.trials = TrialSender(clock)
        self.numbers = numbers_look(engine, clock, self.rules, self.frame.zone)
        self.pictures = KeptPictures()
        # The summary is shown as to this address as long as nobody gets it.
        mailing = settings.operator_email or ("you@example.org",)
        self.drafts = ReportDrafts(replace(settings, operator_email=mailing), engine, clock)

    def close(self) -> None:
        """Wait for what is done in the background, which uses the ledger."""
        self.watch.close()
        self.returned.close()
        self.past.close()
        self.numbers.close()
        self.drafts.close()
