"""A desk from where a person gives commands about a space, with real rules and emails."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from service.cli.main import commands
from tests.contract.study_rig import Space


@dataclass
class Desk:
    """A space whose clock is right, and from where a person gives commands about it."""

    space: Space
    folder: Path

    def run(self, *words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(commands, words, input=answer)

    def refuse(self, *numbers: int) -> None:
        """Let people enrol whose addresses the mail server refuses."""
        for number in numbers:
            self.space.mailer.answer(f"person{number}@example.org", "550 5.1.1 no such person")
            self.space.enrol(number)
            self.space.work()

    def as_json(self, *words: str) -> dict[str, Any]:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found
