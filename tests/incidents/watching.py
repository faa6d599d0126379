"""What a real Prometheus says: its HTTP API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert as it is now; `state` is pending or firing."""

    name: str
    state: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def is_about(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether it fires, has that name and at least these labels."""
        return (
            self.state == "firing"
            and self.name == name
            and all(self.labels.get(key) == value for key, value in labels.items())
        )


class Watcher:
    """A client of the server on the loopback `port`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.Client(base_url=self.url, timeout=10, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def alerts(self) -> list[Alert]:
        """All that are pending or fire. Raises httpx.HTTPError."""
        return [
            Alert(name=one["labels"]["alertname"], state=one["state"], labels=one["labels"])
            for one in self._get("/api/v1/alerts")["alerts"]
        ]

    def fires(self, name: str, labels: Mapping[str, str]) -> bool:
        return any(alert.is_about(name, labels) for alert in self.alerts())

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query's vector. Raises httpx.HTTPStatusError where it is no expression."""
        answer = self._get("/api/v1/query", query=expression)
        found: list[dict[str, Any]] = answer["result"] if answer["resultType"] == "vector" else []
        return found

    def names(self) -> set[str]:
        """Of all series that there have been."""
        answer = self._http.get("/api/v1/label/__name__/values").raise_for_status()
        return set(answer.json()["data"])

    def _get(self, path: str, **parameters: str) -> Any:
        answer = self._http.get(path, params=parameters).raise_for_status()
        return answer.json()["data"]
