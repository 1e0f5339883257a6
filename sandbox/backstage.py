"""The JSON routes below /sandbox about the machinery: reads, faults, deliveries, emails."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, abort

from sandbox.control import refusal
from sandbox.faults import Replaced
from sandbox.mail import Mail
from sandbox.mailbox import MailAnswer
from sandbox.refused import Refused
from sandbox.stage import Stage
from sandbox.story import entity_named
from sandbox.wish import Wish, read_wish

if TYPE_CHECKING:
    from collections.abc import Callable

# A stranger's HTML: no script, no request, no place in our origin. Links open in a new window.
_MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)


@dataclass(frozen=True, slots=True)
class Backstage:
    """What a test counts, breaks and looks at."""

    stage: Stage

    def routes(self) -> Blueprint:
        """Return the routes, ready to be registered."""
        routes = Blueprint("backstage", __name__, url_prefix="/sandbox")
        routes.register_error_handler(Refused, refusal)
        stage = self.stage
        table: dict[str, Callable[..., Any]] = {
            "GET /clock": stage.clock.report,
            "POST /clock": self.set_clock,
            "GET /reads": stage.reads.report,
            "GET /reads/times": stage.quota.times,
            "POST /reads/reset": self.reset_reads,
            "POST /reset": self.begin_again,
            "GET /quota": self.quota,
            "POST /faults": self.add_fault,
            "POST /faults/release": self.release,
            "DELETE /faults": self.clear_faults,
            "GET /holding": self.holding,
            "POST /tokens/expire": self.expire_tokens,
            "GET /deliveries": stage.sender.report,
            "POST /hooks/switch-on": self.switch_on,
            "GET /mails": self.mails,
            "DELETE /mails": self.clear_mails,
            "GET /mails/<int:number>.html": self.mail_html,
            "GET /mails/<int:number>.eml": self.mail_raw,
            "POST /mailbox": self.behave,
        }
        for line, view in table.items():
            method, path = line.split()
            name = line.replace(".", " ")  # a name of a route may hold no dot
            routes.add_url_rule(path, name, view, methods=[method])
        return routes

    def set_clock(self) -> dict[str, Any]:
        """Let the world's clock stand at `now`, or run again with `real`."""
        wish = read_wish()
        moment = wish.maybe_moment("now")
        if moment is not None:
            self.stage.clock.stand(moment)
        elif wish.flag("real", otherwise=False):
            self.stage.clock.run()
        else:
            raise Refused("Say now, an ISO 8601 time, or real: true.", 400)
        return self.stage.clock.report()

    def reset_reads(self) -> dict[str, Any]:
        """Count from nothing again."""
        self.stage.reads.reset()
        self.stage.quota.reset()
        return self.stage.reads.report()

    def begin_again(self) -> dict[str, Any]:
        """Be as at the beginning; misbehaviours of a seed file stay off."""
        self.stage.begin_again()
        return {}

    def quota(self) -> dict[str, Any]:
        """Say how often clients asked, also when no limit is kept."""
        return self.stage.quota.report(self.stage.limits())

    def add_fault(self) -> dict[str, Any]:
        """Switch a fault on: `hold`, `answer` or `dead-id`."""
        wish = read_wish()
        kind = wish.text("kind")
        faults = self.stage.faults
        if kind == "dead-id":
            faults.let_die(entity_named(wish.fields.get("entity")), wish.maybe_whole("id"))
            return {"kind": kind}
        path, times = wish.text("path"), wish.maybe_whole("times")
        if kind == "hold":
            faults.hold(path, times=times, seconds=wish.maybe_seconds("seconds"))
        elif kind == "answer":
            faults.replace(path, _replaced(wish), times=times)
        else:
            raise Refused("kind must be hold, answer or dead-id.", 400)
        return {"kind": kind}

    def release(self) -> dict[str, Any]:
        """Let held answers go."""
        return {"released": self.stage.faults.release()}

    def clear_faults(self) -> dict[str, Any]:
        """Switch all faults off."""
        self.stage.faults.clear()
        return {}

    def holding(self) -> dict[str, Any]:
        """Say how many requests are held now."""
        return {"holding": self.stage.faults.holding()}

    def expire_tokens(self) -> dict[str, Any]:
        """End all access tokens early."""
        return {"expired": self.stage.tokens.expire()}

    def switch_on(self) -> dict[str, Any]:
        """Switch a hook on again."""
        self.stage.sender.switch_on(entity_named(read_wish().fields.get("entity")))
        return {}

    def mails(self) -> list[dict[str, Any]]:
        """List the kept emails, newest last."""
        return [mail.report() for mail in self.stage.mailbox.mails()]

    def clear_mails(self) -> dict[str, Any]:
        """Throw the emails away."""
        self.stage.mailbox.clear()
        return {}

    def mail_html(self, number: int) -> Response:
        """Show the HTML of an email, caged."""
        answer = Response(self._mail(number).html, content_type="text/html; charset=utf-8")
        answer.headers["Content-Security-Policy"] = _MAIL_POLICY
        return answer

    def mail_raw(self, number: int) -> Response:
        """Show an email as it came in."""
        return Response(self._mail(number).raw, content_type="text/plain; charset=utf-8")

    def behave(self) -> dict[str, Any]:
        """Choose what happens to the next emails."""
        wish = read_wish()
        try:
            answer = MailAnswer(wish.text("answer"))
        except ValueError as error:
            raise Refused(f"answer must be one of: {', '.join(MailAnswer)}.", 400) from error
        times, keep = wish.whole("times", 1), wish.flag("keep", otherwise=False)
        self.stage.mailbox.behave(answer, times, keep=keep)
        return {"answer": answer.value, "times": times, "keep": keep}

    def _mail(self, number: int) -> Mail:
        return self.stage.mailbox.mail(number) or abort(404)


def _replaced(wish: Wish) -> Replaced:
    body = wish.fields.get("body", "")
    headers = tuple((name, str(value)) for name, value in wish.table("headers").items())
    text = body if isinstance(body, str) else json.dumps(body)
    return Replaced(wish.whole("status"), text, headers)
