"""How long the rest of some work takes, told by the pace since its first items were done."""


class Pace:
    """Estimates the time left.

    The first items take longest: workers start and compile meanwhile. So only what is done after them counts, and there
    is no estimate until that has been watched for half as long as the first items took.

    Parameters
    ----------
    started : float
        Time at which the work began, in seconds.
    done : int
        Items that were done before.
    """

    def __init__(self, started: float, done: int = 0) -> None:
        self._started = started
        self._before = done
        self._first: tuple[float, int] | None = None  # time at which the first items were done, and how many are then

    def left(self, now: float, done: int, total: int) -> float | None:
        """Return the seconds left, None while nothing tells; call it whenever more is done."""
        if self._first is None:
            if done > self._before:
                self._first = now, done
            return None
        time, first = self._first
        watched, items = now - time, done - first
        if items <= 0 or watched < (time - self._started) / 2:
            return None
        return watched * (total - done) / items


def rough_span(seconds: float) -> str:
    """Return an estimated time in words, no more exact than it can be."""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 60 else f"about {minutes // 60} h {minutes % 60:02d} min"
