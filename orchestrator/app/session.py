"""A driver at work in this process: its thread, its workers, and how it is stopped."""

from __future__ import annotations

import atexit
import math
import threading

from orchestrator.app.installation import Installation
from orchestrator.engine.driver import Driver, Observer
from orchestrator.engine.machine import Machine
from orchestrator.engine.state import RunFold
from orchestrator.graph import fact as f
from orchestrator.ports.executor import Executor
from orchestrator.ports.journal import Ownership


class Session:
    """Drives one run in a thread of its own, so that event loops and notebooks stay free.

    Args:
        started: The fact with which this driver begins.
        executor: Closed when the driver returns.
    """

    def __init__(
        self,
        installation: Installation,
        machine: Machine,
        ownership: Ownership,
        on_facts: Observer | None,
        detach: bool,
        started: f.DriverStarted,
        executor: Executor,
    ) -> None:
        self._started = started
        self._executor = executor
        self._installation = installation
        self._machine = machine
        self._ownership = ownership
        self._on_facts = on_facts
        self._detach = detach
        self._driver: Driver | None = None
        self._failure: BaseException | None = None
        self._interrupted = False
        self._over = threading.Event()  # a join that Ctrl-C interrupts takes the thread for ended (CPython 3.11, 3.12)
        self._thread = threading.Thread(target=self._main, name=f"driver of {machine.fold.run}", daemon=True)

    def begin(self) -> None:
        """Start the thread. Workers start when the first step is ready; a fully cached run starts none."""
        atexit.register(self.stop)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the driver to return; False if it has not in time.

        Raises:
            KeyboardInterrupt: after the driver has been stopped in order; the run can be resumed.
            OrchestratorError: the driver could not go on (store away, worker start failed, …).
        """
        try:
            over = self._over.wait(timeout_s)
        except KeyboardInterrupt:
            self.stop()
            raise
        if not over:
            return False
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return True

    @property
    def ended(self) -> RunFold | None:
        """The state of the run, once this driver has brought it to its end."""
        fold = self._machine.fold
        return fold if fold.finished is not None and self._over.is_set() else None

    def stop(self) -> None:
        """Stop driving, leaving the run to be resumed."""
        self._interrupted = True
        if self._driver is not None:
            self._driver.interrupt()
        self._over.wait()

    def _main(self) -> None:
        try:
            self._work()
        finally:
            self._over.set()

    def _work(self) -> None:
        try:
            try:
                self._drive()
            finally:
                self._executor.close()
        except BaseException as error:  # handed to whoever waits
            self._failure = error
        finally:
            if self._driver is not None:
                self._driver.forget()
            self._ownership.release()
            atexit.unregister(self.stop)

    def _drive(self) -> None:
        here, machine = self._installation, self._machine
        cells = here.cells(machine.fold.run, machine.chunks)
        self._driver = Driver(
            machine, self._ownership, here.journal, self._executor, cells, here.values, here.files, here.clock,
            self._on_facts, self._detach,
            large_table_bytes=math.inf if self._started.backend == "local" else here.settings.large_table_bytes,
            first=here.first_bundles,
        )  # fmt: skip
        if self._interrupted:
            return
        self._driver.take([self._started])
        self._driver.run()
