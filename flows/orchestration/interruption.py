"""A command that a signal tells to end: ended within seconds, told in one line, and written down where its runs are.

A thread waits for signals and sees to the end. What the command itself does meanwhile, leaving its contexts one after
the other, is welcome and has a few seconds: it may be in a library that catches everything, or that does not come back.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock, Thread
from types import FrameType

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# How long it may take to say one line, to leave the command's contexts, to write down that it ends, and to clear away.
_SAYING_S = 0.5
_LEAVING_S = 2.0
_WRITING_S = 2.0
_CLEARING_S = 1.0
# Of the last two, each, where the signal came again.
_AT_ONCE_S = 0.3
# What shells add to the number of the signal that ended a program.
_BY_SIGNAL = 128


class Interrupted(BaseException):
    """A signal tells this process to end. No ``Exception``: whoever makes the best of failures lets it pass."""


class Interruption:
    """What this process does about signals.

    Attributes:
        told: The signal that tells it to end; None as long as there was none.
        say: Tells people of it.
    """

    def __init__(self) -> None:
        self.told: signal.Signals | None = None
        self.say: Callable[[str], None] = _say
        self._last_words: dict[str, Callable[[str], None]] = {}
        self._heard: tuple[signal.Signals, ...] = ()
        self._is_raised = self._is_said = self._is_over = False
        self._telling, self._ending = Lock(), Lock()

    @property
    def text(self) -> str:
        """What is written down of a run that ends now."""
        return "interrupted" if self.told is None else f"interrupted by {self.told.name}"

    def listen(self) -> None:
        """Begin to wait for signals, but for those that whoever started this process lets it ignore."""
        self._heard = tuple(one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        # Written to at once, whatever the command is in.
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        Thread(target=self._wait, args=(reader,), name="signals", daemon=True).start()
        self.take_back()

    def take_back(self) -> None:
        """Raise ``Interrupted`` for signals again, where a library has begun to raise something of its own."""
        for one in self._heard:
            signal.signal(one, self._raise)

    def write_down(self, about: str, word: Callable[[str], None]) -> None:
        """Have it written down when this process is interrupted, from now to its end.

        Args:
            about: Whose word it is; a later one replaces it.
            word: Gets ``text``; called on another thread as a rule, and once at the most.
        """
        self._last_words[about] = word

    def say_last_words(self) -> None:
        """Write down everywhere that this process was interrupted."""
        words, self._last_words = self._last_words, {}
        for about, word in words.items():
            try:
                word(self.text)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are to be told
                logger.debug("the %s could not be told of the interruption: %s", about, error)

    def end_if_told(self) -> None:
        """End this process where a signal told it to, with all that it started."""
        if self.told is not None:
            self._end(self.told)

    def is_over(self) -> None:
        """Let a signal end this process at once from now on: there is nothing left to leave."""
        self._is_over = True

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if not self._is_raised and not self._is_over:
            self._is_raised = True
            self.told = self.told or signal.Signals(number)
            raise Interrupted(self.text)

    def _wait(self, reader: int) -> None:
        number = self._next(reader, None)
        if number is None:
            return
        # Prefect raises something of its own for SIGTERM while it prepares a run, and sends the signal once more.
        is_echoed = signal.getsignal(number) != self._raise
        self.told = self.told or number
        self._tell(self.told)
        again = self._next(reader, 0.0 if self._is_over else _LEAVING_S)
        if again == number and is_echoed:
            again = self._next(reader, _LEAVING_S)
        if again is None:
            Thread(target=self._end, args=(self.told,), daemon=True).start()
            self._next(reader, None)
        self._finish(self.told, _AT_ONCE_S, _AT_ONCE_S)

    def _tell(self, number: signal.Signals) -> None:
        with self._telling:
            if not self._is_said:
                self._is_said = True
                text = f"{number.name}: this command ends; what is done is kept. The same signal again ends it at once"
                # Whoever should read it may not.
                _within(_SAYING_S, partial(self.say, text))
                logging.disable()

    def _next(self, reader: int, limit_s: float | None) -> signal.Signals | None:
        """Wait for the next signal that is about ending; None where none comes in time."""
        while select.select([reader], [], [], limit_s)[0]:
            (number,) = os.read(reader, 1)
            if number in self._heard:
                return signal.Signals(number)
        return None

    def _end(self, number: signal.Signals) -> None:
        self._tell(number)
        # Whoever comes second waits here for the end.
        self._ending.acquire()
        self._finish(number, _WRITING_S, _CLEARING_S)

    def _finish(self, number: signal.Signals, writing_s: float, clearing_s: float) -> None:
        _silence()
        _within(writing_s, self.say_last_words)
        _kill_children()
        # Temporary folders, among others, are removed by what waits for the end of the interpreter.
        _within(clearing_s, atexit._run_exitfuncs)
        _kill_children()
        os._exit(_BY_SIGNAL + number)


@contextmanager
def unheard() -> Iterator[None]:
    """Keep signals from threads and processes that are started within the context: they are for the command alone."""
    _start_tracker()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_tracker() -> None:
    """Start the process in which Python keeps what others share; begun by a worker, it would let signals in."""
    # Here, because most commands start none.
    from multiprocessing import resource_tracker

    warnings = os.environ.get("PYTHONWARNINGS")
    # It clears away what is left where a signal ended the others, and would complain of it.
    os.environ["PYTHONWARNINGS"] = "ignore"
    # It ignores the two others by itself, and this one because it is born with it blocked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if warnings is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = warnings


def _silence() -> None:
    """Let nothing more be said: what gives way because its other side has ended would look like a failure."""
    if sys.stderr.isatty():
        # Bars hide it.
        os.write(2, b"\x1b[?25h")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _kill_children() -> None:
    # Here, because every command listens for signals, and few are told to end.
    import psutil

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            # Python's own removes what processes shared, when all of them are gone.
            if "multiprocessing.resource_tracker" not in " ".join(process.cmdline()):
                process.kill()


def _within(limit_s: float, function: Callable[[], None]) -> None:
    thread = Thread(target=function, daemon=True)
    thread.start()
    thread.join(limit_s)


def _say(text: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


interruption = Interruption()
