"""Reading pickles without running them: plain values, numpy arrays, scalars and dtypes, and nothing else.

A pickle is a program. This is an interpreter of the part of that language that plain values need; it imports nothing
and calls nothing that a pickle names. Knows nothing of genes or digests: what else a pickle may hold is handed in.
"""

import struct
from collections.abc import Mapping

from median_spark.errors import InputError
from median_spark.unpickling.kinds import CutOffError, ForeignError, Rebuild
from median_spark.unpickling.machine import Machine
from median_spark.unpickling.named import CLASSES

__all__ = ["Rebuild", "load_plain"]


def load_plain(
    content: bytes, location: str, *, admitted: Mapping[str, Rebuild] | None = None, holding: str = "plain values"
) -> object:
    """Read a pickle of plain values: what Python's builtin types, numpy's arrays, scalars and dtypes can say.

    Nothing of the pickle is run, so that none can do harm: no forged size takes more memory than the pickle itself
    warrants, no nesting ends the process. Pickles of numpy 1 and numpy 2 are read by either.

    Parameters
    ----------
    content : bytes
        The pickle, of protocol 2 to 5.
    location : str
        Where it came from, for messages.
    admitted : mapping of str to Rebuild, optional
        Classes that it may hold besides, as ``"module.Class"``, and what makes their objects.
    holding : str
        What it should hold, for messages: "plain values".

    Returns
    -------
    object
        None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset (an OrderedDict is
        read as a dict), numpy scalars, dtypes and arrays, which are read-only, and what `admitted` makes.

    Raises
    ------
    InputError
        If it holds anything else, which is named, or is cut off or damaged.
    """
    machine = Machine(content, {**CLASSES, **(admitted or {})})
    try:
        return machine.run()
    except ForeignError as error:
        message = f"{location}: this pickle holds {error}, which no pickle of {holding} has; it was not read"
    except CutOffError:
        message = f"{location}: this pickle is cut off: it ends after {len(content):,} bytes, in the middle of a value"
    except (ValueError, TypeError, IndexError, KeyError, struct.error, OverflowError) as error:
        message = f"{location}: this pickle is damaged at byte {machine.position:,} ({type(error).__name__}: {error})"
    raise InputError(message)
