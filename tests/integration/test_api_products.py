"""Products: a page at a time by SKU, one by its SKU, and never another tenant's."""

import httpx
import pytest
from sqlalchemy import Engine

from tests.support.customers import Customer
from tests.support.problems import assert_problem
from tests.support.rows import apply_rows
from tests.support.web import Web

HEADER = ["sku", "name", "price", "currency", "stock"]


def test_products_come_by_sku_and_are_found_by_it(
    api: httpx.Client, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    rows = [
        ["b-2", "Ring", "1234.50", "EUR", "12"],
        ["a-1", "", "", "", ""],
        ["B-2", "", "", "", ""],
    ]
    apply_rows(engine, tenant.id, HEADER, rows, target="products")
    apply_rows(engine, stranger.id, HEADER, [["z-9", "", "", "", ""]], target="products")
    first = api.get("/v1/products", params={"limit": 2}).json()
    rest = api.get("/v1/products", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    skus = [item["sku"] for page in (first, rest) for item in page["items"]]
    assert skus == ["B-2", "a-1", "b-2"]
    assert rest["next_cursor"] is None
    (found,) = api.get("/v1/products", params={"sku": " b-2"}).json()["items"]
    assert (found["name"], found["price"], found["currency"], found["stock"]) == (
        *("Ring", "1234.5000", "EUR", 12),
    )
    assert api.get("/v1/products", params={"sku": "z-9"}).json()["items"] == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"cursor": "x"}, 400, "invalid_cursor"),
        ({"sku": "\x00"}, 422, "invalid_text"),
        ({"limit": "0"}, 422, "invalid_parameters"),
    ],
)
def test_a_bad_question_gets_a_precise_answer(
    api: httpx.Client, query: dict[str, str], status: int, code: str
) -> None:
    assert_problem(api.get("/v1/products", params=query), status, code)


def test_nothing_is_shown_without_a_key(web: Web) -> None:
    with web.client(None) as nobody:
        assert_problem(nobody.get("/v1/products"), 401, "unauthenticated")
