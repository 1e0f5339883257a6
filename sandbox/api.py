"""The stand-in's REST API: sign-in, one record by Id, lists (contract, sections 1 to 4).

Faults come before the truth, as an edge in front of the API would, so unauthenticated requests meet
them too. Answers are held back when they are finished: a held request returns old records.
"""

from dataclasses import dataclass

from flask import Blueprint, Response, request

from sandbox.listing import id_list, listed, up_to_date
from sandbox.misbehaviour.answers import (
    answered,
    is_late,
    missing_right,
    replacement,
    spoil,
    throttled,
    unauthorised,
)
from sandbox.misbehaviour.board import TOKEN_PATH
from sandbox.stage import Stage
from sandbox.tokens import GrantRefused
from sandbox.webhooks import WebHooks, action_items
from sandbox.wire import row_maker, shown
from schemas.entity import PATHS, Entity

_ENTITY_AT = {path: entity for entity, path in PATHS.items()}
_WRITING = frozenset({"POST", "PUT", "DELETE"})
_OTHER_COWORKERS = "sys/coworkers"


@dataclass(frozen=True, slots=True)
class Api:
    """The routes below /api."""

    stage: Stage

    def routes(self) -> Blueprint:
        """Return the routes, ready to be registered."""
        routes = Blueprint("api", __name__, url_prefix="/api")
        routes.before_request(self.first)
        routes.after_request(self.last)
        routes.add_url_rule("/token", view_func=self.token, methods=["POST"])
        routes.add_url_rule("/utils/enums", view_func=self.enums)
        for tail in ("<module>/<entities>", "<module>/<entities>/"):
            routes.add_url_rule(f"/{tail}", view_func=self.many, methods=["GET"])
        hooks, path = WebHooks(self.stage), f"/{PATHS[Entity.WEB_HOOK]}"
        routes.add_url_rule(path, view_func=hooks.create, methods=["POST"])
        routes.add_url_rule(path, view_func=hooks.edit, methods=["PUT"])
        self.stage.staff_records.add_routes(routes)
        routes.add_url_rule("/<module>/<entities>/<record_id>", view_func=self.one)
        return routes

    def first(self) -> Response | None:
        """Count the request, replace its answer if a fault says so, and check its token."""
        path, stage = request.path, self.stage
        authorization = request.headers.get("Authorization", "")
        client = stage.tokens.client_of(authorization)
        if path == TOKEN_PATH:
            stage.counts.count("tokens", path)
        else:
            is_write = request.method in _WRITING
            stage.counts.count("writes" if is_write else "reads", path.rstrip("/"))
            if not stage.quota.admits(client or "nobody", stage.limits(), is_write=is_write):
                return throttled()
        user_agent = request.headers.get("User-Agent", "")
        wrong = stage.faults.replacement(path) or replacement(stage.board, path, user_agent)
        if wrong is None and path != TOKEN_PATH and client is None:
            return unauthorised()
        return wrong

    def last(self, answer: Response) -> Response:
        """Spoil the finished answer or hold it back, if a switch or a fault says so."""
        self.stage.faults.wait_if_held(request.path)
        self.stage.faults.wait_if_held(f"{request.method} {request.path}")
        return spoil(self.stage.board, request.path, answer)

    def token(self) -> Response:
        """Answer a token request; only form fields are read (contract, section 1)."""
        try:
            granted = self.stage.tokens.grant(
                request.form.to_dict(),
                in_header=request.headers.get("client_id"),
                in_fields=request.values.get("client_id"),
            )
        except GrantRefused as refusal:
            body = {"error": refusal.code, "error_description": refusal.description}
            return answered(body, refusal.status)
        return answered(granted)

    def enums(self) -> Response:
        """Answer with the items of an enumeration; only that of webhook actions exists here."""
        if request.args.get("name", "").lower() != "ewebhookaction":
            return answered("Not found", 404)
        return answered(action_items(with_courses=self.stage.board.is_on("course-actions")))

    def one(self, module: str, entities: str, record_id: str) -> Response:
        """Answer with the bare record."""
        board, tenant = self.stage.board, self.stage.tenant
        entity = self._entity_at(f"{module}/{entities}")
        if entity is None or not record_id.isdecimal():
            return answered("Not found", 404)
        refused = missing_right(board, entity, "read")
        if refused is not None:
            return refused
        wanted = int(record_id)
        record = tenant.find(entity, wanted)
        if record is not None and not is_late(board, entity, wanted, tenant.age_s(entity, wanted)):
            return answered(shown(board, entity, record))
        if self.stage.is_dead(entity, wanted):
            return answered({"Message": "An error has occurred."}, 500)
        return answered("Not found", 404)

    def many(self, module: str, entities: str) -> Response:
        """Answer with a page of a list, or with a bare array if Ids are given."""
        board, tenant = self.stage.board, self.stage.tenant
        entity = self._entity_at(f"{module}/{entities}")
        if entity is None:
            return answered("Not found", 404)
        refused = missing_right(board, entity, "list")
        if refused is not None:
            return refused
        ids, off = request.args.get("id"), board.now("many-by-id-off")
        if ids is None or (off is not None and off.text("way") != "404"):
            return answered(listed(board, tenant, entity, request.args.to_dict()))
        if off is not None:
            return answered("Not found", 404)
        found = (tenant.find(entity, one) for one in sorted(id_list(ids)))
        rows = up_to_date(board, tenant, entity, [row for row in found if row is not None])
        show = row_maker(board, entity, "partial-many")
        return answered([show(row) for row in rows])

    def _entity_at(self, path: str) -> Entity | None:
        there = self.stage.board.now("sys-coworkers")
        if there is not None and path.lower() == _OTHER_COWORKERS:
            return Entity.COWORKER
        entity = _ENTITY_AT.get(path.lower())
        is_only_there = there is not None and there.flag("only")
        return None if is_only_there and entity is Entity.COWORKER else entity
