"""The switches about lists (contract, sections 2.8 and 3). Pure."""

from sandbox.misbehaviour.catalogue.parameters import ENTITY, choice, seconds, text, whole
from sandbox.misbehaviour.switch import Group, Kind, Parameter, Switch

SWITCHES = (
    Switch(
        "ignore-filters",
        Group.LISTS,
        "No filter is known any more: all rows come, whatever is asked.",
        (10,),
        (ENTITY,),
    ),
    Switch(
        "words-for-direction",
        Group.LISTS,
        "The order is understood as Ascending and Descending only; 1 and -1 mean nothing.",
        (11,),
    ),
    Switch(
        "ignore-order",
        Group.LISTS,
        "Rows come by Id, whatever order is asked for.",
        (11,),
    ),
    Switch(
        "cut-size",
        Group.LISTS,
        "A page has at most so many rows, whatever size is asked for.",
        (33,),
        (whole("rows", 100),),
    ),
    Switch(
        "never-ending-list",
        Group.LISTS,
        "Every page says that another one follows; beyond the end the last one comes again.",
        (),
        (ENTITY, Parameter("repeat", Kind.FLAG, default=True)),
    ),
    Switch(
        "shifting-pages",
        Group.LISTS,
        "Somebody writes while pages are read: each page begins with the last row of the one "
        "before, or leaves one row out.",
        (),
        (ENTITY, choice("way", "repeat", "skip")),
    ),
    Switch(
        "partial-rows",
        Group.LISTS,
        "Rows of lists leave out more fields.",
        (12,),
        (ENTITY, text("fields", "CourseId,CourseMemberId,CompletionType,BusinessId")),
    ),
    Switch(
        "partial-many",
        Group.LISTS,
        "What is asked for by several Ids leaves out more fields.",
        (12,),
        (ENTITY, text("fields", "CourseId,CourseMemberId,CompletionType,BusinessId")),
    ),
    Switch(
        "many-by-id-off",
        Group.LISTS,
        "Asking for several Ids is not understood: the first page of all comes, or 404.",
        (10, 33),
        (choice("way", "ignored", "404"),),
    ),
    Switch(
        "lagging-lists",
        Group.LISTS,
        "Lists do not know of a new record until it is so many seconds old.",
        (21,),
        (ENTITY, seconds(5.0)),
    ),
)
