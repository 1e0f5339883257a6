"""Creates everything that a process works with, once per process and after any fork."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pkgutil import resolve_name
from zoneinfo import ZoneInfo

from ledger.clock import SYSTEM_CLOCK, Clock
from ledger.engine import Engine, open_engine
from schemas.rules import Rules
from schemas.settings import Settings
from workers.actions.email.smtp import signer_of
from workers.actions.registry import action_classes, email_action, make_actions
from workers.completion_certificate.issue import PDF
from workers.deliver.context import DeliveryTools, SendSetup, not_stopping
from workers.leases import KeyedLock
from workers.lookup.batch import LookupContext
from workers.lookup.commit import DecisionSetup
from workers.reports.tools import ReportTools
from workers.rules_file import read_rules
from workers.secret_key import secret_key
from workers.source.budget import Budget, make_budget
from workers.source.client import Sources, make_sources
from workers.source.limits import read_limits, threads_for
from workers.sync.backfill import backfill_gap
from workers.sync.rows import SyncContext
from workers.sync.webhooks import WebhookHealth
from workers.wakeup import Wakeup


@dataclass(frozen=True, slots=True)
class Context:
    """What one process works with."""

    engine: Engine
    clock: Clock
    lookup_context: LookupContext
    delivery: DeliveryTools
    wakeup: Wakeup
    sources: Sources
    budget: Budget
    sync: SyncContext
    webhooks: WebhookHealth
    reports: ReportTools

    def close(self) -> None:
        """Close connections and threads."""
        self.wakeup.close()
        self.sources.close()
        self.budget.close()
        self.engine.dispose()


@dataclass(frozen=True, slots=True)
class SharedConfig:
    """What is read from files once, before any fork. Later edits have no effect."""

    rules: Rules
    secret_key: str = field(repr=False)


def read_shared_config(settings: Settings) -> SharedConfig:
    """Return the rules and the secret key, which all workers share.

    Raises:
        ConfigurationError: every mistake in the rules, a file that cannot be read or written, or a
            key for signing emails that cannot be used.
    """
    action_classes()  # imported here once, for all processes that are forked later
    signer_of(settings)
    rules = read_rules(settings)
    if rules.has_certificates():
        resolve_name(PDF)
    return SharedConfig(rules, secret_key(settings))


def make_context(
    settings: Settings,
    shared_config: SharedConfig,
    *,
    clock: Clock = SYSTEM_CLOCK,
    is_stopping: Callable[[], bool] = not_stopping,
) -> Context:
    """Return the context for these settings. For `is_stopping` see `DeliveryTools`.

    Raises:
        LedgerUnavailable: the ledger's file cannot be created.
    """
    engine = open_engine(settings.database_url)
    rules = shared_config.rules
    zone = ZoneInfo(settings.zone)
    budget = make_budget(settings, clock)
    sources = make_sources(settings, engine, clock, budget)
    locks = KeyedLock()
    sync = SyncContext(engine, sources.lend, clock, settings.check_every_s, settings.lease_s)
    key = shared_config.secret_key
    actions = make_actions(replace(settings, secret_key=key))
    setup = SendSetup(rules, zone, key, actions, language=settings.language)
    return Context(
        engine,
        clock,
        LookupContext(
            engine,
            sources.lend,
            DecisionSetup(rules, zone),
            clock,
            settings.lease_s,
            locks,
            is_stopping,
            threads_for(read_limits(settings.nexudus_limits)),
        ),
        DeliveryTools(engine, setup, clock, settings.lease_s, locks, is_stopping),
        Wakeup(settings.broker_url, clock),
        sources,
        budget,
        sync,
        WebhookHealth(
            engine,
            sources.lend,
            clock,
            settings.public_url,
            settings.hooks_reenable,
            partial(backfill_gap, sync),
            clock.now(),
        ),
        make_report_tools(settings, shared_config, sync, is_stopping),
    )


def make_report_tools(
    settings: Settings,
    shared_config: SharedConfig,
    sync: SyncContext,
    is_stopping: Callable[[], bool] = not_stopping,
) -> ReportTools:
    """Return what reports are planned and sent with."""
    key = shared_config.secret_key
    email = email_action(replace(settings, secret_key=key))
    rules, source = shared_config.rules, sync.source
    return ReportTools(
        *(sync.engine, settings, rules, email, key, source, sync.clock), is_stopping=is_stopping
    )


def make_lookup_context(settings: Settings, sync: SyncContext, rules: Rules) -> LookupContext:
    """Return the lookup context that a command uses, the same as a worker's."""
    return LookupContext(
        sync.engine,
        sync.source,
        DecisionSetup(rules, ZoneInfo(settings.zone)),
        sync.clock,
        settings.lease_s,
    )
