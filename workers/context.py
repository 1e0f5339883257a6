"""Creates everything that a process works with, once per process and after any fork."""

import contextlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from ledger.clock import SYSTEM_CLOCK, Clock
from ledger.controls import check_key, has_known_key
from ledger.engine import Engine, open_engine
from schemas.errors import ConfigurationError
from schemas.rules import Rules, load_rules, rules_text
from schemas.settings import Settings
from schemas.settings.table import MIN_SECRET_LENGTH
from workers.actions.registry import kinds_for_rules, make_actions
from workers.broker import IN_MEMORY
from workers.deliver.context import DeliveryTools, SendSetup, not_stopping
from workers.leases import KeyedLock
from workers.lookup.claim import LookupContext
from workers.lookup.commit import DecideContext
from workers.shared_state import children_of
from workers.source.auth import credentials_of
from workers.source.budget import Budget
from workers.source.client import MissingRights, Source, Sources
from workers.source.limits import Budgeting, read_limits, threads_for
from workers.sync.backfill import backfill_gap
from workers.sync.rows import SyncContext
from workers.sync.webhooks import WebhookHealth
from workers.wakeup import Wakeup

# Beside the packages in a working tree, inside one of them once installed.
_SHIPPED_RULES = (
    Path(__file__).parent.parent / "schemas" / "rules.yaml",
    Path(__file__).parent.parent / "rules.yaml",
)
SECRET_KEY_FILE = "secret_key"  # noqa: S105 - a file in the data folder


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


def read_rules(settings: Settings) -> Rules:
    """Return the rules in force.

    Raises:
        ConfigurationError: every mistake in them, or that the file cannot be read.
    """
    path = Path(settings.rules) if settings.rules else _shipped_rules()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"COURSEBELL_RULES: cannot read {path}: {_why(error)}"]) from None
    text = rules_text(content, str(path))
    return load_rules(text, str(path), actions=kinds_for_rules())


def has_secret_key(settings: Settings) -> bool:
    """Return whether a secret key exists, so that none would be made."""
    return settings.secret_key is not None or _key_file(settings).exists()


def secret_key(settings: Settings) -> str:
    """Return the key for hashes and signed addresses. It is made once and kept in the data folder.

    Raises:
        ConfigurationError: the data folder cannot be written, or the file holds no key.
    """
    if settings.secret_key:
        return settings.secret_key
    path = _key_file(settings)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
        key = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigurationError(
            [f"COURSEBELL_DATA_DIR: cannot keep {path}: {_why(error)}"]
        ) from None
    except UnicodeDecodeError:
        key = ""
    if len(key) < MIN_SECRET_LENGTH:
        raise ConfigurationError(
            [
                (
                    f"COURSEBELL_DATA_DIR: {path} is not a key that Coursebell made: it is empty, "
                    "truncated or not text; restore that file"
                )
            ]
        )
    return key


def checked_secret_key(settings: Settings, engine: Engine, now: datetime) -> str:
    """Return the secret key if it is the one this ledger belongs to. Raises as `check_key`.

    A missing key is made only for a ledger that never had one.
    """
    if not has_secret_key(settings) and has_known_key(engine):
        raise ConfigurationError(
            [
                (
                    "COURSEBELL_SECRET_KEY: the ledger belongs to a secret key that is not here; "
                    f"set it, or restore the file {_key_file(settings)} "
                    "(`coursebell config accept-key` begins with a new key on purpose)"
                )
            ]
        )
    key = secret_key(settings)
    check_key(engine, key, now)
    return key


def _key_file(settings: Settings) -> Path:
    return Path(settings.data_dir) / SECRET_KEY_FILE


def _make_key(path: Path) -> None:
    """Create the key file by linking a finished file, so that two processes agree on one key.

    It is synced to disk before it is used, so that a power cut does not leave it empty.
    """
    fresh = path.with_suffix(f".{secrets.token_hex(4)}")
    fresh.touch(mode=0o600)
    with fresh.open("w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(fresh)
    fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _why(error: OSError) -> str:
    return (error.strerror or "the system refuses it").lower()


def _shipped_rules() -> Path:
    return next((path for path in _SHIPPED_RULES if path.exists()), _SHIPPED_RULES[0])


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
