"""What reports are planned and sent with, and whom they are to."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from ledger.choices import choices_of
from ledger.clock import Clock
from ledger.engine import Connection, Engine, writing
from ledger.people import person_of
from ledger.reports import Report, ReportPlan, renew_report
from schemas.actions import HOST, audience_of
from schemas.choices import Choices
from schemas.rules import Rules
from schemas.settings import Settings
from workers.actions.base import Recipient
from workers.actions.email.action import EmailAction
from workers.deliver.context import not_stopping
from workers.deliver.recipients import keys_of
from workers.leases import KeyedLock, Lease
from workers.reports.situation import FOR_OPERATORS
from workers.source.reads import Lend


@dataclass(frozen=True, slots=True)
class ReportTools:
    """What reports are planned and sent with. `secret_key` is that of address hashes."""

    engine: Engine
    settings: Settings
    rules: Rules
    email: EmailAction
    secret_key: str = field(repr=False)
    lend: Lend
    clock: Clock
    locks: KeyedLock = field(default_factory=KeyedLock)
    is_stopping: Callable[[], bool] = not_stopping

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the space, and of addresses."""
        return ZoneInfo(self.settings.zone)

    @property
    def operators(self) -> dict[str, str]:
        """The addresses of the operators, by how the ledger names them."""
        return _by_audience(self.settings.operator_email)

    def lease_of(self, claimed: Report) -> Lease:
        """Return the lease of a claimed report, to renew while it is sent."""

        def renew() -> bool:
            with writing(self.engine) as connection:
                now, lease_s = self.clock.now(), self.settings.lease_s
                return renew_report(connection, claimed, now, lease_s=lease_s)

        return Lease(renew, self.clock, self.settings.lease_s)

    def reader_of(self, connection: Connection, plan: ReportPlan) -> Recipient | None:
        """Return whom a report is to now; None if the settings or the rules no longer say so."""
        digest = self.rules.digest_named(plan.name)
        if plan.name in FOR_OPERATORS:
            address = self.operators.get(plan.audience)
        elif digest is None:
            return None
        elif plan.audience == HOST:
            person = person_of(connection, plan.coworker_id or 0)
            is_host = digest.is_to_hosts
            usable = person is not None and person.active and person.gone_at is None
            if not is_host or person is None or not usable:
                return Recipient(HOST) if is_host else None
            return Recipient.of(HOST, person)
        else:
            address = _by_audience(digest.to).get(plan.audience)
        return None if address is None else Recipient(plan.audience, address)

    def choices_of(self, connection: Connection, reader: Recipient) -> Choices:
        """Return what a reader chose."""
        return choices_of(connection, keys_of(reader, self.secret_key))


def _by_audience(addresses: Iterable[str]) -> dict[str, str]:
    return {audience_of(one) or "": one for one in addresses if "@" in one}
