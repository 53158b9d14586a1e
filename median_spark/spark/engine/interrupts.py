"""Ctrl-C while Spark starts and works, which pyspark alone does not always turn into a KeyboardInterrupt."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_kept() -> Iterator[threading.Event]:
    """While the block runs, let Ctrl-C only set an event: a JVM whose start is interrupted would stay for ever.

    pyspark has a handler of its own as soon as Spark has started; it stays.
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def keep(number: int, frame: FrameType | None) -> None:
        if came.is_set():  # who asks twice does not want to wait
            raise KeyboardInterrupt
        came.set()

    previous = signal.signal(signal.SIGINT, keep)
    try:
        yield came
    finally:
        if signal.getsignal(signal.SIGINT) is keep:
            signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def interrupts_as_such() -> Iterator[None]:
    """While the block runs, let Ctrl-C raise KeyboardInterrupt even where pyspark fails to cancel its jobs.

    py4j may be sending a command at that moment: it then raises an error of its own, at once or when Spark is stopped.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return

    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        try:
            previous(number, frame)
        except Exception as error:  # py4j's: its connection is busy with what is being interrupted
            raise KeyboardInterrupt from error

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as error:
        if came:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, previous)
