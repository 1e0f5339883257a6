"""The samples for nginx and Caddy: limits that fit ours, and a syntax that both programs accept."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import trustme

from schemas.notification import MAX_BYTES
from tests.house.source_tree import ROOT

NGINX = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
CADDY = (ROOT / "deploy" / "Caddyfile").read_text(encoding="utf-8")
MEBIBYTE = 1024 * 1024
# Coursebell does not read them, so a sample that sets them would only mislead.
UNUSED_HEADERS = ("X-Forwarded", "X-Real-IP", "Forwarded")


def without_comments(text: str) -> str:
    return re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)


def size_in(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, pattern
    return int(found[1]) * MEBIBYTE


def test_nginx_lets_every_body_through_that_coursebell_accepts() -> None:
    assert size_in(r"client_max_body_size +(\d+)m;", NGINX) > MAX_BYTES


def test_caddy_lets_every_body_through_that_coursebell_accepts() -> None:
    assert size_in(r"max_size (\d+)MiB", CADDY) > MAX_BYTES
    assert size_in(r"request_buffers (\d+)MiB", CADDY) > MAX_BYTES


def test_nginx_buffers_and_gives_up() -> None:
    for line in (
        r"proxy_request_buffering +on;",
        r"proxy_buffering +on;",
        *(rf"client_{part}_timeout +\d+s;" for part in ("header", "body")),
        *(rf"proxy_{part}_timeout +\d+s;" for part in ("connect", "send", "read")),
    ):
        assert re.search(line, NGINX), line


def test_caddy_gives_up() -> None:
    for line in ("read_header", "read_body", "write", "dial_timeout", "response_header_timeout"):
        assert re.search(rf"{line} \d+s", CADDY), line


@pytest.mark.parametrize(
    ("sample", "begins"),
    [(NGINX, r"^    location (\S+) \{"), (CADDY, r"^\t@public path (.+)$")],
    ids=["nginx", "caddy"],
)
def test_only_hooks_and_the_pages_of_members_are_reachable(sample: str, begins: str) -> None:
    text = without_comments(sample)
    found = " ".join(re.findall(begins, text, re.MULTILINE)).replace("*", "").split()
    assert [path for path in found if path != "/"] == ["/hooks/", "/p/", "/u/", "/c/"]
    assert re.search(r"location / \{\s*return 404;|handle \{\s*respond 404", text)


def test_nginx_does_not_log_the_links_of_members() -> None:
    for path in ("/p/", "/u/", "/c/"):
        assert re.search(rf"location {path} \{{\s*access_log off;", NGINX), path


@pytest.mark.parametrize("sample", [NGINX, CADDY], ids=["nginx", "caddy"])
def test_no_unused_header_is_set_and_the_server_is_named_once(sample: str) -> None:
    text = without_comments(sample)
    assert len(re.findall(r"127\.0\.0\.1:8000", text)) == 1
    assert "readyz" not in text
    assert not any(header in text for header in UNUSED_HEADERS)
    assert "example.org" in text


def test_nginx_accepts_its_sample(tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if nginx is None:
        pytest.skip("nginx is not installed, so only the text of deploy/nginx.conf was checked")
    certificate = trustme.CA().issue_cert("hooks.example.org")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    site = re.sub(r"/etc/ssl/\S+(?=;)", str(tmp_path / "both.pem"), NGINX)
    (tmp_path / "site.conf").write_text(site, encoding="utf-8")
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off; include {tmp_path}/site.conf; }}\n",
        encoding="utf-8",
    )
    done = _run(nginx, "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"))
    assert done.returncode == 0, done.stderr


def test_caddy_accepts_its_sample(tmp_path: Path) -> None:
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed, so only the text of deploy/Caddyfile was checked")
    version = tuple(map(int, re.findall(r"\d+", _run(caddy, "version").stdout)[:3]))
    sample = CADDY
    if version < (2, 6, 4):  # as the sample's first lines say
        sample = re.sub(r"request_buffers .*", "buffer_requests", sample)
        sample = re.sub(r".*response_buffers .*\n", "", sample)
    path = tmp_path / "Caddyfile"
    path.write_text(sample, encoding="utf-8")
    done = _run(caddy, "validate", "--adapter", "caddyfile", "--config", str(path))
    assert done.returncode == 0, done.stderr


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
