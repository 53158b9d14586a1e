"""One way of doing the work, in a process of its own: `python subject.py WAY OPTIONS`.

Says one line of JSON when it is ready, does the work once for every line it is sent, and answers each with the seconds
it took and what it found. What the work itself prints goes to standard error.
"""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

ROOMS = {
    "table": "ways_table",
    "ours": "ways_ours",
    "loom": "ways_loom",
    "h5ad": "ways_h5ad",
    "formats": "ways_formats",
    "zarr": "ways_zarr",
    "published": "ways_published",
    "plan": "ways_plan",
    "profile": "ways_profile",
}
"""Modules of ways. A way ``table.duckdb_median`` is the function ``duckdb_median`` of the first: a context manager that
prepares the work, and gives the function that does it once."""


def main() -> None:
    way, options = sys.argv[1], json.loads(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    _be_ended_first()
    sys.path.insert(0, str(Path(__file__).parent))  # a worker's environment keeps Python from doing so
    if options.pop("one_core", False) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    room, name = way.split(".")
    try:
        with getattr(import_module(ROOMS[room]), name)(**options) as work:
            _say(answers, ready=True)
            for _ in sys.stdin:
                begin = time.perf_counter()
                found = work()
                seconds = time.perf_counter() - begin
                found = found() if callable(found) else found
                _say(answers, seconds=seconds, **found)
    except Exception as error:
        _say(answers, error=_reason(error))
        raise


def _say(answers: Any, **answer: Any) -> None:
    print(json.dumps(answer), file=answers, flush=True)


def _reason(error: Exception) -> str:
    """Return the line that says why: of memory or the innermost cause, where there is one deep in what Spark says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    memory = [line for line in lines if "OutOfMemory" in line or "Out of Memory" in line]
    causes = [line for line in reversed(lines) if line.startswith("Caused by:")]
    return f"{type(error).__name__}: {[*memory, *causes, lines[0]][0]}"


def _be_ended_first() -> None:
    """Where memory runs out after all, let Linux end this process and its children, and not some other."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000", encoding="ascii")


if __name__ == "__main__":
    main()
