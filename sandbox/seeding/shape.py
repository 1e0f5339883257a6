"""What may stand in a seed file, as marshmallow schemas. Every unknown key is a mistake."""

from marshmallow import Schema, fields, validate

from sandbox.places import LANGUAGES, ZONES
from sandbox.seeding.entries import Misbehaviour, Moment, Named, Quota
from schemas.vocabulary import CompletionType, CoworkerKind

_LARGEST_ID = 2**63 - 1
_MOST = 1_000_000


def _id() -> fields.Integer:
    range_of_ids = validate.Range(min=1, max=_LARGEST_ID, error="Must be between 1 and 2^63-1.")
    return fields.Integer(strict=True, load_default=None, validate=range_of_ids)


def _flag(*, otherwise: bool) -> fields.Boolean:
    return fields.Boolean(truthy={True}, falsy={False}, load_default=otherwise)


def _one_of(*words: str, otherwise: str | None, may_be_none: bool = False) -> fields.String:
    known = validate.OneOf(words, error="Must be one of: {choices}.")
    return fields.String(validate=known, load_default=otherwise, allow_none=may_be_none)


def _maybe_text() -> fields.String:
    return fields.String(load_default=None, allow_none=True)


def _how_many(otherwise: int, least: int = 0) -> fields.Integer:
    return fields.Integer(
        strict=True, load_default=otherwise, validate=validate.Range(min=least, max=_MOST)
    )


_TITLE = validate.Length(min=1)


class LocationShape(Schema):
    """A location."""

    id = _id()
    name = fields.String(required=True, validate=_TITLE)
    time_zone = _one_of(*ZONES.values(), otherwise=ZONES[2023])
    language = _one_of(*LANGUAGES, otherwise="en-GB")
    web_address = fields.String(load_default="werkhof")
    parent = Named(load_default=None, allow_none=True)


class PersonShape(Schema):
    """A coworker."""

    id = _id()
    name = fields.String(required=True, validate=_TITLE)
    email = fields.String(load_default="")
    kind = _one_of(*(kind.name.lower() for kind in CoworkerKind), otherwise="individual")
    company = _maybe_text()
    teams = _maybe_text()
    first_name = _maybe_text()
    salutation = _maybe_text()
    active = _flag(otherwise=True)
    archived = _flag(otherwise=False)
    account = _flag(otherwise=True)
    time_zone = _one_of(*ZONES.values(), otherwise=ZONES[2023])
    language = _one_of(*LANGUAGES, otherwise=None, may_be_none=True)
    location = Named(load_default=None, allow_none=True)


class SectionShape(Schema):
    """A section of a course."""

    id = _id()
    title = fields.String(required=True, validate=_TITLE)
    active = _flag(otherwise=True)


class LessonShape(Schema):
    """A lesson of a course."""

    id = _id()
    title = fields.String(required=True, validate=_TITLE)
    completion = _one_of(*(kind.name.lower() for kind in CompletionType), otherwise="button")
    section = Named(load_default=None, allow_none=True)
    active = _flag(otherwise=True)


class CourseShape(Schema):
    """A course with its sections and lessons."""

    id = _id()
    title = fields.String(required=True, validate=_TITLE)
    location = Named(load_default=None, allow_none=True)
    group = _maybe_text()
    sections = fields.List(fields.Nested(SectionShape), load_default=list)
    lessons = fields.List(fields.Nested(LessonShape), load_default=list)


class EnrolmentShape(Schema):
    """An enrolment."""

    id = _id()
    person = Named(required=True)
    course = Named(required=True)
    at = Moment(load_default=None)
    approved = _flag(otherwise=True)
    blocked = _flag(otherwise=False)


class CompletionShape(Schema):
    """A completion; its enrolment by Id."""

    id = _id()
    enrolment = fields.Integer(strict=True, required=True)
    lesson = Named(required=True)
    at = Moment(load_default=None)


class CrowdShape(Schema):
    """Many people at once."""

    people = _how_many(100)
    courses = _how_many(5)
    lessons = _how_many(10, least=1)
    enrolments = _how_many(100)
    completions = _how_many(0)
    random_seed = fields.Integer(strict=True, load_default=7)


class SeedShape(Schema):
    """The whole file. A part that is missing is the built-in one; `[]` is none."""

    locations = fields.List(fields.Nested(LocationShape), validate=_TITLE)
    people = fields.List(fields.Nested(PersonShape))
    courses = fields.List(fields.Nested(CourseShape))
    enrolments = fields.List(fields.Nested(EnrolmentShape), load_default=list)
    completions = fields.List(fields.Nested(CompletionShape), load_default=list)
    crowd = fields.Nested(CrowdShape)
    misbehaviours = fields.List(Misbehaviour(), load_default=list)
    quota = Quota(load_default=None, allow_none=True)
    first_new_id = _id()
