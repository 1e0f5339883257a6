"""A certificate as a signed document, and the check whether a file is a genuine one. Pure.

The same content always gives the same bytes. A page is also signed as a whole, because people read
the page and not the document in it.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from schemas.entity import Entity
from workers.sync.certificate import Certificate, Counts, Line
from workers.sync.row_outcomes import Finding, FindingKind, RowOutcome

KIND = "coursebell completeness certificate"  # tells a certificate from other JSON
FORM = 1
PLANNED = "planned"  # instead of a reason: an email waits only for its due time
Document = dict[str, Any]

_SENTENCES: Mapping[FindingKind, str] = {
    FindingKind.MISSING_HERE: "At Nexudus, but not here",
    FindingKind.MISSING_THERE: "Here, but not at Nexudus",
    FindingKind.OTHER_KEYS: "Refers to other records at Nexudus than here",
    FindingKind.UNREADABLE: "Could not be read",
    FindingKind.NO_EVENT: "Was read, but has no event",
    FindingKind.NO_RECORD: "Happened, but its record is missing here",
    FindingKind.NO_OUTCOME: "Happened, but has neither an email nor a reason",
    FindingKind.NO_ACTION: "Its email is missing here",
    FindingKind.NO_CAUSE: "An email is about something that is missing here",
    FindingKind.NO_TRACE: "The history of its email is incomplete here",
}

_LABEL = b"certificate"  # so that the derived key fits nothing else
_SIGNATURE = "signature"
_EMPTY = "0" * 64
# A name cannot imitate this: the page escapes angle brackets.
_PLACE = re.compile(r'(<code id="page-signature">)([0-9a-f]{64})(</code>)')
_PLACE_MARK = 'id="page-signature"'
_MARK = f'<meta name="generator" content="{KIND}">'


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issued it: the address of the tenant, our version, and the rules in force."""

    tenant: str
    version: str
    rules: str
    made_at: datetime


def document_of(certificate: Certificate, maker: Issuer) -> Document:
    """Return the certificate as JSON values, unsigned."""
    window = certificate.window
    return {
        "kind": KIND,
        "form": FORM,
        "tenant": maker.tenant,
        "version": maker.version,
        "rules": maker.rules,
        "made_at": _moment(maker.made_at),
        "from": window.first.isoformat(),
        "to": window.last.isoformat(),
        "zone": window.zone.key,
        "since": _moment(window.since),
        "until": _moment(window.until),
        "is_cut": window.is_cut,
        "lines": [_line(line) for line in certificate.lines],
        "totals": _numbers(certificate.totals),
        "reasons": _reasons(certificate.totals),
        "not_here": certificate.not_here,
        "only_here": certificate.only_here,
        "carried_over": certificate.carried_over,
        "attempts_kept_since": (
            None if certificate.traced_since is None else _moment(certificate.traced_since)
        ),
        "differences": [_difference(one) for one in certificate.findings],
        "sums": [
            {"what": one.what, "counted": one.counted, "shown": one.shown}
            for one in certificate.sums
        ],
        "closes": certificate.closes,
        "complete": certificate.is_clean,
    }


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of this document."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def _line(line: Line) -> Document:
    return {
        "location": line.location,
        "location_id": line.location_id,
        "course": line.course,
        "course_id": line.course_id,
        "day": line.day.isoformat(),
    } | _numbers(line)


def _numbers(line: Line) -> Document:
    return {
        "at_source": _by_entity(line.at_source),
        "here": _by_entity(line.here),
        "fates": _counted(line.outcomes, "fate"),
        "events": dict(sorted(line.events.items())),
        "event_fates": _counted(line.event_outcomes, "fate"),
        "emails": _counted(line.emails, "state"),
    }


def _by_entity(numbers: Mapping[Entity, int]) -> Document:
    return {
        "enrolments": numbers.get(Entity.COURSE_MEMBER, 0),
        "lessons": numbers.get(Entity.COMPLETED_LESSON, 0),
    }


def _counted(counts: Counts, word: str) -> list[Document]:
    return [
        {word: str(outcome), "reason": None if reason is None else str(reason), "number": number}
        for (outcome, reason), number in sorted(
            counts.items(), key=lambda one: (one[0][0], one[0][1] or "")
        )
        if number
    ]


def _reasons(totals: Line) -> Document:
    found: Document = {}
    for name, counts in (
        ("rows", totals.outcomes),
        ("events", totals.event_outcomes),
        ("emails", totals.emails),
    ):
        for (outcome, reason), number in counts.items():
            word = PLANNED if reason is None and outcome == RowOutcome.WAITING else reason
            if word is not None and number:
                row = found.setdefault(str(word), {"rows": 0, "events": 0, "emails": 0})
                row[name] += number
    return dict(sorted(found.items()))


def _difference(one: Finding) -> Document:
    return {
        "kind": one.kind.value,
        "sentence": _SENTENCES[one.kind],
        "day": one.day.isoformat(),
        "location": one.location,
        "course": one.course,
        "person": one.person,
        "lesson": one.lesson,
        "entity": None if one.entity is None else one.entity.value,
        "id": one.record_id,
        "detail": one.detail,
    }


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


class Verdict(Enum):
    """The result of verifying a file; the values are the exit codes of the command."""

    GENUINE = 0
    CHANGED = 1
    NO_CERTIFICATE = 2


def signed(document: Document, secret_key: str) -> Document:
    """Return the document with its signature."""
    return document | {_SIGNATURE: _sign(canonical(document), secret_key)}


def signed_page(page: str, secret_key: str) -> str:
    """Return a page with its signature filled in."""
    empty = _PLACE.sub(rf"\g<1>{_EMPTY}\g<3>", page)
    signature = _sign(empty.encode(), secret_key)
    return _PLACE.sub(rf"\g<1>{signature}\g<3>", empty)


def verify(content: bytes, secret_key: str) -> Verdict:
    """Return whether this file, a document or a page, was signed with this key."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return Verdict.NO_CERTIFICATE
    # JSON escapes quotation marks, so no name in a document can contain either mark.
    if _MARK in text or _PLACE_MARK in text:
        return _page_verdict(text, secret_key)
    try:
        # Some editors add a byte order mark; white space does not matter either.
        document = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        return Verdict.NO_CERTIFICATE
    if not isinstance(document, dict) or document.get("kind") != KIND:
        return Verdict.NO_CERTIFICATE
    claimed = document.pop(_SIGNATURE, None)
    return _verdict(claimed, canonical(document), secret_key)


def _page_verdict(text: str, secret_key: str) -> Verdict:
    place = _PLACE.search(text)
    if place is None:
        return Verdict.CHANGED
    empty = _PLACE.sub(rf"\g<1>{_EMPTY}\g<3>", text)
    return _verdict(place[2], empty.encode(), secret_key)


def _verdict(claimed: object, content: bytes, secret_key: str) -> Verdict:
    ours = _sign(content, secret_key)
    same = isinstance(claimed, str) and hmac.compare_digest(claimed.encode(), ours.encode())
    return Verdict.GENUINE if same else Verdict.CHANGED


def _sign(content: bytes, secret_key: str) -> str:
    key = hmac.new(secret_key.encode(), _LABEL, hashlib.sha256).digest()
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _once_each(pairs: Iterable[tuple[str, Any]]) -> Document:
    """Load an object; a repeated name breaks the signature, as parsers differ in which counts."""
    found: Document = {}
    for name, value in pairs:
        found[name] = value if name not in found else "repeated name"
    return found
