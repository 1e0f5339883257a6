"""What is printed on a terminal: no steering characters, no whole addresses."""

from service.cli.common import printable, shortened


def test_a_name_cannot_control_the_terminal() -> None:
    printed = printable("Ana \x1b[2J\x07\r\nEvil\u202e Núñez 🎓 ليلى")
    assert "\x1b" not in printed
    assert "\n" not in printed
    assert "\u202e" not in printed
    assert printed.endswith("Núñez 🎓 ليلى")


def test_a_shortened_address_is_recognised_only_by_those_who_know_it() -> None:
    assert shortened("ana@example.org") == "a***@example.org"
    assert shortened('"odd@name"@example.org') == '"***@example.org'
    assert shortened(None) is None
