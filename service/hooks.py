"""The hook routes: verify a delivery, store it, answer.

Every authentic delivery on a Nexudus route is stored and answered 2xx, readable or not: after ten
other answers in a row Nexudus switches the webhook off for good (contract, section 5.4). On the
relay route, whose callers are developers, an unreadable row is answered 400 with the field errors;
the readable rows are stored all the same.

A body is stored only if every row was readable and had no field beyond those of a record that we
follow. Other records may hold door codes and bank details (contract, section 2.6) that are never
needed; of such a delivery only entities, Ids, size and a digest are stored.
"""

import hmac
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from ledger.clock import Clock
from ledger.intake import BEARER, Arrival, GroupWriter, Origin
from schemas.entity import Entity, followed_entity
from schemas.errors import BadSignature, FieldErrors, TooLarge, Unreadable
from schemas.notification import MAX_BYTES, Statements, parse_hook, parse_relay
from schemas.reasons import Refusal
from schemas.settings import Settings
from service.signature import claimed_digest, verify

HOOKS = "/hooks/"
RELAY = "/hooks/relay"
NEXUDUS = "/hooks/nexudus"
COURSE_MEMBERS = "/hooks/nexudus/course-members"
COMPLETED_LESSONS = "/hooks/nexudus/course-completed-lessons"
_LONGEST_ERROR = 500
_LARGE = 64 * 1024  # bytes; parsing takes many times the memory of the body
_OUR_FIELDS = frozenset({"Id", "id", "entity", "body"})

# Both headers as WSGI names them.
_SIGNATURE = "HTTP_X_NEXUDUS_HOOK_SIGNATURE"
_AUTHORIZATION = "HTTP_AUTHORIZATION"

Guard = Callable[[Mapping[str, str]], None]

_log = structlog.get_logger("receiver")


def hook_guards(settings: Settings) -> dict[str, Guard]:
    """Return, by route, a check of the request headers (as a WSGI environment).

    A guard needs no body and raises `BadSignature`. Requests that pass are still to be verified.
    """

    def signed(head: Mapping[str, str]) -> None:
        claimed_digest(head.get(_SIGNATURE), settings.hook_secrets)

    def has_token(head: Mapping[str, str]) -> None:
        check_bearer(head.get(_AUTHORIZATION), settings.relay_tokens)

    return {NEXUDUS: signed, COURSE_MEMBERS: signed, COMPLETED_LESSONS: signed, RELAY: has_token}


def hook_routes(settings: Settings, writer: GroupWriter, clock: Clock) -> Blueprint:
    """Return the routes on which notifications arrive."""
    routes = Blueprint("hooks", __name__)
    receiver = _Receiver(writer, clock)

    def nexudus(parse: Callable[[bytes], Statements]) -> tuple[Response, int]:
        body = _body()
        form = verify(body, request.environ.get(_SIGNATURE), settings.hook_secrets)
        return receiver.keep(_Proven(body, form, Origin.HOOK, settings.hook_secrets[0]), parse)

    @routes.post(COURSE_MEMBERS)
    def course_members() -> tuple[Response, int]:
        return nexudus(lambda body: parse_hook(body, Entity.COURSE_MEMBER, recognise=False))

    @routes.post(COMPLETED_LESSONS)
    def course_completed_lessons() -> tuple[Response, int]:
        return nexudus(lambda body: parse_hook(body, Entity.COMPLETED_LESSON, recognise=False))

    @routes.post(NEXUDUS)
    def any_entity() -> tuple[Response, int]:
        named = request.args.get("resource")
        entity = None if named is None else followed_entity(named)
        return nexudus(lambda body: parse_hook(body, entity, recognise=named is None))

    @routes.post(RELAY)
    def relay() -> tuple[Response, int]:
        check_bearer(request.environ.get(_AUTHORIZATION), settings.relay_tokens)
        proven = _Proven(_body(), BEARER, Origin.RELAY, settings.relay_tokens[0])
        return receiver.keep(proven, parse_relay)

    return routes


def check_bearer(header: str | None, tokens: Sequence[str]) -> None:
    """Check that the header carries one of `tokens`. Every comparison takes the same time.

    Raises:
        BadSignature: it carries none of them, or no token is configured.
    """
    if not tokens:
        raise BadSignature(Refusal.NO_TOKEN)
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise BadSignature(Refusal.MISSING_TOKEN)
    given = token.strip().encode("utf-8", "surrogatepass")
    if not any(
        [hmac.compare_digest(given, known.encode()) for known in tokens]  # noqa: C419 - compare all, even after a match
    ):
        raise BadSignature(Refusal.WRONG_TOKEN)


@dataclass(frozen=True, slots=True)
class _Proven:
    """An authenticated body. `key` is a secret shared with the sender."""

    body: bytes
    form: str
    origin: Origin
    key: str


class _Receiver:
    def __init__(self, writer: GroupWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._one_large = threading.Lock()

    def keep(self, proven: _Proven, parse: Callable[[bytes], Statements]) -> tuple[Response, int]:
        """Store an authentic delivery; answer 202, or 400 on the relay route if a row is bad."""
        if len(proven.body) <= _LARGE:
            return self._keep(proven, parse)
        with self._one_large:
            return self._keep(proven, parse)

    def _keep(self, proven: _Proven, parse: Callable[[bytes], Statements]) -> tuple[Response, int]:
        body = proven.body
        # Keyed, so that a door code in an otherwise known body cannot be found by brute force.
        digest = hmac.digest(proven.key.encode("utf-8", "surrogatepass"), body, "sha256").hex()
        arrival = Arrival(
            self._clock.now(), request.path, proven.origin, proven.form, None, len(body), digest
        )
        try:
            statements = parse(body)
        except Unreadable as error:
            return self._keep_unreadable(arrival, str(error), error.fields, Statements())
        if statements.unreadable:
            sentence = f"{statements.unreadable} of the rows cannot be read"
            return self._keep_unreadable(arrival, sentence, statements.errors, statements)
        self._writer.keep(
            replace(
                arrival,
                body=body if statements.is_plain else None,
                notifications=tuple(statements.notifications),
            )
        )
        accepted = len(statements.notifications)
        _log.info("delivery.kept", route=request.path, form=proven.form, accepted=accepted)
        return jsonify(accepted=accepted), 202

    def _keep_unreadable(
        self, arrival: Arrival, sentence: str, errors: FieldErrors, statements: Statements
    ) -> tuple[Response, int]:
        notifications = tuple(statements.notifications)
        accepted = len(notifications)
        error = f"{sentence}: {_known_names_only(errors)}"[:_LONGEST_ERROR]
        self._writer.keep(replace(arrival, error=error, notifications=notifications))
        _log.warning(
            "delivery.unreadable",
            route=arrival.route,
            origin=arrival.origin.value,
            accepted=accepted,
            unreadable=statements.unreadable,
        )
        if arrival.origin is Origin.RELAY:
            fields = {str(place): found for place, found in errors.items()}
            return jsonify(error=sentence, accepted=accepted, fields=fields), 400
        return jsonify(accepted=accepted), 202


def _known_names_only(errors: FieldErrors) -> FieldErrors:
    """Return the errors without field names that the sender made up, which could be content."""
    return {
        place: (
            {(name if name in _OUR_FIELDS else "another field"): why for name, why in found.items()}
            if isinstance(found, dict)
            else found
        )
        for place, found in errors.items()
    }


def _body() -> bytes:
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise TooLarge(f"a delivery may have at most {MAX_BYTES} bytes") from None
