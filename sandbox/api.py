"""The stand-in's REST API: sign-in, one record by Id, lists (contract, sections 1 to 4).

Faults come before the truth, as an edge in front of the API would, so that they meet also those
who have not signed in. Answers are held back when they are finished: what a held request brings
is already old.
"""

from dataclasses import dataclass

from flask import Blueprint, Response, request

from sandbox.answers import answered
from sandbox.filters import conditions, coworker_asked, id_list, relation_asked
from sandbox.listing import listed
from sandbox.misbehaviour.board import TOKEN_PATH
from sandbox.misbehaviour.instead import instead, slow_down
from sandbox.misbehaviour.lists import ways_of, without_the_newest
from sandbox.misbehaviour.rights import is_still_late, refused_right
from sandbox.misbehaviour.spelling import row_maker, shown
from sandbox.misbehaviour.spoil import delay, note_how_it_travels, spoil
from sandbox.stage import Stage
from sandbox.tables import RELATIONS
from sandbox.tokens import GrantRefused
from sandbox.webhook_actions import action_items
from sandbox.wire import Record
from sandbox.writes import PATH, Writes
from schemas.entity import PATHS, Entity

_ENTITY_AT = {path: entity for entity, path in PATHS.items()}
_WRITING = frozenset({"POST", "PUT", "DELETE"})
_COWORKERS_AS_ONE_DOCUMENT_SAYS = "sys/coworkers"


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
        writes = Writes(self.stage)
        routes.add_url_rule(PATH, view_func=writes.create, methods=["POST"])
        routes.add_url_rule(PATH, view_func=writes.edit, methods=["PUT"])
        routes.add_url_rule("/<module>/<entities>/<record_id>", view_func=self.one)
        return routes

    def first(self) -> Response | None:
        """Count, then put a fault's answer in place of the truth, then ask for the token."""
        path, stage = request.path, self.stage
        authorization = request.headers.get("Authorization", "")
        if path == TOKEN_PATH:
            stage.reads.count_grant()
        else:
            is_write = request.method in _WRITING
            count = stage.reads.count_write if is_write else stage.reads.count_read
            count(path.rstrip("/"))
            client = stage.tokens.client_of(authorization) or "nobody"
            if not stage.quota.admits(client, path, stage.limits(), is_write=is_write):
                return slow_down()
        replaced = stage.faults.replacement(path)
        if replaced is not None:
            answer = Response(replaced.body, replaced.status, content_type="application/json")
            for name, value in replaced.headers:
                answer.headers[name] = value
            return answer
        wrong = instead(stage.board, path, request.headers.get("User-Agent", ""))
        if wrong is not None:
            return wrong
        if path != TOKEN_PATH and stage.tokens.client_of(authorization) is None:
            return answered({"Message": "Authorization has been denied for this request."}, 401)
        return None

    def last(self, answer: Response) -> Response:
        """Spoil the finished answer, or hold it back, if a fault or a switch says so."""
        board, path = self.stage.board, request.path
        answer = spoil(board, path, answer)
        self.stage.faults.wait_if_held(path)
        delay(board, path)
        note_how_it_travels(board, path)
        return answer

    def token(self) -> Response:
        """Answer a token request; only form fields are read (contract, section 1)."""
        try:
            granted = self.stage.tokens.grant(
                request.form.to_dict(),
                in_header=request.headers.get("client_id"),
                in_fields=request.values.get("client_id"),
            )
        except GrantRefused as refusal:
            said = {"error": refusal.code, "error_description": refusal.description}
            return answered(said, refusal.status)
        return answered(granted)

    def enums(self) -> Response:
        """Answer with the items of an enumeration; only that of the webhooks' actions is here."""
        if request.args.get("name", "").lower() != "ewebhookaction":
            return answered("Not found", 404)
        with_courses = self.stage.board.now("course-actions") is not None
        return answered(action_items(with_courses=with_courses))

    def one(self, module: str, entities: str, record_id: str) -> Response:
        """Answer with the bare record."""
        board, tenant = self.stage.board, self.stage.tenant
        entity = self._entity_at(f"{module}/{entities}")
        wanted = int(record_id) if record_id.isdecimal() else None
        if entity is None or wanted is None:
            return answered("Not found", 404)
        refused = refused_right(board, entity, "read")
        if refused is not None:
            return refused
        record = tenant.find(entity, wanted)
        if record is not None and not is_still_late(board, tenant, entity, wanted):
            return answered(shown(board, entity, record))
        if self.stage.is_dead(entity, wanted):
            return answered({"Message": "An error has occurred."}, 500)
        return answered("Not found", 404)

    def many(self, module: str, entities: str) -> Response:
        """Answer with a page of a list, or with a bare array when Ids are named."""
        board, entity = self.stage.board, self._entity_at(f"{module}/{entities}")
        if entity is None:
            return answered("Not found", 404)
        refused = refused_right(board, entity, "list")
        if refused is not None:
            return refused
        question, ids = request.args.to_dict(), request.args.get("id")
        off = board.now("many-by-id-off")
        if ids is not None and off is None:
            found = [self.stage.tenant.find(entity, one) for one in sorted(id_list(ids))]
            rows = without_the_newest(
                board, self.stage.tenant, entity, [row for row in found if row is not None]
            )
            show = row_maker(board, entity, "partial-many")
            return answered([show(row) for row in rows])
        if ids is not None and off is not None and off.text("way") == "404":
            return answered("Not found", 404)
        return answered(
            listed(entity, self._rows(entity, question), question, ways_of(board, entity))
        )

    def _rows(self, entity: Entity, question: dict[str, str]) -> list[Record]:
        board, tenant = self.stage.board, self.stage.tenant
        narrow = relation_asked(entity, RELATIONS.get(entity, ()), question)
        if narrow is None or not ways_of(board, entity).knows_filters:
            rows = tenant.rows(entity)
        else:
            rows = tenant.rows_with(entity, *narrow)
        below = coworker_asked(entity, question)
        if below and ways_of(board, entity).knows_filters:
            people = tenant.rows(Entity.COWORKER)
            passes = conditions(Entity.COWORKER, people[0], below) if people else []
            meant = {one["Id"] for one in people if all(fits(one) for fits in passes)}
            rows = [row for row in rows if row["CoworkerId"] in meant]
        return without_the_newest(board, tenant, entity, rows)

    def _entity_at(self, path: str) -> Entity | None:
        there = self.stage.board.now("sys-coworkers")
        entity = _ENTITY_AT.get(path.lower())
        if there is not None:
            if path.lower() == _COWORKERS_AS_ONE_DOCUMENT_SAYS:
                return Entity.COWORKER
            if entity is Entity.COWORKER and there.flag("only"):
                return None
        return entity
