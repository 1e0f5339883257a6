"""The files a worker reads: unreadable rules and keys are reported with the cause."""

import os
import sys
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import load_settings
from workers.rules_file import read_rules, read_rules_at
from workers.secret_key import secret_key

SHIPPED = Path(__file__).parents[2] / "rules.yaml"


def mistake_about(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_rules(load_settings({"COURSEBELL_RULES": str(path)}))
    [mistake] = caught.value.mistakes
    return mistake


def test_rules_that_cannot_be_read_are_named_with_the_cause(tmp_path: Path) -> None:
    for path, cause in (
        (tmp_path / "missing.yaml", "no such file or directory"),
        (tmp_path, "is a directory"),
    ):
        assert mistake_about(path) == f"COURSEBELL_RULES: cannot read {path}: {cause}"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("version: 1\r\n# jo\u00e9 f\xfcr uns\n".encode("latin-1"), "2:5: file: expected UTF-8"),
        (
            b"version: 1\n# \xc3\xa9\xc3",
            (
                "2:4: file: expected UTF-8 text, and found the byte 0xc3; "
                "save the file as UTF-8 (it may be Latin-1 or Windows-1252)"
            ),
        ),
        ("\u7248\u672c".encode("utf-16"), "1:1: file: expected UTF-8 text; save this UTF-16 file"),
        ("version: 1\n".encode("utf-16"), "1:1: file: expected UTF-8 text; save this UTF-16 file"),
        ("version: 1\n".encode("utf-16-le"), "1:1: file: expected UTF-8 text; save this UTF-16"),
    ],
)
def test_rules_that_are_not_utf_8_are_named_with_the_place(
    tmp_path: Path, content: bytes, place: str
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(content)
    assert mistake_about(path).startswith(f"{path}:{place}")


def test_rules_with_a_byte_order_mark_are_the_same_rules(tmp_path: Path) -> None:
    shipped = read_rules(load_settings({}))
    path = tmp_path / "rules.yaml"
    path.write_text(SHIPPED.read_text("utf-8"), encoding="utf-8-sig")
    assert read_rules(load_settings({"COURSEBELL_RULES": str(path)})) == shipped


def test_an_unusable_secret_key_is_reported_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    path.write_bytes(b"\xff\xfe0\x00")
    with pytest.raises(ConfigurationError) as caught:
        secret_key(load_settings({"COURSEBELL_DATA_DIR": str(tmp_path)}))
    assert caught.value.mistakes[0].startswith(f"COURSEBELL_DATA_DIR: {path} is not a key")
    assert path.read_bytes() == b"\xff\xfe0\x00"


def test_the_shipped_rules_can_be_read() -> None:
    assert read_rules(load_settings({})).rules
    assert "COURSEBELL_RULES" not in os.environ


def certifying() -> str:
    template = "    template: course-finished\n"
    return SHIPPED.read_text("utf-8").replace(template, f"{template}    certificate: true\n", 1)


def test_a_rule_about_certificates_is_refused_where_nothing_can_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(certifying(), encoding="utf-8")
    public = {"COURSEBELL_PUBLIC_URL": "https://courses.example.org"}
    assert read_rules(load_settings({"COURSEBELL_RULES": str(path), **public})).has_certificates()
    monkeypatch.setitem(sys.modules, "typst", None)  # as if it were not installed
    assert "rules[2].certificate: certificates need the package typst" in mistake_about(path)
    assert not read_rules(load_settings({})).has_certificates()


@pytest.mark.parametrize(
    ("public_url", "nexudus_url", "can_send"),
    [
        ("https://courses.example.org", None, True),
        ("http://courses.example.org", None, False),
        (None, None, False),
        ("https://localhost:8443", None, False),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8080", True),  # the demo
        (None, "http://127.0.0.1:8080", True),
    ],
)
def test_certificates_need_an_address_that_members_can_open(
    tmp_path: Path,
    public_url: str | None,
    nexudus_url: str | None,
    can_send: bool,  # noqa: FBT001 - a column of the table
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(certifying(), encoding="utf-8")
    chosen = {"COURSEBELL_PUBLIC_URL": public_url, "COURSEBELL_NEXUDUS_URL": nexudus_url}
    settings = load_settings({name: url for name, url in chosen.items() if url})
    if can_send:
        assert read_rules_at(path, "FILE", settings).has_certificates()
        return
    with pytest.raises(ConfigurationError) as caught:
        read_rules_at(path, "FILE", settings)
    [mistake] = caught.value.mistakes
    assert mistake.startswith(f"{path}:")
    assert "rules[2].certificate: certificates are printed with the address" in mistake
    assert "set COURSEBELL_PUBLIC_URL to the https address" in mistake
