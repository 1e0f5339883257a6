"""Rules that post and note, and the endpoint of the stand-in that they post to."""

from pathlib import Path

from sandbox.receivers import Receivers
from tests.e2e.house import HOOK_SECRET, RULES, House

TEXT = "{member} on {course}"
_MORE = """  - name: tell-{name}
    event: {event}
    action: webhook
    endpoint: crm
  - name: note-{name}
    event: {event}
    action: nexudus-note
    text: "{text}"
"""


def with_others_told(folder: Path) -> dict[str, str]:
    """Return settings with rules that also post and note what the emails are about.

    The file of endpoints is written by `write_endpoints`, once the address of the stand-in is
    known.
    """
    rules = folder / "rules-with-others.yaml"
    more = "".join(
        _MORE.format(name=event.replace("_", "-"), event=event, text=TEXT)
        for event in ("enrolled", "lesson_completed")
    )
    rules.write_text(RULES.read_text("utf-8") + more, encoding="utf-8")
    return {
        "COURSEBELL_RULES": str(rules),
        "COURSEBELL_ENDPOINTS": str(folder / "endpoints.yaml"),
        "COURSEBELL_ENDPOINT_NETWORKS": "127.0.0.1",
    }


def write_endpoints(house: House) -> None:
    """Write the file of endpoints for the stand-in of this house."""
    secret = Receivers(HOOK_SECRET).signing_secret
    url = f"{house.sandbox.addresses['api']}/sandbox/endpoints/standard"
    text = f"crm:\n  url: {url}\n  secrets: {secret}\n"
    Path(house.environment["COURSEBELL_ENDPOINTS"]).write_text(text, encoding="utf-8")
