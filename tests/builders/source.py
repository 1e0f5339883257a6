"""What the source sends, as JSON objects with every field that the contract names."""

from typing import Any

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
        "HostFullName": "Rita Okafor",
        "Title": "Freelance Finance",
        "SummaryText": "Invoices and taxes.",
        "GroupName": "Business",
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
        "AccessPincode": "4711",
        "BankAccount": "GB00 0000",
    }
    return _COMMON | fields | different
