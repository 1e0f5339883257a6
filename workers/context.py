"""Creates everything that a process works with, once per process and after any fork."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from zoneinfo import ZoneInfo

from ledger.clock import SYSTEM_CLOCK, Clock
from ledger.engine import Engine, open_engine
from schemas.rules import Rules
from schemas.settings import Settings
from workers.actions.registry import make_actions
from workers.broker import IN_MEMORY
from workers.deliver.context import DeliveryTools, SendSetup, not_stopping
from workers.leases import KeyedLock
from workers.lookup.claim import LookupContext
from workers.lookup.commit import DecideContext
from workers.rules_file import read_rules
from workers.secret_key import has_secret_key, secret_key
from workers.shared_state import children_of
from workers.source.auth import credentials_of
from workers.source.budget import Budget
from workers.source.client import MissingRights, Source, Sources
from workers.source.limits import Budgeting, read_limits, threads_for
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
        ConfigurationError: every mistake in the rules, or a file that cannot be read or written.
    """
    return SharedConfig(read_rules(settings), secret_key(settings))


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
    setup = SendSetup(rules, zone, shared_config.secret_key, make_actions(settings))
    return Context(
        engine,
        clock,
        LookupContext(
            engine,
            sources.lend,
            DecideContext(rules, zone),
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
    )


def make_send_setup(settings: Settings) -> SendSetup:
    """Return the set-up for forecasts: the rules as they are now, and the kinds of action.

    Raises:
        ConfigurationError: every mistake in the rules, or that a file cannot be read.
    """
    # Without a key no member has made a choice yet. No key is created here.
    key = secret_key(settings) if has_secret_key(settings) else ""
    return SendSetup(read_rules(settings), ZoneInfo(settings.zone), key, make_actions(settings))


def make_lookup_context(settings: Settings, sync: SyncContext, rules: Rules) -> LookupContext:
    """Return the lookup context that a command uses, the same as a worker's."""
    return LookupContext(
        sync.engine,
        sync.source,
        DecideContext(rules, ZoneInfo(settings.zone)),
        sync.clock,
        settings.lease_s,
    )


def make_budget(settings: Settings, clock: Clock) -> Budget:
    """Return this process's share of the source's limits."""
    # Without a broker the limits are divided among the children and one command.
    programs = 1 if settings.broker_url == IN_MEMORY else children_of(settings.workers)
    return Budget(settings.nexudus_limits, settings.broker_url, shares=programs + 1, clock=clock)


def make_sources(settings: Settings, engine: Engine, clock: Clock, budget: Budgeting) -> Sources:
    """Return what lends connections to the source."""
    credentials, denials = credentials_of(settings), MissingRights(clock)
    return Sources(
        lambda: Source(settings.nexudus_url, engine, credentials, clock, budget, denials)
    )
