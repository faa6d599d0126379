"""The SQL that writes, compares and undoes rows of a target, made from its description. The one place of it.

Identifiers come from the targets in the code alone, values are parameters. `c` is the row that is there,
and rows are taken in the order of their keys, by code point, so that two imports that touch the same rows
lock them in the same order.
"""

from enum import StrEnum
from functools import lru_cache

from sqlalchemy import TextClause, text

from app.imports.targets import Target

Names = tuple[str, ...]
"""Columns of the target's table that the file fills, the key first."""


class Policy(StrEnum):
    """What may happen to a row: by its key it is new, or it is there already."""

    UPSERT = "upsert"
    INSERT = "insert"
    UPDATE = "update"


_STAGE = "CREATE TEMPORARY TABLE {stage} ({columns})"
_UNSTAGE = "DROP TABLE {stage}"
_COPY = "COPY {table} ({names}) FROM STDIN WITH (FORMAT text, NULL '')"

_INSERT = """
    INSERT INTO {table} AS c (id, tenant_id, {names})
    SELECT uuidv7(), :tenant_id, {names} FROM {stage} ORDER BY {key} COLLATE "C"
"""
_UPSERT = (
    _INSERT
    + """
    ON CONFLICT (tenant_id, {key}) DO UPDATE SET {merged}, updated_at = now()
    WHERE ({new}) IS DISTINCT FROM ({current})
    RETURNING new.id, new.{key} AS key, old.id IS NULL AS inserted,
        CASE WHEN old.id IS NOT NULL THEN {image} END AS image
"""
)
_INSERT_NEW = (
    _INSERT
    + """
    ON CONFLICT (tenant_id, {key}) DO NOTHING
    RETURNING new.id, new.{key} AS key, true AS inserted, NULL::json AS image
"""
)
_UPDATE = """
    UPDATE {table} AS c SET {merged}, updated_at = now() FROM found AS excluded
    WHERE c.id = excluded.found_id AND ({new}) IS DISTINCT FROM ({current})
    RETURNING c.id, new.{key} AS key, false AS inserted, {image} AS image
"""
_UPDATE_NOTHING = """
    SELECT found_id AS id, {key} AS key, false AS inserted, NULL::json AS image FROM found WHERE false
"""
_FOUND = """
    found AS MATERIALIZED (
        SELECT there.id AS found_id, s.* FROM {stage} AS s
        JOIN {table} AS there ON there.tenant_id = :tenant_id AND there.{key} = s.{key}
        ORDER BY s.{key} COLLATE "C" FOR UPDATE OF there
    ),
"""
_APPLY = """
    WITH {found}
    written AS ({write}),
    sums AS (
        SELECT count(*) FILTER (WHERE inserted) AS inserted,
               count(*) FILTER (WHERE NOT inserted) AS updated
        FROM written
    ){keep}
    SELECT inserted, updated, {refused} AS refused FROM sums
"""
# The images are put together as json, which is text, and become jsonb once: that costs the least.
_KEEP = """,
    kept AS (
        UPDATE import_chunks SET applied_at = now(), inserted_ids = undo.ids, before = undo.before
        FROM (
            SELECT array_agg(id) FILTER (WHERE inserted) AS ids,
                   CASE WHEN bool_or(NOT inserted) THEN
                       json_build_object(
                           'columns', CAST(:image_columns AS json),
                           'rows', json_agg(image) FILTER (WHERE NOT inserted)
                       )::jsonb
                   END AS before
            FROM written
        ) AS undo
        WHERE import_id = :import_id AND index = :index
    )
"""
KEEP_ADDED = text("""
    UPDATE import_chunks SET applied_at = now(), inserted_ids = CAST(:ids AS uuid[])
    WHERE import_id = :import_id AND index = :index
""")
"""Keeps what undo needs of a chunk whose rows were all new."""
_NOT_IN = """(
    SELECT array_agg({key} ORDER BY {key} COLLATE "C") FROM {stage} AS s
    WHERE NOT EXISTS (SELECT 1 FROM {others} AS o WHERE o.{other_key} = s.{key})
)"""

