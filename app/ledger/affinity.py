"""Which kinds of a catalog go to shards."""

from app.broker.affinity import Affinity
from app.ledger.contract import Catalog
from app.settings import Settings


def affinity_of(settings: Settings, catalog: Catalog) -> Affinity:
    """By the contracts' `affinity`, and as many shards as the settings say; by default nothing."""
    specs = [contract.spec for contract in catalog.values() if contract.spec.affinity]
    if not settings.affinity_shards or not specs:
        return Affinity()
    return Affinity(
        shards=settings.affinity_shards,
        kinds=frozenset(spec.kind for spec in specs),
        pools=tuple(sorted({spec.queue.value for spec in specs})),
    )
