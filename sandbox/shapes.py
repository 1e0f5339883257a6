"""Whole records of each kind, with every field the contract names (its section 2).

Pure. What a record means and when it changes is `tenant`'s business.
"""

import hashlib
from datetime import datetime

from sandbox.wire import Record
from schemas.entity import Entity
from schemas.vocabulary import CompletionType, CoworkerKind, UnlockType, Visibility

HOST_ID = 1_416_000_002
EDITOR = "desk@example.org"


def common(entity: Entity, record_id: int, moment: datetime, text: str) -> Record:
    """Return the fields that every record has (contract, section 2.0)."""
    return {
        "Id": record_id,
        "UniqueId": _guid(f"{entity}/{record_id}"),
        "CreatedOn": moment,
        "UpdatedOn": moment,
        "UpdatedBy": EDITOR,
        "IsNew": False,
        "SystemId": None,
        "ToStringText": text,
        "LocalizationDetails": None,
        "CustomFields": None,
    }


def _guid(name: str) -> str:
    # Always the same for a name; put together by hand since a world may have 100,000 of them.
    text = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-a{text[17:20]}-{text[20:32]}"


def course_member(
    record_id: int, moment: datetime, course: Record, coworker: Record, *, approved: bool
) -> Record:
    """Return a new enrolment (contract, section 2.1)."""
    kind = CoworkerKind(coworker["CoworkerType"])
    return {
        "CourseId": course["Id"],
        "CourseTitle": course["Title"],
        "CoworkerId": coworker["Id"],
        "CoworkerCoworkerType": kind.name.capitalize(),  # a word here, a number on the coworker
        "CoworkerFullName": coworker["FullName"],
        "CoworkerCompanyName": coworker["CompanyName"],
        "CoworkerTeamNames": coworker["TeamNames"],
        "CoworkerBillingName": coworker["BillingName"],
        "LastCompletedLessonId": None,
        "LastCompletedLessonTitle": None,
        "LastAccess": None,
        "Approved": approved,
        "Blocked": False,
        **common(Entity.COURSE_MEMBER, record_id, moment, f"#{record_id}"),
    }


def completed_lesson(record_id: int, moment: datetime, lesson: Record, member: Record) -> Record:
    """Return a new completion; it names neither course nor coworker (contract, section 2.2)."""
    return {
        "CourseLessonId": lesson["Id"],
        "CourseLessonTitle": lesson["Title"],
        "CourseMemberId": member["Id"],
        "CourseMemberCoworkerFullName": member["CoworkerFullName"],
        "CourseMemberCoworkerCompanyName": member["CoworkerCompanyName"],
        "CourseMemberCoworkerTeamNames": member["CoworkerTeamNames"],
        **common(Entity.COMPLETED_LESSON, record_id, moment, f"#{record_id}"),
    }


def after_lesson(member: Record, lesson: Record, moment: datetime) -> Record:
    """Return the enrolment as it is once this lesson was finished."""
    return {
        **member,
        "LastCompletedLessonId": lesson["Id"],
        "LastCompletedLessonTitle": lesson["Title"],
        "LastAccess": moment,
        "UpdatedOn": moment,
    }


def lesson(  # noqa: PLR0913 - a record has this many sides
    record_id: int,
    moment: datetime,
    course: Record,
    title: str,
    completion: CompletionType,
    *,
    order: int,
    section: Record | None = None,
    active: bool = True,
) -> Record:
    """Return a lesson (contract, section 2.3); `section` is the record it lies in."""
    return {
        "CourseId": course["Id"],
        "CourseTitle": course["Title"],
        "SectionId": section["Id"] if section else None,
        "SectionDisplayOrder": section["DisplayOrder"] if section else None,
        "SectionTitle": section["Title"] if section else None,
        "InstructorId": HOST_ID,
        "InstructorFullName": "Noor de Vries",
        "InstructorCompanyName": None,
        "InstructorTeamNames": None,
        "Title": title,
        "SummaryText": None,
        "LessonContents": "<p>" + "The long text of this lesson. " * 40 + "</p>",
        "Active": active,
        "DisplayOrder": order,
        "UnlockType": int(UnlockType.IMMEDIATE),
        "UnlockAfterDays": 0,
        "CompletionType": int(completion),
        "ImageFileName": None,
        "NewImageUrl": None,
        "ClearImageFile": None,
        **common(Entity.LESSON, record_id, moment, title),
    }


def section(  # noqa: PLR0913 - a record has this many sides
    record_id: int, moment: datetime, course: Record, title: str, *, order: int, active: bool = True
) -> Record:
    """Return a section (contract, section 2.4)."""
    return {
        "CourseId": course["Id"],
        "CourseTitle": course["Title"],
        "Title": title,
        "SectionContents": "<p>What this section is about.</p>",
        "Active": active,
        "DisplayOrder": order,
        "UnlockType": int(UnlockType.IMMEDIATE),
        "UnlockAfterDays": 0,
        "ImageFileName": None,
        "NewImageUrl": None,
        "ClearImageFile": None,
        **common(Entity.SECTION, record_id, moment, title),
    }


def course(  # noqa: PLR0913 - a record has this many sides
    record_id: int, moment: datetime, place: Record, title: str, *, group: str | None, order: int
) -> Record:
    """Return a course of a location (contract, section 2.5); `place` is the Business."""
    return {
        "BusinessId": place["Id"],
        "BusinessName": place["Name"],
        "BusinessAddress": place["Address"],
        "BusinessTownCity": place["TownCity"],
        "BusinessPostalCode": place["PostalCode"],
        "HostId": HOST_ID,
        "HostFullName": "Noor de Vries",
        "HostCompanyName": None,
        "HostTeamNames": None,
        "Title": title,
        "SummaryText": None,
        "FullDescription": "<p>Everything about this course.</p>",
        "OverviewText": "<p>What you will learn.</p>",
        "ShowOverview": True,
        "HasCommunityGroup": False,
        "Active": True,
        "ShowInHomePage": True,
        "ImageFileName": None,
        "NewImageUrl": None,
        "LargeImageFileName": None,
        "NewLargeImageUrl": None,
        "ClearImageFile": None,
        "ClearLargeImageFile": None,
        "GroupName": group,
        "DisplayOrder": order,
        "Visibility": int(Visibility.PUBLIC),
        "TariffId": None,
        "TariffName": None,
        "TariffInvoiceEvery": None,
        "TariffInvoiceEveryWeeks": None,
        "TariffPrice": None,
        "TariffCurrencyCode": None,
        **common(Entity.COURSE, record_id, moment, title),
    }
