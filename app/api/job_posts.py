"""`POST /v1/jobs`: posts that come at the same time share a transaction.

There are two lines. What waits for no other transaction is in the first. A post with a unique key may have to wait for
whoever is adding the same: it shares a transaction with its like, which waits PATIENCE and no longer.

What its neighbours should not share has a transaction of its own: a post whose idempotency key is in use, one whose
trace is recorded (its statements are its spans), and every post of a transaction that failed. So nothing that a post is
or does changes what becomes of another.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from typing import Annotated
from uuid import UUID

import anyio
import structlog
from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials
from sqlalchemy import Connection, Engine, TextClause, text
from sqlalchemy.exc import DBAPIError

from app.api.admission import check_backlog, check_depths
from app.api.bodies import BoundedRoute, Handler
from app.api.group_commit import GroupCommit
from app.api.idempotency import (
    Answer,
    Asked,
    IdempotencyHeader,
    answer_once,
    check_same,
    recall_all,
    remember_all,
    take_turns,
)
from app.api.job_request import JobRequest, new_job
from app.api.job_view import JobDetail, load_job, load_new_job, load_new_jobs
from app.api.jobs import ACCEPTED, answer_with, respond
from app.api.problems import describe
from app.api.session import bearer, current_tenant, tenant_behind
from app.db import autocommit, begin_with
from app.errors import MillraceError
from app.keys import find_keys
from app.ledger.backlog import ALL_TENANTS, depths
from app.ledger.contract import Catalog
from app.ledger.enqueue import NewJob, PostedJob, enqueue_many, enqueue_posted
from app.logs import cause
from app.settings import Settings
from app.traces import spans

log = structlog.get_logger()

OPERATION = "POST /v1/jobs"
MOST = 100
"""So many posts share a transaction; more than come together at what one process can take."""
ROOM = 1000
"""So many posts of a process may wait: what it takes in a second or two."""
PATIENCE = "100ms"
"""For another's unique key: longer than a dispatcher's commit takes, and below PostgreSQL's deadlock_timeout."""
_NOW = text("SELECT extract(epoch FROM clock_timestamp())")
_PATIENCE = text(f"SET LOCAL lock_timeout = '{PATIENCE}'")

Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


@dataclass(frozen=True, kw_only=True)
class Post:
    """One request. `traceparent` is of a trace that isn't recorded."""

    request: JobRequest
    api_key: str
    idempotency_key: str | None
    traceparent: str | None

    @cached_property
    def hashed(self) -> str:
        """What makes it the same request as another with its idempotency key; empty without one."""
        return "" if self.idempotency_key is None else self.request.hashed


@dataclass(slots=True)
class _Entry:
    """A post of a shared transaction. It has an `outcome` once it needs no further work; `alone`: and it has none
    here.
    """

    post: Post
    tenant_id: UUID | None = None
    new: NewJob | None = None
    outcome: Answer | Exception | None = None
    alone: bool = False

    @property
    def open(self) -> bool:
        return self.outcome is None and not self.alone

    @contextmanager
    def judging(self) -> Iterator[None]:
        """What is raised in here is about this post and no other."""
        try:
            yield
        except DBAPIError:
            raise
        except (MillraceError, RequestValidationError) as refused:
            self.outcome = refused
        except Exception:  # noqa: BLE001 - a transaction of its own will meet it again, and report it
            self.alone = True


class JobPosts:
    """Of one process. `add` answers a post, or None to one that needs a transaction of its own: `alone`."""

    def __init__(self, engine: Engine, settings: Settings, catalog: Catalog) -> None:
        self._engine = engine
        self._settings = settings
        self._catalog = catalog
        self._keyless = GroupCommit(self._commit, most=MOST, room=ROOM)
        self._keyed = GroupCommit(self._commit_keyed, most=MOST, room=ROOM)

    async def add(self, post: Post) -> Answer | None:
        """Raises what `alone` raises, and Overloaded when too many wait in line."""
        line = self._keyless if post.request.unique_key is None else self._keyed
        return await line.add(post)

    def alone(
        self, http: Request, credentials: HTTPAuthorizationCredentials | None, post: Post
    ) -> Answer:
        """The post in a transaction of its own; at most once, whatever the error."""
        tenant_id = self.admitted(http, credentials)

        def make() -> Answer:
            return self._make(tx, tenant_id, post)

        with self._engine.begin() as tx:
            return answer_once(tx, tenant_id, OPERATION, post.idempotency_key, post.hashed, make)

    def admitted(self, http: Request, credentials: HTTPAuthorizationCredentials | None) -> UUID:
        """The tenant that may post now. Raises Unauthenticated, Forbidden, TooManyRequests, Overloaded."""
        tenant_id = current_tenant(http, self._engine, credentials)
        with autocommit(self._engine) as tx:
            check_backlog(tx, tenant_id, self._settings)
        return tenant_id

    def _make(self, tx: Connection, tenant_id: UUID, post: Post) -> Answer:
        new = new_job(self._catalog, post.request, cache(partial(_now, tx)))
        return _enqueue(tx, tenant_id, new, post)

    def _commit_keyed(self, posts: Sequence[Post]) -> list[Answer | Exception | None]:
        return self._commit(posts, patience=_PATIENCE)

    def _commit(
        self, posts: Sequence[Post], *, patience: TextClause | None = None
    ) -> list[Answer | Exception | None]:
        """For GroupCommit. A lost connection is everybody's error, and so is a commit that failed, after which the
        posts may be there. After any other error nothing is, and each post is on its own.
        """
        entries = [_Entry(post) for post in posts]
        with self._engine.connect() as tx:
            try:
                now = _now(tx)
                if patience is not None:
                    tx.execute(patience)
                self._share(tx, entries, now)
            except Exception as error:
                if lost(error):
                    raise
                log.warning("posts.parted", posts=len(posts), error=cause(error))
                return [None] * len(posts)
            tx.commit()
        return [entry.outcome for entry in entries]

    def _share(self, tx: Connection, entries: Sequence[_Entry], now: datetime) -> None:
        self._admit(tx, entries)
        for entry in _open(entries):
            with entry.judging():
                entry.new = new_job(self._catalog, entry.post.request, lambda: now)
        asked = _recall(tx, entries)
        _add(tx, [entry for entry in entries if entry.open])
        answers = {
            key: entry.outcome for key, entry in asked.items() if isinstance(entry.outcome, Answer)
        }
        if answers:
            remember_all(tx, OPERATION, answers)

    def _admit(self, tx: Connection, entries: Sequence[_Entry]) -> None:
        keys = find_keys(tx, {entry.post.api_key for entry in entries})
        for entry in entries:
            with entry.judging():
                entry.tenant_id = tenant_behind(keys.get(entry.post.api_key))
        tenants = {entry.tenant_id for entry in entries if entry.tenant_id is not None}
        found = depths(tx, ALL_TENANTS, *tenants)
        for entry in entries:
            if entry.tenant_id is not None:
                with entry.judging():
                    check_depths(found, entry.tenant_id, self._settings)


