"""How the webhooks at the source that call us are doing, and whether one about courses appeared.

A webhook that fails ten times in a row is switched off there, and nobody is told (contract, 5.4).
Addresses of webhooks may hold keys, and so may what the source notes of a failure: of either only
scheme, host and port are shown.
"""

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from schemas.errors import CoursebellError
from schemas.records import WebHook, action_name, course_actions
from schemas.settings.addresses import is_loopback
from workers.source.checkup.questions import Came, Said
from workers.source.checkup.values import Check, Topic, Verdict, when
from workers.source.foreign import origin, short

ENUM_PATH, ENUM_QUERY = "utils/enums", {"name": "eWebhookAction"}
_MANY_FAILURES = 5  # at ten it is switched off
_WHERE = "Settings > Integrations > Webhooks"


def hook_checks(hooks: Sequence[WebHook], unread: int, public_url: str) -> list[Check]:
    """Say how each webhook that calls us is doing; `unread` are those that were not understood."""
    ours = [hook for hook in hooks if origin(hook.url) == origin(public_url)]
    checks = [_doing(hook) for hook in ours] or [_none_of_ours(len(hooks), public_url)]
    if unread:
        found = f"{unread} more could not be read, and may be ours"
        checks.append(Check(Topic.HOOKS, "webhooks", Verdict.NOTE, found, f"Look at {_WHERE}."))
    return checks


def action_check(said: Said, public_url: str) -> Check:
    """Say whether the source has webhooks about courses by now; `said` is its list of actions."""
    name = "course webhooks"
    items = said.value if said.came is Came.VALUE and isinstance(said.value, list) else []
    names = [str(item["Name"]) for item in items if isinstance(item, dict) and "Name" in item]
    if not names:
        found = "which webhooks Nexudus has could not be read"
        return Check(Topic.HOOKS, name, Verdict.NOTE, found)
    about = course_actions(names)
    if not about:
        found = f"none of the {len(names)} things Nexudus has webhooks for is about courses"
        return Check(Topic.HOOKS, name, Verdict.OK, found)
    return Check(
        Topic.HOOKS,
        name,
        Verdict.NOTE,
        f"Nexudus has webhooks about courses now: {short(', '.join(about))}",
        f"In Nexudus, {_WHERE}, let one call {public_url}/hooks/nexudus; news then comes sooner.",
    )


def loaded(
    rows: Sequence[object], load: Callable[[object], WebHook | None]
) -> tuple[list[WebHook], int]:
    """Return the webhooks among rows of the list, and how many rows are none that we know."""
    hooks, unread = [], 0
    for row in rows:
        try:
            hook = load(row)
        except CoursebellError:
            unread += 1
            continue
        if hook is not None:
            hooks.append(hook)
    return hooks, unread


def _doing(hook: WebHook) -> Check:
    name, about = f"webhook {hook.record_id}", action_name(hook.action)
    errors = hook.error_count or 0
    where = f"for the action {about}, calls {origin(hook.url)}, {_last(hook)}"
    failed = f"; failures in a row: {errors}" if errors else ""
    if hook.last_error:
        failed += f"; last error: {short(hook.last_error)}"
    if not hook.active:
        fix = f"Fix what failed, then switch it on again in Nexudus: {_WHERE}."
        return Check(
            Topic.HOOKS, name, Verdict.PROBLEM, f"it is switched off; {where}{failed}", fix
        )
    if errors >= _MANY_FAILURES:
        fix = f"Fix it soon: at ten in a row Nexudus switches it off ({_WHERE})."
        return Check(Topic.HOOKS, name, Verdict.NOTE, f"{where}{failed}", fix)
    return Check(Topic.HOOKS, name, Verdict.OK, f"{where}{failed}")


def _last(hook: WebHook) -> str:
    if hook.last_trigger_at is None:
        return "never yet"
    return f"last {when(hook.last_trigger_at)}"


def _none_of_ours(others: int, public_url: str) -> Check:
    where = origin(public_url) or "COURSEBELL_PUBLIC_URL"
    found = f"no webhook calls {where}; {others} call others"
    if is_loopback(urlsplit(public_url).hostname or ""):
        fix = (
            "Set COURSEBELL_PUBLIC_URL to the address under which others reach Coursebell, so that"
            " its webhooks can be found. Without any, a relay brings the news."
        )
    else:
        fix = (
            "Nothing, if a relay brings the news: Nexudus has no webhooks about courses today. The"
            f" relay's address is {public_url}/hooks/relay."
        )
    return Check(Topic.HOOKS, "webhooks", Verdict.NOTE, found, fix)
