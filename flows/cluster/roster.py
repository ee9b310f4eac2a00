"""The workers of a running cluster, checked before they get any work, as they come and go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from distributed import Client, Status, Worker

from flows.cluster.environment import Report, Shared, asked, differences, own_report, parsed, question
from flows.cluster.leaving import add_to
from flows.cluster.pulse import identity
from tasks.errors import ClusterError
from tasks.segment.graph import DaskEngine

logger = logging.getLogger(__name__)

_LOOKING_S = 1.0
# The first import of torch from a network's folder takes minutes.
_ANSWER_S = 300.0
# A worker that died is started again by its nanny, a host by its operator.
PATIENCE_S = 300.0
# More than any worker has threads: it is a badge, not something that runs out.
_PLENTY = 1e6


class Roster:
    """Which workers may take this run's work.

    Those that were checked are given a resource that everything submitted asks for: Dask's own scheduling then keeps
    all others out, also while workers come and go.

    Args:
        client: Connected to the cluster.
        modules: What a worker must be able to import.
        shared: What it must see.
    """

    def __init__(self, client: Client, modules: tuple[str, ...], shared: Shared) -> None:
        self._client = client
        self._question = asked(question(modules, shared))
        self._here = own_report()
        self._build: tuple[str | None, ...] | None = None
        self._checked: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        self.badge = f"swathe-{uuid4().hex[:12]}"
        self.resource = "CPU"
        self.no_worker_since: float | None = None

    @property
    def n_slots(self) -> int:
        """Slots of the checked workers; 1 while there is none, so that work waits for the next."""
        return max(1, sum(self._checked.values()))

    def open(self, address: str) -> None:
        """Check everyone who is there.

        Raises:
            ClusterError: When nobody there may take blocks, with the reasons, or the scheduler differs.
        """
        # It unpacks what is submitted before it hands it on.
        answer = self._client.run_on_scheduler(eval, asked(question((), Shared())))
        if difference := differences(self._here, parsed(answer)):
            raise ClusterError(f"{address}: the scheduler differs from this process: {difference}")
        workers = self._workers()
        reports = self._ask(workers)
        equal = {worker: report for worker, report in reports.items() if worker not in self._refused}
        self.resource = next((name for name in ("GPU", "CPU") if any(_slots(workers[w], name) for w in equal)), "CPU")
        slotted = [worker for worker in equal if _slots(workers[worker], self.resource)]
        if not slotted:
            raise ClusterError(self._why_none(address, workers))
        self._build = Counter(equal[worker].build for worker in sorted(slotted)).most_common(1)[0][0]
        self._admit(workers, equal)

    def look(self) -> None:
        """Forget who left, check who came."""
        workers = self._workers()
        for gone in self._checked.keys() - workers.keys():
            logger.warning("worker %s left; its blocks run elsewhere", gone)
            del self._checked[gone]
        self._refused = {worker: why for worker, why in self._refused.items() if worker in workers}
        new = {worker: facts for worker, facts in workers.items() if worker not in {*self._checked, *self._refused}}
        if new:
            reports = self._ask(new)
            self._admit(new, {worker: report for worker, report in reports.items() if worker not in self._refused})
        self.no_worker_since = None if any(self._checked.values()) else self.no_worker_since or time.monotonic()

    def close(self) -> None:
        """Take the badges back."""
        self._client.run(_give, self.badge, 0.0, workers=list(self._checked), on_error="ignore")

    def refusals(self) -> str:
        """Return who was left out and why, a line each."""
        return "\n".join(f"worker {worker}: {why}" for worker, why in sorted(self._refused.items()))

    def _workers(self) -> dict[str, Mapping[str, Any]]:
        # Client.scheduler_info returns what its own clock last asked for, which may be without workers.
        return dict(self._client.sync(identity, self._client)["workers"])

    def _ask(self, workers: Mapping[str, Mapping[str, Any]]) -> dict[str, Report]:
        """Ask workers for their reports, and refuse those that differ or do not answer."""
        answers = self._client.sync(_ask_all, self._client, self._question, list(workers))
        reports = {}
        for worker, answer in zip(workers, answers, strict=True):
            if isinstance(answer, BaseException):
                self._refuse(worker, f"did not answer ({type(answer).__name__}: {answer}). See its log, start it again")
                continue
            reports[worker] = parsed(answer)
            if difference := differences(self._here, reports[worker]):
                self._refuse(worker, f"{_called(workers[worker], reports[worker])}: {difference}")
        return reports

    def _admit(self, workers: Mapping[str, Mapping[str, Any]], reports: Mapping[str, Report]) -> None:
        admitted = {}
        for worker, report in reports.items():
            slots = _slots(workers[worker], self.resource)
            if slots and report.build != self._build:
                self._refuse(worker, f"{_called(workers[worker], report)}: another build of its packages than most")
            else:
                admitted[worker] = slots
        given = self._client.run(_give, self.badge, _PLENTY, workers=list(admitted), on_error="ignore")
        self._checked |= {worker: slots for worker, slots in admitted.items() if worker in given}

    def _refuse(self, worker: str, why: str) -> None:
        self._refused[worker] = why
        logger.warning("worker %s is left out: %s", worker, why)

    def _why_none(self, address: str, workers: Mapping[str, Mapping[str, Any]]) -> str:
        if any(_slots(worker, name) for worker in workers.values() for name in ("GPU", "CPU")):
            return f"{address}: no worker there can take blocks.\n{self.refusals()}"
        return (
            f"{address}: no worker offers a 'GPU' or 'CPU' resource, so no block could ever run there. "
            "Start workers with: dask worker ADDRESS --nthreads 3 --resources CPU=1"
        )


@contextmanager
def watched(roster: Roster, engine: DaskEngine, address: str) -> Iterator[None]:
    """Look who comes and goes for as long as the context lasts; give up when nobody is left for long."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(_LOOKING_S):
            try:
                roster.look()
            except (OSError, TimeoutError, RuntimeError) as error:
                # Without its scheduler the client itself ends what it waits for.
                logger.debug("could not look at the workers: %s", error)
                continue
            since = roster.no_worker_since
            if since is not None and time.monotonic() - since > PATIENCE_S:
                why = f"{address}: no worker that may take blocks was there for {PATIENCE_S:.0f} s"
                engine.give_up(ClusterError(f"{why}. Start workers and run again.\n{roster.refusals()}".rstrip()))
                return

    thread = Thread(target=watch, name="roster", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_ANSWER_S)
        with suppress(OSError, TimeoutError, RuntimeError):
            roster.close()


async def _ask_all(client: Client, text: str, workers: Sequence[str]) -> list[Any]:
    async def ask(worker: str) -> Any:  # noqa: ANN401 - an answer or an error
        answers = await asyncio.wait_for(client.run(eval, text, workers=[worker], on_error="return"), _ANSWER_S)
        # Whoever left meanwhile has no answer.
        answer = answers.get(worker, ConnectionError("it left"))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return list(await asyncio.gather(*map(ask, workers), return_exceptions=True))


async def _give(badge: str, quantity: float, dask_worker: Worker) -> None:
    """Runs on a worker: offer a resource, and have the scheduler look again at what waits for one."""
    await dask_worker.set_resources(**{badge: quantity})
    if quantity:
        await add_to(dask_worker)
        # Dask looks at waiting tasks when a worker comes or goes on, not when it offers something new.
        dask_worker.status = Status.paused
        dask_worker.status = Status.running


def _slots(worker: Mapping[str, Any], resource: str) -> int:
    return int(worker["resources"].get(resource, 0))


def _called(worker: Mapping[str, Any], report: Report) -> str:
    return f"{worker['name']} on {report.host}"
