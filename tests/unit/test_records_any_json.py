"""Whatever JSON the source sends: a record, or a refusal that names fields and repeats no value.

Values are made up from the schemas' own fields, so that a new kind or field is tried too.
"""

import contextlib
import functools
import json
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import fields as marshmallow_fields

from schemas.entity import FOLLOWED, Entity
from schemas.errors import RecordUnreadable
from schemas.fields import CoworkerKindField, Flag, MaybeId, RecordId, SourceTime, Text
from schemas.records import SCHEMAS, Record, dump_record, load_record
from schemas.records.answers import Page, load_page
from schemas.records.plain import NotPlain, loader_of
from tests.builders.records import completed_lesson, course_member

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8) | st.just("\x00")
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())
NEARLY_TIMES = st.text("0123456789-:.+TZ ٣", max_size=33)
EDGES = st.sampled_from(
    [0, -1, 2**31, 2**32, 2**63, 10**400, True, "", "\ud800", "2026-08-04T15:28:18Z"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | EDGES | TEXTS | NEARLY_TIMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
OF_EACH_KIND = 50  # examples: the eleven kinds share seven types of field
# All that can be said of a field. Nothing here has a place for a value.
SAID = {
    "Field may not be null.",
    "Missing data for required field.",
    "Must be between 1 and 2^63-1.",
    "Must be one of: 1, 2, 3, 4.",
    "Must be one of: 1, 2, 3.",
    'Must be "Individual", "Company", 1 or 2.',
    "Not a valid boolean.",
    "Not a valid datetime.",
    "Not a valid integer.",
    "Not a valid string.",
    "Not a valid utf-8 string.",
}


# What the source may write into a field of this kind.
RIGHT: dict[type, st.SearchStrategy[Any]] = {
    RecordId: st.integers(1, 2**63 - 1),
    MaybeId: st.integers(0, 2**63 - 1),
    SourceTime: TIMES,
    Flag: st.booleans(),
    Text: TEXTS,
    CoworkerKindField: st.sampled_from(["Individual", "Company", 1, 2]),
    marshmallow_fields.Integer: st.integers(),
}


def right_values(field: marshmallow_fields.Field[Any]) -> st.SearchStrategy[Any]:
    if isinstance(field, marshmallow_fields.Enum):
        return st.sampled_from([member.value for member in field.enum])
    return RIGHT[type(field)]


@functools.cache
def right_objects(entity: Entity) -> st.SearchStrategy[dict[str, Any]]:
    """Return records that are right, with and without what may be missing, null or empty."""
    needed: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in SCHEMAS[entity].fields.values():
        values = right_values(field)
        if field.allow_none:
            values |= st.sampled_from([None, ""] if isinstance(field, SourceTime) else [None])
        (needed if field.required else optional)[str(field.data_key)] = values
    return st.fixed_dictionaries(needed, optional=optional)


@functools.cache
def changed_objects(entity: Entity) -> st.SearchStrategy[dict[str, Any]]:
    """Return such records with some values replaced by anything, and some keys added."""
    keys = [str(field.data_key) for field in SCHEMAS[entity].fields.values()]
    changes = st.dictionaries(st.sampled_from(keys) | TEXTS, EDGES | JSON, max_size=3)
    return st.builds(lambda right, different: right | different, right_objects(entity), changes)


def loaded(entity: Entity, sent: object) -> Record | RecordUnreadable:
    try:
        return load_record(entity, sent)
    except RecordUnreadable as error:
        return error


def assert_loaded_alike(entity: Entity, sent: object) -> None:
    """Check that an object loaded without its schema is the record that the schema loads."""
    load = loader_of(SCHEMAS[entity])
    if load is not None and isinstance(sent, dict):
        with contextlib.suppress(NotPlain):
            record, by_schema = load(sent), SCHEMAS[entity].load(sent)
            assert record == by_schema
            assert repr(record) == repr(by_schema)  # True is not 1


def sentences(error: RecordUnreadable) -> set[str]:
    return {sentence for said in error.fields.values() for sentence in said}


@pytest.mark.parametrize("entity", Entity)
@settings(deadline=None, max_examples=OF_EACH_KIND)
@given(sent=st.data())
def test_a_record_comes_back_equal_from_its_json(entity: Entity, sent: st.DataObject) -> None:
    fields = sent.draw(right_objects(entity))
    assert_loaded_alike(entity, fields)
    record = load_record(entity, fields)
    kept = json.loads(json.dumps(dump_record(entity, record), allow_nan=False))
    assert load_record(entity, kept) == record


@pytest.mark.parametrize("entity", Entity)
@settings(deadline=None, max_examples=OF_EACH_KIND)
@given(sent=st.data())
def test_any_json_is_a_record_or_is_refused_by_the_names_of_fields(
    entity: Entity, sent: st.DataObject
) -> None:
    fields = sent.draw(changed_objects(entity))
    assert_loaded_alike(entity, fields)
    found = loaded(entity, fields)
    if isinstance(found, RecordUnreadable):
        keys = {str(field.data_key) for field in SCHEMAS[entity].fields.values()}
        assert set(found.fields) <= keys
        assert str(found) == f"{entity}: unreadable field {', '.join(sorted(found.fields))}"
        assert sentences(found) <= SAID
        assert found.__cause__ is None
        assert found.__suppress_context__
    else:
        assert load_record(entity, dump_record(entity, found)) == found


@pytest.mark.parametrize("entity", FOLLOWED)
def test_what_the_ledger_stores_is_loaded_without_its_schema(entity: Entity) -> None:
    record = course_member() if entity is Entity.COURSE_MEMBER else completed_lesson(7, 8)
    load = loader_of(SCHEMAS[entity])
    assert load is not None
    assert load(dump_record(entity, record)) == record


@settings(deadline=None)
@given(entity=st.sampled_from(Entity), sent=JSON)
def test_a_value_that_is_no_record_is_refused_without_repeating_it(
    entity: Entity, sent: object
) -> None:
    found = loaded(entity, sent)
    assert isinstance(found, RecordUnreadable)
    assert sentences(found) <= SAID | {"Not an object."}


@settings(deadline=None)
@given(
    JSON
    | st.fixed_dictionaries(
        {}, optional={"Records": JSON, "HasNextPage": JSON | st.booleans(), "TotalItems": JSON}
    )
)
def test_any_answer_to_a_list_is_a_page_or_is_refused(answer: object) -> None:
    with contextlib.suppress(RecordUnreadable):
        assert isinstance(load_page(answer), Page)
