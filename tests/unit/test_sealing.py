"""Secrets at rest: sealed for one owner, opened with any of the keys."""

from uuid import UUID

import pytest
from pydantic import SecretStr

from app.sealing import CannotOpen, CannotSeal, seal, unseal
from app.settings import Settings

OLD, NEW = "o" * 32, "n" * 40
ADA, BOB = UUID(int=1), UUID(int=2)


def keys(*values: str) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql://"),
        broker_url=SecretStr("amqp://"),
        sealing_keys=tuple(SecretStr(value) for value in values),
    )


def test_what_is_sealed_can_be_opened_and_shows_nothing() -> None:
    sealed = seal("token-ä", keys(OLD), owner=ADA)
    assert b"token" not in sealed
    assert unseal(sealed, keys(OLD), owner=ADA) == "token-ä"


def test_a_new_key_in_front_keeps_what_the_old_one_sealed() -> None:
    sealed = seal("token", keys(OLD), owner=ADA)
    assert unseal(sealed, keys(NEW, OLD), owner=ADA) == "token"
    again = seal("token", keys(NEW, OLD), owner=ADA)
    assert unseal(again, keys(NEW), owner=ADA) == "token"
    with pytest.raises(CannotOpen):
        unseal(sealed, keys(NEW), owner=ADA)


def test_another_owner_cannot_open_it() -> None:
    with pytest.raises(CannotOpen):
        unseal(seal("token", keys(OLD), owner=ADA), keys(OLD), owner=BOB)


@pytest.mark.parametrize("values", [(), ("short",), (NEW, "short")])
def test_without_a_good_key_nothing_is_sealed(values: tuple[str, ...]) -> None:
    with pytest.raises(CannotSeal, match="MILLRACE_SEALING_KEYS"):
        seal("token", keys(*values), owner=ADA)
