"""Ctrl-C while Spark starts and works, which pyspark alone does not always turn into a KeyboardInterrupt."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_AGAIN_SECONDS = 0.01
"""By then Python has left the finalizer in which it dropped an interrupt; if not, the interrupt is sent once more."""


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
    Or an object of the JVM is being let go of: Python drops what is raised then, so the signal is sent once more.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return

    main = threading.get_ident()
    came = False
    again: threading.Timer | None = None
    hook = sys.unraisablehook

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came, again
        came = True
        if again is not None:
            again.cancel()
            again = None
        try:
            previous(number, frame)
        except Exception as error:  # py4j's: its connection is busy with what is being interrupted
            raise KeyboardInterrupt from error

    def send_again(dropped: "sys.UnraisableHookArgs") -> None:
        nonlocal again
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            hook(dropped)
            return
        again = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, (main, signal.SIGINT))
        again.daemon = True
        again.start()

    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = send_again
    try:
        yield
        if again is not None:  # the block ended before the signal came again
            raise KeyboardInterrupt
    except Exception as error:
        if came:
            raise KeyboardInterrupt from error
        raise
    finally:
        sys.unraisablehook = hook
        if again is not None:
            again.cancel()
        signal.signal(signal.SIGINT, previous)
