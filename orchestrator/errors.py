"""Every error this package raises, in one tree; each class has a stable code.

::

    OrchestratorError
    ├── UserError                      the pipeline, its input or the command is wrong; permanent
    │   ├── DefinitionError            wiring refused before anything runs (carries file and line)
    │   │   ├── InvalidStage · InvalidPipeline · UnknownArgument · MissingArgument · WrongType
    │   │   ├── PlaceholderMisuse · BranchEscape · MapError · CyclicGraph · ImpossibleResources
    │   │   └── NotSerializable
    │   ├── InvalidDuration · InvalidSize · InvalidStepAddress
    │   ├── ConfigError                broken YAML, unknown keys, wrong parameters
    │   ├── NotFound                   no such run, step, artifact, file, approval
    │   └── PromotionRefused           a model version may not go where somebody wants it
    ├── RunError                       what became of a run
    │   ├── RunFailed · RunCancelled · RunWaiting · RunOwned · ReplayMismatch · CursorElsewhere · ForkRefused
    ├── StepError                      what became of an attempt
    │   ├── StepTimedOut · WorkerDied · StepCancelled · ResultNotEncodable · StepLimitExceeded
    │   ├── ChecksFailed · TableRejected
    ├── StoreError                     journal and artifacts
    │   ├── StaleEpoch · JournalCorrupt · StoreUnavailable · SchemaTooNew
    │   └── ArtifactMissing · ArtifactCorrupt · SignatureInvalid · ArtifactUnreadable
    └── BackendError                   workers, Ray, serving
        ├── ClusterUnreachable · Unschedulable · VersionSkew · WorkerStartFailed · ServingFailed · TrafficMoved
        ├── SinkUnavailable

``user_fault`` says whose fault it is, ``retryable`` whether the same call may succeed later.
"""

from __future__ import annotations

from typing import Any, ClassVar


class OrchestratorError(Exception):
    """Root of the tree."""

    code: ClassVar[str] = "ORC-000"
    user_fault: ClassVar[bool] = False
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details)


def _rebuild(cls: type[OrchestratorError], message: str, details: dict[str, Any]) -> OrchestratorError:
    return cls(message, **details)


class UserError(OrchestratorError):
    """The pipeline, its input or the command is wrong; the same call fails again."""

    code = "ORC-100"
    user_fault = True


class DefinitionError(UserError):
    """The wiring of a pipeline is refused before anything runs.

    ``details`` carries ``file`` and ``line`` of the user's code when they are known.
    """

    code = "ORC-110"

    def __str__(self) -> str:
        where = f"{self.details['file']}:{self.details['line']}: " if self.details.get("file") else ""
        return f"{where}{self.message} [{self.code}]"


class InvalidStage(DefinitionError):
    """A stage's declaration contradicts itself."""

    code = "ORC-111"


class InvalidPipeline(DefinitionError):
    """A pipeline's declaration contradicts itself."""

    code = "ORC-112"


class UnknownArgument(DefinitionError):
    """A call names a parameter that the stage or pipeline does not have."""

    code = "ORC-113"


class MissingArgument(DefinitionError):
    """A call leaves out a parameter that has no default."""

    code = "ORC-114"


class WrongType(DefinitionError):
    """A value of one type is wired to a parameter of another."""

    code = "ORC-115"


class PlaceholderMisuse(DefinitionError, TypeError):
    """The result of a stage was used as if its value were known while tracing."""

    code = "ORC-116"


class BranchEscape(DefinitionError):
    """A result made inside a branch of ``when`` is used outside of it."""

    code = "ORC-117"


class MapError(DefinitionError):
    """The iterables of a ``.map`` do not fit together."""

    code = "ORC-118"


class CyclicGraph(DefinitionError):
    """Nodes depend on each other in a circle."""

    code = "ORC-119"


class ImpossibleResources(DefinitionError):
    """A stage asks for what no machine can give."""

    code = "ORC-120"


class NotSerializable(DefinitionError):
    """Code or a constant of the pipeline cannot be sent to a worker."""

    code = "ORC-121"


class InvalidDuration(UserError, ValueError):
    """Not a duration."""

    code = "ORC-130"


class InvalidSize(UserError, ValueError):
    """Not a size."""

    code = "ORC-131"


class InvalidStepAddress(UserError, ValueError):
    """Not a step address."""

    code = "ORC-132"


class ConfigError(UserError):
    """A configuration file or parameter is broken; the message names file and key."""

    code = "ORC-140"


