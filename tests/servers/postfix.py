"""A Postfix for tests, where one is installed: its own configuration, queue, ports and mailboxes.

The Postfix of the system is neither used nor changed. Nothing leaves this machine: there is no
transport to other servers.
"""

import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Self

import pytest
import trustme

from schemas.settings import SmtpServer, TlsMode
from tests.servers.programs import wait_until
from workers.local.programs import last_lines, signal_on_parent_death

HOST = "127.0.0.1"
USERNAME, PASSWORD = "zoë", "pässwörd€ open sesame"
SENDER = "courses@harbour.example"
ANOTHERS_SENDER = "board@harbour.example"
INTERNATIONAL_SENDER = "zoë@harbour.example"
SIZE_LIMIT = 1_000_000  # bytes
MAILBOXES = {
    "ana@people.example": "ana",
    "ana@xn--bcher-kva.example": "ana-books",
    "añá@people.example": "international",
}
DEFERRED = "later@people.example"

_STOP_WAIT_S = 15.0
_SEARCHED = "/usr/sbin:/usr/local/sbin:/usr/lib/postfix/sbin"  # not on the PATH of everyone
_HOW = "apt-get install postfix sasl2-bin libsasl2-modules, then run this file as root"

# Each port is one service, with what differs from main.cf. A SASL name is a file in `sasl`.
_SERVICES: Mapping[str, Mapping[str, str]] = {
    "plain": {"smtpd_sasl_path": "plain"},
    "login": {"smtpd_sasl_path": "login"},
    "cram": {"smtpd_sasl_path": "cram"},
    "ascii": {"smtputf8_enable": "no"},
    "limited": {"smtpd_client_message_rate_limit": "1"},
    "open": {"smtpd_client_restrictions": ""},
}
_MECHANISMS = {"plain": "PLAIN", "login": "LOGIN", "cram": "CRAM-MD5"}

_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = {host}
inet_protocols = ipv4
myhostname = mail.harbour.example
mydestination =
mynetworks =
default_transport = error:nothing leaves this machine
alias_maps =
virtual_mailbox_domains = people.example xn--bcher-kva.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{folder}/mailboxes
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
message_size_limit = {size_limit}
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {folder}/server.pem
smtpd_tls_received_header = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = plain
smtpd_sasl_local_domain = harbour.example
smtpd_sasl_authenticated_header = yes
cyrus_sasl_config_path = {folder}/sasl
smtpd_client_restrictions = permit_sasl_authenticated, reject
smtpd_sender_login_maps = texthash:{folder}/senders
smtpd_sender_restrictions = reject_sender_login_mismatch
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/recipients
smtpd_client_event_limit_exceptions =
smtpd_error_sleep_time = 0
"""
# Service, type, private, unprivileged, chroot, wake-up, most processes, program.
_PROGRAMS = """
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def skip_without_postfix() -> None:
    """Skip where no Postfix can be started, and say what to do."""
    missing = [name for name in ("postfix", "postconf", "saslpasswd2") if _program(name) is None]
    if missing:
        pytest.skip(f"No email was sent through Postfix: {missing[0]} is not installed; {_HOW}.")
    if os.geteuid() != 0:
        pytest.skip(f"No email was sent through Postfix, which only root can start: {_HOW}.")


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_SEARCHED)


def _run(*command: str, given: str | None = None) -> str:
    program = _program(command[0])
    assert program, f"{command[0]} is not installed"
    done = subprocess.run(
        [program, *command[1:]], check=False, capture_output=True, text=True, input=given
    )
    assert done.returncode == 0, f"{command[0]} failed: {done.stderr.strip()}"
    return done.stdout.strip()


