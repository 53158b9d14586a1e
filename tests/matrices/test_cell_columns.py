"""What is kept of each cell: which attributes of which types, for the cells that pass."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from h5ads import categorical, nullable, write_h5ad
from looms import random_counts, write_loom
from parquets import write_lists, write_long
from zarrs import chunk_files, write_zarr

from median_spark.errors import InputError, UsageError
from median_spark.matrices import (
    AttributeNames,
    ReadOptions,
    Unit,
    check_cell_columns,
    open_matrix,
    outline_of,
    values_of,
)
from median_spark.matrices.cell_columns import CELL_SCHEMA, MOST_COLUMNS, kept_columns
from median_spark.matrices.loom import LoomMatrix
from median_spark.options import Style

CELLS = 12
COUNTS = random_counts(np.random.default_rng(3), 30, CELLS, density=0.4)
PASSES = np.array([1, 1, 0, 1] * 3)
TISSUES = ["lung", "heart", "lung", "brain"] * 3
ALL = Unit(0, 0, CELLS)


def kept(path, wanted="all", options=None):
    options = options or ReadOptions()
    with open_matrix(str(path), options.names, options.layer) as matrix:
        return kept_columns(matrix, wanted)


def cells_of(path, wanted="all", unit=ALL, **options):
    return values_of(str(path), unit, ReadOptions(**options), wanted)[1]


@pytest.fixture
def loom(tmp_path):
    """A loom whose cells have an attribute of every type, of which every fourth does not pass."""
    return write_loom(
        tmp_path / "study.loom",
        COUNTS,
        filter_pass=PASSES,
        col_tissue=TISSUES,
        col_age=np.arange(CELLS, dtype=np.uint8),
        col_hash=np.full(CELLS, 2**64 - 1, dtype=np.uint64),
        col_score=np.append(np.linspace(0, 1, CELLS - 1), np.nan).astype(np.float32),
        col_doublet=np.arange(CELLS) % 3 == 0,
        col_umap=np.zeros((CELLS, 2)),
    )


def test_attributes_come_in_one_type_each_for_the_cells_that_pass(loom):
    cells = cells_of(loom)
    taken = np.flatnonzero(PASSES)
    assert [(field.name, str(field.type)) for field in cells.schema] == [
        ("cell", "string"),
        ("n_counts", "double"),
        ("n_genes", "int32"),
        ("n_values", "int32"),
        ("age", "int64"),
        ("cell_id", "string"),
        ("doublet", "bool"),
        ("filter_pass", "int64"),
        ("hash", "uint64"),
        ("score", "double"),
        ("tissue", "string"),
    ]
    assert cells["cell"].to_pylist() == [f"cell{number}" for number in taken]
    assert cells["tissue"].to_pylist() == [TISSUES[number] for number in taken]
    assert cells["age"].to_pylist() == taken.tolist()
    assert cells["doublet"].to_pylist() == (taken % 3 == 0).tolist()
    assert set(cells["hash"].to_pylist()) == {2**64 - 1}
    expected = np.append(np.linspace(0, 1, CELLS - 1), np.nan).astype(np.float32)[taken].astype(np.float64)
    assert np.array_equal(cells["score"].to_numpy(), expected, equal_nan=True)


def test_numbers_of_a_cell_are_its_total_and_its_genes_with_a_value(loom):
    cells = cells_of(loom)
    taken = PASSES == 1
    assert cells["n_counts"].to_pylist() == COUNTS.sum(axis=0)[taken].tolist()
    assert cells["n_genes"].to_pylist() == (COUNTS > 0).sum(axis=0)[taken].tolist()


def test_cells_of_values_are_rows_of_the_table(loom):
    values, cells, number = values_of(loom, Unit(0, 4, 11), ReadOptions())
    assert number == CELLS
    taken = 4 + np.flatnonzero(PASSES[4:11])
    assert cells["cell"].to_pylist() == [f"cell{one}" for one in taken]
    for place, gene in enumerate(values.genes):
        held = values.cells[values.offsets[place] : values.offsets[place + 1]]
        counts = COUNTS[int(gene[4:]), taken]
        assert held.tolist() == np.flatnonzero(counts).tolist()
    assert np.bincount(values.cells, minlength=len(cells)).tolist() == cells["n_genes"].to_pylist()


def test_totals_that_are_summed_are_kept(tmp_path):
    path = write_loom(tmp_path / "study.loom", COUNTS, n_counts=None)
    cells = cells_of(path, compute_n_counts=True)
    assert cells["n_counts"].to_pylist() == COUNTS.sum(axis=0).tolist()


def test_a_total_under_another_name_is_kept_twice(tmp_path):
    totals = COUNTS.sum(axis=0) * 2
    path = write_loom(tmp_path / "study.loom", COUNTS, n_counts=None, col_depth=totals)
    cells = cells_of(path, names=AttributeNames(n_counts="depth"))
    assert cells["n_counts"].to_pylist() == cells["depth"].to_pylist() == totals.tolist()


def test_attributes_win_over_what_is_computed_as_in_a_query(tmp_path):
    path = write_loom(tmp_path / "study.loom", COUNTS, col_n_genes=np.arange(CELLS), col_total=COUNTS.sum(axis=0))
    for wanted in ("all", "none", ("total",)):
        cells = cells_of(path, wanted)
        assert cells["n_genes"].to_pylist() == list(range(CELLS))
        assert cells.schema.field("n_counts").type == pa.float64()


def test_names_that_engines_confuse_are_left_out_and_said(tmp_path):
    path = write_loom(
        tmp_path / "study.loom", COUNTS, col_source=["a"] * CELLS, col_Cell=["b"] * CELLS, col_Tissue=TISSUES,
        col_tissue=TISSUES, col_N_Counts=np.ones(CELLS),
    )  # fmt: skip
    found = kept(path)
    assert found.schema.names == [*CELL_SCHEMA.names, "Tissue", "cell_id", "filter_pass"]
    (warning,) = found.warnings
    assert warning == (
        "not kept with the cells: column attribute 'Cell', 'N_Counts', 'source', 'tissue', which engines do not tell "
        "from another column by its name"
    )
    assert outline_of(path, ReadOptions()).warnings == (warning,)


def test_an_attribute_called_cell_that_holds_the_ids_is_no_reason_for_a_warning(tmp_path):
    path = write_lists(
        tmp_path / "counts.parquet", COUNTS, BARCODE_SUB_LIB_ID=None, cell=[f"c{n}" for n in range(CELLS)]
    )
    assert "cell" in pq.read_schema(path).names
    assert kept(path).warnings == ()


def test_at_most_256_attributes_are_kept_unless_named(tmp_path):
    more = {f"col_x{number:03d}": np.zeros(CELLS) for number in range(MOST_COLUMNS + 20)}
    path = write_loom(tmp_path / "study.loom", COUNTS, **more)
    found = kept(path)
    assert len(found.attributes) == MOST_COLUMNS
    (warning,) = found.warnings
    assert "23 attributes of the cells not kept, beyond the first 256 by name" in warning
    wanted = tuple(f"x{number:03d}" for number in range(MOST_COLUMNS + 20))
    found = kept(path, wanted)
    assert (found.schema.names[len(CELL_SCHEMA) :], found.warnings) == (list(wanted), ())


def test_named_attributes_are_kept_and_missing_ones_are_just_not_there(loom):
    found = kept(loom, ("tissue", "absent"))
    assert (found.schema.names, found.warnings) == ([*CELL_SCHEMA.names, "tissue"], ())


def test_a_named_attribute_of_another_kind_is_said_to_be_left_out(loom):
    (warning,) = kept(loom, ("umap",)).warnings
    assert warning.startswith("not kept with the cells: column attribute 'umap' has shape (12, 2)")


def test_an_attribute_that_cannot_be_read_ends_the_unit_with_what_to_do(tmp_path, monkeypatch):
    path = write_loom(tmp_path / "study.loom", COUNTS, col_tissue=TISSUES)
    read = LoomMatrix.cell_column

    def damaged(matrix, name, first, last):
        if name == "tissue" and last > 1:
            message = f"{matrix.location}: column attribute 'tissue' cannot be read"
            raise InputError(message)
        return read(matrix, name, first, last)

    monkeypatch.setattr(LoomMatrix, "cell_column", damaged)
    with pytest.raises(InputError) as refused:
        cells_of(path)
    assert refused.value.worded(Style.FLAGS) == (
        f"{path}: column attribute 'tissue' cannot be read: leave it out of what is kept of the cells with "
        "--cell-columns"
    )
    assert "tissue" not in cells_of(path, "none").schema.names


class TestH5ad:
    @pytest.fixture
    def h5ad(self, tmp_path):
        return write_h5ad(
            tmp_path / "study.h5ad",
            COUNTS,
            obs_tissue=categorical([*TISSUES[:-1], None]),
            obs_plate=categorical([1, 2, 3, 4] * 3),
            obs_note=nullable([*TISSUES[:-1], None], "string-array"),
            obs_age=nullable([*range(CELLS - 1), None]),
            obs_primary=nullable([True] * (CELLS - 1) + [None], "boolean"),
            obs_score=np.append(np.ones(CELLS - 1), np.nan),
        )

    def test_texts_are_texts_numbers_are_numbers_and_what_is_missing_is_null(self, h5ad):
        cells = cells_of(h5ad)
        for name in ("tissue", "note"):
            assert cells[name].to_pylist() == [*TISSUES[:-1], None]
        assert cells["plate"].to_pylist() == [1, 2, 3, 4] * 3
        assert cells["age"].to_pylist() == [*range(CELLS - 1), None]
        assert cells["primary"].to_pylist() == [True] * (CELLS - 1) + [None]
        assert cells["score"].null_count == 0
        assert np.isnan(cells["score"][-1].as_py())

    def test_declared_types_are_those_of_every_unit(self, h5ad):
        declared = kept(h5ad).schema
        for unit in (Unit(0, 0, 5), Unit(1, 5, CELLS)):
            held = cells_of(h5ad, unit=unit).schema
            plain = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in held.types]
            assert (held.names, plain) == (declared.names, declared.types)


def test_texts_of_which_a_zarr_store_lacks_a_chunk_are_left_out_and_said(tmp_path):
    path = write_zarr(
        tmp_path / "study.zarr", COUNTS, chunk=5, obs_note=[*TISSUES[:-2], "", ""], obs_other=TISSUES,
        obs_maybe=nullable([*TISSUES[:-2], "", ""], "string-array"),
    )  # fmt: skip
    for column in ("note", "maybe/values"):
        chunk_files(path, f"obs/{column}")[-1].unlink()
    found = kept(path)
    assert {"other"} == {"note", "other", "maybe"} & set(found.schema.names)
    assert [warning.partition(" lacks")[0] for warning in found.warnings] == [
        "not kept with the cells: obs column 'maybe'", "not kept with the cells: obs column 'note'",
    ]  # fmt: skip
    assert len(cells_of(path)) == CELLS


def test_a_column_of_a_long_table_that_is_not_of_cells_is_left_out(tmp_path):
    cells, genes = np.nonzero(COUNTS.T)
    path = write_long(tmp_path / "table.parquet", COUNTS, symbol=[f"G{gene}" for gene in genes], plate=cells // 4)
    assert "plate" in kept(path).schema.names
    assert "symbol" not in kept(path).schema.names


@pytest.mark.parametrize("wanted", ["most", "", (), [], ("a", ""), ("a", 1), 7, None])
def test_other_choices_are_rejected(wanted):
    with pytest.raises(UsageError, match="cell_columns must be 'all', 'none' or names of attributes of cells"):
        check_cell_columns(wanted)


def test_a_choice_of_names_is_a_tuple_of_each_once():
    assert check_cell_columns(["b", "a", "b"]) == ("b", "a")
