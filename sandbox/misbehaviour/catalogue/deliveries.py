"""The switches about what the stand-in tells by itself (contract, section 5). Pure."""

from sandbox.misbehaviour.catalogue.parameters import choice, seconds, whole
from sandbox.misbehaviour.switch import Group, Kind, Parameter, Switch
from sandbox.places import WERKHOF

SWITCHES = (
    Switch(
        "no-deliveries",
        Group.DELIVERIES,
        "Nobody is told of anything, as today's Nexudus does with courses.",
        (1,),
    ),
    Switch(
        "duplicate-deliveries",
        Group.DELIVERIES,
        "Everything is told more than once.",
        (20,),
        (whole("times_each", 2),),
    ),
    Switch(
        "late-deliveries",
        Group.DELIVERIES,
        "Everything is told later than it happened.",
        (20, 21),
        (seconds(5.0), seconds(0.0, "jitter")),
    ),
    Switch(
        "out-of-order-deliveries",
        Group.DELIVERIES,
        "What happens together is gathered for a moment and told backwards.",
        (20,),
        (whole("together", 3), seconds(1.0)),
    ),
    Switch(
        "bare-object-deliveries",
        Group.DELIVERIES,
        "A delivery is the record itself, without an array around it.",
        (16,),
    ),
    Switch(
        "local-times-in-deliveries",
        Group.DELIVERIES,
        "Moments in deliveries are local times that claim to be UTC.",
        (15,),
        (Parameter("zone", Kind.ZONE, "Asia/Dubai"),),
    ),
    Switch(
        "signature-form",
        Group.DELIVERIES,
        "Signatures are made in another way than the documented one.",
        (17,),
        (choice("form", "raw", "utf16-units", "code-points", "lower-case", "none", "wrong"),),
    ),
    Switch(
        "hooks-for-one-location",
        Group.DELIVERIES,
        "Only what happens at one location is told.",
        (19, 35),
        (whole("business_id", WERKHOF.id),),
    ),
)
