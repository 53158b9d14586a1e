"""Small sound AnnData stores in zarr by anndata, and damage to their files."""

import json
import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np

ODD_FIELDS: list[Any] = [None, -1, 0, 1, "", "x", [], {}, [10**12], [1], [0], 10**10, "pickle", "|O", "<f8", ">i2", 1.5]


def write_store(rng: np.random.Generator, path: Path, made: anndata.AnnData) -> tuple[str, bool]:
    """Write one; return how, and whether it has all chunks that readers insist on."""
    version = str(rng.choice(["2", "3", "3 sharded"]))
    settings: dict[str, Any] = {"zarr_write_format": int(version[0])}
    if "sharded" in version:
        settings["auto_shard_zarr_v3"] = True
    with anndata.settings.override(**settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.write_zarr(path)
    # anndata and zarr leave out chunks of nothing but 0, as those of a single entry may be.
    lists = [path / layer / name for layer in ("X", "layers/counts") for name in ("data", "indices", "indptr")]
    return version, all(_chunks(held) for held in lists if held.exists())


def damage_store(rng: np.random.Generator, path: Path, notes: list[str]) -> Path | None:
    """Remove a file, change a field of metadata, or return a file whose bytes are to be damaged."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    chunks = [file for file in files if file.suffix != ".json" and not file.name.startswith(".z")]
    how = rng.choice(["remove", "field", "bytes"], p=[0.15, 0.4, 0.45])
    if how == "bytes":
        file = chunks[rng.integers(len(chunks))] if rng.random() < 0.8 else files[rng.integers(len(files))]
        notes.append(f"bytes of {file.relative_to(path)}")
        return file
    if how == "remove":
        file = files[rng.integers(len(files))]
        notes.append(f"without {file.relative_to(path)}")
        file.unlink()
        return None
    place = [file for file in files if file not in chunks][rng.integers(len(files) - len(chunks))]
    held = json.loads(place.read_text())
    value = ODD_FIELDS[rng.integers(len(ODD_FIELDS))]
    notes.append(f"{place.relative_to(path)}: {_change(rng, held, value)} is {value!r}")
    place.write_text(json.dumps(held))
    return None


def _change(rng: np.random.Generator, held: Any, value: Any) -> str:
    """Change one field at any depth; return its path."""
    if isinstance(held, (dict, list)) and held:
        key = list(held)[rng.integers(len(held))] if isinstance(held, dict) else int(rng.integers(len(held)))
        if isinstance(held[key], (dict, list)) and held[key] and rng.random() < 0.8:
            return f"{key}/{_change(rng, held[key], value)}"
        held[key] = value
        return str(key)
    return "nothing"


def _chunks(array: Path) -> list[Path]:
    return [
        file for file in array.rglob("*") if file.is_file() and file.name not in ("zarr.json", ".zarray", ".zattrs")
    ]
