"""The image and the Compose file: what they contain, and what containers may do."""

import importlib.metadata
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.source_tree import ROOT, pyproject

DEPLOY = ROOT / "deploy"
SCRIPTS = Path(sysconfig.get_path("scripts"))
OURS = ("release", "web", "worker", "clock")
SHELL_SCRIPTS = sorted([*DEPLOY.glob("*.sh"), *(ROOT / ".ci").iterdir()])


def dockerfile() -> list[str]:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def composed() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def needed(requirements: Iterator[str] | list[str]) -> Iterator[str]:
    """Give the packages that these need on this system, with what those need in turn."""
    waiting = [Requirement(one) for one in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        for extra in ["", *sorted(one.extras)]:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in importlib.metadata.requires(name) or ():
                further = Requirement(text)
                if further.marker is None or further.marker.evaluate({"extra": extra}):
                    waiting.append(further)
        yield name


def locked() -> set[str]:
    text = (DEPLOY / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", "")
    pins = [Requirement(line.partition(" --hash")[0]) for line in text.splitlines()]
    return {pin.name for pin in pins if pin.marker is None or pin.marker.evaluate()}


def test_the_image_keeps_what_running_needs_and_nothing_else() -> None:
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    kept = ("broker", "certificate", "dkim", "oidc")
    asked = project["dependencies"] + [one for extra in kept for one in extras[extra]]
    runtime = set(needed(asked))
    lines = (DEPLOY / "left-out-of-image.txt").read_text(encoding="utf-8").splitlines()
    left_out = {line for line in lines if not line.startswith("#")}
    assert locked() - runtime == left_out
    assert runtime <= locked()


def test_the_image_has_every_package_of_ours_but_the_sandbox() -> None:
    lines = dockerfile()
    wheel = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = {words[1] for line in lines if (words := line.split())[0] == "COPY"}
    assert copied >= set(wheel["packages"]) - {"sandbox"}
    assert "sandbox" not in copied
    files = {word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]}
    assert files >= wheel["force-include"].keys()
    reached = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in files if not name.startswith("-") and name[0] != "/"} <= {
        *reached,
    }


def test_the_base_image_is_named_once_by_an_argument() -> None:
    lines = dockerfile()
    assert [line for line in lines if line.startswith("ARG ")] == [
        "ARG BASE=python:3.11-slim-bookworm"
    ]
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert set(bases) == {"${BASE}"}


def test_the_image_runs_as_a_numbered_user_of_group_0() -> None:
    lines = dockerfile()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:0"]
    assert "RUN install -d -o 10001 -g 0 -m 0770 /var/lib/coursebell" in lines


def test_hadolint_finds_nothing() -> None:
    assert _findings("hadolint", DEPLOY / "Dockerfile") == ""


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    assert _findings("shellcheck", script) == ""
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", composed()["services"])
def test_a_container_may_do_only_what_it_needs(name: str) -> None:
    service = composed()["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["restart"] == ("no" if name == "release" else "unless-stopped")
    assert "privileged" not in service


@pytest.mark.parametrize("name", OURS)
def test_every_setting_reaches_the_containers(name: str) -> None:
    assert composed()["services"][name]["env_file"] == [".env"]


def test_the_database_counts_as_ready_once_it_answers_by_tcp() -> None:
    (program, *words) = composed()["services"]["postgres"]["healthcheck"]["test"][1:]
    assert program == "pg_isready"
    assert "--host=127.0.0.1" in words


def test_only_coursebell_reaches_the_database_and_the_broker() -> None:
    loaded = composed()
    assert loaded["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "broker"):
        assert loaded["services"][name]["networks"] == ["inside"]
        assert "ports" not in loaded["services"][name]
    assert all(port.startswith("127.0.0.1:") for port in loaded["services"]["web"]["ports"])


def test_every_image_is_named_once_and_can_be_pinned() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    images = re.findall(r"^ +image: (\S+)$", text, re.MULTILINE)
    assert len(images) == 3
    assert all(re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[\w./-]+:[\w.-]+\}", one) for one in images)
    assert f"coursebell:{pyproject()['project']['version']}" in text


def _findings(program: str, path: Path) -> str:
    done = subprocess.run(
        [SCRIPTS / program, path], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr
