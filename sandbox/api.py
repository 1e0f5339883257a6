"""The stand-in's REST API: sign-in, one record by Id, lists (contract, sections 1 to 4).

Faults come before the truth, as an edge in front of the API would, so that they meet also those
who have not signed in. Answers are held back when they are finished: what a held request brings
is already old.
"""

import json
from dataclasses import dataclass

from flask import Blueprint, Response, request

from sandbox.faults import Faults
from sandbox.listing import listed, several
from sandbox.reads import Reads
from sandbox.tenant import Tenant
from sandbox.tokens import GrantRefused, Tokens
from sandbox.wire import as_read
from schemas.entity import PATHS, Entity

_ENTITY_AT = {path: entity for entity, path in PATHS.items()}
_TOKEN_PATH = "/api/token"  # noqa: S105 - a path


@dataclass(frozen=True, slots=True)
class Api:
    """The routes below /api and what they answer from."""

    tenant: Tenant
    tokens: Tokens
    faults: Faults
    reads: Reads

    def routes(self) -> Blueprint:
        """Return the routes, ready to be registered."""
        routes = Blueprint("api", __name__, url_prefix="/api")
        routes.before_request(self.first)
        routes.after_request(self.last)
        routes.add_url_rule("/token", view_func=self.token, methods=["POST"])
        for tail in ("<module>/<entities>", "<module>/<entities>/"):
            routes.add_url_rule(f"/{tail}", view_func=self.many, methods=["GET"])
        routes.add_url_rule("/<module>/<entities>/<record_id>", view_func=self.one)
        return routes

    def first(self) -> Response | None:
        """Count, then put a fault's answer in place of the truth, then ask for the token."""
        if request.path == _TOKEN_PATH:
            self.reads.count_grant()
        else:
            self.reads.count_read(request.path.rstrip("/"))
        instead = self.faults.replacement(request.path)
        if instead is not None:
            answer = Response(instead.body, instead.status, content_type="application/json")
            for name, value in instead.headers:
                answer.headers[name] = value
            return answer
        signed_in = self.tokens.is_good(request.headers.get("Authorization", ""))
        if request.path != _TOKEN_PATH and not signed_in:
            sentence = "Authorization has been denied for this request."
            return _answer({"Message": sentence}, 401)
        return None

    def last(self, answer: Response) -> Response:
        """Hold the finished answer back if a fault says so."""
        self.faults.wait_if_held(request.path)
        return answer

    def token(self) -> Response:
        """Answer a token request; only form fields are read (contract, section 1)."""
        client_id = request.headers.get("client_id") or request.values.get("client_id")
        try:
            return _answer(self.tokens.grant(request.form.to_dict(), client_id))
        except GrantRefused as refusal:
            return _answer({"error": refusal.code, "error_description": refusal.description}, 400)

    def one(self, module: str, entities: str, record_id: str) -> Response:
        """Answer with the bare record."""
        entity = _ENTITY_AT.get(f"{module}/{entities}".lower())
        wanted = int(record_id) if record_id.isdecimal() else None
        if entity is None or wanted is None:
            return _answer("Not found", 404)
        record = self.tenant.find(entity, wanted)
        if record is not None:
            return _answer(as_read(record))
        if self.faults.is_dead(entity, wanted):
            return _answer({"Message": "An error has occurred."}, 500)
        return _answer("Not found", 404)

    def many(self, module: str, entities: str) -> Response:
        """Answer with a page of a list, or with a bare array when Ids are named."""
        entity: Entity | None = _ENTITY_AT.get(f"{module}/{entities}".lower())
        if entity is None:
            return _answer("Not found", 404)
        rows = self.tenant.rows(entity)
        ids = request.args.get("id")
        if ids is not None:
            return _answer(several(rows, ids))
        return _answer(listed(entity, rows, request.args.to_dict()))


def _answer(content: object, status: int = 200) -> Response:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, content_type="application/json; charset=utf-8")
