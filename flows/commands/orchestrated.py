"""Whether the runs of a command are Prefect flows: where a server is, or is asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.orchestration.interruption import interruption
from flows.server.profiles import apply_profile, load_prefect

logger = logging.getLogger(__name__)


@contextmanager
def orchestrated(home: Path, start_server: bool, *, patient: bool = True) -> Iterator[Callable[[], bool]]:
    """Choose what carries out the runs within the context: a Prefect server, or this process alone.

    Must come before Prefect is imported, and before threads are started: it is imported in another folder.

    Args:
        home: Where ``swathe up`` keeps what runs.
        start_server: Start a server for these runs where none is named and none runs here.
        patient: Wait until that server answers; otherwise a run that it comes too late for goes on without it.

    Yields:
        A function that tells whether there is a server, to be called when a run can begin: so a server that was
        started comes up beside everything else.

    Raises:
        SwatheError: When a server is named and does not answer, or does not come up.
    """
    if use_server(home):
        with _told_of_the_end():
            yield lambda: True
    elif start_server:
        from flows.server.own import own_server

        apply_profile("client")
        with own_server() as server, _told_of_the_end():
            load_prefect()

            def ready() -> bool:
                if patient:
                    server.wait()
                    return True
                if not server.is_ready():
                    logger.info("Prefect's server does not answer yet: the next run goes on without its pages")
                    return False
                return True

            yield ready
    else:
        logger.info(
            "no pages in a browser: PREFECT_API_URL names no Prefect server, and none was started by swathe up "
            "(--prefect starts one for this run)"
        )
        yield lambda: False


@contextmanager
def _told_of_the_end() -> Iterator[None]:
    """Tell the server why a run was interrupted while it is there, and after Prefect has told what it made of that."""
    try:
        yield
    except BaseException:
        if interruption.told is not None:
            interruption.say_last_words()
        raise


def use_server(home: Path) -> bool:
    """Choose the server that ``PREFECT_API_URL`` names, or else the one that ``swathe up`` left running here.

    Must come before Prefect is imported.

    Args:
        home: Where ``swathe up`` keeps what runs.

    Returns:
        Whether there is one.

    Raises:
        SwatheError: When there is one and it does not answer.
    """
    named = os.environ.get("PREFECT_API_URL")
    # Most runs have neither, and need not wait until what looks is imported.
    if not named and not (home / "services.json").exists():
        return False
    from flows.local.up import left_running
    from flows.server.reached import require_server

    running = left_running(home.resolve())
    if running is not None and named in {None, "", running["PREFECT_API_URL"]}:
        # Named without its password, too: that lies here.
        for key, value in running.items():
            os.environ.setdefault(key, value)
        os.environ["PREFECT_API_URL"] = running["PREFECT_API_URL"]
    elif not named:
        return False
    apply_profile("client")
    require_server()
    load_prefect()
    return True
