"""A letter of each kind with invented facts, for previews."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from types import MappingProxyType
from uuid import UUID

from app.mailing.letters import (
    DailyReport,
    ImportFinished,
    ImportLine,
    Letter,
    PaymentFailed,
    ReportReady,
    TrialEnding,
    TrialExpired,
    Welcome,
)

_ZONE = "Europe/Berlin"
_NAME = "Weir & Sluice"
_MOMENT = datetime(2026, 3, 28, 9, 30, tzinfo=UTC)

SAMPLES: Mapping[str, Letter] = MappingProxyType(
    {
        letter.template: letter
        for letter in (
            Welcome(tenant_name=_NAME, trial_ends_at=_MOMENT, timezone=_ZONE),
            ImportFinished(
                import_id=UUID("01980000-0000-7000-8000-000000000001"),
                filename="customers <spring>.csv",
                ended="is finished",
                dry_run=False,
                problem=None,
                total=20_000,
                inserted=18_412,
                updated=1_013,
                unchanged=160,
                rejected=415,
            ),
            DailyReport(
                day=date(2026, 3, 27),
                timezone=_ZONE,
                imports=3,
                contacts=18_412,
                finished=96,
                dead=1,
                listed=[
                    ImportLine(
                        filename="customers <spring>.csv",
                        status="succeeded",
                        total=20_000,
                        inserted=18_412,
                        updated=1_013,
                        rejected=415,
                    ),
                    ImportLine(
                        filename="products.xlsx",
                        status="failed",
                        total=120,
                        inserted=0,
                        updated=0,
                        rejected=0,
                    ),
                ],
            ),
            ReportReady(
                title="Contacts, all columns (CSV)",
                download_path="/console/imports",
                expires_at=_MOMENT,
                timezone=_ZONE,
            ),
            TrialEnding(tenant_name=_NAME, ends_at=_MOMENT, timezone=_ZONE),
            TrialExpired(tenant_name=_NAME, ended_at=_MOMENT, timezone=_ZONE),
            PaymentFailed(
                invoice_id="in_0042",
                amount_minor=4_900,
                currency="EUR",
                invoice_url="https://pay.example.com/in_0042",
            ),
        )
    }
)
