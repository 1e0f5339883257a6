"""The receiver: verify, keep, answer. It believes nothing and decides nothing.

Whatever is authentic on a Nexudus route is kept and answered 2xx, readable or not: ten other
answers in a row and Nexudus switches the hook off for good (contract, section 5.4). On the relay
route, whose callers are people building something, a row that cannot be read is 400 with the field
errors; the readable ones are kept all the same.

A body is kept only where every row was readable and had no field beyond those of a record that we
follow. Other records may hold door codes and bank details (contract, section 2.6), and nothing of
them is ever needed; of such a delivery only entities, Ids, size and a digest are kept.
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
    """Return, by route, what refuses a request whose head (as a WSGI environment) shows it is bad.

    A guard needs no body and raises `BadSignature`. What it lets through is verified afterwards.
    """

    def signed(head: Mapping[str, str]) -> None:
        claimed_digest(head.get(_SIGNATURE), settings.hook_secrets)

    def bearing(head: Mapping[str, str]) -> None:
        check_bearer(head.get(_AUTHORIZATION), settings.relay_tokens)

    return {NEXUDUS: signed, COURSE_MEMBERS: signed, COMPLETED_LESSONS: signed, RELAY: bearing}


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
    """Let the caller through who shows one of `tokens`; every comparison takes the same time.

    Raises:
        BadSignature: no such token was shown, or none is configured.
    """
    if not tokens:
        raise BadSignature(Refusal.NO_TOKEN)
    scheme, _, shown = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not shown.strip():
        raise BadSignature(Refusal.MISSING_TOKEN)
    given = shown.strip().encode("utf-8", "surrogatepass")
    if not any(
        [hmac.compare_digest(given, token.encode()) for token in tokens]  # noqa: C419 - all are compared, whichever fits
    ):
        raise BadSignature(Refusal.WRONG_TOKEN)


@dataclass(frozen=True, slots=True)
class _Proven:
    """A body whose sender is proven. `key` is a secret shared with the sender."""

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
        """Keep an authentic delivery; answer 202, or 400 on the relay route if a row is bad."""
        if len(proven.body) <= _LARGE:
            return self._keep(proven, parse)
        with self._one_large:
            return self._keep(proven, parse)

    def _keep(self, proven: _Proven, parse: Callable[[bytes], Statements]) -> tuple[Response, int]:
        body = proven.body
        # Keyed, since a door code in an otherwise known body could be found by trying them all.
        digest = hmac.digest(proven.key.encode("utf-8", "surrogatepass"), body, "sha256").hex()
        arrival = Arrival(
            self._clock.now(), request.path, proven.origin, proven.form, None, len(body), digest
        )
        try:
            said = parse(body)
        except Unreadable as error:
            return self._keep_unreadable(arrival, str(error), error.fields, Statements())
        if said.unreadable:
            sentence = f"{said.unreadable} of the rows cannot be read"
            return self._keep_unreadable(arrival, sentence, said.errors, said)
        self._writer.keep(
            replace(
                arrival,
                body=body if said.is_plain else None,
                notifications=tuple(said.notifications),
            )
        )
        accepted = len(said.notifications)
        _log.info("delivery.kept", route=request.path, form=proven.form, accepted=accepted)
        return jsonify(accepted=accepted), 202

    def _keep_unreadable(
        self, arrival: Arrival, sentence: str, errors: FieldErrors, said: Statements
    ) -> tuple[Response, int]:
        accepted = len(said.notifications)
        noted = f"{sentence}: {_places(errors)}"[:_LONGEST_ERROR]
        self._writer.keep(replace(arrival, error=noted, notifications=tuple(said.notifications)))
        _log.warning(
            "delivery.unreadable",
            route=arrival.route,
            origin=arrival.origin.value,
            accepted=accepted,
            unreadable=said.unreadable,
        )
        if arrival.origin is Origin.RELAY:
            fields = {str(place): found for place, found in errors.items()}
            return jsonify(error=sentence, accepted=accepted, fields=fields), 400
        return jsonify(accepted=accepted), 202


def _places(errors: FieldErrors) -> FieldErrors:
    """Return the errors without names of the sender's own making, which could be content."""
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
        raise TooLarge(f"a delivery may have {MAX_BYTES} bytes") from None
