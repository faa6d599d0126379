"""Which series an expression of Prometheus's asks for, and by which labels: enough of the language for ours."""

import re
from collections.abc import Collection, Iterator

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
        "last_over_time",
        "vector",
        "scalar",
        "time",
        "clamp_min",
        "clamp_max",
        "histogram_quantile",
        "label_replace",
        "topk",
        "group",
        "inf",
        "nan",
    ]
)
_STRING = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")
_MATCHERS = re.compile(r"([A-Za-z_:][\w:]*)?\s*\{([^}]*)\}")
_NAME = re.compile(r"(?<![\w:.$])[A-Za-z_:][\w:]*")
_SELECTOR = re.compile(r"(?<![\w:.$])([A-Za-z_:][\w:]*)(\{[^}]*\})?")
_AGGREGATION = re.compile(
    r"\b(?:sum|max|min|avg|count|group|topk|bottomk|quantile|stddev|stdvar|count_values)\b"
    r"(?:\s*by\s*\(([^)]*)\))?"
)
_JOIN = re.compile(
    r"\bon\s*\(([^)]*)\)\s*(?:(?:group_left|group_right)\b\s*(?:\(\s*\))?)?\s*([\w:]*)"
)
_LOSES_LABELS = re.compile(r"\b(?:without|ignoring|absent|absent_over_time|scalar)\b")


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


def loses(expression: str, label: str, *, everywhere: Collection[str] = ()) -> list[str]:
    """What in it forgets the label: series that have it come out without it, or meet those of another value of it.
    `everywhere` are series that don't have it, and are compared with all.
    """
    bare = re.sub(r"\{[^}]*\}", "", _STRING.sub('""', re.sub(r"#.*", "", expression)))
    return [
        *(each[0] for each in _LOSES_LABELS.finditer(bare)),
        *(each[0] for each in _AGGREGATION.finditer(bare) if label not in _names(each[1] or "")),
        *(
            each[0]
            for each in _JOIN.finditer(bare)
            if label not in _names(each[1]) and each[2] not in everywhere
        ),
    ]


def unmatched(expression: str, matcher: str) -> list[str]:
    """The series that it asks for without this matcher."""
    bare = re.sub(r"\[[^\]]*\]", "", _GROUPING.sub("", expression))
    return [
        name
        for name, inside in _SELECTOR.findall(bare)
        if name not in WORDS and matcher not in inside
    ]


def _names(inside: str) -> set[str]:
    return {name.strip() for name in inside.split(",")}
