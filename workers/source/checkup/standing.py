"""How the limit on our requests stands, and whether several records come with one of them."""

from collections.abc import Mapping

from ledger.proofs import Proof
from schemas.entity import Entity
from workers.source.budget import BudgetState, Spent
from workers.source.checkup.questions import Came, Said
from workers.source.checkup.values import AGAIN, Check, Topic, Verdict, lasting, when

_ALMOST = 0.9


def limit_checks(setting: str, state: BudgetState, *, has_broker: bool) -> list[Check]:
    """Say what is allowed, what of it is used, and whether the source asked for quiet."""
    allowed = setting.replace(";", ", ")
    used = ", ".join(f"{one.used} of {one.most} per {_unit(one)}" for one in state.spent)
    tight = [one for one in state.spent if one.used >= _ALMOST * one.most]
    checks = [
        Check(
            Topic.LIMITS,
            "requests",
            Verdict.NOTE if tight else Verdict.OK,
            allowed + (f"; used now: {used}" if used else ""),
            "Nothing: work goes on as requests come free." if tight else None,
        )
    ]
    if state.shared:
        checks.append(_ok("counted", "by all programs together, through the broker"))
    elif not has_broker:
        checks.append(
            Check(
                Topic.LIMITS,
                "counted",
                Verdict.NOTE,
                "by each program for itself, which keeps to a share of that, as no broker is set",
                "Nothing with `coursebell up`. Else set COURSEBELL_BROKER_URL.",
            )
        )
    else:
        checks.append(
            Check(
                Topic.LIMITS,
                "counted",
                Verdict.NOTE,
                "by this program alone, which keeps to a share of that, as no broker answers",
                "Nothing, if Coursebell is not running. Else look at COURSEBELL_BROKER_URL.",
            )
        )
    if state.calm_s > 0:
        found = f"Nexudus asked for quiet, for another {lasting(max(1.0, state.calm_s))}"
        checks.append(Check(Topic.LIMITS, "quiet", Verdict.NOTE, found, "Nothing: we wait."))
    else:
        checks.append(_ok("quiet", "Nexudus did not ask us to wait"))
    return checks


def several_checks(said: Said) -> list[Check]:
    """Say for which kinds rows of several Ids are as whole as records; `said` has the proofs."""
    if said.came is not Came.VALUE or not isinstance(said.value, Mapping):
        found = f"not found out: {said.sentence}"
        return [Check(Topic.SEVERAL, "several by Id", Verdict.NOTE, found, AGAIN)]
    return [_proved(entity, proof) for entity, proof in said.value.items()]


def _proved(entity: Entity, proof: Proof) -> Check:
    tried = f"{proof.sentence.replace('the source', 'Nexudus')} (tried {when(proof.probed_at)})"
    if proof.holds:
        return Check(Topic.SEVERAL, entity, Verdict.OK, tried)
    return Check(Topic.SEVERAL, entity, Verdict.NOTE, f"read one by one: {tried}")


def _unit(spent: Spent) -> str:
    return spent.limit.partition("/")[2]


def _ok(name: str, found: str) -> Check:
    return Check(Topic.LIMITS, name, Verdict.OK, found)
