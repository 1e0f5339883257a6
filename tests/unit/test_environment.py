"""The environment with its files read; what settings mean is tested in test_settings."""

from pathlib import Path

import pytest

from schemas.actions import Mode
from schemas.errors import ConfigurationError
from workers.environment import load

UNREADABLE = "expected a file that can be read"


def kept(folder: Path, content: bytes) -> str:
    path = folder / f"secret-{len(list(folder.iterdir()))}"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"s3cret-s3cret", "s3cret-s3cret"),
        (b"s3cret-s3cret\n", "s3cret-s3cret"),
        (b"s3cret-s3cret\r\n", "s3cret-s3cret"),
        (b"\xef\xbb\xbfs3cret", "s3cret"),
        (b" s3cret ", " s3cret "),
    ],
)
def test_a_files_text_takes_the_settings_place_less_one_newline(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    environ = {
        "COURSEBELL_NEXUDUS_USERNAME": "api@example.org",
        "COURSEBELL_NEXUDUS_PASSWORD_FILE": kept(tmp_path, content),
        "PATH": "/bin",
    }
    assert load(environ).nexudus_password == expected


def test_only_one_newline_is_taken_from_the_end(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected one line of text"):
        load({"COURSEBELL_NEXUDUS_PASSWORD_FILE": kept(tmp_path, b"s3cret-s3cret\n\n")})


def test_a_file_for_an_unknown_name_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as unknown:
        load({"COURSEBELL_MOOD_FILE": kept(tmp_path, b"x")})
    [mistake] = unknown.value.mistakes
    assert mistake.startswith("COURSEBELL_MOOD_FILE: there is no such setting")


def test_an_empty_name_is_unset_both_ways(tmp_path: Path) -> None:
    environ = {
        "COURSEBELL_MODE": "",
        "COURSEBELL_MODE_FILE": kept(tmp_path, b"sending\n"),
        "COURSEBELL_ZONE": "Europe/London",
        "COURSEBELL_ZONE_FILE": "",
    }
    settings = load(environ)
    assert settings.mode is Mode.SENDING
    assert settings.zone == "Europe/London"


def test_mistakes_of_reading_and_of_loading_are_reported_together(tmp_path: Path) -> None:
    environ = {
        "COURSEBELL_RELAY_TOKENS_FILE": str(tmp_path / "absent-and-perhaps-a-secret"),
        "COURSEBELL_SECRET_KEY": "s3cret-s3cret",
        "COURSEBELL_SECRET_KEY_FILE": "s3cret-s3cret",
        "COURSEBELL_HOOK_SECRETS_FILE": kept(tmp_path, b"\xff"),
        "COURSEBELL_NEXUDUS_PASSWORD_FILE": kept(tmp_path, b"x" * 65_537),
        "COURSEBELL_RULES_FILE": "a\0b",
        "COURSEBELL_MODE_FILE": kept(tmp_path, b"on\n"),
        "COURSEBELL_WORKRES": "2",
    }
    reading = [
        f"COURSEBELL_NEXUDUS_PASSWORD_FILE: {UNREADABLE}; it is larger than 65536 bytes",
        f"COURSEBELL_HOOK_SECRETS_FILE: {UNREADABLE}; it is not UTF-8 text",
        f"COURSEBELL_RELAY_TOKENS_FILE: {UNREADABLE}; No such file or directory",
        f"COURSEBELL_RULES_FILE: {UNREADABLE}; its path is impossible",
        "COURSEBELL_SECRET_KEY: expected this or COURSEBELL_SECRET_KEY_FILE, not both",
    ]
    with pytest.raises(ConfigurationError) as both:
        load(environ)
    assert both.value.mistakes == [
        *reading,
        "COURSEBELL_MODE: expected observe or sending",
        "COURSEBELL_WORKRES: there is no such setting; did you mean COURSEBELL_WORKERS?",
    ]


def test_mistakes_of_reading_alone_stop_the_loading_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        load({"COURSEBELL_MODE_FILE": str(tmp_path)})
