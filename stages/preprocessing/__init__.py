"""From raw tables to clean ones: types, checks with severities, repairs, joins, splits."""

from stages.preprocessing.casting import Cast, Renaming, cast, rename
from stages.preprocessing.checks import Check, CheckResult, QualityReport, assess, enforce
from stages.preprocessing.cleaning import add_flag, add_time, clean, select_rows
from stages.preprocessing.duplicates import deduplicate
from stages.preprocessing.images import DecodedImages, decode_images
from stages.preprocessing.joining import Split, concat, join, shift_time, split_by, split_time
from stages.preprocessing.missing import Fill, drop_missing, fill_forward, fit_fill
from stages.preprocessing.outliers import Bounds, drop_outliers, fit_bounds
from stages.preprocessing.splitting import split_at, split_groups, split_stratified
from stages.preprocessing.wording import Wording, cleaned_text, fit_wording
from stages.quality import allowed, in_range, not_null, row_count, unique

__all__ = [
    "Bounds",
    "Cast",
    "Check",
    "CheckResult",
    "DecodedImages",
    "Fill",
    "QualityReport",
    "Renaming",
    "Split",
    "Wording",
    "add_flag",
    "add_time",
    "allowed",
    "assess",
    "cast",
    "clean",
    "cleaned_text",
    "concat",
    "decode_images",
    "deduplicate",
    "drop_missing",
    "drop_outliers",
    "enforce",
    "fill_forward",
    "fit_bounds",
    "fit_fill",
    "fit_wording",
    "in_range",
    "join",
    "not_null",
    "rename",
    "row_count",
    "select_rows",
    "shift_time",
    "split_at",
    "split_by",
    "split_groups",
    "split_stratified",
    "split_time",
    "unique",
]
