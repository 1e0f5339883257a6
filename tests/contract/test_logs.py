"""What libraries log about an exception names its class and place, and quotes no text."""

import json
import os

from tests.servers import forking


def test_the_text_of_an_unexpected_error_is_not_logged() -> None:
    done = forking.run("tests.contract.failing_task_program", env=os.environ, timeout=60)
    assert done.returncode == 0, done.stderr
    task, callback = (json.loads(line) for line in done.stdout.splitlines())
    assert task["event"].startswith("Task source.check[")
    assert task["event"].endswith("raised unexpected: ValueError")
    assert callback["event"] == "callback raised: 'ValueError'"
    for line in (task, callback):
        assert line["error"].startswith("ValueError < contract/failing_task_program.py:")
    assert "anna" not in (done.stdout + done.stderr).casefold()
