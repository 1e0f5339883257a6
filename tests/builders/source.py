"""What the source sends, as JSON objects with every field that the contract names."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from schemas.entity import Entity

MOMENT = datetime(2026, 8, 4, 15, 28, 18, tzinfo=UTC)  # of every CreatedOn and UpdatedOn below

_COMMON: dict[str, Any] = {
    "Id": 1416023860,
    "UniqueId": "7f90bd59-e5da-4194-b15d-75985abb7b54",
    "CreatedOn": "2026-08-04T15:28:18Z",
    "UpdatedOn": "2026-08-04T15:28:18Z",
    "UpdatedBy": "desk@example.org",
    "IsNew": False,
    "SystemId": None,
    "ToStringText": "#1416023860",
    "LocalizationDetails": None,
    "CustomFields": None,
}


def course_member_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a CourseMember."""
    fields: dict[str, Any] = {
        "CourseId": 1234,
        "CourseTitle": "Freelance Finance",
        "CoworkerId": 77,
        "CoworkerCoworkerType": "Individual",
        "CoworkerFullName": "Ana López",
        "CoworkerCompanyName": None,
        "CoworkerTeamNames": "Red,Blue",
        "CoworkerBillingName": None,
        "LastCompletedLessonId": None,
        "LastCompletedLessonTitle": None,
        "LastAccess": None,
        "Approved": True,
        "Blocked": False,
    }
    return _COMMON | fields | different


def completed_lesson_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a CourseCompletedLesson."""
    fields: dict[str, Any] = {
        "CourseLessonId": 501,
        "CourseLessonTitle": "Your first invoice",
        "CourseMemberId": 9001,
        "CourseMemberCoworkerFullName": "Ana López",
        "CourseMemberCoworkerCompanyName": None,
        "CourseMemberCoworkerTeamNames": None,
    }
    return _COMMON | fields | different


def lesson_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a CourseLesson."""
    fields: dict[str, Any] = {
        "CourseId": 1234,
        "SectionId": 31,
        "SectionDisplayOrder": 2,
        "Title": "Your first invoice",
        "LessonContents": "<p>Long</p>",
        "Active": True,
        "DisplayOrder": 3,
        "UnlockType": 1,
        "UnlockAfterDays": 0,
        "CompletionType": 3,
    }
    return _COMMON | fields | different


def course_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a Course."""
    fields: dict[str, Any] = {
        "BusinessId": 500,
        "BusinessName": "Harbour Works",
        "HostId": 88,
        "HostFullName": "Rita Okafor",
        "Title": "Freelance Finance",
        "SummaryText": "Invoices and taxes.",
        "GroupName": "Business",
        "DisplayOrder": 2,
        "Active": True,
        "Visibility": 1,
    }
    return _COMMON | fields | different


def coworker_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a Coworker, with two of the many fields that must never be kept."""
    fields: dict[str, Any] = {
        "CoworkerType": 1,
        "FullName": "Ana López",
        "GuessedFirstName": "Ana",
        "Email": "ana@example.org",
        "Active": True,
        "Archived": False,
        "SimpleTimeZoneId": 20,
        "UserId": 4001,
        "InvoicingBusinessId": 500,
        "AccessPincode": "4711",
        "BankAccount": "GB00 0000",
    }
    return _COMMON | fields | different


def section_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a CourseSection."""
    fields: dict[str, Any] = {
        "CourseId": 1234,
        "CourseTitle": "Freelance Finance",
        "Title": "Basics",
        "SectionContents": "<p>Long</p>",
        "Active": True,
        "DisplayOrder": 2,
        "UnlockType": 1,
        "UnlockAfterDays": 0,
    }
    return _COMMON | fields | different


def business_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a Business: a location."""
    fields: dict[str, Any] = {
        "Name": "Harbour Works",
        "WebAddress": "harbour-works",
        "RootLocationId": 499,
        "SimpleTimeZoneId": 20,
        "DefaultLanguage": 1,
        "SpaceWebsiteLanguageId": 3001,
        "SpaceWebsiteLanguageCulture": "en-GB",
        "CurrencyCode": "GBP",
        "Suspended": False,
    }
    return _COMMON | fields | different


def user_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a User: a portal account, with two of the fields that are not kept."""
    fields: dict[str, Any] = {
        "FullName": "Ana López",
        "Email": "ana@example.org",
        "Active": True,
        "Language": 1,
        "PreferredLanguageId": 3001,
    }
    return _COMMON | fields | different


def language_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a Language."""
    return _COMMON | {"Name": "English (UK)", "Culture": "en-GB"} | different


def time_zone_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a SimpleTimeZone."""
    return _COMMON | {"Name": "GMT Standard Time", "Offset": "+00:00"} | different


def web_hook_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a WebHook whose address has a key in it."""
    fields: dict[str, Any] = {
        "BusinessId": 500,
        "Name": "Tell us of new coworkers",
        "Action": 3,
        "Description": None,
        "URL": "https://bell.example.org/hooks/nexudus/course-members?key=sesame",
        "Active": True,
        "LastError": None,
        "ErrorCount": 0,
        "LastTrigger": "2026-08-04T15:28:18Z",
    }
    return _COMMON | fields | different


def message_json(**different: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Build a CoworkerMessage, with a subject and a body, which must never be kept."""
    fields: dict[str, Any] = {
        "CoworkerId": 77,
        "CoworkerFullName": "Ana López",
        "Subject": "Your door code",
        "Body": "<p>It is 4711.</p>",
        "IsNewMessage": True,
        "Incoming": False,
        "MessageId": None,
        "ReminderUniqueId": None,
    }
    return _COMMON | fields | different


BUILDERS: dict[Entity, Callable[..., dict[str, Any]]] = {
    Entity.COURSE_MEMBER: course_member_json,
    Entity.COMPLETED_LESSON: completed_lesson_json,
    Entity.LESSON: lesson_json,
    Entity.COURSE: course_json,
    Entity.COWORKER: coworker_json,
    Entity.SECTION: section_json,
    Entity.BUSINESS: business_json,
    Entity.USER: user_json,
    Entity.LANGUAGE: language_json,
    Entity.TIME_ZONE: time_zone_json,
    Entity.WEB_HOOK: web_hook_json,
    Entity.MESSAGE: message_json,
}
