"""Finishes a lesson and performs what is due, with the registered kinds of action.

Run in a copy of the project to which `docs/adding-an-action.md` was applied: see
`test_adding_an_action.py`. Settings are in the environment.
"""

import os
from dataclasses import replace

from ledger.engine import open_engine
from ledger.migrate import migrate
from schemas.settings import Settings, load_settings
from tests.contract.study_rig import Space
from workers.actions.registry import make_actions
from workers.deliver.context import DeliveryTools
from workers.rules_file import read_rules


class SpaceWithEveryKind(Space):
    """A space whose workers perform every kind there is."""

    settings: Settings

    @property
    def delivery(self) -> DeliveryTools:
        tools = super().delivery
        return replace(tools, setup=replace(tools.setup, actions=make_actions(self.settings)))


if __name__ == "__main__":
    SpaceWithEveryKind.settings = load_settings(os.environ)
    engine = open_engine(SpaceWithEveryKind.settings.database_url)
    migrate(engine)
    space = SpaceWithEveryKind(engine, read_rules(SpaceWithEveryKind.settings))
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.work()
    engine.dispose()
