"""The sandbox as a program: its options, its web application, and its life from start to stop."""

import argparse
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

from sandbox.api import Api
from sandbox.control import Control
from sandbox.mailbox import Mailbox
from sandbox.mailserver import MailServer
from sandbox.misbehaviour.answers import Faults
from sandbox.misbehaviour.board import DEFAULT_SEED, Board
from sandbox.pages import Pages, not_found
from sandbox.receivers import Receivers
from sandbox.sender import Sender, Target
from sandbox.server import LOOPBACK, listen
from sandbox.staff_records import StaffRecords
from sandbox.stage import Stage
from sandbox.tenant import Tenant, WorldClock
from sandbox.tokens import Tokens
from sandbox.world import InvalidSeed, Seed, built_in_world, read_seed

_POLL_S = 0.05  # how soon the web server notices that it should stop
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT and return the exit code.

    Prints one line of JSON with the addresses when everything listens, and nothing else on
    standard output.
    """
    options = _read_options(arguments)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        stage = _set_up(
            options, read_seed(options.seed) if options.seed else Seed(built_in_world())
        )
    except InvalidSeed as error:
        sys.stderr.write("".join(f"{mistake}\n" for mistake in error.mistakes))
        return 2
    try:
        web = listen(web_application(stage), options.port)
        mail_socket = socket.create_server((LOOPBACK, options.smtp_port))
    except OSError as error:
        sys.stderr.write(f"The sandbox cannot listen: {error.strerror}.\n")
        return 1
    mail = MailServer(stage.mailbox, mail_socket)
    mail.start()
    stage.sender.start()
    threading.Thread(target=web.serve_forever, args=(_POLL_S,), daemon=True).start()
    base = f"http://{LOOPBACK}:{web.port}"
    smtp = f"smtp://{LOOPBACK}:{mail_socket.getsockname()[1]}?tls=none"
    addresses = {"page": f"{base}/", "mailbox": f"{base}/mailbox", "api": base, "smtp": smtp}
    sys.stdout.write(f"{json.dumps(addresses)}\n")
    sys.stdout.flush()
    stopping.wait()
    stage.sender.stop()
    stage.clear()
    web.shutdown()
    mail.stop()
    return 0


def web_application(stage: Stage) -> Flask:
    """Return the API, the control routes and the pages as one Flask application."""
    site = Flask("sandbox", static_folder=None)
    site.before_request(_refuse_other_sites)
    site.after_request(_add_headers)
    parts = (Api(stage), Control(stage), Pages(stage), stage.receivers, stage.staff_records)
    for part in parts:
        site.register_blueprint(part.routes())
    site.register_error_handler(404, not_found)
    return site


def _read_options(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options; a mistake ends the program with a sentence and code 2.

    Secret, username and password may be in the environment instead, because every user of the
    machine can read options.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Start a stand-in Nexudus with its webhooks and a mailbox, until stopped.",
    )
    add, environ = parser.add_argument, os.environ
    add("--port", type=int, default=0, help="port of API and pages; 0 is any free port")
    add("--smtp-port", type=int, default=0, help="port of the mailbox; 0 is any free port")
    add("--deliver-to", help="address of Coursebell, for example http://127.0.0.1:8000")
    add("--secret", default=environ.get("SANDBOX_SECRET"), help="signs the deliveries")
    username = environ.get("SANDBOX_USERNAME")
    add("--username", default=username, help="the only user accepted; by default anyone is")
    add("--password", default=environ.get("SANDBOX_PASSWORD"), help="that user's password")
    add("--no-deliver", action="store_true", help="deliver no changes by itself")
    add("--retry-after", type=float, default=0.1, help="seconds before the first retry")
    add("--seed", type=Path, help="a YAML file with the records to start with")
    add("--random-seed", type=int, default=DEFAULT_SEED, help="makes random choices repeatable")
    options = parser.parse_args(arguments)
    if not options.deliver_to and not options.no_deliver:
        parser.error("--deliver-to is needed, or --no-deliver")
    if not options.secret:
        parser.error("--secret is needed, or SANDBOX_SECRET")
    if (options.username is None) != (options.password is None):
        parser.error("--username and --password go together")
    if options.deliver_to and not options.deliver_to.startswith("http://"):
        parser.error("--deliver-to must begin with http://")
    return options


def _set_up(options: argparse.Namespace, seed: Seed) -> Stage:
    board, clock, faults = Board(options.random_seed), WorldClock(), Faults()
    automatic = not options.no_deliver
    tenant = Tenant(seed.world, board, clock)
    target = Target(options.deliver_to, options.secret, automatic, options.retry_after)
    stage = Stage(
        sender=Sender(target, board, clock),
        tokens=Tokens(options.username, options.password, board),
        board=board,
        tenant=tenant,
        clock=clock,
        mailbox=Mailbox(clock),
        receivers=Receivers(options.secret, faults.wait_if_held),
        staff_records=StaffRecords(tenant, clock),
        coursebell_url=options.deliver_to,
        faults=faults,
    )
    stage.set_up_hooks()
    for name, given in seed.misbehaviours:
        board.switch_on(name, given)
    return stage


def _refuse_other_sites() -> None:
    # Another site's page must not use our buttons. Programs send neither header and may.
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    fetched_from = request.headers.get("Sec-Fetch-Site")
    if fetched_from is not None and fetched_from not in {"same-origin", "none"}:
        abort(403)
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        abort(403)


def _add_headers(answer: Response) -> Response:
    answer.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    answer.headers.setdefault("Referrer-Policy", "same-origin")
    if not request.path.startswith("/static/"):
        answer.headers.setdefault("Cache-Control", "no-store")
    return answer
