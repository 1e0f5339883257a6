"""The switches about what records hold and when they can be read (contract, section 2). Pure."""

from sandbox.misbehaviour.catalogue.parameters import ENTITY, choice, whole
from sandbox.misbehaviour.switch import Group, Kind, Parameter, Switch

SWITCHES = (
    Switch(
        "late-links",
        Group.RECORDS,
        "A new record answers 404 at first, for some reads or some seconds; named by its kind, "
        "an old one does too.",
        (21,),
        (
            ENTITY,
            whole("reads", 2, may_be_none=True),
            Parameter("seconds", Kind.NUMBER, None, may_be_none=True),
        ),
    ),
    Switch(
        "kind-as-number",
        Group.RECORDS,
        "The kind of a coworker is 1 or 2 on an enrolment too, instead of a word.",
        (13,),
    ),
    Switch(
        "fractions",
        Group.RECORDS,
        "Moments have seven digits also when they are read.",
        (14,),
    ),
    Switch(
        "no-zone",
        Group.RECORDS,
        "Moments do not say their zone.",
        (14,),
    ),
    Switch(
        "html-in-titles",
        Group.RECORDS,
        "Titles and names of courses, lessons and sections carry markup and a script.",
        (34,),
    ),
    Switch(
        "no-guessed-name",
        Group.RECORDS,
        "Nobody has a guessed first name, not even the field for it.",
        (23,),
    ),
    Switch(
        "salutation",
        Group.RECORDS,
        "Everybody's salutation is a title, or their first name.",
        (23,),
        (choice("holds", "title", "first-name"),),
    ),
    Switch(
        "incomplete-person",
        Group.RECORDS,
        "Every coworker lacks something: the account, the address, or that they are active.",
        (24,),
        (choice("lacks", "account", "email", "active", "not-archived"),),
    ),
    Switch(
        "other-fields",
        Group.RECORDS,
        "Records have fields no document names, and lack some that are optional.",
        (33,),
    ),
    Switch(
        "large-ids",
        Group.RECORDS,
        "New Ids are beyond 32 bits.",
        (31,),
        (whole("first", 2**32 + 1),),
    ),
    Switch(
        "sys-coworkers",
        Group.RECORDS,
        "Coworkers are found at /api/sys/coworkers too, as one document says, or only there.",
        (33,),
        (Parameter("only", Kind.FLAG, default=False),),
    ),
    Switch(
        "course-actions",
        Group.RECORDS,
        "The list of webhook actions has two more, for courses.",
        (1,),
    ),
)
