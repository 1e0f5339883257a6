"""The page on which a person switches misbehaviour on and off. It works without script."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from sandbox.misbehaviour.board import switch_named
from sandbox.misbehaviour.catalogue import DEFAULT_BEHAVIOUR, SWITCHES
from sandbox.misbehaviour.switch import Group, Kind, Parameter
from sandbox.refused import Refused
from sandbox.stage import Stage
from schemas.entity import Entity

_BAD_REQUEST = 400


@dataclass(frozen=True, slots=True)
class MisbehavePage:
    """The page and its form."""

    stage: Stage

    def routes(self) -> Blueprint:
        """Return the routes, ready to be registered."""
        routes = Blueprint("misbehave", __name__, url_prefix="/misbehave")
        routes.add_url_rule("", "show", self.show)
        routes.add_url_rule("", "choose", self.choose, methods=["POST"])
        return routes

    def show(self) -> str:
        """Show every switch, those that are on first of all."""
        return self._page(None, None)

    def choose(self) -> str | tuple[str, int] | Response:
        """Do what the button says, and show the page again where the switch is."""
        name, act, board = request.form.get("name", ""), request.form.get("act"), self.stage.board
        try:
            if act == "clear":
                board.clear()
                return redirect(url_for("misbehave.show"), 303)
            if act == "off":
                board.switch_off(name)
            else:
                given = {
                    one.name: one.read_text(request.form.get(one.name, ""))
                    for one in switch_named(name).parameters
                }
                board.switch_on(name, given)
        except Refused as refused:
            return self._page(refused.sentence, name), _BAD_REQUEST
        return redirect(url_for("misbehave.show", _anchor=name), 303)

    def _page(self, mistake: str | None, mistaken: str | None) -> str:
        lines = [_with_fields(line) for line in self.stage.board.report()]
        return render_template(
            "misbehave.html",
            coursebell_url=self.stage.coursebell_url,
            on=[line for line in lines if line["on"]],
            groups=[
                (group.value, [line for line in lines if line["group"] == group.value])
                for group in Group
            ],
            always=DEFAULT_BEHAVIOUR,
            mistake=mistake,
            mistaken=mistaken,
        )


def _with_fields(line: dict[str, Any]) -> dict[str, Any]:
    chosen = line["settings"] or {}
    return {
        **line,
        "fields": [
            _field(one, chosen.get(one.name, one.default))
            for one in SWITCHES[line["name"]].parameters
        ],
    }


def _field(parameter: Parameter, value: object) -> dict[str, Any]:
    choices: list[str] = [str(choice) for choice in parameter.choices]
    if parameter.kind is Kind.FLAG:
        choices = ["true", "false"]
    if parameter.kind is Kind.ENTITY:
        choices = ["", *Entity]
    shown = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, bool):
        shown = shown.lower()
    return {
        "name": parameter.name,
        "words": parameter.name.replace("_", " "),
        "value": shown,
        "choices": choices,
        "is_number": parameter.kind in {Kind.WHOLE, Kind.NUMBER},
        "is_needed": not parameter.may_be_none,
    }
