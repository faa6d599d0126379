"""A payment didn't go through: the amount exactly, and where to pay."""

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine

from app.jobs import PaymentFailedMail
from tests.support.customers import Customer
from tests.support.jobs import add_queued
from tests.support.runtime import Worker
from tests.support.servers import Servers


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (4900, "eur", "49.00 EUR"),
        (5, "USD", "0.05 USD"),
        (123456789, "usd", "1,234,567.89 USD"),
        (4900, "JPY", "4,900 JPY"),
        (4900, "KWD", "4.900 KWD"),
    ],
)
def test_the_amount_is_told_exactly(
    worker: Worker,
    engine: Engine,
    tenant: Customer,
    servers: Servers,
    minor: int,
    currency: str,
    shown: str,
) -> None:
    job = PaymentFailedMail(
        invoice_id="in_7",
        amount_due_minor=minor,
        currency=currency,
        hosted_invoice_url="https://pay.example.com/in_7?a=1&b=2",
    )
    worker.deliver(add_queued(engine, tenant.id, job))
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.subject == f"Your payment of {shown} didn't go through"
    assert "https://pay.example.com/in_7?a=1&b=2" in mail.text


def test_without_a_page_to_pay_at_there_is_no_link(
    worker: Worker, engine: Engine, tenant: Customer, servers: Servers
) -> None:
    job = PaymentFailedMail(invoice_id="in_7", amount_due_minor=1, currency="EUR")
    worker.deliver(add_queued(engine, tenant.id, job))
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert "http" not in mail.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"hosted_invoice_url": "javascript:alert(1)"},
        {"hosted_invoice_url": "//pay.example.com"},
        {"hosted_invoice_url": 'https://pay.example.com/"onclick="x'},
        {"currency": "EURO"},
        {"amount_due_minor": -1},
        {"invoice_id": ""},
    ],
    ids=str,
)
def test_what_no_mail_should_hold_is_refused_before_it_is_a_job(wrong: dict[str, object]) -> None:
    facts = {"invoice_id": "in_7", "amount_due_minor": 1, "currency": "EUR", **wrong}
    with pytest.raises(ValidationError):
        PaymentFailedMail.model_validate(facts)
