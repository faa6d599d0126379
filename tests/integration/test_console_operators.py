"""The operators' console: who gets in, what each role may do, and that everything done is in the audit log."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from app.keys import create_operator_key, revoke_key
from app.ledger.rules import Scope, load_rules
from app.retention import KEPT
from app.roles import Role
from app.sessions import csrf_token
from app.settings import Settings
from app.storage import Storage
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.deaths import TEST_CATALOG, dead, incident_of
from tests.support.jobs import Note, add, assert_lawful, events, job_facts
from tests.support.operators import COOKIE, Operator, audited, signed_in
from tests.support.problems import assert_problem
from tests.support.web import Web, web_server

ROLES = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
Team = dict[Role, Operator]


@pytest.fixture
def web(settings: Settings, storage: Storage) -> Iterator[Web]:
    with web_server(settings, catalog=TEST_CATALOG) as served:
        yield served


@pytest.fixture
def team(web: Web, engine: Engine) -> Iterator[Team]:
    """One of each role."""
    with ExitStack() as stack:
        yield {role: stack.enter_context(signed_in(web, engine, role)) for role in ROLES}


class TestTheDoor:
    def test_an_operators_key_opens_the_operators_pages_and_no_tenants(
        self, team: Team, web: Web, tenant: Customer
    ) -> None:
        operator = team[Role.OPERATOR].client
        assert operator.get("/console").headers["location"] == "/console/overview"
        for path in ("/console/imports", "/console/imports/none"):
            assert operator.get(path).headers["location"] == "/console/overview"
        assert_problem(operator.get("/v1/imports"), 403, "forbidden")
        token = csrf_token(operator.cookies[COOKIE])
        posted = operator.post("/v1/jobs", json={}, headers={"X-CSRF-Token": token})
        assert_problem(posted, 403, "forbidden")
        assert_problem(operator.get("/v1/queues"), 403, "forbidden")  # by a key, not by a cookie

    def test_a_tenant_sees_none_of_them(
        self, team: Team, web: Web, tenant: Customer, engine: Engine
    ) -> None:
        job_id = add(engine, tenant.id, Note())
        with web.client(None) as browser:
            browser.post("/console/session", data={"key": tenant.key})
            token = csrf_token(browser.cookies[COOKIE])
            for path in ("overview", "jobs", f"jobs/{job_id}", "incidents", "audit", "access"):
                assert browser.get(f"/console/{path}").status_code == 403, path
            assert browser.get("/console/live/overview").status_code == 403
            said = {"csrf": token, "reason": "for a test"}
            answer = browser.post(f"/console/jobs/{job_id}/cancel", data=said)
        assert answer.status_code == 403
        assert job_facts(engine, job_id).state == "scheduled"
        assert audited(engine) == []

    def test_nobody_is_led_to_the_door(self, web: Web) -> None:
        with web.client(None) as visitor:
            answer = visitor.get("/console/incidents")
            assert answer.headers["location"] == "/console/sign-in?next=/console/incidents"
            sent = visitor.post("/console/jobs/x/cancel")
            assert sent.headers["location"] == "/console/sign-in?next=/console/imports"

    def test_the_end_of_the_key_is_the_end_of_the_session(self, team: Team, engine: Engine) -> None:
        admin, viewer = team[Role.ADMIN], team[Role.VIEWER]
        assert "viewer" in admin.done(f"/console/access/{viewer.key_id}/revoke")
        assert viewer.client.get("/console/overview").status_code == 303
        with engine.begin() as tx:
            revoke_key(tx, team[Role.OPERATOR].key_id)
        assert team[Role.OPERATOR].client.get("/console/jobs").status_code == 303

    def test_no_tenants_key_is_an_admins_to_revoke(
        self, team: Team, web: Web, tenant: Customer
    ) -> None:
        assert team[Role.ADMIN].act(f"/console/access/{tenant.key_id}/revoke").status_code == 404
        with web.client(tenant.key) as api:
            assert api.get("/v1/imports").status_code == 200

    def test_wrong_keys_are_refused_for_a_minute_after_the_tenth(
        self, web: Web, engine: Engine
    ) -> None:
        with engine.begin() as tx:
            _, key = create_operator_key(tx, name="late")
        with web.client(None) as visitor:
            wrong = [visitor.post("/console/session", data={"key": "mr_no"}) for _ in range(11)]
            assert [each.status_code for each in wrong] == [401] * 10 + [429]
            right = visitor.post("/console/session", data={"key": key})
            assert (right.status_code, "set-cookie" in right.headers) == (429, False)
            assert "Wait a minute" in right.text
            assert {each.headers["retry-after"] for each in (wrong[-1], right)} == {"60"}
            with engine.begin() as tx:
                tx.execute(text("UPDATE sign_in_failures SET at = at - interval '61 seconds'"))
            assert visitor.post("/console/session", data={"key": key}).status_code == 303

    def test_signing_in_is_in_the_log(self, team: Team) -> None:
        page = team[Role.VIEWER].look("/console/audit", action="console.sign_in")
        assert page.count("<strong>console.sign_in</strong>") == 3


class TestRoles:
    def test_each_action_takes_its_role(self, team: Team, engine: Engine, tenant: Customer) -> None:
        """Whatever the page offers: the forms are sent as they are."""
        job_id = add(engine, tenant.id, Note())
        incident = incident_of(engine, dead(engine, tenant.id, Note(), frame="app.a:f"))["id"]
        of_operators: dict[str, dict[str, object]] = {
            f"/console/jobs/{job_id}/cancel": {},
            f"/console/incidents/{incident}/resolve": {},
            f"/console/incidents/{incident}/ignore": {"days": 3},
            f"/console/incidents/{incident}/replay": {},
        }
        of_admins: dict[str, dict[str, object]] = {
            f"/console/incidents/{incident}/discard": {},
            f"/console/access/{team[Role.VIEWER].key_id}/revoke": {},
        }
        for path, fields in {**of_operators, **of_admins}.items():
            answer = team[Role.VIEWER].act(path, **fields)
            assert (answer.status_code, "Your key" in answer.text) == (403, True), path
        for path, fields in of_admins.items():
            assert team[Role.OPERATOR].act(path, **fields).status_code == 403, path
        assert team[Role.OPERATOR].client.get("/console/access").status_code == 403
        replay = team[Role.VIEWER].client.get(f"/console/incidents/{incident}/replay")
        assert replay.status_code == 403
        assert audited(engine) == []
        assert job_facts(engine, job_id).state == "scheduled"
        for path, fields in of_operators.items():
            team[Role.OPERATOR].done(path, **fields)
        for path, fields in of_admins.items():
            team[Role.ADMIN].done(path, **fields)
        assert len(audited(engine)) == 6
        assert_lawful(engine)

    def test_the_api_takes_the_role_too(self, team: Team, web: Web, engine: Engine) -> None:
        with web.client(team[Role.VIEWER].key) as viewer:
            assert viewer.get("/v1/queues").status_code == 200
            assert_problem(viewer.post("/v1/queues/low/pause"), 403, "role")
        with web.client(team[Role.OPERATOR].key) as operator:
            request = {"X-Request-ID": "req-7"}
            operator.post("/v1/queues/low/pause", json={"reason": "moving"}, headers=request)
            operator.post("/v1/queues/low/resume")
        assert audited(engine) == [
            ("queue.pause", "low", "operator", "moving"),
            ("queue.resume", "low", "operator", "Resumed by an operator."),
        ]
        with engine.connect() as tx:
            query = text("SELECT via, request_id FROM audit_log WHERE action = 'queue.pause'")
            assert tuple(tx.execute(query).one()) == ("api", "req-7")


class TestForms:
    @pytest.mark.parametrize("csrf", [None, "", "0" * 64, "another's"])
    def test_a_form_needs_the_pages_token(
        self, team: Team, engine: Engine, tenant: Customer, csrf: str | None
    ) -> None:
        job_id = add(engine, tenant.id, Note())
        operator, admin = team[Role.OPERATOR].client, team[Role.ADMIN].client
        if csrf == "another's":
            csrf = csrf_token(admin.cookies[COOKIE])
        fields = {"reason": "for a test"} if csrf is None else {"reason": "x y z", "csrf": csrf}
        answer = operator.post(f"/console/jobs/{job_id}/cancel", data=fields)
        assert answer.status_code == 403
        assert "page" in answer.text
        assert job_facts(engine, job_id).state == "scheduled"

    def test_no_other_site_can_send_one(self, team: Team, engine: Engine, tenant: Customer) -> None:
        job_id = add(engine, tenant.id, Note())
        client = team[Role.OPERATOR].client
        client.headers["Sec-Fetch-Site"] = "cross-site"
        assert team[Role.OPERATOR].act(f"/console/jobs/{job_id}/cancel").status_code == 403
        assert job_facts(engine, job_id).state == "scheduled"

    @pytest.mark.parametrize("reason", ["", "  ", "no", "x" * 501])
    def test_everything_needs_a_reason(
        self, team: Team, engine: Engine, tenant: Customer, reason: str
    ) -> None:
        job_id = add(engine, tenant.id, Note())
        answer = team[Role.OPERATOR].act(f"/console/jobs/{job_id}/cancel", reason=reason)
        assert (answer.status_code, "Say why" in answer.text) == (422, True)
        assert job_facts(engine, job_id).state == "scheduled"

    def test_what_is_not_there_is_a_page_that_says_so(self, team: Team) -> None:
        nobody = f"incidents/{'0' * 32}"
        for path in (
            "jobs/x",
            f"jobs/{'0' * 32}",
            "incidents/x",
            "incidents/x/replay",
            "nope",
            "a/b",
        ):
            answer = team[Role.ADMIN].client.get(f"/console/{path}")
            assert answer.status_code == 404, path
            assert "<h1>Not found</h1>" in answer.text
        for deed in ("jobs/x/cancel", f"{nobody}/replay", f"{nobody}/discard", f"{nobody}/resolve"):
            assert team[Role.ADMIN].act(f"/console/{deed}").status_code == 404, deed
        assert team[Role.ADMIN].client.get("/console/").headers["location"].endswith("/console")

    def test_what_is_wrong_with_a_field_is_said(self, team: Team) -> None:
        operator = team[Role.OPERATOR].client
        for query, said in (("q=" + "x" * 5000, "q: String should have at most"), ("q=%00", "NUL")):
            answer = operator.get(f"/console/jobs?{query}")
            assert (answer.status_code, said in answer.text) == (422, True)
            assert "<h1>" in answer.text


class TestAudit:
    def test_the_log_and_the_deed_are_one_commit(
        self, team: Team, engine: Engine, tenant: Customer
    ) -> None:
        job_id = add(engine, tenant.id, Note())
        with engine.begin() as tx:  # a log that can't be written
            tx.execute(text("ALTER TABLE audit_log ADD CONSTRAINT full_up CHECK (false) NOT VALID"))
        answer = team[Role.OPERATOR].act(f"/console/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.headers["connection"]) == (500, "close")
        assert (job_facts(engine, job_id).state, events(engine, job_id)) == (
            "scheduled",
            ["enqueue"],
        )
        with engine.begin() as tx:
            tx.execute(text("ALTER TABLE audit_log DROP CONSTRAINT full_up"))
        page = team[Role.OPERATOR].done(f"/console/jobs/{job_id}/cancel", reason="a mistake")
        assert "Done: job.cancel" in page
        assert events(engine, job_id)[-1] == "cancel"
        again = team[Role.OPERATOR].act(f"/console/jobs/{job_id}/retry")
        assert again.status_code == 409
        assert audited(engine) == [("job.cancel", str(job_id), "operator", "a mistake")]
        assert "a mistake" in team[Role.VIEWER].look("/console/audit", thing=str(job_id))
        assert "a mistake" not in team[Role.VIEWER].look("/console/audit", actor="admin")

    def test_nothing_in_it_can_be_changed(self, team: Team, engine: Engine) -> None:
        for change in (
            "UPDATE audit_log SET reason = 'another'",
            "DELETE FROM audit_log",
            "TRUNCATE audit_log",
        ):
            with pytest.raises(DBAPIError, match="append only"), engine.begin() as tx:
                tx.execute(text(change))

    def test_the_clean_up_leaves_the_last_thirty_days_whatever_was_chosen(
        self, engine: Engine
    ) -> None:
        add_entry = text("""
            INSERT INTO audit_log (id, at, actor, role, via, action, object, object_id, reason)
            VALUES (gen_random_uuid(), clock_timestamp() - make_interval(days => :days), 'anna',
                    'admin', 'cli', 'job.retry', 'job', 'x', 'for a test')
        """)
        step = next(one.step for one in KEPT if one.what == "audit_log")
        with engine.begin() as tx:
            for days in (40, 29):
                tx.execute(add_entry, {"days": days})
            assert step(tx, None, days=5, batch=10).removed == 1
        assert len(audited(engine)) == 1

    def test_the_command_line_is_in_it(self, run: Run, engine: Engine, tenant: Customer) -> None:
        job_id = add(engine, tenant.id, Note())
        run("jobs", "cancel", job_id, "--reason", "by hand")
        run("kinds", "pause", "report.daily", "--reason", "too slow")
        run("kinds", "resume", "report.daily")
        incident = incident_of(engine, dead(engine, tenant.id, Note()))["id"]
        run("incidents", "resolve", incident, "--note", "mended")
        key = run("keys", "create", "--role", "viewer", "--name", "eve", "--json").json
        run("keys", "revoke", key["id"])
        found = audited(engine)
        assert [action for action, *_ in found] == [
            *("job.cancel", "kind.pause", "kind.resume", "incident.resolve"),
            *("key.create", "key.revoke"),
        ]
        assert [reason for *_, reason in found][:2] == ["by hand", "too slow"]
        assert all("@" in who for _, _, who, _ in found)


def test_a_replay_is_tried_out_then_done_at_its_rate(
    team: Team, engine: Engine, tenant: Customer
) -> None:
    gone = [dead(engine, tenant.id, Note(), frame="app.a:f") for _ in range(3)]
    incident = incident_of(engine, gone[0])["id"]
    operator = team[Role.OPERATOR]
    here = f"/console/incidents/{incident}"
    page = operator.look(here)
    assert "tenant-" in page
    assert "3 deaths in 48 hours" in page
    tried = operator.look(f"{here}/replay", rate="2")
    assert "Replay 3 jobs" in tried
    assert "<dd>1.0 s</dd>" in tried
    assert [job_facts(engine, job_id).state for job_id in gone] == ["dead"] * 3
    page = operator.done(f"{here}/replay", rate=2, reason="the server is back")
    assert "replayed 3" in page
    waits = sorted(job_facts(engine, job_id).wait_seconds for job_id in gone)
    assert 0.8 < waits[2] - waits[0] < 1.2
    assert "the server is back" in operator.look(f"/console/jobs/{gone[0]}")


def test_a_pause_shows_in_the_overview_and_its_stream(team: Team, web: Web, engine: Engine) -> None:
    with web.client(team[Role.OPERATOR].key) as api:
        api.post("/v1/queues/low/pause")
    page = team[Role.VIEWER].look("/console/overview")
    assert 'data-live="queue.low.state" data-mood="look">paused' in page
    with team[Role.VIEWER].client.stream("GET", "/console/live/overview") as stream:
        line = next(line for line in stream.iter_lines() if line.startswith("data: "))
    assert '"queue.low.state": ["paused", "look"]' in line
    with engine.connect() as tx:
        assert load_rules(tx).by_name[Scope.QUEUE, "low"].paused_at is not None
    assert isinstance(team[Role.VIEWER].client, httpx.Client)
