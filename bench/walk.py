"""Follows one finished lesson from POST to SMTP and prints every file of ours that it enters.

Run it with `python -m bench.walk`. A stand-in Nexudus, the receiver, lookups and deliveries run in
this process, as in `tests/month`; files are listed in the order in which they are first entered.
"""

import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

from schemas.entity import Entity
from tests.month.month_delivery import Change, DeliveryMode
from tests.month.month_rig import Player
from tests.month.month_setup import ground_in
from tests.month.month_study import DeedKind
from tests.month.month_world import SEED, the_month

ROOT = Path(__file__).parent.parent
PACKAGES = tuple(f"{ROOT / name}/" for name in ("service", "workers", "ledger", "schemas"))


class Recorder:
    """Records the files whose functions are called while it is on, in all threads."""

    def __init__(self) -> None:
        self.is_on = False
        self.files: dict[str, int] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Count one call; Python's profiling hook."""
        path = frame.f_code.co_filename
        if self.is_on and event == "call" and path.startswith(PACKAGES):
            name = path.removeprefix(f"{ROOT}/")
            self.files[name] = self.files.get(name, 0) + 1


class OneLesson(Player):
    """Plays an enrolment and a lesson, and records from the lesson's delivery on."""

    __slots__ = ("recorder",)
    recorder: Recorder

    def _changed(self, changes: list[Change]) -> None:
        super()._changed(changes)
        if any(change.entity is Entity.COMPLETED_LESSON for change in changes):
            self.recorder.is_on = True


def main() -> None:
    """Print the files and their number."""
    recorder = Recorder()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    deeds = sorted(the_month(), key=lambda deed: deed.at)
    lesson = next(deed for deed in deeds if deed.kind is DeedKind.FINISH_LESSON)
    whose = (lesson.person, lesson.course)
    mine = [deed for deed in deeds if (deed.person, deed.course) == whose and deed.at <= lesson.at]
    with tempfile.TemporaryDirectory() as folder, ground_in(Path(folder)) as ground:
        player = OneLesson(ground, DeliveryMode.ON, SEED)
        player.recorder = recorder
        played = player.play(mine)
        recorder.is_on = False
    for name, calls in recorder.files.items():
        sys.stdout.write(f"{calls:>5}  {name}\n")
    modules = [name for name in recorder.files if name.endswith(".py")]
    sys.stdout.write(f"{len(played.emails)} emails, {len(modules)} modules\n")


if __name__ == "__main__":
    main()