class NotFound(UserError, LookupError):
    """There is no such run, step, artifact, file or approval."""

    code = "ORC-150"


class PromotionRefused(UserError):
    """A model version did not pass the gates on its way up, or leaves a stage out; names them."""

    code = "ORC-160"


class RunError(OrchestratorError):
    """What became of a run."""

    code = "ORC-200"


class RunFailed(RunError):
    """A run ended because a step failed for good; names run, step and cause."""

    code = "ORC-201"
    user_fault = True


class RunCancelled(RunError):
    """A run was cancelled."""

    code = "ORC-202"


class RunWaiting(RunError):
    """The run waits for a person or a program, so there is no result yet."""

    code = "ORC-203"
    retryable = True


class RunOwned(RunError):
    """Another living driver owns the run."""

    code = "ORC-204"
    retryable = True


class ReplayMismatch(RunError):
    """A ``@dynamic`` body made other calls on replay than the journal holds."""

    code = "ORC-205"
    user_fault = True


class CursorElsewhere(RunError):
    """Another run moved a cursor that this one read; ``message`` says what to do."""

    code = "ORC-206"


class ForkRefused(RunError):
    """A run cannot be forked from that step like this; ``message`` says from which it can."""

    code = "ORC-207"
    user_fault = True


class StepError(OrchestratorError):
    """What became of an attempt of a step."""

    code = "ORC-300"


class StepTimedOut(StepError, TimeoutError):
    """An attempt ran into its time-out."""

    code = "ORC-301"
    retryable = True


class WorkerDied(StepError):
    """The worker process or node died while the step ran alone on it."""

    code = "ORC-302"
    retryable = True


class StepCancelled(StepError):
    """The run was cancelled while the attempt ran."""

    code = "ORC-303"


class ResultNotEncodable(StepError):
    """A stage returned or raised something that no codec can store."""

    code = "ORC-304"
    user_fault = True


class StepLimitExceeded(StepError):
    """A ``@dynamic`` step made more calls than its ``max_steps``."""

    code = "ORC-305"
    user_fault = True


class ChecksFailed(StepError):
    """Checks that block did not pass; repeated only if the stage's ``Retry(on=…)`` names this class."""

    code = "ORC-306"
    user_fault = True


class TableRejected(StepError):
    """A table cannot be divided as the stage's scope says, or what came of its parts does not fit together."""

    code = "ORC-307"
    user_fault = True


class StoreError(OrchestratorError):
    """Journal and artifacts."""

    code = "ORC-400"


class StaleEpoch(StoreError):
    """A driver with an older epoch, or with a stale view of the run, tried to write."""

    code = "ORC-401"


class JournalCorrupt(StoreError):
    """The facts of a run have a gap or cannot be read."""

    code = "ORC-402"


class StoreUnavailable(StoreError):
    """The store cannot be reached or is full."""

    code = "ORC-403"
    retryable = True


class SchemaTooNew(StoreError):
    """The store was written by a newer release."""

    code = "ORC-404"


class ArtifactMissing(StoreError, LookupError):
    """An artifact that a fact names is not in the store."""

    code = "ORC-410"


class ArtifactCorrupt(StoreError):
    """The bytes of an artifact do not match its digest."""

    code = "ORC-411"


class SignatureInvalid(StoreError):
    """A pickle's HMAC does not match: it was not written with this store's key."""

    code = "ORC-412"


class ArtifactUnreadable(StoreError):
    """An artifact is whole, but this process cannot rebuild the value: a class, codec or library is missing."""

    code = "ORC-413"


class BackendError(OrchestratorError):
    """Workers, Ray and serving."""

    code = "ORC-500"


class ClusterUnreachable(BackendError):
    """The Ray cluster does not answer."""

    code = "ORC-501"
    retryable = True


class Unschedulable(BackendError):
    """A step needs more than the cluster can ever supply; names need and supply."""

    code = "ORC-502"
    user_fault = True


class VersionSkew(BackendError):
    """Python, Ray, pyarrow or the engine differ between the two sides; names both."""

    code = "ORC-503"


class WorkerStartFailed(BackendError):
    """Worker processes could not be started."""

    code = "ORC-504"
    retryable = True


class ServingFailed(BackendError):
    """A deployment did not become healthy."""

    code = "ORC-505"


class TrafficMoved(BackendError):
    """Somebody else has changed what a router does; the change that was asked for was not made."""

    code = "ORC-506"


class SinkUnavailable(BackendError):
    """Another tool that runs are told to does not answer, or refused what it was sent."""

    code = "ORC-510"
    retryable = True
