"""A filled in `deploy/env.example` means the same to every program that reads such files.

The shell and honcho are the real ones. The rules of Docker and systemd are written out here; they
were compared with `docker run --env-file` 28.2.2 and systemd 252 on the values below.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from honcho.environ import parse as as_honcho_reads

from schemas.errors import ConfigurationError
from schemas.settings import PREFIX, SETTINGS, Settings, load_settings
from tests.house.source_tree import ROOT
from workers.environment import load

# Whatever a password may hold, and values that a shell would cut or refuse without quotes.
VALUES = {
    "COURSEBELL_DATABASE_URL": "postgresql://u:p%23%40@h/n?sslmode=require&application_name=x",
    "COURSEBELL_BROKER_URL": "redis://:p%23@127.0.0.1:6379/0",
    "COURSEBELL_NEXUDUS_USERNAME": "api@example.org",
    "COURSEBELL_NEXUDUS_PASSWORD": 'p$HOME#s s;&`x`\\"|<>(){}*?~!',
    "COURSEBELL_NEXUDUS_TOTP": "jbsw y3dp ehpk 3pxp",
    "COURSEBELL_HOOK_SECRETS": "newest $one, older#one",
    "COURSEBELL_RELAY_TOKENS": "newest-one,older-one",
    "COURSEBELL_SMTP_URL": "smtp://me%40example.org:p%23@mail.example.org:587?tls=starttls",
    "COURSEBELL_MAIL_FROM": "Harbour Works <courses@example.org>",
    "COURSEBELL_MAIL_REPLY_TO": "Zoë, Harbour Works <zoe@example.org>",
    "COURSEBELL_RULES": "/srv/my rules.yaml",
    "COURSEBELL_LISTEN": "[::1]:8000",
    "COURSEBELL_LESSON_URL": "https://p.example.org/#/{course_id}?l={lesson_id}&u=1",
    "COURSEBELL_COURSE_URL": "https://p.example.org/{course_id}",
    "COURSEBELL_SECRET_KEY": "a $ecret & a #",
    "COURSEBELL_NEXUDUS_CLIENT_ID": "harbour works",
    "COURSEBELL_ZONE": "Europe/London",
}


def filled_in(values: dict[str, str], quote: str = "'") -> str:
    """Fill in the example as its header says, and uncomment every setting."""

    def line(found: re.Match[str]) -> str:
        name, default = found.groups()
        return f"{name}={quote}{values.get(name, default)}{quote}"

    text = (ROOT / "deploy" / "env.example").read_text(encoding="utf-8")
    return re.sub(r"^#(COURSEBELL_[A-Z_]+)='(.*)'$", line, text, flags=re.MULTILINE)


def as_a_shell_reads(text: str, folder: Path) -> dict[str, str]:
    path = folder / "env"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["/bin/sh", "-euc", 'set -a; . "$1"; set +a; exec /usr/bin/env -0', "sh", str(path)],
        env={"HOME": "/home-of-the-test", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    pairs = (line.partition("=") for line in done.stdout.decode().split("\0"))
    return {name: value for name, _, value in pairs if name.startswith(PREFIX)}


def as_docker_reads(text: str, _: Path) -> dict[str, str]:
    """Read as `docker run --env-file` does: a value is everything after the first =.

    https://docs.docker.com/reference/cli/docker/container/run/#env
    """
    lines = [line.lstrip() for line in text.splitlines()]
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def as_systemd_reads(text: str, _: Path) -> dict[str, str]:
    """Read a line as `EnvironmentFile=` does, see systemd.exec(5) and systemd's env-file.c.

    Quoted and bare parts follow each other. In single quotes nothing is special; in double quotes
    a backslash only escapes `"`, a backslash, a backtick and $; outside it escapes anything.
    """
    part = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^'"\\]+)""")
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        name, _sign, value = line.partition("=")
        pieces = [
            single or re.sub(r'\\(["\\`$])', r"\1", double) or escaped or bare
            for single, double, escaped, bare in part.findall(value.strip())
        ]
        found[name] = "".join(pieces)
    return found


READERS: dict[str, Callable[[str, Path], dict[str, str]]] = {
    "shell": as_a_shell_reads,
    "docker": as_docker_reads,
    "systemd": as_systemd_reads,
    "honcho": lambda text, _: as_honcho_reads(text),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_the_example_gets_the_same_settings(reader: str, tmp_path: Path) -> None:
    assert load(READERS[reader](filled_in(VALUES), tmp_path)) == load_settings(
        {**{doc.name: doc.default or "" for doc in SETTINGS}, **VALUES}
    )


@pytest.mark.parametrize("reader", READERS)
def test_double_quotes_do_for_a_value_with_an_apostrophe(reader: str, tmp_path: Path) -> None:
    line = 'COURSEBELL_MAIL_FROM="O\'Brien Works <courses@example.org>"\n'
    sender = load(READERS[reader](line, tmp_path)).mail_from
    assert sender is not None
    assert sender.name == "O'Brien Works"


@pytest.mark.parametrize("reader", READERS)
def test_the_example_as_it_is_changes_nothing(reader: str, tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "env.example").read_text(encoding="utf-8")
    assert load(READERS[reader](text, tmp_path)) == load_settings({})
    assert load(READERS[reader](filled_in({}), tmp_path)) == load_settings({})


def test_escapes_of_a_shell_that_docker_passes_on_are_refused_by_name(tmp_path: Path) -> None:
    line = "COURSEBELL_NEXUDUS_PASSWORD='it'\\''s'\n"
    assert _password(as_a_shell_reads(line, tmp_path)) == "it's"
    assert _password(as_systemd_reads(line, tmp_path)) == "it's"
    with pytest.raises(ConfigurationError) as caught:
        load(as_docker_reads(line, tmp_path))
    assert caught.value.mistakes[0].startswith("COURSEBELL_NEXUDUS_PASSWORD: arrived with quotes")


def test_quotes_in_a_file_and_around_the_name_of_a_file_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "my secret"
    path.write_text("'p$a s'\n")
    for quote in ("'", '"'):
        environ = {"COURSEBELL_NEXUDUS_PASSWORD_FILE": f"{quote}{path}{quote}"}
        assert _password(environ) == "p$a s"


def _password(environ: dict[str, str]) -> str | None:
    settings: Settings = load(environ)
    return settings.nexudus_password
