"""Import targets: what the rows of a file can become."""

from collections.abc import Mapping
from types import MappingProxyType

from app.imports.targets.contacts import CONTACTS
from app.imports.targets.products import PRODUCTS
from app.imports.targets.target import PARENT_COLUMNS, Field, Target

TARGETS: Mapping[str, Target] = MappingProxyType(
    {target.name: target for target in (CONTACTS, PRODUCTS)}
)
"""Every target, by name. An explicit list: a new one is added here."""

__all__ = ["PARENT_COLUMNS", "TARGETS", "Field", "Target"]
