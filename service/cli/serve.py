"""`coursebell serve`: the web server."""

import os
import resource
from pkgutil import resolve_name

import click
import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from service.cli.common import (
    check_secret_key,
    settings_now,
    wait_for_ledger,
    warn_of_weak_secrets,
)
from service.cli.listening import Address, free_address, reserve
from workers.logs import set_up_logs
from workers.rules_file import read_rules

_MOST_CONNECTIONS = 2048
_OTHER_FILES = 128  # open files of the web process besides connections
_HEAD_DEADLINE_MS = 5_000  # also the longest time that an idle connection is kept
_CONNECTION_BUFFER = 64 * 1024  # bytes; the request head must fit
# Granian's own log lines use our log set-up.
_SERVER_LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}

_log = structlog.get_logger("web")


@click.command()
def serve() -> None:
    """Run the web server: hooks, health, email preferences."""
    settings = settings_now()
    read_rules(settings)
    address = free_address(settings)
    reserved = reserve(address)
    wait_for_ledger(settings)
    check_secret_key(settings, signs=False, verifies=True)
    warn_of_weak_secrets(settings, "COURSEBELL_HOOK_SECRETS", "COURSEBELL_RELAY_TOKENS")
    set_up_logs("web")
    with reserved:
        run_web_server(address, "service.rsgi:front")


def run_web_server(address: Address, target: str) -> None:
    """Run the web server whose application is `target`, as module:name, until it is stopped."""
    # The process that Granian starts must not import from the working folder.
    os.environ["PYTHONSAFEPATH"] = "1"
    listen = address.listen
    server = Granian(
        target,
        address=listen.host,
        port=listen.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEAD_DEADLINE_MS, max_buffer_size=_CONNECTION_BUFFER
        ),
        workers=1,
        backlog=_MOST_CONNECTIONS,
        backpressure=_most_connections(),
        respawn_failed_workers=True,
        log_access=False,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=_SERVER_LOGS,
    )
    server.on_startup(
        lambda: _log.info(
            "web.listening", host=listen.host, port=listen.port, resolved=address.resolved
        )
    )
    # Granian's own loader would put the working folder first on the import path.
    server.serve(target_loader=resolve_name)


def _most_connections() -> int:
    """Raise the limit of open files, and return how many connections may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - _OTHER_FILES)
    return _MOST_CONNECTIONS
