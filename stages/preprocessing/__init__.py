"""From raw tables to clean ones: checks with severities, repairs, joins, splits."""

from stages.preprocessing.checks import Check, CheckResult, QualityReport, assess, enforce
from stages.preprocessing.cleaning import add_flag, add_time, clean, select_rows
from stages.preprocessing.joining import Split, concat, join, shift_time, split_by, split_time
from stages.quality import allowed, in_range, not_null, row_count, unique

__all__ = [
    "Check",
    "CheckResult",
    "QualityReport",
    "Split",
    "add_flag",
    "add_time",
    "allowed",
    "assess",
    "clean",
    "concat",
    "enforce",
    "in_range",
    "join",
    "not_null",
    "row_count",
    "select_rows",
    "shift_time",
    "split_by",
    "split_time",
    "unique",
]
