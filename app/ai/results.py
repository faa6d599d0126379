"""What was paid for is kept, and what somebody is paying for just now is not paid for twice.

A hash is claimed before it is asked for: one claims it, others wait for the result. The claim of a
process that died runs out; its own job, tried again, takes it over at once.
"""

import hashlib
import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection, text

_KNOWN = text("""
    SELECT hash, result FROM ai_results
    WHERE tenant_id = :tenant_id AND hash = ANY(:hashes) AND result IS NOT NULL
""")
# In the order of the hashes, here and below: two jobs with the same texts don't lock each other out.
_CLAIM = text("""
    INSERT INTO ai_results (tenant_id, hash, claimed_by, claimed_until)
    SELECT :tenant_id, hash, :owner, clock_timestamp() + make_interval(secs => :seconds)
    FROM unnest(CAST(:hashes AS bytea[])) AS hash ORDER BY hash
    ON CONFLICT (tenant_id, hash) DO UPDATE
    SET claimed_by = excluded.claimed_by, claimed_until = excluded.claimed_until
    WHERE ai_results.result IS NULL
      AND (ai_results.claimed_by = excluded.claimed_by
           OR ai_results.claimed_until < clock_timestamp())
    RETURNING hash
""")
_KEEP = text("""
    INSERT INTO ai_results (tenant_id, hash, result)
    SELECT :tenant_id, hash, result
    FROM unnest(CAST(:hashes AS bytea[]), CAST(:results AS bytea[])) AS r(hash, result) ORDER BY hash
    ON CONFLICT (tenant_id, hash) DO UPDATE
    SET result = excluded.result, claimed_by = NULL, claimed_until = NULL
    WHERE ai_results.result IS NULL
""")
_RELEASE = text("""
    DELETE FROM ai_results
    WHERE tenant_id = :tenant_id AND hash = ANY(:hashes) AND claimed_by = :owner AND result IS NULL
""")


def normalised(words: str) -> str:
    """The text as models get it: composed characters, single spaces, nothing around it."""
    return " ".join(unicodedata.normalize("NFC", words).split())


def content_hash(*parts: str) -> bytes:
    """SHA-256 over the parts, told apart."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "replace")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def known(tx: Connection, tenant_id: UUID, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
    """The results that there are."""
    rows = tx.execute(_KNOWN, {"tenant_id": tenant_id, "hashes": list(hashes)})
    return {bytes(row.hash): bytes(row.result) for row in rows}


def claim(
    tx: Connection, tenant_id: UUID, owner: UUID, hashes: Sequence[bytes], *, seconds: float
) -> set[bytes]:
    """Those of the hashes that are `owner`'s to ask for now, for so long."""
    values = {"tenant_id": tenant_id, "owner": owner, "hashes": list(hashes), "seconds": seconds}
    return {bytes(each) for each in tx.execute(_CLAIM, values).scalars()}


def keep(tx: Connection, tenant_id: UUID, results: Mapping[bytes, bytes]) -> None:
    """Write results down; one that is there already stays."""
    tx.execute(
        _KEEP,
        {
            "tenant_id": tenant_id,
            "hashes": list(results.keys()),
            "results": list(results.values()),
        },
    )


def release(tx: Connection, tenant_id: UUID, owner: UUID, hashes: Sequence[bytes]) -> None:
    """Give claims back that came to nothing."""
    tx.execute(_RELEASE, {"tenant_id": tenant_id, "owner": owner, "hashes": list(hashes)})


def packed(vector: Sequence[float]) -> bytes:
    """As 32-bit floats, little-endian on every machine that this runs on."""
    return array("f", vector).tobytes()


def unpacked(data: bytes) -> list[float]:
    """The opposite."""
    vector = array("f")
    vector.frombytes(data)
    return vector.tolist()
