"""What a table must be: rules for ``@stage(checks=[…])``, each with a severity, failing rows kept."""

from orchestrator import CheckResult, Conforms
from stages.quality.distribution import distribution
from stages.quality.relations import compares, keeps_rows, references
from stages.quality.rows import allowed, holds, in_range, matches, not_null, unique
from stages.quality.whole import columns, fresh, row_count

__all__ = [
    "CheckResult",
    "Conforms",
    "allowed",
    "columns",
    "compares",
    "distribution",
    "fresh",
    "holds",
    "in_range",
    "keeps_rows",
    "matches",
    "not_null",
    "references",
    "row_count",
    "unique",
]
