"""Certificates of completion: what each says, under a hash of its code.

The code itself is not stored, so a copy of this table confirms nothing. Only the emails that carry
a certificate have it.
"""

from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import Connection, delete, select

from ledger.engine import insert_into
from ledger.tables import completion_certificates


@dataclass(frozen=True, slots=True)
class CompletionCertificate:
    """What one certificate says, as printed.

    `finished_on` is a day where the person is. `language` is the code of the language it is in.
    """

    course_id: int
    coworker_id: int
    name: str = field(repr=False)
    course: str
    space: str | None
    finished_on: date
    language: str


def store_certificate(
    connection: Connection, code_hash: str, certificate: CompletionCertificate, now: datetime
) -> None:
    """Store a certificate that is about to be sent.

    One with the same code is replaced: it is about the same person and course, and was written
    again, perhaps with a corrected name.
    """
    values = {
        "course_id": certificate.course_id,
        "coworker_id": certificate.coworker_id,
        "name": certificate.name,
        "course": certificate.course,
        "space": certificate.space,
        "finished_on": certificate.finished_on,
        "language": certificate.language,
        "issued_at": now,
    }
    statement = insert_into(connection, completion_certificates).values(
        code_hash=code_hash, **values
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[completion_certificates.c.code_hash], set_=values
        )
    )


def certificate_of(connection: Connection, code_hash: str) -> CompletionCertificate | None:
    """Return the certificate with this code; None if none was sent, or its person was erased."""
    row = connection.execute(
        select(completion_certificates).where(completion_certificates.c.code_hash == code_hash)
    ).first()
    if row is None:
        return None
    return CompletionCertificate(
        course_id=row.course_id,
        coworker_id=row.coworker_id,
        name=row.name,
        course=row.course,
        space=row.space,
        finished_on=row.finished_on,
        language=row.language,
    )


def erase_certificates(connection: Connection, coworker_id: int) -> int:
    """Delete the certificates of a person, so that none is confirmed any more; return how many."""
    of_person = completion_certificates.c.coworker_id == coworker_id
    return connection.execute(delete(completion_certificates).where(of_person)).rowcount
