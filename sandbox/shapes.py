"""Whole records of each kind, with every field the contract names (its section 2).

Pure. What a record means and when it changes is `tenant`'s business.
"""

import uuid
from datetime import datetime

from sandbox.wire import Record
from schemas.entity import Entity
from schemas.vocabulary import CompletionType, CoworkerKind, UnlockType, Visibility

BUSINESS_ID = 1_416_000_001
BUSINESS_NAME = "Werkhof Coworking"
HOST_ID = 1_416_000_002
EDITOR = "desk@example.org"
_NAMES = uuid.uuid5(uuid.NAMESPACE_DNS, "werkhof.example.org")


def _common(entity: Entity, record_id: int, moment: datetime, text: str) -> Record:
    return {
        "Id": record_id,
        "UniqueId": str(uuid.uuid5(_NAMES, f"{entity}/{record_id}")),
        "CreatedOn": moment,
        "UpdatedOn": moment,
        "UpdatedBy": EDITOR,
        "IsNew": False,
        "SystemId": None,
        "ToStringText": text,
        "LocalizationDetails": None,
        "CustomFields": None,
    }


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
        **_common(Entity.COURSE_MEMBER, record_id, moment, f"#{record_id}"),
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
        **_common(Entity.COMPLETED_LESSON, record_id, moment, f"#{record_id}"),
    }


def lesson(  # noqa: PLR0913 - a record has this many sides
    record_id: int,
    moment: datetime,
    course: Record,
    title: str,
    completion: CompletionType,
    *,
    order: int,
    section: tuple[int, int, str] | None = None,
    active: bool = True,
) -> Record:
    """Return a lesson (contract, section 2.3); `section` is its Id, place and title."""
    section_id, section_order, section_title = section or (None, None, None)
    return {
        "CourseId": course["Id"],
        "CourseTitle": course["Title"],
        "SectionId": section_id,
        "SectionDisplayOrder": section_order,
        "SectionTitle": section_title,
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
        **_common(Entity.LESSON, record_id, moment, title),
    }


def course(record_id: int, moment: datetime, title: str, *, group: str, order: int) -> Record:
    """Return a course (contract, section 2.5)."""
    return {
        "BusinessId": BUSINESS_ID,
        "BusinessName": BUSINESS_NAME,
        "BusinessAddress": "Hofgasse 4",
        "BusinessTownCity": "Berlin",
        "BusinessPostalCode": "10999",
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
        **_common(Entity.COURSE, record_id, moment, title),
    }
