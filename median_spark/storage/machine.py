"""The machine as it is named in locks and folders' names, and whether a process on it is alive."""

import os
import re
import socket


def host_name() -> str:
    """Return this machine's name, fit for a file's name: signs other than ``.``, ``_`` and ``-`` are replaced."""
    try:
        name = socket.gethostname()
    except (OSError, UnicodeError):  # a name that is no text
        name = ""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:64] or "unnamed-host"


def is_running(pid: int) -> bool:
    """Say whether this machine has a process of a number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
