"""The switches about how an answer travels, or does not. Pure."""

from sandbox.misbehaviour.catalogue.parameters import REQUESTS, seconds, whole
from sandbox.misbehaviour.switch import Group, Switch

SWITCHES = (
    Switch(
        "latency",
        Group.CONNECTION,
        "Keeps each finished answer back for a while.",
        (),
        (*REQUESTS, seconds(1.0), seconds(0.0, "jitter")),
    ),
    Switch(
        "connection-reset",
        Group.CONNECTION,
        "Breaks the connection off instead of answering.",
        (),
        REQUESTS,
    ),
    Switch(
        "truncated-body",
        Group.CONNECTION,
        "Breaks the connection off in the middle of the answer.",
        (5,),
        REQUESTS,
    ),
    Switch(
        "slow-headers",
        Group.CONNECTION,
        "Sends the head of the answer drop by drop.",
        (),
        (*REQUESTS, seconds(1.0), whole("bytes", 1)),
    ),
    Switch(
        "slow-body",
        Group.CONNECTION,
        "Sends the body of the answer drop by drop.",
        (),
        (*REQUESTS, seconds(1.0), whole("bytes", 1)),
    ),
)
