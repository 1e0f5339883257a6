"""All ways to misbehave, by name, and the pitfalls that need no switch.

The numbers are those of the contract's section 9.
"""

from sandbox.misbehaviour.catalogue import (
    answers,
    connection,
    deliveries,
    lists,
    records,
    sign_in,
)
from sandbox.misbehaviour.switch import Switch

SWITCHES: dict[str, Switch] = {
    switch.name: switch
    for table in (answers, connection, sign_in, lists, records, deliveries)
    for switch in table.SWITCHES
}

# Always so, whatever is switched on.
DEFAULT_BEHAVIOUR: dict[int, str] = {
    1: "No action of a webhook is about courses; that it calls at all for them is a kindness.",
    5: 'A missing Id answers 404 with the JSON text "Not found", not with an object.',
    8: "A refresh with another client_id is refused; a new sign-in ends the client's tokens.",
    10: "A filter that is not known is ignored without a word, and all rows come.",
    11: "A relation is filtered by its name without Id; with Id the filter is not known.",
    12: "Rows of lists leave out long texts, and collections are empty.",
    13: 'The kind of a coworker is "Individual" on an enrolment and 1 on the coworker.',
    14: "A moment has seven digits in a delivery and none when it is read.",
    16: "A delivery is an array of one record; nothing in it says what happened, or when.",
    17: "A signature is made over the text with a question mark for each unit beyond ASCII.",
    18: "Ten failures in a row switch a webhook off, and nobody is told.",
    19: "A webhook is a record of one location and one action.",
    20: "A failed delivery is repeated; nothing in it says that it is a repetition.",
    22: "The list of webhook actions has the typing mistakes of the real one.",
    23: "One person has no guessed first name, one writes from right to left, one has an emoji.",
    24: "One person has no address, one no account, one is not active, one is archived.",
    25: "One address has a plus sign; unescaped in a filter it is a blank and finds nobody.",
    26: "A coworker's record carries door codes and bank details, marked to be found again.",
    27: "A coworker's record has no language; only the account behind it does.",
    28: "A time zone is a number, and behind it a Windows name.",
    29: "Courses have lessons that are not tracked, not active, or in a section taken out.",
    30: "A deleted record is gone without a trace; a new enrolment has a new Id.",
    31: "New Ids are just below the signed 32-bit limit.",
    34: "One course and its lessons have titles with markup.",
    35: "There are two locations, in two time zones and languages, with their own courses.",
}
