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
from dataclasses import dataclass

import structlog
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from ledger.clock import Clock
from ledger.group_writer import GroupWriter
from ledger.intake import BEARER, Arrival, Origin
from schemas.entity import Entity, followed_entity
from schemas.errors import BadSignature, FieldErrors, TooLarge, Unreadable
from schemas.notification import MAX_BYTES, Statements, parse_hook, parse_relay
from schemas.reasons import Refusal
from schemas.settings import Settings
from service.signature import claimed_digest, verify

# What `service.front` puts into a request's environment: the complete body, and a function that is
# called with the arrival instead of waiting for its commit; the answer is sent after the commit.
BODY = "coursebell.body"
DEFER = "coursebell.defer"
SMALL = (
    8 * 1024
)  # bytes; such a body has fewer rows than one transaction takes, and is read at once

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

    def nexudus(parse: Callable[[bytes], Statements]) -> Response:
        body = body_of_request()
        form = verify(body, request.environ.get(_SIGNATURE), settings.hook_secrets)
        return receiver.keep(_Proven(body, form, Origin.HOOK, settings.hook_secrets[0]), parse)

    @routes.post(COURSE_MEMBERS)
    def course_members() -> Response:
        return nexudus(lambda body: parse_hook(body, Entity.COURSE_MEMBER, recognise=False))

    @routes.post(COMPLETED_LESSONS)
    def course_completed_lessons() -> Response:
        return nexudus(lambda body: parse_hook(body, Entity.COMPLETED_LESSON, recognise=False))

    @routes.post(NEXUDUS)
    def any_entity() -> Response:
        named = request.args.get("resource")
        entity = None if named is None else followed_entity(named)
        return nexudus(lambda body: parse_hook(body, entity, recognise=named is None))

    @routes.post(RELAY)
    def relay() -> Response:
        check_bearer(request.environ.get(_AUTHORIZATION), settings.relay_tokens)
        proven = _Proven(body_of_request(), BEARER, Origin.RELAY, settings.relay_tokens[0])
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

    def keep(self, proven: _Proven, parse: Callable[[bytes], Statements]) -> Response:
        """Store an authentic delivery; answer 202, or 400 on the relay route if a row is bad."""
        if len(proven.body) <= _LARGE:
            return self._keep(proven, parse)
        with self._one_large:
            return self._keep(proven, parse)

    def _keep(self, proven: _Proven, parse: Callable[[bytes], Statements]) -> Response:
        try:
            statements = parse(proven.body)
        except Unreadable as error:
            return self._keep_unreadable(proven, str(error), error.fields, Statements())
        if statements.unreadable:
            sentence = f"{statements.unreadable} of the rows cannot be read"
            return self._keep_unreadable(proven, sentence, statements.errors, statements)
        self._store(self._arrival(proven, statements))
        return _accepted(statements)

    def _arrival(
        self, proven: _Proven, statements: Statements, error: str | None = None
    ) -> Arrival:
        body = proven.body
        # Keyed, so that a door code in an otherwise known body cannot be found by brute force.
        digest = hmac.digest(proven.key.encode("utf-8", "surrogatepass"), body, "sha256").hex()
        return Arrival(
            received_at=self._clock.now(),
            route=request.path,
            origin=proven.origin,
            signature_form=proven.form,
            body=body if statements.is_plain and error is None else None,
            size=len(body),
            digest=digest,
            notifications=tuple(statements.notifications),
            error=error,
        )

    def _store(self, arrival: Arrival) -> None:
        defer = request.environ.get(DEFER)
        if defer is None:
            self._writer.keep(arrival)
        else:
            defer(arrival)

    def _keep_unreadable(
        self, proven: _Proven, sentence: str, errors: FieldErrors, statements: Statements
    ) -> Response:
        error = f"{sentence}: {_known_names_only(errors)}"[:_LONGEST_ERROR]
        self._store(self._arrival(proven, statements, error))
        accepted = len(statements.notifications)
        _log.warning(
            "delivery.unreadable",
            route=request.path,
            origin=proven.origin.value,
            accepted=accepted,
            unreadable=statements.unreadable,
        )
        if proven.origin is Origin.RELAY:
            fields = {str(place): found for place, found in errors.items()}
            answer = jsonify(error=sentence, accepted=accepted, fields=fields)
            answer.status_code = 400
            return answer
        return _accepted(statements)


def _accepted(statements: Statements) -> Response:
    body = f'{{"accepted":{len(statements.notifications)}}}\n'
    return Response(body, 202, mimetype="application/json")


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


def body_of_request() -> bytes:
    """Return the complete body of this request.

    Raises:
        TooLarge: it has too many bytes.
    """
    body: bytes | None = request.environ.get(BODY)
    if body is not None:
        return body
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise TooLarge(f"a delivery may have at most {MAX_BYTES} bytes") from None
