"""What the job shares with others like it: a concurrency key, a unique key, its tenant's worker."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.ledger.concurrency import Concurrency
from app.ledger.contract import JobSpec
from app.ledger.uniqueness import Debounce, UniqueUntil
from infra.local.errors import BadOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Named as in the contract and in NewJob; the two keys name fields of the payload."""

    concurrency_key: str | None = None
    concurrency_limit: int = 1
    in_order: bool = False
    affinity: bool = False
    unique_key: str | None = None
    unique_for: float | None = None
    unique_until: str | None = None
    debounce: float | None = None
    debounce_max: float | None = None

    def check(self, kind: str, fields: Iterable[str]) -> None:
        """Raises BadOrder for what the contract or NewJob would refuse, and for a key that is none of the fields."""
        known = set(fields)
        for option, key in (("concurrency", self.concurrency_key), ("unique", self.unique_key)):
            if key is not None and key not in known:
                raise BadOrder(
                    f"--{option}-key {key}: there is no such field. Add it: --field {key}:uuid"
                )
        self._check_concurrency(kind)
        self._check_unique()

    def _check_concurrency(self, kind: str) -> None:
        if self.concurrency_key is None and (self.in_order or self.concurrency_limit != 1):
            raise BadOrder("--concurrency-limit and --in-order are about a --concurrency-key.")
        try:
            JobSpec(kind=kind, concurrency=self.concurrency, affinity=self.affinity)
        except ValueError as bad:
            raise BadOrder(f"{bad}.") from None

    def _check_unique(self) -> None:
        windows = (self.unique_for, self.unique_until)
        if self.unique_key is None and (*windows, self.debounce) != (None, None, None):
            raise BadOrder("--unique-for, --unique-until and --debounce are about a --unique-key.")
        if self.unique_until not in (None, *UniqueUntil):
            raise BadOrder(f"--unique-until is one of {', '.join(UniqueUntil)}.")
        if self.unique_for is not None and self.unique_for <= 0:
            raise BadOrder("--unique-for is in seconds, and more than 0.")
        if self.debounce is None:
            if self.debounce_max is not None:
                raise BadOrder("--debounce-max is about a --debounce.")
            return
        if windows != (None, None):
            raise BadOrder("Leave out --unique-for and --unique-until with --debounce.")
        try:
            Debounce(seconds=self.debounce, max_seconds=self.debounce_max)
        except ValueError as bad:
            raise BadOrder(f"{bad}.") from None

    @property
    def concurrency(self) -> Concurrency | None:
        """Raises ValueError."""
        if self.concurrency_key is None:
            return None
        return Concurrency(
            key=self.concurrency_key, limit=self.concurrency_limit, in_order=self.in_order
        )
