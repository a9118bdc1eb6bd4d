"""For tests of pipelines: run in this process, move time, die at a chosen write, check what must always hold.

``InProcess`` runs a pipeline without worker processes or Ray. ``FakeClock`` is time under the test's control. ``crash``
ends the process at the n-th write of journal or artifacts. ``ledger`` lets steps leave evidence outside the system,
and ``check_run`` joins it with the journal.
"""

from orchestrator.testing.checker import Violation, check_run
from orchestrator.testing.clock import FakeClock
from orchestrator.testing.crash import CrashingInstallation, CrashPoint
from orchestrator.testing.inprocess import InProcess
from orchestrator.testing.ledger import Started, read_ledger, write_ledger

__all__ = [
    "CrashPoint",
    "CrashingInstallation",
    "FakeClock",
    "InProcess",
    "Started",
    "Violation",
    "check_run",
    "read_ledger",
    "write_ledger",
]
