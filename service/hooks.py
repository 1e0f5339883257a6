"""The receiver: verify, keep, answer. It believes nothing and decides nothing.

Whatever is authentic on a Nexudus route is kept and answered 2xx, readable or not: ten other
answers in a row and Nexudus switches the hook off for good (contract, section 5.4). On the relay
route, whose callers are people building something, unreadable is 400 with the field errors; it is
kept all the same.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from ledger.intake import Arrival, Origin
from ledger.writer import GroupWriter
from schemas.entity import Entity, followed_entity
from schemas.errors import BadSignature, TooLarge, Unreadable
from schemas.notification import MOST_BYTES, Notification, parse_hook, parse_relay
from schemas.settings import Settings
from service.signature import verify
from workers.clocks import Clock

SIGNATURE_HEADER = "X-Nexudus-Hook-Signature"
_ERROR_ROOM = 500

_log = structlog.get_logger("receiver")


def hook_routes(settings: Settings, writer: GroupWriter, clock: Clock) -> Blueprint:
    """Return the routes on which notifications arrive."""
    routes = Blueprint("hooks", __name__)
    receive = _Receiver(writer, clock)

    def nexudus(parse: Callable[[bytes], list[Notification]]) -> tuple[Response, int]:
        body = _body()
        form = verify(body, request.headers.get(SIGNATURE_HEADER), settings.hook_secrets)
        return receive.keep(body, form, Origin.HOOK, parse)

    @routes.post("/hooks/nexudus/course-members")
    def course_members() -> tuple[Response, int]:
        return nexudus(lambda body: parse_hook(body, Entity.COURSE_MEMBER, recognise=False))

    @routes.post("/hooks/nexudus/course-completed-lessons")
    def course_completed_lessons() -> tuple[Response, int]:
        return nexudus(lambda body: parse_hook(body, Entity.COMPLETED_LESSON, recognise=False))

    @routes.post("/hooks/nexudus")
    def any_entity() -> tuple[Response, int]:
        named = request.args.get("resource")
        entity = None if named is None else followed_entity(named)
        return nexudus(lambda body: parse_hook(body, entity, recognise=named is None))

    @routes.post("/hooks/relay")
    def relay() -> tuple[Response, int]:
        body = _body()
        check_bearer(request.headers.get("Authorization"), settings.relay_tokens)
        return receive.keep(body, "bearer", Origin.RELAY, parse_relay)

    return routes


def check_bearer(header: str | None, tokens: Sequence[str]) -> None:
    """Let through who shows one of `tokens`; every comparison takes the same time.

    Raises:
        BadSignature: no such token was shown, or none is configured.
    """
    scheme, _, shown = (header or "").partition(" ")
    given = shown.strip().encode("utf-8", "surrogatepass")
    if scheme.lower() == "bearer" and any(
        [hmac.compare_digest(given, token.encode()) for token in tokens]  # noqa: C419 - all are compared, whichever fits
    ):
        return
    raise BadSignature("the relay token is missing or wrong")


class _Receiver:
    def __init__(self, writer: GroupWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    def keep(
        self,
        body: bytes,
        form: str,
        origin: Origin,
        parse: Callable[[bytes], list[Notification]],
    ) -> tuple[Response, int]:
        """Keep an authentic delivery and answer 202, or as its border asks if it is unreadable."""
        arrival = Arrival(self._clock(), request.path, origin, form, body)
        try:
            notifications = parse(body)
        except Unreadable as error:
            # Only places and field names are kept of the error, never what stood there.
            self._writer.keep(replace(arrival, error=f"{error}: {error.fields}"[:_ERROR_ROOM]))
            _log.warning("delivery.unreadable", route=request.path, origin=origin.value)
            if origin is Origin.RELAY:
                raise
            return jsonify(accepted=0), 202
        if all(one.entity is None for one in notifications):
            # A record of a kind we do not follow may hold door codes and bank details (contract,
            # section 2.6), and nothing of it is ever needed.
            arrival = replace(arrival, body=b"")
        self._writer.keep(replace(arrival, notifications=tuple(notifications)))
        _log.info("delivery.kept", route=request.path, form=form, accepted=len(notifications))
        return jsonify(accepted=len(notifications)), 202


def _body() -> bytes:
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise TooLarge(f"a delivery may have {MOST_BYTES} bytes") from None
