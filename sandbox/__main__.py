"""`python -m sandbox`: start the stand-in Nexudus, its sender and the mailbox, until told to stop.

Prints one line of JSON when everything listens, and nothing else on standard output. Secret,
username and password may stand in SANDBOX_SECRET, SANDBOX_USERNAME and SANDBOX_PASSWORD instead:
options can be read by every user of the machine.
"""

import argparse
import json
import os
import signal
import socket
import sys
import threading

from sandbox.mailserver import MailServer
from sandbox.sender import Aim, Sender
from sandbox.serving import LOOPBACK, listen
from sandbox.site import build_site
from sandbox.stage import Stage
from sandbox.tokens import Tokens

_LOOK_EVERY_S = 0.05  # how soon the web server notices that it should stop


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT and return the exit code."""
    asked = _read_arguments(arguments)
    stopping = threading.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: stopping.set())
    stage = Stage(
        sender=Sender(Aim(asked.deliver_to, asked.secret, not asked.no_deliver, asked.retry_after)),
        tokens=Tokens(asked.username, asked.password),
        coursebell_url=asked.deliver_to,
    )
    try:
        web = listen(build_site(stage), asked.port)
        mail_socket = socket.create_server((LOOPBACK, asked.smtp_port))
    except OSError as error:
        sys.stderr.write(f"The sandbox cannot listen: {error.strerror}.\n")
        return 1
    mail = MailServer(stage.mailbox, mail_socket)
    mail.start()
    stage.sender.start()
    threading.Thread(target=web.serve_forever, args=(_LOOK_EVERY_S,), daemon=True).start()
    line = json.dumps(_addresses(web.port, mail_socket.getsockname()[1]))
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    stopping.wait()
    stage.sender.stop()
    stage.faults.clear()
    web.shutdown()
    mail.stop()
    return 0


def _addresses(web_port: int, mail_port: int) -> dict[str, str]:
    web = f"http://{LOOPBACK}:{web_port}"
    return {
        "page": f"{web}/",
        "mailbox": f"{web}/mailbox",
        "api": web,
        "smtp": f"smtp://{LOOPBACK}:{mail_port}?tls=none",
    }


def _read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 is any free port")
    parser.add_argument("--smtp-port", type=int, default=0, help="0 is any free port")
    parser.add_argument("--deliver-to", help="where Coursebell listens")
    parser.add_argument(
        "--secret", default=os.environ.get("SANDBOX_SECRET"), help="signs the deliveries"
    )
    parser.add_argument(
        "--username",
        default=os.environ.get("SANDBOX_USERNAME"),
        help="who may sign in; without it, anybody",
    )
    parser.add_argument("--password", default=os.environ.get("SANDBOX_PASSWORD"))
    parser.add_argument("--no-deliver", action="store_true", help="tell nobody of changes")
    parser.add_argument(
        "--retry-after", type=float, default=0.1, help="seconds before the first retry"
    )
    asked = parser.parse_args(arguments)
    if not asked.deliver_to and not asked.no_deliver:
        parser.error("--deliver-to is needed, or --no-deliver")
    if not asked.secret:
        parser.error("--secret is needed, or SANDBOX_SECRET")
    if (asked.username is None) != (asked.password is None):
        parser.error("--username and --password go together")
    if asked.deliver_to and not asked.deliver_to.startswith("http://"):
        parser.error("--deliver-to must begin with http://")
    return asked


if __name__ == "__main__":
    sys.exit(main())
