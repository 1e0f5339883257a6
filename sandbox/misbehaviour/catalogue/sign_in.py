"""The switches about signing in and what one may read (contract, sections 1 and 7). Pure."""

from sandbox.misbehaviour.catalogue.parameters import ENTITY, TIMES, choice, text, whole
from sandbox.misbehaviour.switch import Group, Kind, Parameter, Switch

SWITCHES = (
    Switch(
        "short-life",
        Group.SIGN_IN,
        "Access tokens last only so many seconds, and say so.",
        (9,),
        (whole("expires_in", 60),),
    ),
    Switch(
        "no-expires-in",
        Group.SIGN_IN,
        "The answer to a sign-in does not say how long its token lasts.",
        (9,),
    ),
    Switch(
        "refuse-refresh",
        Group.SIGN_IN,
        "No refresh token is taken any more; only the password is.",
        (8,),
        (TIMES,),
    ),
    Switch(
        "refuse-sign-in",
        Group.SIGN_IN,
        "Nobody may sign in by password, as when it was changed.",
        (7,),
        (TIMES,),
    ),
    Switch(
        "invalid-grant-as-401",
        Group.SIGN_IN,
        "A refused sign-in answers 401, as one of two documents says, instead of 400.",
        (33,),
    ),
    Switch(
        "kick-out",
        Group.SIGN_IN,
        "Each sign-in by password ends the tokens of all others, whatever their client_id.",
        (8,),
    ),
    Switch(
        "client-id-header-only",
        Group.SIGN_IN,
        "The client_id is read from the header only; a field of the form is ignored.",
        (8, 33),
    ),
    Switch(
        "client-id-field-only",
        Group.SIGN_IN,
        "The client_id is read from the form only; the header is ignored.",
        (8, 33),
    ),
    Switch(
        "totp-required",
        Group.SIGN_IN,
        "The password needs a second factor: the code given here, or that of a key (RFC 6238).",
        (),
        (text("code", None), Parameter("key", Kind.KEY, "JBSWY3DPEHPK3PXP", may_be_none=True)),
    ),
    Switch(
        "missing-right",
        Group.SIGN_IN,
        "A good token may not read this, or not write it: 401, as if nobody had signed in.",
        (7,),
        (
            ENTITY,
            choice("way", "both", "read", "list", "create", "edit"),
            choice("status", 401, 403),
        ),
    ),
)
