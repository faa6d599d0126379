"""Which series an expression of Prometheus's asks for, and by which labels: enough of the language for ours."""

import re
from collections.abc import Iterator

WORDS = frozenset(
    [
        "and",
        "or",
        "unless",
        "by",
        "on",
        "ignoring",
        "without",
        "group_left",
        "group_right",
        "bool",
        "offset",
        "sum",
        "max",
        "min",
        "count",
        "avg",
        "rate",
        "increase",
        "deriv",
        "absent",
        "vector",
        "scalar",
        "time",
        "clamp_min",
        "clamp_max",
        "histogram_quantile",
        "label_replace",
        "topk",
        "inf",
        "nan",
    ]
)
_STRING = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")
_MATCHERS = re.compile(r"([A-Za-z_:][\w:]*)?\s*\{([^}]*)\}")
_NAME = re.compile(r"(?<![\w:.$])[A-Za-z_:][\w:]*")


def grouping_labels(expression: str) -> set[str]:
    """The labels that series are grouped or joined by."""
    bare = _STRING.sub('""', expression)
    return {
        name.strip()
        for found in _GROUPING.findall(bare)
        for name in found.split(",")
        if name.strip()
    }


def matchers(expression: str) -> Iterator[tuple[str, str, str]]:
    """(metric, label, value) of each matcher, the value as it is written: a regular expression or not."""
    for metric, inside in _MATCHERS.findall(expression):
        for label, value in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', inside):
            yield metric, label, value


def series(expression: str) -> set[str]:
    """The names of the series that it asks for."""
    bare = _GROUPING.sub("", _STRING.sub('""', expression))
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    bare = re.sub(r"#.*", "", bare)
    return {name for name in _NAME.findall(bare) if name not in WORDS}
