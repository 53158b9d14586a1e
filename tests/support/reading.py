"""Reading a matrix as a conversion does: its values gene by gene, or the words of the error that it is refused with."""

import itertools

import numpy as np
import pytest

from median_spark.errors import InputError
from median_spark.matrices import ReadOptions, Unit, open_matrix, outline, read_unit, select_rows
from median_spark.matrices.cell_filter import passing_cells
from median_spark.options import Style

USUAL = {"i4", "u2", "f4", ">f8"}


def number_types(*names):
    """Return parameters of number types. Loops are compiled for each, so make test tries only some of all kinds."""
    return [pytest.param(name, marks=() if name in USUAL else pytest.mark.slow) for name in names]


NUMBER_TYPES = number_types("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i4", ">f8")


def read(path, options=None, cuts=None):
    """Return {gene: (cell numbers, values)} of a matrix, read in its own units or in those between the cuts."""
    options = options or ReadOptions()
    found = {}
    with open_matrix(str(path), options.names, options.layer) as matrix:
        selection = select_rows(matrix, options)
        units = outline(matrix, options).units
        if cuts is not None:
            bounds = [0, *cuts, matrix.shape[1]]
            units = [Unit(i, first, last) for i, (first, last) in enumerate(itertools.pairwise(bounds))]
        for unit in units:
            runs, _ = read_unit(matrix, selection, unit, options)
            passing = np.flatnonzero(passing_cells(matrix, options, unit.first, unit.last)) + unit.first
            for index, gene in enumerate(runs.genes):
                cells = passing[runs.cells[runs.offsets[index] : runs.offsets[index + 1]]]
                found.setdefault(str(gene), []).append((cells, runs.of_gene(index)))
    return {gene: tuple(np.concatenate(parts) for parts in zip(*pieces, strict=True)) for gene, pieces in found.items()}


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for gene, (cells, values) in expected.items():
        assert found[gene][0].tolist() == cells.tolist()
        assert found[gene][1].dtype == np.float64
        assert found[gene][1].tobytes() == values.tobytes(), gene


def convert(path, options=None):
    """Look at a loom and read all of it, as a conversion does."""
    options = options or ReadOptions()
    with open_matrix(str(path), options.names, options.layer) as matrix:
        selection = select_rows(matrix, options)
        for unit in outline(matrix, options).units:
            read_unit(matrix, selection, unit, options)


def refusal(path, options=None):
    """Return the words after the file's name of the error that a loom is refused with."""
    with pytest.raises(InputError) as refused:
        convert(path, options)
    message = refused.value.worded(Style.FLAGS)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")
