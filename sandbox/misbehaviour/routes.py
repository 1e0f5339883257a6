"""The JSON routes by which tests switch misbehaviour on and off."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint

from sandbox.control import refusal
from sandbox.misbehaviour.catalogue import DEFAULT_BEHAVIOUR
from sandbox.refused import Refused
from sandbox.stage import Stage
from sandbox.wish import read_wish


@dataclass(frozen=True, slots=True)
class Misbehaving:
    """The routes about the switches."""

    stage: Stage

    def routes(self) -> Blueprint:
        """Return the routes, ready to be registered."""
        routes = Blueprint("misbehaving", __name__, url_prefix="/sandbox")
        routes.register_error_handler(Refused, refusal)
        path = "/misbehaviours"
        routes.add_url_rule(path, "list", self.stage.board.report, methods=["GET"])
        routes.add_url_rule(path, "choose", self.choose, methods=["POST"])
        routes.add_url_rule(path, "clear", self.clear, methods=["DELETE"])
        routes.add_url_rule(f"{path}/always", "always", self.always, methods=["GET"])
        return routes

    def choose(self) -> dict[str, Any]:
        """Switch one on or off, and return how it stands."""
        wish = read_wish()
        name, board = wish.text("name"), self.stage.board
        if wish.flag("on", otherwise=True):
            given = {key: value for key, value in wish.fields.items() if key not in {"name", "on"}}
            board.switch_on(name, given)
        else:
            board.switch_off(name)
        [line] = [line for line in board.report() if line["name"] == name]
        return dict(line)

    def clear(self) -> dict[str, Any]:
        """Switch all of them off."""
        self.stage.board.clear()
        return {}

    def always(self) -> dict[str, str]:
        """Say which pitfalls need no switch."""
        return {str(number): sentence for number, sentence in DEFAULT_BEHAVIOUR.items()}
