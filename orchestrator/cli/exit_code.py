"""What the exit code of ``orc`` means, and how errors are told."""

from __future__ import annotations

import sys
import traceback
from enum import IntEnum

from orchestrator.errors import ClusterUnreachable, NotFound, OrchestratorError, PromotionRefused, UserError


class ExitCode(IntEnum):
    """Outcomes of a command; the numbers are a contract with scripts."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    UNREACHABLE = 5
    DEGRADED = 6
    TIMED_OUT = 124
    INTERRUPTED = 130


def exit_code_of(error: BaseException) -> ExitCode:
    """The code that stands for an error."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, NotFound):
        return ExitCode.NOT_FOUND
    if isinstance(error, ClusterUnreachable):
        return ExitCode.UNREACHABLE
    if isinstance(error, PromotionRefused):
        return ExitCode.REFUSED
    if isinstance(error, UserError):
        return ExitCode.USAGE
    if isinstance(error, TimeoutError) and not isinstance(error, OrchestratorError):
        return ExitCode.TIMED_OUT
    return ExitCode.FAILED


def tell(error: Exception, program: str) -> ExitCode:
    """Say on standard error what went wrong, and return the exit code.

    Errors of this package and time-outs are one line; anything else is a fault of ours and comes with its traceback.
    """
    if isinstance(error, OrchestratorError | TimeoutError):
        sys.stderr.write(f"{program}: {error}\n")
    else:
        traceback.print_exception(error, file=sys.stderr)
        sys.stderr.write(f"{program}: this is a fault of ours, please report it with the lines above\n")
    return exit_code_of(error)
