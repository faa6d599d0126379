"""The letters that there are: each a type whose fields are all that its templates may use.

A letter is what is said, not to whom: the worker adds the recipient, the links' host and the headers.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from app.mailing.wording import Line, PathBelow, WebAddress


class Topic(StrEnum):
    """What a recipient may unsubscribe from. Stored data and part of tokens: never rename one."""

    DAILY_REPORT = "daily_report"
    TRIAL_REMINDERS = "trial_reminders"


TOPIC_NAMES: Mapping[Topic, str] = MappingProxyType(
    {Topic.DAILY_REPORT: "daily reports", Topic.TRIAL_REMINDERS: "reminders about your trial"}
)


class Letter(BaseModel):
    """Base of all. `why` is told at the foot; letters with a `topic` can be unsubscribed from, those
    without one answer something that the recipient did or owes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    template: ClassVar[str]
    topic: ClassVar[Topic | None] = None
    why: ClassVar[str] = "This address is the one on file for your Millrace account."


class Welcome(Letter):
    """To a new tenant; `trial_ends_at` is None for one that isn't on trial."""

    template = "welcome"
    tenant_name: Line
    trial_ends_at: AwareDatetime | None
    timezone: str


class ImportFinished(Letter):
    """An import has ended, however it did. `ended` completes "The import of x ..."."""

    template = "import_finished"
    import_id: UUID
    filename: Line
    ended: str
    dry_run: bool
    problem: Line | None
    total: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int

    @property
    def what(self) -> str:
        """What ended, in a word or two."""
        return "dry run" if self.dry_run else "import"


class ImportLine(BaseModel):
    """An import that ended on the day of a report."""

    model_config = ConfigDict(frozen=True)
    filename: Line
    status: str
    total: int
    inserted: int
    updated: int
    rejected: int


class DailyReport(Letter):
    """A day's figures; `listed` are the first of the `imports`."""

    template = "daily_report"
    topic = Topic.DAILY_REPORT
    why = "A report is sent on the morning after each day on which something happened."
    day: date
    timezone: str
    imports: int
    contacts: int
    finished: int
    dead: int
    listed: Sequence[ImportLine]

    @property
    def unlisted(self) -> int:
        """How many imports there were beyond those listed."""
        return self.imports - len(self.listed)


class ReportReady(Letter):
    """A report or export that was asked for can be fetched, until `expires_at` where there is one."""

    template = "report_ready"
    title: Line
    download_path: PathBelow
    expires_at: AwareDatetime | None
    timezone: str


class TrialEnding(Letter):
    """Some days before the end of a trial."""

    template = "trial_ending"
    topic = Topic.TRIAL_REMINDERS
    tenant_name: Line
    ends_at: AwareDatetime
    timezone: str


class TrialExpired(Letter):
    """A trial has ended."""

    template = "trial_expired"
    tenant_name: Line
    ended_at: datetime | None
    timezone: str


class PaymentFailed(Letter):
    """A payment didn't go through; `amount_minor` is in the currency's minor unit."""

    template = "payment_failed"
    why = "Notices about payments are part of your account and can't be turned off."
    invoice_id: Line
    amount_minor: int
    currency: Line
    invoice_url: WebAddress | None


LETTERS: Mapping[str, type[Letter]] = MappingProxyType(
    {
        letter.template: letter
        for letter in (
            Welcome,
            ImportFinished,
            DailyReport,
            ReportReady,
            TrialEnding,
            TrialExpired,
            PaymentFailed,
        )
    }
)