class PostfixServer:
    """Postfix with STARTTLS and logins, and a certificate that only `trusting` trusts."""

    def __init__(self) -> None:
        self._program: subprocess.Popen[bytes] | None = None
        # Not below pytest's folder, which is closed to the user that Postfix runs as.
        self._folder = Path(tempfile.mkdtemp(prefix="coursebell-postfix-"))
        authority = trustme.CA()
        self.trusting = ssl.create_default_context()
        authority.configure_trust(self.trusting)
        try:
            self._ports = _free_ports(_SERVICES)
            self._configure(authority)
            self._start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def at(
        self,
        service: str = "plain",
        *,
        tls: TlsMode = TlsMode.STARTTLS,
        username: str | None = USERNAME,
        password: str | None = PASSWORD,
    ) -> SmtpServer:
        """Return the setting for one of the services."""
        return SmtpServer(HOST, self._ports[service], username, password, tls)

    def received(self, mailbox: str, message_id: str) -> bytes:
        """Wait for an email with this Message-ID, and return it as it is in the mailbox."""
        inbox = self._folder / "mail" / MAILBOXES[mailbox] / "new"
        found: list[bytes] = []

        def has_arrived() -> bool:
            emails = [path.read_bytes() for path in inbox.glob("*")]
            found[:] = [one for one in emails if read(one)["Message-ID"] == message_id]
            return bool(found)

        wait_until(has_arrived, f"Postfix delivers it to {mailbox}:\n{self._log()}")
        (only,) = found
        return only

    def stop(self) -> None:
        """End all its processes and remove all it wrote; harmless when repeated."""
        program, self._program = self._program, None
        if program is not None:
            program.terminate()  # the master ends its process group
            try:
                program.wait(_STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(program.pid, signal.SIGKILL)
                program.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _configure(self, authority: trustme.CA) -> None:
        folder = self._folder
        folder.chmod(0o755)
        for name in ("queue", "data", "mail", "sasl"):
            (folder / name).mkdir()
        nobody = pwd.getpwnam("nobody")
        owner = pwd.getpwnam(_run("postconf", "-d", "-h", "mail_owner"))
        os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
        os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
        authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(
            str(folder / "server.pem")
        )
        values = {"folder": folder, "host": HOST, "size_limit": SIZE_LIMIT}
        main = _MAIN.format(**values, uid=nobody.pw_uid, gid=nobody.pw_gid)
        (folder / "main.cf").write_text(main)
        lines = [self._service(name, differences) for name, differences in _SERVICES.items()]
        (folder / "master.cf").write_text("".join(lines) + _PROGRAMS)
        self._write_map("mailboxes", {one: f"{name}/" for one, name in MAILBOXES.items()})
        ours = dict.fromkeys((SENDER, INTERNATIONAL_SENDER), f"{USERNAME}@harbour.example")
        self._write_map("senders", ours)
        refused = "450 4.2.0 Greylisted, please come back later"
        self._write_map("recipients", {DEFERRED: refused})
        self._add_login(owner)

    def _service(self, name: str, differences: Mapping[str, str]) -> str:
        options = "".join(f"  -o {key}={value}\n" for key, value in differences.items())
        return f"{HOST}:{self._ports[name]} inet n - n - - smtpd\n{options}"

    def _write_map(self, name: str, rows: Mapping[str, str]) -> None:
        text = "".join(f"{key} {value}\n" for key, value in rows.items())
        (self._folder / name).write_text(text, encoding="utf-8")

    def _add_login(self, owner: pwd.struct_passwd) -> None:
        database = self._folder / "sasl" / "users.db"
        domain = ("-u", "harbour.example")
        _run("saslpasswd2", "-p", "-c", "-f", str(database), *domain, USERNAME, given=PASSWORD)
        os.chown(database, owner.pw_uid, owner.pw_gid)
        for name, mechanism in _MECHANISMS.items():
            (self._folder / "sasl" / f"{name}.conf").write_text(
                "pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
                f"sasldb_path: {database}\nmech_list: {mechanism}\n"
            )

    def _start(self) -> None:
        # Creates the folders of the queue, and fails where the configuration is wrong.
        _run("postfix", "-c", str(self._folder), "check")
        programs = Path(_run("postconf", "-d", "-h", "daemon_directory"))
        output = self._folder / "output"
        with output.open("wb") as file:
            self._program = subprocess.Popen(
                [programs / "master", "-d", "-c", self._folder],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=signal_on_parent_death(signal.SIGTERM),  # noqa: PLW1509 - two system calls only
            )
        wait_until(self._answers, "Postfix answers")

    def _answers(self) -> bool:
        assert self._program is not None
        ended = self._program.poll() is not None
        assert not ended, f"Postfix ended:\n{last_lines(self._folder / 'output')}\n{self._log()}"
        try:
            with socket.create_connection((HOST, self._ports["plain"]), timeout=5) as connection:
                return connection.recv(3) == b"220"
        except OSError:
            return False

    def _log(self) -> str:
        return last_lines(self._folder / "log")


def read(content: bytes) -> EmailMessage:
    """Return an email as a mail program reads it."""
    return message_from_string(content.decode(), policy=default)


def _free_ports(names: Mapping[str, object]) -> dict[str, int]:
    with ExitStack() as all_open:
        listeners = [
            all_open.enter_context(socket.create_server((HOST, 0))) for _ in names
        ]  # all at once, so that they differ
        return {
            name: listener.getsockname()[1] for name, listener in zip(names, listeners, strict=True)
        }