_COMPARE = """
    SELECT c.id IS NOT NULL AS found, c.id IS NOT NULL AND ({new}) IS DISTINCT FROM ({current}) AS changed,
           jsonb_build_array({before}) AS before, jsonb_build_array({after}) AS after
    FROM (SELECT n, {typed} FROM unnest({arrays}) WITH ORDINALITY AS cells ({names}, n)) AS excluded
    LEFT JOIN {table} AS c ON c.tenant_id = :tenant_id AND c.{key} = excluded.{key}
    ORDER BY n
"""


def stage_table(target: Target) -> str:
    """The temporary table that a chunk's rows are copied into."""
    return f"staged_{target.name}"


@lru_cache
def stage(target: Target, names: Names) -> TextClause:
    """Creates that table."""
    columns = ", ".join(f"{name} {column_type(target, name)}" for name in names)
    return text(_STAGE.format(stage=stage_table(target), columns=columns))


@lru_cache
def unstage(target: Target) -> TextClause:
    """Drops it: the next chunk of the same transaction makes its own."""
    return text(_UNSTAGE.format(stage=stage_table(target)))


@lru_cache
def copy(target: Target, names: Names) -> str:
    """Fills it. For the driver."""
    return _COPY.format(table=stage_table(target), names=", ".join(names))


@lru_cache
def add(target: Target, names: Names) -> str:
    """Fills the target's own table: ids and tenants come before the values. For the driver."""
    return _COPY.format(table=target.table, names=", ".join(("id", "tenant_id", *names)))


@lru_cache
def apply(target: Target, names: Names, policy: Policy, *, keep: bool) -> TextClause:
    """Writes the staged rows: the tally, and the keys that the policy refuses. With `keep`, what undo
    needs goes into the chunk's row.
    """
    parts = _parts(target, names)
    changing = len(names) > 1
    refused = "NULL::text[]"
    if policy is Policy.UPSERT:
        write = _UPSERT if changing else _INSERT_NEW
    elif policy is Policy.INSERT:
        write, refused = _INSERT_NEW, _NOT_IN.format(**parts, others="written", other_key="key")
    else:
        write = _UPDATE if changing else _UPDATE_NOTHING
        refused = _NOT_IN.format(**parts, others="found", other_key=target.key)
    return text(
        _APPLY.format(
            found=_FOUND.format(**parts) if policy is Policy.UPDATE else "",
            write=write.format(**parts),
            keep=_KEEP if keep else "",
            refused=refused,
        )
    )


@lru_cache
def compare(target: Target, names: Names) -> TextClause:
    """Reads what a run would find and leave, a row for each of the arrays' elements, in their order."""
    parts = _parts(target, names)
    return text(
        _COMPARE.format(
            **parts,
            typed=", ".join(f"nullif({n}, '')::{column_type(target, n)} AS {n}" for n in names),
            arrays=", ".join(f"CAST(:{name} AS text[])" for name in names),
            before=", ".join(_as_json(target, name, f"c.{name}") for name in names[1:]),
            after=", ".join(
                _as_json(target, name, f"coalesce({_merged(target, name)}, excluded.{name})")
                for name in names[1:]
            ),
        )
    )


def image_columns(names: Names) -> Names:
    """What a before-image holds, in this order."""
    return ("id", "updated_at", *names)


def column_type(target: Target, name: str) -> str:
    """The SQL type of a column that a file can fill."""
    return "jsonb" if name == target.attributes else target.by_name[name].type.sql


def _parts(target: Target, names: Names) -> dict[str, str]:
    others = names[1:]
    return {
        "table": target.table,
        "stage": stage_table(target),
        "key": target.key,
        "names": ", ".join(names),
        "merged": ", ".join(f"{name} = {_merged(target, name)}" for name in others),
        "new": ", ".join(_merged(target, name) for name in others) or "NULL",
        "current": ", ".join(f"c.{name}" for name in others) or "NULL",
        "image": f"json_build_array({', '.join(f'old.{n}' for n in image_columns(names))})",
    }


def _merged(target: Target, name: str) -> str:
    """What a column holds afterwards: an empty cell says nothing, and attributes are merged."""
    if name == target.attributes:
        return f"c.{name} || excluded.{name}"
    return f"coalesce(excluded.{name}, c.{name})"


def _as_json(target: Target, name: str, value: str) -> str:
    kind = column_type(target, name)
    if kind == "jsonb":
        return value
    return f"trim_scale({value})::text" if kind.startswith("numeric") else f"({value})::text"
