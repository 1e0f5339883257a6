"""`python -m sandbox`: start the stand-in Nexudus, its sender and the mailbox, until told to stop.

Prints one line of JSON when everything listens, and nothing else on standard output. Secret,
username and password may stand in SANDBOX_SECRET, SANDBOX_USERNAME and SANDBOX_PASSWORD instead:
options can be read by every user of the machine.
"""

import argparse
import json
import signal
import socket
import sys
import threading

from sandbox.clock import WorldClock
from sandbox.mailbox import Mailbox
from sandbox.mailserver import MailServer
from sandbox.misbehaviour.board import Board
from sandbox.options import read_arguments
from sandbox.seeding.file import Seed, SeedMistaken, read_seed
from sandbox.sender import Aim, Sender
from sandbox.serving import LOOPBACK, listen
from sandbox.site import build_site
from sandbox.stage import Stage
from sandbox.tenant import Tenant
from sandbox.tokens import Tokens

_LOOK_EVERY_S = 0.05  # how soon the web server notices that it should stop


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT and return the exit code."""
    asked = read_arguments(arguments)
    stopping = threading.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: stopping.set())
    try:
        stage = _set_up(asked, read_seed(asked.seed) if asked.seed else Seed())
    except SeedMistaken as error:
        sys.stderr.write("".join(f"{mistake}\n" for mistake in error.mistakes))
        return 2
    try:
        web = listen(build_site(stage), asked.port)
        mail_socket = socket.create_server((LOOPBACK, asked.smtp_port))
    except OSError as error:
        sys.stderr.write(f"The sandbox cannot listen: {error.strerror}.\n")
        return 1
    # A greeting of several lines would else wait 40 ms to be acknowledged line by line.
    mail_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    mail = MailServer(stage.mailbox, mail_socket)
    mail.start()
    stage.sender.start()
    threading.Thread(target=web.serve_forever, args=(_LOOK_EVERY_S,), daemon=True).start()
    line = json.dumps(_addresses(web.port, mail_socket.getsockname()[1]))
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    stopping.wait()
    stage.sender.stop()
    stage.clear()
    web.shutdown()
    mail.stop()
    return 0


def _set_up(asked: argparse.Namespace, seed: Seed) -> Stage:
    board, clock = Board(asked.random_seed), WorldClock()
    aim = Aim(asked.deliver_to, asked.secret, not asked.no_deliver, asked.retry_after)
    stage = Stage(
        sender=Sender(aim, board, clock),
        tokens=Tokens(asked.username, asked.password, board),
        board=board,
        tenant=Tenant(seed.world, board, clock),
        clock=clock,
        mailbox=Mailbox(clock),
        coursebell_url=asked.deliver_to,
    )
    stage.set_up_hooks()
    for name, given in seed.misbehaviours:
        board.switch_on(name, given)
    return stage


def _addresses(web_port: int, mail_port: int) -> dict[str, str]:
    web = f"http://{LOOPBACK}:{web_port}"
    return {
        "page": f"{web}/",
        "mailbox": f"{web}/mailbox",
        "api": web,
        "smtp": f"smtp://{LOOPBACK}:{mail_port}?tls=none",
    }


if __name__ == "__main__":
    sys.exit(main())
