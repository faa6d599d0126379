"""No page of the operators' console changes anything without the page's token, or shows anything to who isn't one."""

from collections.abc import Iterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from app.console.router import OPERATORS
from app.console.visit import ConsoleRoute, acting, reading

ROUTES = [route for module in OPERATORS for route in module.router.routes]


def calls(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for each in dependant.dependencies:
        yield from calls(each)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: getattr(route, "path", "?"))
def test_a_route_asks_who_it_is_and_a_form_for_its_token(route: APIRoute) -> None:
    assert isinstance(route, ConsoleRoute)
    asked = set(calls(route.dependant))
    assert reading in asked
    assert route.methods in ({"GET"}, {"POST"})
    assert (acting in asked) is (route.methods == {"POST"})
