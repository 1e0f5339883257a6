"""A certificate as one page to print: no script, nothing from elsewhere, foreign text escaped."""

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from schemas.reasons import EXPLANATIONS, Reason
from service.command.certify_lines import (
    ENTITIES,
    closing_of,
    courses_of,
    in_words,
    next_steps,
    unchecked_attempts,
)
from service.command.certify_table import HEADS, row_of
from workers.certify.document import KIND, PLANNED, Document

_FOLDER = Path(__file__).parent
_TEMPLATE = "certificate.html"
# What stands in place of a reason.
_NO_REASONS = {
    "due": "To be read as soon as a worker is free",
    PLANNED: "Its email is sent when its time has come",
}


def page_of(document: Document) -> str:
    """Return the page for a signed document; it has a place for its own signature."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["utc"] = in_words
    return environment.get_template(_TEMPLATE).render(
        kind=KIND,
        it=document,
        heads=HEADS,
        entities=ENTITIES,
        courses=[
            (location, course, [(line["day"], row_of(line)) for line in lines])
            for location, course, lines in courses_of(document)
        ],
        totals=row_of(document["totals"]),
        explained={word: _sentence(word) for word in document["reasons"]},
        closing=closing_of(document),
        unchecked=unchecked_attempts(document) if document["attempts_kept_since"] else "",
        steps=next_steps(document),
        plain=json.dumps(document, sort_keys=True, ensure_ascii=True),
    )


def _sentence(word: str) -> str:
    known = {reason.value: EXPLANATIONS[reason].sentence for reason in Reason}
    return (known | _NO_REASONS).get(word, word)
