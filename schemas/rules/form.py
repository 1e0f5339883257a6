"""The schemas of the rules file: its keys, and the checks between the keys of one rule.

Checks between rules are in `loading`.
"""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, post_load, validates_schema

from schemas.actions import ENDPOINT, HOST, MEMBER, NOTICE, KindForm
from schemas.entity import CompletionType
from schemas.events import ABOUT_GONE, ABOUT_LESSONS, ABSENCES, TIMED, EventKind
from schemas.fields import InternalSchema
from schemas.rules.model import Digest, Every, SequenceStep, Stream, Timing, Until, Where
from schemas.rules.values import (
    COMPLETION_TYPES,
    COWORKER_TYPES,
    VISIBILITIES,
    OneOrMany,
    choice,
    member_of,
    or_none,
    parse_brake,
    parse_cap,
    parse_date,
    parse_digest_name,
    parse_duration_s,
    parse_endpoint,
    parse_flood,
    parse_name,
    parse_percent,
    parse_quiet_hours,
    parse_reader,
    parse_recipient,
    parse_record_id,
    parse_send,
    parse_step_s,
    parse_text,
    parse_words,
)
from schemas.text import Text, one_of

_DEFAULT_AFTER_S = {EventKind.NOT_STARTED: (7 * 86_400,), EventKind.STALLED: (14 * 86_400,)}
_A_MAPPING = "expected keys with values; remove the line if there are none"
_REQUIRED = {"required": "this key is missing"}
_FLAG = {"true": True, "false": False}
_CERTIFIED = "course-finished"  # the template that a certificate of completion goes with
Kinds = Mapping[str, KindForm]  # the kinds of action by name
_OF_KINDS = ("endpoint", "text", "responsible")  # keys that only some kinds have
# Events that name a lesson.
_WITH_LESSON = ABOUT_LESSONS | {EventKind.LESSON_AVAILABLE}
_EVENTS = {kind.value: kind for kind in EventKind if kind not in ABOUT_GONE}
_COUNTABLE = {
    word: kind
    for word, kind in COMPLETION_TYPES.items()
    # A lesson without tracking is never completed, so a course that needs it never would be.
    if kind is not CompletionType.NONE
}


class FormSchema(InternalSchema):
    """A mapping in the rules file. Loads into a dict unless a subclass says otherwise."""

    record_class: ClassVar[type[Any]] = dict
    error_messages = {"type": _A_MAPPING}  # noqa: RUF012 - marshmallow declares it without ClassVar


class TimingSchema(FormSchema):
    """The keys about when and how many. A rule may override each."""

    record_class: ClassVar[type[Any]] = Timing

    quiet_hours = Text(or_none(parse_quiet_hours))
    cap_per_day = Text(or_none(parse_cap))
    cap_per_week = Text(or_none(parse_cap))
    stale_after = Text(or_none(parse_duration_s), attribute="stale_after_s")
    flood = Text(or_none(parse_flood))
    send = Text(or_none(parse_send))
    holidays = OneOrMany(parse_date)
    spread = Text(or_none(parse_duration_s), attribute="spread_s")
    brake = Text(or_none(parse_brake))
    reminders_per_week = Text(or_none(parse_cap))
    reminders_per_enrolment = Text(or_none(parse_cap))
    count_nexudus = Text(choice(_FLAG))


class CompletionSchema(FormSchema):
    """When a course is completed."""

    counts = OneOrMany(choice(_COUNTABLE), required=True, error_messages=_REQUIRED)


class ConditionsSchema(FormSchema):
    """Conditions: of a rule, or those that must not match."""

    record_class = Where

    course = OneOrMany(parse_words)
    group = OneOrMany(parse_words)
    team = OneOrMany(parse_words)
    location = OneOrMany(parse_words)
    coworker_type = OneOrMany(choice(COWORKER_TYPES))
    visibility = OneOrMany(choice(VISIBILITIES))
    completion_type = OneOrMany(choice(COMPLETION_TYPES))
    host = OneOrMany(parse_words)
    completion = Text(parse_percent)


class WhereSchema(ConditionsSchema):
    """Conditions of a rule."""

    excluded = fields.Nested(ConditionsSchema, data_key="not")


