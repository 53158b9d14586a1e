"""The layers of X of a SOMA experiment: which there are, which holds counts, and reading one by ranges of cells."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.errors import InputError, listed
from median_spark.guard import beat
from median_spark.matrices.contract import Numbers, brief
from median_spark.matrices.integer_counts import are_counts
from median_spark.matrices.options import AUTO_LAYER
from median_spark.matrices.soma.opening import members_within, naming_damage
from median_spark.options import LAYER

_CANDIDATES = ("RNA/raw", "RNA/counts", "RNA/data", "raw/data", "RNA/X")
"""Layers that may hold counts, by measurement and name: as CELLxGENE's Census and tiledbsoma.io write them."""

_LOOKED_AT = 64
"""Cells of a layer that show whether it holds counts."""

_WIDEST_TILE = 4096
"""Most cells of a tile that units keep whole; wider tiles are read again by the next unit."""

_DENSE_STEP = 1 << 22
"""Numbers of a dense layer that are read at once."""


@dataclass(frozen=True)
class Layer:
    """One layer of X, cells × genes by soma_joinid; its name is that of its measurement, a slash, and its own."""

    location: str
    name: str
    held: Any

    @property
    def place(self) -> str:
        """What it is called in messages."""
        measurement, name = self.name.split("/", 1)
        return f"ms['{brief(measurement)}'].X['{brief(name)}']"

    @property
    def measurement(self) -> str:
        """The measurement that it belongs to."""
        return self.name.split("/", 1)[0]

    @cached_property
    def is_sparse(self) -> bool:
        """Whether only entries are stored that are not zero."""
        return str(self.held.soma_type) == "SOMASparseNDArray"

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The type of its counts; InputError if they are no numbers, or it has not two dimensions."""
        with naming_damage(self.location, f"the schema of {self.place}"):
            kind = self.held.schema.field("soma_data").type
            dimensions = int(self.held.ndim)
        if dimensions != 2 or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            message = (
                f"{self.location}: {self.place} must be numeric with 2 dimensions, cells and genes; it is {kind} with "
                f"{dimensions}"
            )
            raise InputError(message)
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype

    @cached_property
    def nonzero(self) -> int:
        """How many entries are stored."""
        with naming_damage(self.location, self.place):
            if self.is_sparse:
                return int(self.held.nnz)
            cells, genes = self.held.shape
            return int(cells) * int(genes)

    @cached_property
    def extent(self) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """The least and the greatest soma_joinid of cells, and of genes, that are stored; None if nothing is."""
        with naming_damage(self.location, f"the extent of {self.place}"):
            domain = self.held.non_empty_domain() if self.is_sparse else [(0, end - 1) for end in self.held.shape]
        if domain is None or (self.is_sparse and not self.nonzero) or any(end < begin for begin, end in domain):
            return None
        cells, genes = domain
        return (int(cells[0]), int(cells[1])), (int(genes[0]), int(genes[1]))

    @cached_property
    def cells_per_tile(self) -> int:
        """How many cells are decompressed together, as far as units should keep them so."""
        with naming_damage(self.location, f"the schema of {self.place}"):
            tile = int(json.loads(self.held.schema_config_options().dims)["soma_dim_0"]["tile"])
        return tile if 1 <= tile <= _WIDEST_TILE else 1

    def read(self, least: int, greatest: int) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
        """Yield soma_joinids of cells and genes, and counts, of the cells ``least <= soma_joinid <= greatest``."""
        if self.extent is None:
            return
        (begin, end), _ = self.extent
        least, greatest = max(least, begin), min(greatest, end)
        if least > greatest:
            return
        with naming_damage(self.location, self.place):
            if self.is_sparse:
                yield from self._read_sparse(least, greatest)
            else:
                yield from self._read_dense(least, greatest)

    def _read_sparse(self, least: int, greatest: int) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
        # Not in order: TileDB's sorting takes ten times as long as reading.
        for table in self.held.read((slice(least, greatest),)).tables():
            beat()
            names = ("soma_dim_0", "soma_dim_1", "soma_data")
            cells, genes, counts = (table.column(name).to_numpy() for name in names)
            yield cells, genes, counts

    def _read_dense(self, least: int, greatest: int) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
        step = max(1, _DENSE_STEP // max(1, int(self.held.shape[1])))
        for first in range(least, greatest + 1, step):
            beat()
            block = self.held.read((slice(first, min(first + step - 1, greatest)),)).to_numpy()
            cells, genes = np.nonzero(block)
            yield first + cells, genes, block[cells, genes]

    def holds_counts(self) -> bool:
        """Say whether the numbers of some cells could be counts."""
        if self.extent is None:
            return False
        (begin, end), _ = self.extent
        for first in sorted({begin, begin + (end - begin) // 2}):
            if not all(are_counts(counts) for _, _, counts in self.read(first, first + _LOOKED_AT - 1)):
                return False
        return True


def find_layers(location: str, experiment: Any) -> dict[str, Layer]:
    """Return the layers of all measurements by name, those that may hold counts first."""
    layers = {}
    with naming_damage(location, "its list of measurements"):
        members_within(location, experiment, {"ms", "obs"})
        for measurement in members_within(location, experiment.ms) if "ms" in experiment else ():
            held = experiment.ms[measurement]
            members_within(location, held, {"X", "var"})
            for name in members_within(location, held.X) if "X" in held else ():
                layer = Layer(location, f"{measurement}/{name}", held.X[name])
                if str(layer.held.soma_type) in {"SOMASparseNDArray", "SOMADenseNDArray"}:
                    layers[layer.name] = layer
    first = [name for name in _CANDIDATES if name in layers]
    return {name: layers[name] for name in (*first, *(name for name in layers if name not in first))}


def choose_layer(location: str, layers: dict[str, Layer], wanted: str) -> Layer:
    """Return the layer that is wanted, by ``measurement/name``, or by its name alone if no other has it.

    `auto` is the only layer, or the first of those that usually hold counts which does. InputError if there is none of
    that name, or if several are as likely.
    """
    there = listed(list(layers), 12) or "none"
    if wanted == AUTO_LAYER:
        candidates = [layers[name] for name in _CANDIDATES if name in layers]
        if not candidates and len(layers) == 1:
            candidates = list(layers.values())
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            return next((layer for layer in candidates if layer.holds_counts()), candidates[0])
        problem = f"none of its layers is called {' or '.join(_CANDIDATES)}"
    else:
        named = [layer for layer in layers.values() if wanted in (layer.name, layer.name.split("/", 1)[1])]
        exact = [layer for layer in named if layer.name == wanted] or named
        if len(exact) == 1:
            return exact[0]
        problem = (
            f"several measurements have a layer '{brief(wanted)}'" if exact else f"there is no layer '{brief(wanted)}'"
        )
    message = f"{location}: {problem}; it has {there}: name it with {LAYER}, measurement and layer with a slash between"
    raise InputError(message, kind="no such layer")
