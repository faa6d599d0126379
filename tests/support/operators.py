"""Who runs the product, signed in to the console as a browser is, without one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import httpx
from sqlalchemy import Engine, text

from app.keys import create_operator_key
from app.roles import Role
from app.sessions import csrf_token
from tests.support.web import Web

COOKIE = "millrace"


@dataclass(frozen=True, slots=True)
class Operator:
    """A signed-in session and the key behind it."""

    client: httpx.Client
    key: str
    key_id: UUID

    def look(self, path: str, **query: str) -> str:
        """The page, which has to be there."""
        answer = self.client.get(path, params=query or None)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[-2000:])
        return answer.text

    def act(self, path: str, **fields: object) -> httpx.Response:
        """A form of ours, sent."""
        token = csrf_token(self.client.cookies[COOKIE])
        data = {"csrf": token, "reason": "for a test", **{n: str(v) for n, v in fields.items()}}
        return self.client.post(path, data=data)

    def done(self, path: str, **fields: object) -> str:
        """The page to which a form of ours has led."""
        answer = self.act(path, **fields)
        assert answer.status_code == 303, (path, answer.status_code, answer.text[-2000:])
        return self.look(answer.headers["location"])


@contextmanager
def signed_in(web: Web, engine: Engine, role: Role) -> Iterator[Operator]:
    """Somebody of that role, called as it is."""
    with engine.begin() as tx:
        key_id, key = create_operator_key(tx, name=role.value, role=role)
    with web.client(None) as client:
        answer = client.post("/console/session", data={"key": key})
        assert answer.status_code == 303, answer.text
        yield Operator(client, key, key_id)


def audited(engine: Engine) -> list[tuple[str, str, str, str]]:
    """The log: action, thing, who and why; without the signing in."""
    query = """
        SELECT action, object_id, actor, reason FROM audit_log
        WHERE action <> 'console.sign_in' ORDER BY id
    """
    with engine.connect() as tx:
        return [tuple(row) for row in tx.execute(text(query))]
