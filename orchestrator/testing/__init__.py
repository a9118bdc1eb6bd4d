"""For tests of pipelines: run in this process, move time, die at a chosen write, check what must always hold.

``InProcess`` runs a pipeline without worker processes or Ray. ``FakeClock`` is time under the test's control.
``sweep`` kills a run at every write of journal and artifacts, resumes it, and checks the promises of ``checker`` by the
evidence that steps and clients leave outside the system (``ledger``). ``torture`` says besides which steps of a
pipeline are not safe to repeat.
"""

from orchestrator.testing.checker import (
    PROMISES,
    Violation,
    check_facts,
    check_leaks,
    check_payloads,
    check_progress,
    check_results,
    check_run,
    check_trigger_keys,
)
from orchestrator.testing.clock import FakeClock
from orchestrator.testing.crash import CrashingInstallation, CrashPoint
from orchestrator.testing.findings import Finding
from orchestrator.testing.inprocess import InProcess
from orchestrator.testing.ledger import (
    Acknowledged,
    AcknowledgementFile,
    Started,
    fact_digest,
    read_acknowledgements,
    read_ledger,
    write_ledger,
)
from orchestrator.testing.local_serving import LocalServing
from orchestrator.testing.serving import FileServing
from orchestrator.testing.sweep import Swept, sweep, sweep_subject
from orchestrator.testing.torture import Tortured, torture, torture_subject
from orchestrator.testing.universe import Subject, outside

__all__ = [
    "PROMISES",
    "Acknowledged",
    "AcknowledgementFile",
    "CrashPoint",
    "CrashingInstallation",
    "FakeClock",
    "FileServing",
    "Finding",
    "InProcess",
    "LocalServing",
    "Started",
    "Subject",
    "Swept",
    "Tortured",
    "Violation",
    "check_facts",
    "check_leaks",
    "check_payloads",
    "check_progress",
    "check_results",
    "check_run",
    "check_trigger_keys",
    "fact_digest",
    "outside",
    "read_acknowledgements",
    "read_ledger",
    "sweep",
    "sweep_subject",
    "torture",
    "torture_subject",
    "write_ledger",
]
