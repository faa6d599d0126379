"""RabbitMQ's management API, for what AMQP can't be asked: limits, policies, bindings. Read, and never written."""

from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx

from app.settings import Settings

SECONDS = 3.0


class Management:
    """At MILLRACE_BROKER_MANAGEMENT_URL, about the virtual host and the user of MILLRACE_BROKER_URL.

    Raises httpx.HTTPError when it can't be asked, or our user may not ask.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.broker_management_url is None:
            raise ValueError("there is no MILLRACE_BROKER_MANAGEMENT_URL")
        broker = urlsplit(settings.broker_url.get_secret_value())
        self._vhost = unquote(broker.path[1:]) or "/"
        self._user = unquote(broker.username or "guest")
        self._url = settings.broker_management_url.get_secret_value().rstrip("/")

    def connection_limit(self) -> int | None:
        """The lower one of those of the virtual host and the user, where they have one."""
        limits = [
            int(entry["value"]["max-connections"])
            for of in (f"vhost-limits/{_part(self._vhost)}", f"user-limits/{_part(self._user)}")
            for entry in self._get(of)
            if int(entry["value"].get("max-connections", -1)) >= 0
        ]
        return min(limits, default=None)

    def policies(self) -> dict[str, dict[str, Any]]:
        """Name -> the policy as in a definitions file."""
        return {each["name"]: each for each in self._get(f"policies/{_part(self._vhost)}")}

    def bindings(self) -> set[tuple[str, str, str]]:
        """Exchange, queue and routing key of each."""
        return {
            (each["source"], each["destination"], each["routing_key"])
            for each in self._get(f"bindings/{_part(self._vhost)}")
            if each["destination_type"] == "queue"
        }

    def _get(self, path: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self._url}/api/{path}", timeout=SECONDS)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found


def _part(name: str) -> str:
    return quote(name, safe="")