class CourseRulesSchema(TimingSchema):
    """What differs for some courses."""

    record_class = dict

    course = OneOrMany(parse_words, required=True, error_messages=_REQUIRED)
    off = OneOrMany(parse_name, load_default=())


class DigestSchema(FormSchema):
    """One digest."""

    record_class = Digest

    name = Text(parse_digest_name, required=True, error_messages=_REQUIRED)
    every = Text(member_of(Every), required=True, error_messages=_REQUIRED)
    to = OneOrMany(parse_reader, required=True, error_messages=_REQUIRED)
    where = fields.Nested(WhereSchema, load_default=Where())
    stuck_after = Text(parse_duration_s, attribute="stuck_after_s", load_default=14 * 86_400)
    enabled = Text(choice(_FLAG), load_default=True)

    @validates_schema(skip_on_field_errors=False)
    def check_reader(self, digest: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check that it is to hosts or to addresses, and asks for nothing that lessons decide."""
        to, where = digest.get("to") or (), digest.get("where")
        if HOST in to and len(to) > 1:
            alone = "expected host alone; make a digest of its own for the others"
            raise ValidationError({"to": [alone]})
        if isinstance(where, Where) and (wrong := _keys_of_lessons(where)):
            raise ValidationError({"where": wrong})


def _keys_of_lessons(where: Where) -> dict[str, Any]:
    """Return the mistake of each condition that a digest cannot have."""
    given = {"completion": where.completion, "completion_type": where.completion_type}
    wrong: dict[str, Any] = {
        name: ["expected only in rules"] for name, value in given.items() if value
    }
    inside = _keys_of_lessons(where.excluded) if where.excluded else {}
    return wrong | ({"not": inside} if inside else {})


class RuleSchema(TimingSchema):
    """One rule. Loads into a dict that has only the timing keys that the rule itself sets."""

    record_class = dict

    name = Text(parse_name, required=True, error_messages=_REQUIRED)
    event = Text(choice(_EVENTS), required=True, error_messages=_REQUIRED)
    action = Text(parse_words, required=True, error_messages=_REQUIRED)
    to = OneOrMany(parse_recipient, load_default=(MEMBER,))
    endpoint = OneOrMany(parse_endpoint, load_default=())
    text = Text(parse_text, load_default=None)
    responsible = Text(parse_record_id, load_default=None)
    template = OneOrMany(parse_words, repeats=True, load_default=None)
    after = OneOrMany(parse_duration_s, attribute="after_s", load_default=())
    steps = OneOrMany(parse_step_s, attribute="steps_s", load_default=())
    until = Text(member_of(Until), load_default=None)
    stream = Text(member_of(Stream), load_default=None)
    delay = Text(parse_duration_s, attribute="delay_s", load_default=0)
    gather = Text(or_none(parse_duration_s), attribute="gather_s", load_default=None)
    gather_at_most = Text(parse_duration_s, attribute="gather_at_most_s", load_default=None)
    where = fields.Nested(WhereSchema, load_default=Where())
    enabled = Text(choice(_FLAG), load_default=True)
    certificate = Text(choice(_FLAG), load_default=False)

    def __init__(
        self,
        actions: Kinds,
        no_certificates: str | None = None,
        endpoints: Collection[str] | None = None,
    ) -> None:
        super().__init__()
        self.actions = actions
        self.no_certificates = no_certificates
        self.endpoints = endpoints

    @validates_schema(skip_on_field_errors=False)
    def check_names(self, rule: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check that the action exists, and that the template belongs to it and fits the event."""
        errors: dict[str, Any] = {}
        action, event = rule.get("action"), rule.get("event")
        if action is not None and action not in self.actions:
            errors["action"] = [f"expected {one_of(sorted(self.actions))}"]
        templates = self._templates_of(action)
        for template in rule.get("template") or ():
            wrong = _wrong_template(template, templates, action, event, rule.get("to"))
            if wrong is not None:
                errors.setdefault("template", [wrong])
        # None means that it was omitted; absent means that its value was already refused.
        if self._form(action).templates and "template" in rule and rule["template"] is None:
            errors["template"] = [f"this key is missing; the action {action} needs it"]
        if errors:
            raise ValidationError(errors)

    @validates_schema(skip_on_field_errors=False)
    def check_to(self, rule: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check that the rule is to the member alone, or to others in a way that exists."""
        to, action = rule.get("to") or (MEMBER,), rule.get("action")
        if MEMBER in to and len(to) > 1:
            raise ValidationError(
                {"to": ["expected member alone; make a rule of its own for the others"]}
            )
        if (
            MEMBER not in to
            and action in self.actions
            and NOTICE not in self._form(action).templates
        ):
            raise ValidationError(
                {"to": [f"expected member; the action {action} reaches no others"]}
            )

    @validates_schema(skip_on_field_errors=False)
    def check_keys_of_kind(self, rule: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check that the rule has the keys of its action and none of another's."""
        errors: dict[str, Any] = {}
        action = rule.get("action")
        wanted = self._form(action).keys
        for key in _OF_KINDS if action in self.actions else ():
            if key in wanted and key in rule and not rule[key]:
                errors[key] = [f"this key is missing; the action {action} needs it"]
            elif key not in wanted and rule.get(key):
                errors[key] = [f"the action {action} has no such key; remove this line"]
        if "{lesson}" in (rule.get("text") or "") and rule.get("event") not in {
            None,
            *_WITH_LESSON,
        }:
            expected = one_of(sorted(_WITH_LESSON))
            errors.setdefault("text", [f"{{lesson}} is known only with the events {expected}"])
        known = self.endpoints
        missing = [
            name
            for name in (one.removeprefix(ENDPOINT) for one in rule.get("endpoint") or ())
            if known is not None and name not in known
        ]
        if missing and "endpoint" not in errors:
            expected = f"; expected {one_of(sorted(known))}" if known else ", which has none"
            told = f"there is no endpoint {missing[0]} in COURSEBELL_ENDPOINTS{expected}"
            errors["endpoint"] = [told]
        if errors:
            raise ValidationError(errors)

    def _form(self, action: str | None) -> KindForm:
        return self.actions.get(action or "", KindForm())

    def _templates_of(self, action: str | None) -> Mapping[str, Collection[EventKind]]:
        """Return the templates of a kind; those of all kinds if there is no such kind."""
        if action is not None and action in self.actions:
            return self.actions[action].templates
        every = (one.templates.items() for one in self.actions.values())
        return {name: events for one in every for name, events in one}

    @validates_schema(skip_on_field_errors=False)
    def check_steps(self, rule: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check the keys of sequences and of absences."""
        errors: dict[str, Any] = {}
        event, steps = rule.get("event"), rule.get("steps_s") or ()
        if rule.get("after_s") and event is not None and event not in ABSENCES:
            errors["after"] = [f"expected only with the events {one_of(sorted(ABSENCES))}"]
        if event in TIMED and rule.get("stream") is Stream.SERVICE:
            errors["stream"] = ["expected reminder: this event is about what they did not do"]
        if steps and event in TIMED:
            errors["steps"] = ["expected only with other events; use after"]
        elif steps and list(steps) != sorted(steps):
            errors["steps"] = ["expected lengths that grow, such as 0d, 3d, 7d"]
        if steps and (rule.get("gather_s") is not None or rule.get("delay_s")):
            errors["steps"] = ["expected only without gather and delay"]
        if len(rule.get("template") or ()) not in {0, 1, len(steps)}:
            expected = f"one, or one for each of the {len(steps)} steps" if steps else "one"
            errors.setdefault("template", [f"expected {expected}"])
        if rule.get("until") is not None and not steps:
            errors["until"] = ["expected only together with steps"]
        if errors:
            raise ValidationError(errors)

    @post_load
    def name_steps(self, rule: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: ANN401 - marshmallow's own signature
        """Put each step together with its template, and fill in what follows from other keys."""
        fixed = self._form(rule["action"]).to
        rule["to"] = rule.pop("endpoint") or ((fixed,) if fixed else rule["to"])
        templates = rule.pop("template") or (None,)
        steps_s = rule.pop("steps_s")
        if len(templates) == 1:
            templates *= max(1, len(steps_s))
        steps = zip(steps_s, templates, strict=True) if steps_s else ()
        rule["template"] = templates[0]
        rule["steps"] = tuple(SequenceStep(*one) for one in steps)
        if rule["stream"] is None:
            rule["stream"] = Stream.usual_for(rule["event"])
        rule["after_s"] = rule["after_s"] or _DEFAULT_AFTER_S.get(rule["event"], ())
        return rule

    @validates_schema(skip_on_field_errors=False)
    def check_certificate(self, rule: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check that a certificate can be attached to the emails of this rule."""
        if not rule.get("certificate"):
            return
        event = rule.get("event", EventKind.COURSE_COMPLETED)
        templates = set(rule.get("template") or [_CERTIFIED])
        if event is not EventKind.COURSE_COMPLETED or templates != {_CERTIFIED}:
            expected = f"the event {EventKind.COURSE_COMPLETED} and the template {_CERTIFIED}"
            raise ValidationError({"certificate": [f"expected only with {expected}"]})
        if self.no_certificates is not None:
            raise ValidationError({"certificate": [self.no_certificates]})

    @validates_schema(skip_on_field_errors=False)
    def check_lesson_keys(self, rule: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check the keys that only a rule about lessons may have."""
        errors: dict[str, Any] = {}
        at_most = rule.get("gather_at_most_s")
        if at_most is not None and "gather_s" in rule:
            if rule["gather_s"] is None:
                errors["gather_at_most"] = ["expected only together with gather"]
            elif at_most < rule["gather_s"]:
                errors["gather_at_most"] = ["expected at least as much as gather"]
        if rule.get("gather_s") is not None and rule.get("delay_s"):
            errors["delay"] = ["expected only without gather, which already waits"]
        if rule.get("event", EventKind.LESSON_COMPLETED) is not EventKind.LESSON_COMPLETED:
            only = [f"expected only with the event {EventKind.LESSON_COMPLETED}"]
            if rule.get("gather_s") is not None:
                errors["gather"] = only
            where = rule.get("where")
            if isinstance(where, Where) and where.completion_type:
                errors["where"] = {"completion_type": only}
            if isinstance(where, Where) and where.excluded and where.excluded.completion_type:
                errors["where"] = {"not": {"completion_type": only}}
        if errors:
            raise ValidationError(errors)


def _wrong_template(
    template: str,
    templates: Mapping[str, Collection[EventKind]],
    action: str | None,
    event: EventKind | None,
    to: tuple[str, ...] | None,
) -> str | None:
    """Return what is wrong with the template of a rule, or None.

    Without `event` or `to`, which have a mistake of their own, any will do.
    """
    if not templates:
        return f"the action {action} has no templates; remove this line"
    if template not in templates:
        return f"expected {one_of(sorted(templates))}"
    if to is not None and MEMBER not in to:
        is_wrong = NOTICE in templates and template != NOTICE
        return f"expected {NOTICE}, the template for others than the member" if is_wrong else None
    fitting = sorted(
        name
        for name, events in templates.items()
        if name != NOTICE and (event is None or event in events)
    )
    if template in fitting or (to != (MEMBER,) and template == NOTICE):
        return None
    choice = one_of(fitting) if fitting else "another event, as no template fits this one"
    if template == NOTICE:
        return f"{NOTICE} is for others; say whom with `to`, or expected {choice}"
    return f"it does not fit the event {event}; expected {choice}"


class FileSchema(FormSchema):
    """The whole file. Its rules are loaded one by one with `RuleSchema`."""

    version = Text(
        choice({"1": 1}), required=True, error_messages={"required": "expected version: 1"}
    )
    timing = fields.Nested(TimingSchema, load_default=Timing())
    completion = fields.Nested(
        CompletionSchema, load_default={"counts": tuple(_COUNTABLE.values())}
    )
    courses = fields.List(
        fields.Nested(CourseRulesSchema),
        load_default=(),
        error_messages={"invalid": "expected a list"},
    )
    digests = fields.List(
        fields.Nested(DigestSchema),
        load_default=(),
        error_messages={"invalid": "expected a list"},
    )
    rules = fields.List(
        fields.Raw(), required=True, error_messages={"invalid": "expected a list", **_REQUIRED}
    )
