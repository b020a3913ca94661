"""Copies of this process that share its memory and do the same work on batches, in order.

Processes are forked, so an index and weights that are loaded are shared, not copied. Each worker
has a pipe of its own and no lock with any other: one that dies, however, takes nothing with it but
the batch it was working on. (The pools of the standard library give up when a worker dies, and
share a queue that a killed worker can leave locked.)
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Generic, TypeVar

from extractor.errors import JobshiftError

Item = TypeVar("Item")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
_AHEAD = 3
"""Batches a worker that are read before the first of them must be done."""


@dataclass(eq=False)
class _Batch(Generic[Item, Result]):
    """A batch on its way; one that killed a worker is done again item by item."""

    items: list[Item]
    count: int = 0
    results: list[Result] = field(default_factory=list)
    alone: bool = False
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.count == len(self.items) or self.error is not None

    @property
    def open_items(self) -> list[Item]:
        rest = self.items[self.count :]
        return rest[:1] if self.alone else rest

    def add(self, result: Result) -> None:
        """Add the result of the open items."""
        count = len(self.open_items)
        self.results.append(result)
        self.count += count


class _Worker(Generic[Item, Result]):
    """A forked process; `batch` is what it is working on."""

    def __init__(self, work: Callable[[list[Item]], Result]) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process: ForkProcess = context.Process(
            target=_serve, args=(theirs, self.connection, work), daemon=True
        )
        self.process.start()
        theirs.close()
        self.batch: _Batch[Item, Result] | None = None
        self.deadline = 0.0

    def start(self, batch: _Batch[Item, Result], seconds: float) -> None:
        items = batch.open_items
        self.batch = batch
        # A batch takes as long as its ads do on average, which is far less than one may take.
        self.deadline = time.monotonic() + seconds * (1 + len(items) / 10)
        self.connection.send(items)

    def stop(self) -> int | None:
        """End the process and tell its exit code."""
        self.connection.close()
        self.process.kill()
        self.process.join()
        return self.process.exitcode


class Workers(Generic[Item, Result]):
    """Processes that do `work` on batches.

    Args:
        work: Makes one result of one or more items.
        failed: Makes the result of a single item on which a worker died, from the reason.
        count: Number of processes.
        seconds: Longest time that one item may take.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Result],
        failed: Callable[[Item, str], Result],
        *,
        count: int,
        seconds: float,
    ) -> None:
        if not sys.platform.startswith("linux"):
            raise JobshiftError(
                f"more than one worker needs Linux, this is {sys.platform}: use one worker, or "
                "--engine ray"
            )
        self.work = work
        self.failed = failed
        self.count = count
        self.seconds = seconds
        self._workers: list[_Worker[Item, Result]] = []

    @property
    def pids(self) -> list[int]:
        """Ids of the processes that are running."""
        return [worker.process.pid for worker in self._workers if worker.process.pid]

    def map(self, batches: Iterable[list[Item]]) -> Iterator[Result]:
        """Do the work on every batch.

        Args:
            batches: Batches of one or more items; read as workers become free.

        Yields:
            Results in the order of the batches, one a batch, or one an item where a worker died.

        Raises:
            Exception: What `work` raises.
        """
        source = iter(batches)
        order: deque[_Batch[Item, Result]] = deque()
        waiting: deque[_Batch[Item, Result]] = deque()
        gc.collect()
        _return_free_memory()
        gc.freeze()  # what is there now is not written to by the collector, so it stays shared
        try:
            self._workers = [_Worker(self.work) for _ in range(self.count)]
            while True:
                while len(order) < _AHEAD * self.count and (items := next(source, None)):
                    order.append(_Batch(items))
                    waiting.append(order[-1])
                if not order:
                    return
                for index, worker in enumerate(self._workers):
                    if worker.batch is None and waiting:
                        self._start(index, waiting)
                self._collect(waiting)
                while order and order[0].done:
                    batch = order.popleft()
                    yield from batch.results
                    # Not before its turn, so that all that comes before it is kept.
                    if batch.error is not None:
                        raise batch.error
        finally:
            for worker in self._workers:
                worker.stop()
            self._workers = []
            gc.unfreeze()

    def _start(self, index: int, waiting: deque[_Batch[Item, Result]]) -> None:
        try:
            self._workers[index].start(waiting[0], self.seconds)
        except OSError:  # it died while it had nothing to do
            self._replace(index)
            self._workers[index].start(waiting[0], self.seconds)
        waiting.popleft()

    def _collect(self, waiting: deque[_Batch[Item, Result]]) -> None:
        """Wait until a worker is done, dead or over its time."""
        busy = [worker for worker in self._workers if worker.batch]
        first = min(worker.deadline for worker in busy)
        ready = wait([worker.connection for worker in busy], max(0.0, first - time.monotonic()))
        for index, worker in enumerate(self._workers):
            batch = worker.batch
            if batch is None:
                continue
            reason = None
            if worker.connection in ready:
                try:
                    answer = worker.connection.recv()
                except (EOFError, OSError):
                    code = self._replace(index)
                    how = f"signal {-code}" if code and code < 0 else f"exit status {code}"
                    reason = f"the process that read it ended ({how})"
                else:
                    if isinstance(answer, BaseException):
                        batch.error = answer
                    else:
                        batch.add(answer)
            elif time.monotonic() > worker.deadline:
                self._replace(index)
                reason = f"it took more than {self.seconds:g} s"
            else:
                continue
            worker.batch = None
            if reason and len(batch.open_items) == 1:
                batch.add(self.failed(batch.open_items[0], reason))
            elif reason:
                batch.alone = True
            if not batch.done:  # before all others, which wait for it
                waiting.appendleft(batch)

    def _replace(self, index: int) -> int | None:
        code = self._workers[index].stop()
        self._workers[index] = _Worker(self.work)
        return code


def _serve(
    connection: Connection, parents: Connection, work: Callable[[list[Item]], Result]
) -> None:
    """What a worker does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent ends the others
    # A parent that is killed takes its workers along: they would keep its lock on the output.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parents.close()
    use_one_thread()
    # Results hold no cycles, so the collector finds next to nothing, however seldom it looks.
    gc.set_threshold(50_000)
    while True:
        try:
            items = connection.recv()
        except EOFError:
            return
        _return_free_memory()
        try:
            answer: Result | Exception = work(items)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            answer = error
        try:
            connection.send(answer)
        except Exception:  # noqa: BLE001 - an error that cannot be sent
            connection.send(RuntimeError(repr(answer)))


def _return_free_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU library has it
    if trim:
        trim(0)


def use_one_thread() -> None:
    """Keep libraries that are loaded from starting threads, which would not survive a fork."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if faiss := sys.modules.get("faiss"):
        faiss.omp_set_num_threads(1)
