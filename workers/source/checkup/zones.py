"""How many of the source's time zones we can name. It names them as Windows does."""

from collections.abc import Sequence

from workers.source.checkup.values import Check, Topic, Verdict
from workers.source.lists import Row
from workers.zones import iana_zone

_SHOWN = 3


def zone_check(rows: Sequence[Row] | None) -> Check:
    """Say how many zones of this list can be reckoned with; None: the list could not be read."""
    name = "time zones"
    if rows is None:
        found = "they were not read, so COURSEBELL_ZONE is used where somebody's is not known yet"
        return Check(Topic.ZONES, name, Verdict.NOTE, found)
    names = [str(row.get("Name") or "") for row in rows]
    unknown = sorted({one for one in names if iana_zone(one) is None})
    if not unknown:
        return Check(Topic.ZONES, name, Verdict.OK, f"all {len(names)} of Nexudus are known")
    shown = ", ".join(f'"{one[:40]}"' for one in unknown[:_SHOWN])
    found = f"{len(unknown)} of {len(names)} are not known, such as {shown}"
    fix = "Nothing, if nobody is there. Else COURSEBELL_ZONE is used for them; please tell us."
    return Check(Topic.ZONES, name, Verdict.NOTE, found, fix)
