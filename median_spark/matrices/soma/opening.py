"""Opening SOMA experiments, on disk or on a store, within bounds of memory, and naming what is damaged in them."""

import contextlib
import os
from collections.abc import Container, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from median_spark import storage
from median_spark.errors import InputError, listed
from median_spark.guard import beat
from median_spark.matrices.contract import brief
from median_spark.matrices.extras import import_extra

_BUFFER = 32 << 20
"""Bytes of a column that are read at once."""

_BUDGET = 256 << 20
"""Bytes that TileDB may use while it reads, beside its buffers."""

_SCHEMES = ("s3", "gs")
"""Schemes of stores that TileDB reaches by itself."""


def open_experiment(location: str) -> Any:
    """Open an experiment for reading, as it is at this moment.

    InputError if the library is missing, or there is no experiment or none that can be read.
    """
    soma = import_extra(location, "tiledbsoma", "soma")
    beat()  # importing it may take seconds
    if not storage.is_local(location) and location.split("://", 1)[0] not in _SCHEMES:
        schemes = " and ".join(f"{scheme}://" for scheme in _SCHEMES)
        message = f"{location}: TileDB-SOMA experiments can be read from disk and from {schemes}: copy it there"
        raise InputError(message)
    context = _context(soma, tuple(sorted(_config().items())))
    try:
        return soma.Experiment.open(location, context=context)
    except soma.DoesNotExistError as error:
        there = storage.kind(location) is not None
        message = f"{location}: {'this folder is no TileDB-SOMA experiment' if there else 'there is no such folder'}"
        raise InputError(message) from error
    except soma.SOMAError as error:
        other = _other_object(soma, location, context)
        reason = other or f"this TileDB-SOMA experiment cannot be opened ({brief(_first_line(error))})"
        message = f"{location}: {reason}"
        raise InputError(message) from error
    except _DAMAGE as error:
        message = f"{location}: this TileDB-SOMA experiment cannot be opened ({brief(_first_line(error))})"
        raise InputError(message) from error


_DAMAGE = (RuntimeError, ValueError, TypeError, LookupError, OSError, AttributeError, pa.ArrowException)
"""What tiledbsoma raises over damaged files, beside errors of its own."""


@contextlib.contextmanager
def naming_damage(location: str, what: str) -> Iterator[None]:
    """Turn whatever tiledbsoma raises while reading something into an InputError that names file and place."""
    soma = import_extra(location, "tiledbsoma", "soma")
    try:
        yield
    except (soma.SOMAError, *_DAMAGE) as error:
        message = f"{location}: {what} cannot be read; the experiment is damaged ({brief(_first_line(error))})"
        raise InputError(message) from error


def members_within(location: str, collection: Any, names: Container[str] | None = None) -> list[str]:
    """Return the names of a collection's members, by default all, ascending, those that are there.

    InputError if one lies outside the collection, at an address that the file names: it would be data of another file,
    which nobody chose.
    """
    members = {name: uri for name, (uri, _) in collection.members().items() if names is None or name in names}
    for name, uri in members.items():
        root, place = _address(collection.uri), _address(uri)
        inside = place.removeprefix(f"{root}/")
        if inside == place or ".." in inside.split("/"):
            message = (
                f"{location}: '{brief(name)}' lies outside the experiment, at {brief(storage.without_secrets(uri))}: "
                "copy the experiment with all that it refers to"
            )
            raise InputError(message, kind="data outside the file")
    return sorted(members)


def _address(uri: str) -> str:
    """Return an address as TileDB gives those of members, a local one as an absolute path."""
    path = uri.removeprefix("file://")
    return uri.rstrip("/") if "://" in path else os.path.abspath(path)  # noqa: PTH100  (links stay as they are)


def _other_object(soma: Any, location: str, context: Any) -> str | None:
    """Say which other SOMA object is there, and what it holds; None if there is none that can be read."""
    try:
        with soma.open(location, context=context) as held:
            if not hasattr(held, "keys") or str(held.soma_type) == "SOMAExperiment":
                return None
            names = listed(sorted(held.keys()), 8) or "nothing"
            return f"this is a {held.soma_type} and no experiment: name what it holds, {names}"
    except (soma.SOMAError, *_DAMAGE):
        return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@lru_cache(maxsize=8)
def _context(soma: Any, config: tuple[tuple[str, str], ...]) -> Any:
    """Return TileDB's context of some settings, one for a process, as each has threads of its own."""
    return soma.SOMATileDBContext(tiledb_config=dict(config))


def _config() -> dict[str, str]:
    """Return TileDB's settings: one thread, as a task has one core, little memory, and the environment's S3."""
    settings = {
        "sm.compute_concurrency_level": "1",
        "sm.io_concurrency_level": "1",
        "sm.mem.total_budget": str(_BUDGET),
        "soma.init_buffer_bytes": str(_BUFFER),
        # Its merging of tiles in threads of its own reads freed memory and crashes on a busy machine (tiledbsoma 2.3).
        "sm.query.sparse_global_order.preprocess_tile_merge": "0",
    }
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        settings["vfs.s3.region"] = region
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        settings |= {
            "vfs.s3.scheme": parts.scheme,
            "vfs.s3.endpoint_override": f"{parts.netloc}{parts.path}".rstrip("/"),
            "vfs.s3.use_virtual_addressing": "false",
        }
    return settings
