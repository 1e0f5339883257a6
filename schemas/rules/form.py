"""The form of the rules file: which keys there are, and what each may be.

What one rule's keys ask of each other is here too; what rules ask of each other is in `loading`.
"""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validates_schema

from schemas.base import HouseSchema
from schemas.events import ABOUT_GONE, EventKind
from schemas.rules import values
from schemas.rules.shape import Stream, Timing, Where
from schemas.text import Text, one_of
from schemas.vocabulary import CompletionType

_A_MAPPING = "expected keys with values; take the line out if there are none"
_REQUIRED = {"required": "expected, and missing"}
EMAIL = "email"  # the action that needs a template
_EVENTS = {kind.value: kind for kind in EventKind if kind not in ABOUT_GONE}
_COUNTABLE = {
    word: kind
    for word, kind in values.COMPLETION_TYPES.items()
    # A lesson without tracking is never completed, so a course that needed it would never be.
    if kind is not CompletionType.NONE
}


class FormSchema(HouseSchema):
    """A mapping in the rules file. Loads into a plain dict unless it says otherwise."""

    record_class: ClassVar[type[Any]] = dict
    error_messages = {"type": _A_MAPPING}  # noqa: RUF012 - marshmallow declares it without ClassVar


class TimingSchema(FormSchema):
    """When and how many. Also the keys that a rule may say otherwise."""

    record_class: ClassVar[type[Any]] = Timing

    quiet_hours = Text(values.or_none(values.quiet_hours))
    cap_per_day = Text(values.or_none(values.cap))
    cap_per_week = Text(values.or_none(values.cap))
    stale_after = Text(values.or_none(values.duration_s), attribute="stale_after_s")
    flood = Text(values.or_none(values.flood))


class CompletionSchema(FormSchema):
    """When a course is completed."""

    counts = values.OneOrMany(values.choice(_COUNTABLE), required=True, error_messages=_REQUIRED)


class WhereSchema(FormSchema):
    """Conditions of a rule."""

    record_class = Where

    course = values.OneOrMany(values.words)
    group = values.OneOrMany(values.words)
    team = values.OneOrMany(values.words)
    location = values.OneOrMany(values.words)
    coworker_type = values.OneOrMany(values.choice(values.COWORKER_TYPES))
    visibility = values.OneOrMany(values.choice(values.VISIBILITIES))
    completion_type = values.OneOrMany(values.choice(values.COMPLETION_TYPES))


class RuleSchema(TimingSchema):
    """One rule, as it stands: a dict in which timing keys are there only if the rule has them."""

    record_class = dict

    name = Text(values.name, required=True, error_messages=_REQUIRED)
    event = Text(values.choice(_EVENTS), required=True, error_messages=_REQUIRED)
    action = Text(values.words, required=True, error_messages=_REQUIRED)
    template = Text(values.words, load_default=None)
    stream = Text(values.member_of(Stream), load_default=Stream.SERVICE)
    delay = Text(values.duration_s, attribute="delay_s", load_default=0)
    gather = Text(values.or_none(values.duration_s), attribute="gather_s", load_default=None)
    gather_at_most = Text(values.duration_s, attribute="gather_at_most_s", load_default=None)
    where = fields.Nested(WhereSchema, load_default=Where())
    enabled = Text(values.choice({"true": True, "false": False}), load_default=True)

    def __init__(
        self, templates: Mapping[str, Collection[EventKind]], actions: frozenset[str]
    ) -> None:
        super().__init__()
        self.templates = templates
        self.actions = actions

    @validates_schema(skip_on_field_errors=False)
    def check_names(self, rule: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check that the action exists, and a template that fits, which an email must have."""
        errors: dict[str, Any] = {}
        action, template, event = rule.get("action"), rule.get("template"), rule.get("event")
        if action is not None and action not in self.actions:
            errors["action"] = [f"expected {one_of(sorted(self.actions))}"]
        if template is not None and template not in self.templates:
            errors["template"] = [f"expected {one_of(sorted(self.templates))}"]
        elif template is not None and event is not None and event not in self.templates[template]:
            fitting = sorted(name for name, events in self.templates.items() if event in events)
            choice = one_of(fitting) if fitting else "another event, as no template is about that"
            errors["template"] = [f"it cannot be about the event {event}; expected {choice}"]
        # Present and None means left out; absent means written and refused already.
        if action == EMAIL and "template" in rule and template is None:
            errors["template"] = [f"expected, because the action is {EMAIL}"]
        if errors:
            raise ValidationError(errors)

    @validates_schema(skip_on_field_errors=False)
    def check_lesson_keys(self, rule: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check what only an event about a lesson can have."""
        errors: dict[str, Any] = {}
        at_most = rule.get("gather_at_most_s")
        if at_most is not None and "gather_s" in rule:
            if rule["gather_s"] is None:
                errors["gather_at_most"] = ["expected only together with gather"]
            elif at_most < rule["gather_s"]:
                errors["gather_at_most"] = ["expected at least as much as gather"]
        if rule.get("gather_s") is not None and rule.get("delay_s"):
            errors["delay"] = ["expected only without gather, which waits already"]
        if rule.get("event", EventKind.LESSON_COMPLETED) is not EventKind.LESSON_COMPLETED:
            only = [f"expected only with the event {EventKind.LESSON_COMPLETED}"]
            if rule.get("gather_s") is not None:
                errors["gather"] = only
            if isinstance(where := rule.get("where"), Where) and where.completion_type:
                errors["where"] = {"completion_type": only}
        if errors:
            raise ValidationError(errors)


class FileSchema(FormSchema):
    """The whole file; its rules are loaded one by one, by a `RuleSchema` of their own."""

    version = Text(
        values.choice({"1": 1}), required=True, error_messages={"required": "expected version: 1"}
    )
    timing = fields.Nested(TimingSchema, load_default=Timing())
    completion = fields.Nested(
        CompletionSchema, load_default={"counts": tuple(_COUNTABLE.values())}
    )
    rules = fields.List(
        fields.Raw(), required=True, error_messages={"invalid": "expected a list", **_REQUIRED}
    )
