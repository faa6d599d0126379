"""RabbitMQ's management API, where the doctor and each process's start may ask it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.broker.topology import QUEUES, definitions
from app.doctor.findings import Status
from app.doctor.rabbitmq import managed
from app.settings import Settings

SOUND = {
    "MILLRACE_DATABASE_URL": "postgresql://app:k3j4h5@127.0.0.1:1/app",
    "MILLRACE_BROKER_URL": "amqp://app:k3j4h5@127.0.0.1:1/app",
}


@pytest.fixture
def management() -> Iterator[tuple[str, dict[str, Any]]]:
    """Plays RabbitMQ's management API with answers in the shape of 3.10 and 4; its URL, and path -> answer."""
    answers: dict[str, Any] = {
        "/api/vhost-limits/app": [{"vhost": "app", "value": {"max-connections": 50}}],
        "/api/user-limits/app": [],
        "/api/policies/app": definitions()["policies"],
        "/api/bindings/app": [
            {
                "source": queue.exchange,
                "vhost": "app",
                "destination": queue.name,
                "destination_type": "queue",
                "routing_key": queue.routing_key,
            }
            for queue in QUEUES
        ],
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            self.send_response(401 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://me:secret-word@127.0.0.1:{server.server_port}", answers
    server.shutdown()
    server.server_close()


def test_the_management_api_is_asked_where_there_is_one(
    management: tuple[str, dict[str, Any]],
) -> None:
    url, answers = management
    settings = Settings.of({**SOUND, "MILLRACE_BROKER_MANAGEMENT_URL": url})
    assert {one.status for one in managed(settings)} == {Status.OK}
    answers["/api/vhost-limits/app"] = [{"value": {"max-connections": 5}}]
    answers["/api/policies/app"] = definitions()["policies"][:1]
    del answers["/api/bindings/app"][0]
    found = {one.check: (one.status, one.found) for one in managed(settings)}
    assert found["rabbitmq.policies"] == (Status.WARNING, "dead-letters isn't there")
    assert found["rabbitmq.bindings"] == (Status.FAILED, "not bound: high")
    assert found["rabbitmq.connections"][0] is Status.FAILED
    del answers["/api/policies/app"]
    (refused,) = managed(settings)
    assert (refused.status, "401" in refused.found) == (Status.WARNING, True)
    assert "secret-word" not in str(refused)