def lost(error: Exception) -> bool:
    """Whether the connection was lost with it."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _open(entries: Iterable[_Entry]) -> list[_Entry]:
    return [entry for entry in entries if entry.open]


def _now(tx: Connection) -> datetime:
    """The database's time, in the round trip that begins the transaction where none has begun."""
    ((seconds,),) = begin_with(tx, _NOW, {})
    return datetime.fromtimestamp(float(seconds or 0), UTC)


def _recall(tx: Connection, entries: Sequence[_Entry]) -> dict[Asked, _Entry]:
    """Answer what was answered before; the others that have an idempotency key, and its turn."""
    asked: dict[Asked, _Entry] = {}
    for entry in _open(entries):
        if entry.tenant_id is None or entry.post.idempotency_key is None:
            continue
        entry.alone = (
            asked.setdefault((entry.tenant_id, entry.post.idempotency_key), entry) is not entry
        )
    if not asked:
        return {}
    turns = take_turns(tx, asked, OPERATION)
    known = recall_all(tx, turns, OPERATION)
    for key, entry in asked.items():
        entry.alone = key not in turns
        if key in known:
            with entry.judging():
                entry.outcome = check_same(known[key], entry.post.hashed)
    return {key: entry for key, entry in asked.items() if entry.open}


def _add(tx: Connection, entries: Sequence[_Entry]) -> None:
    """Whose unique key is taken comes after all that are new: each of these is answered as it was made."""
    wanted = [
        (
            entry,
            PostedJob(tenant_id=entry.tenant_id, new=entry.new, traceparent=entry.post.traceparent),
        )
        for entry in entries
        if entry.tenant_id is not None and entry.new is not None
    ]
    wanted.sort(key=_unique)
    ids = enqueue_posted(tx, [posted for _, posted in wanted])
    created = [job_id for job_id in ids if job_id is not None]
    made = load_new_jobs(tx, created) if created else {}
    for (entry, _), job_id in zip(wanted, ids, strict=True):
        if job_id is not None:
            entry.outcome = answer_with(made[job_id], entry.post.hashed)
    for entry, posted in wanted:
        if entry.open:
            with entry.judging():
                entry.outcome = _enqueue(tx, posted.tenant_id, posted.new, entry.post)


def _unique(wanted: tuple[_Entry, PostedJob]) -> tuple[str, ...]:
    """Transactions that take keys in one order don't wait for each other in a circle; posts with one key stay in line,
    and so do those without.
    """
    new = wanted[1].new
    if new.unique_key is None:
        return ()
    return str(wanted[1].tenant_id), new.job.spec.kind, new.unique_key


def _enqueue(tx: Connection, tenant_id: UUID, new: NewJob, post: Post) -> Answer:
    made = enqueue_many(tx, tenant_id, [new], traceparent=post.traceparent)[0]
    detail = load_new_job(tx, made.id) if made.created else load_job(tx, tenant_id, made.id)
    return answer_with(detail, post.hashed)


async def get_job_posts(request: Request) -> JobPosts:
    """The process's."""
    posts: JobPosts = request.app.state.job_posts
    return posts


JobPostsDep = Annotated[JobPosts, Depends(get_job_posts)]


class _PostRoute(BoundedRoute):
    """Who may not post isn't told what is wrong with the body."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def known_first(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError:
                posts = await get_job_posts(request)
                credentials = await bearer(request)
                await anyio.to_thread.run_sync(posts.admitted, request, credentials)
                raise

        return known_first


router = APIRouter(prefix="/v1", tags=["jobs"], route_class=_PostRoute)


@router.post(
    "/jobs",
    status_code=202,
    response_model=JobDetail,
    responses={**ACCEPTED, **describe(400, 413, 422, 429)},
)
async def create_job(
    http: Request,
    request: JobRequest,
    credentials: Credentials,
    posts: JobPostsDep,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Have a job done, now or at its time. Only public kinds; a 422 lists them."""
    post = Post(
        request=request,
        api_key="" if credentials is None else credentials.credentials,
        idempotency_key=idempotency_key,
        traceparent=spans.carried(),
    )
    answer = None
    if credentials is not None and not spans.recording():
        answer = await posts.add(post)
    if answer is None:
        answer = await anyio.to_thread.run_sync(posts.alone, http, credentials, post)
    return respond(answer)
