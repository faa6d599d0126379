"""Values: what a field's cells may look like, and how they are written in the database."""

from app.imports.values.choice import Boolean, Choice, Currency
from app.imports.values.column import Column, Fault, FieldType, Parsed, Region, ValueOptions, shown
from app.imports.values.date import Date
from app.imports.values.email import Email
from app.imports.values.number import Decimal, Integer
from app.imports.values.phone import Phone
from app.imports.values.text import Code, Text

__all__ = [
    "Boolean",
    "Choice",
    "Code",
    "Column",
    "Currency",
    "Date",
    "Decimal",
    "Email",
    "Fault",
    "FieldType",
    "Integer",
    "Parsed",
    "Phone",
    "Region",
    "Text",
    "ValueOptions",
    "shown",
]
