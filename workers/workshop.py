"""Everything a worker process works with, made once per process and after any fork."""

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
from ledger.engine import Engine, open_engine
from ledger.keys import check_key, has_known_key
from schemas.errors import ConfigurationError
from schemas.rules import Rules, load_rules, rules_text
from schemas.settings import Settings
from schemas.settings.table import SHORTEST_SECRET
from workers.actions.registry import kinds_for_rules, make_actions
from workers.bell import Bell
from workers.broker.connecting import IN_MEMORY
from workers.check.backfill import missed_in
from workers.check.tools import Checking
from workers.deliver.context import DeliveryTools, SendSetup, never
from workers.lookup.conclude import Deciding
from workers.lookup.once import Once
from workers.lookup.settling import LookingUp
from workers.shared import children_of
from workers.source.auth import credentials_of
from workers.source.budget import Budget
from workers.source.client import Denials, Source, Sources
from workers.source.limits import Budgeting
from workers.sync.webhooks import WebhookHealth

# Beside the packages in a working tree, inside one of them once installed.
_SHIPPED_RULES = (
    Path(__file__).parent.parent / "schemas" / "rules.yaml",
    Path(__file__).parent.parent / "rules.yaml",
)
SECRET_KEY_FILE = "secret_key"  # noqa: S105 - a file in the data folder


@dataclass(frozen=True, slots=True)
class Workshop:
    """One process's tools."""

    engine: Engine
    clock: Clock
    looking_up: LookingUp
    performing: DeliveryTools
    bell: Bell
    sources: Sources
    budget: Budget
    checking: Checking
    webhooks: WebhookHealth

    def close(self) -> None:
        """Let go of connections and threads."""
        self.bell.close()
        self.sources.close()
        self.budget.close()
        self.engine.dispose()


@dataclass(frozen=True, slots=True)
class Foundation:
    """What is read from files, once, before any process is forked: a later edit changes nothing."""

    rules: Rules
    secret_key: str = field(repr=False)


def lay_foundation(settings: Settings) -> Foundation:
    """Read what all workers share.

    Raises:
        ConfigurationError: every mistake in the rules, or a file that cannot be read or kept.
    """
    return Foundation(read_rules(settings), secret_key(settings))


def make_workshop(
    settings: Settings,
    foundation: Foundation,
    *,
    clock: Clock = SYSTEM_CLOCK,
    is_stopping: Callable[[], bool] = never,
) -> Workshop:
    """Return the tools for these settings. `is_stopping`: see `DeliveryTools`.

    Raises:
        LedgerUnavailable: the ledger's file cannot be made.
    """
    engine = open_engine(settings.database_url)
    rules = foundation.rules
    zone = ZoneInfo(settings.zone)
    budget = make_budget(settings, clock)
    sources = make_sources(settings, engine, clock, budget)
    once = Once()
    checking = Checking(engine, sources.lend, clock, settings.check_every_s, settings.lease_s)
    setup = SendSetup(rules, zone, foundation.secret_key, make_actions(settings))
    return Workshop(
        engine,
        clock,
        LookingUp(
            engine,
            sources.lend,
            Deciding(rules, zone),
            clock,
            settings.lease_s,
            once,
            is_stopping,
        ),
        DeliveryTools(engine, setup, clock, settings.lease_s, once, is_stopping),
        Bell(settings.broker_url, clock),
        sources,
        budget,
        checking,
        WebhookHealth(
            engine,
            sources.lend,
            clock,
            settings.public_url,
            settings.hooks_reenable,
            partial(missed_in, checking),
            clock.now(),
        ),
    )


def make_send_setup(settings: Settings) -> SendSetup:
    """Return what forecasts are made with: the rules as they are now, and the kinds of action.

    Raises:
        ConfigurationError: every mistake in the rules, or that a file cannot be read.
    """
    # Without a key nobody has chosen anything yet, and none is made here.
    key = secret_key(settings) if has_secret_key(settings) else ""
    return SendSetup(read_rules(settings), ZoneInfo(settings.zone), key, make_actions(settings))


def make_looking_up(settings: Settings, checking: Checking, rules: Rules) -> LookingUp:
    """Return what a command looks records up with, as a worker does."""
    return LookingUp(
        checking.engine,
        checking.source,
        Deciding(rules, ZoneInfo(settings.zone)),
        checking.clock,
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
    """Return whether there is a secret key here, so that none would be made."""
    return settings.secret_key is not None or _key_file(settings).exists()


def secret_key(settings: Settings) -> str:
    """Return the key for hashes and signed addresses; made once and kept in the data folder.

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
    if len(key) < SHORTEST_SECRET:
        raise ConfigurationError(
            [
                (
                    f"COURSEBELL_DATA_DIR: {path} is not a key that Coursebell made: it is empty, "
                    "cut short or not text; restore that file"
                )
            ]
        )
    return key


def checked_secret_key(settings: Settings, engine: Engine, now: datetime) -> str:
    """Return the secret key, if it is the one that the ledger belongs to. Raises as `check_key`.

    Where there is no key, one is made only for a ledger that never had one.
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
    """Write a new key beside and move it into place: two who begin at once agree on one.

    It is on the disk before anything is made with it: a power cut must not leave it empty.
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
    """Return the share in the source's limits that this process has with all others."""
    # Without a broker the limits are divided among the children and one command run by hand.
    programs = 1 if settings.broker_url == IN_MEMORY else children_of(settings.workers)
    return Budget(settings.nexudus_limits, settings.broker_url, shares=programs + 1, clock=clock)


def make_sources(settings: Settings, engine: Engine, clock: Clock, budget: Budgeting) -> Sources:
    """Return what lends ways to the source."""
    credentials, denials = credentials_of(settings), Denials(clock)
    return Sources(
        lambda: Source(settings.nexudus_url, engine, credentials, clock, budget, denials)
    )
