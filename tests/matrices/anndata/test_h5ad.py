"""Reading h5ad files: the same cells give the same runs as from a loom, however they are stored, encoded and cut."""

import gzip
import itertools
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5ads import KINDS, categorical, nullable, old_categorical, put_sparse, write_h5ad
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, with_duplicates, write_loom
from oracle import loom_values
from reading import NUMBER_TYPES, assert_same, read

from examples import examples
from median_spark.cli import main
from median_spark.errors import InputError
from median_spark.genes import GeneTable
from median_spark.matrices import AttributeNames, ReadOptions, open_matrix, outline
from median_spark.options import Style, worded

GENES, CELLS = 53, 41

STORAGES = {
    "contiguous": {},
    "uncompressed": {"chunks": (16, 16)},
    "gzip": {"chunks": (16, 16), "compression": "gzip"},
    "gzip of one chunk": {"compression": "gzip"},
    "shuffle": {"chunks": (16, 16), "compression": "gzip", "shuffle": True},
    "fletcher32": {"chunks": (16, 16), "compression": "gzip", "fletcher32": True},
    "lzf": {"chunks": (16, 16), "compression": "lzf"},
    "odd chunks": {"chunks": (7, 5), "compression": "gzip"},
}


@pytest.fixture(scope="module")
def counts():
    return random_counts(np.random.default_rng(7), GENES, CELLS, density=0.3)


@pytest.fixture(scope="module")
def expected(counts, tmp_path_factory):
    """What a loom of the same cells gives, by the oracle."""
    path = write_loom(tmp_path_factory.mktemp("loom") / "study.loom", counts, ensembl_id=with_duplicates(GENES))
    values = loom_values(path)[0]
    assert_same(read(path), values)
    return values


class TestStorage:
    @pytest.mark.parametrize("storage", STORAGES)
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_storage_gives_the_values_of_the_loom(self, tmp_path, counts, expected, kind, storage):
        path = write_h5ad(
            tmp_path / "study.h5ad", counts, kind, storage=STORAGES[storage], ensembl_id=with_duplicates(GENES)
        )
        assert_same(read(path), expected)
        assert_same(read(path, cuts=[1, 2, 17, 40]), expected)
        assert_same(read(path, ReadOptions(compute_n_counts=True), cuts=[16, 17]), expected)

    @pytest.mark.parametrize("codec", ["Blosc", "Blosc2", "Zstd", "LZ4", "Bitshuffle"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_plugin_gives_the_values_of_the_loom(self, tmp_path, counts, expected, kind, codec):
        import hdf5plugin

        storage = {"chunks": (16, 16), **getattr(hdf5plugin, codec)()}
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind, storage=storage, ensembl_id=with_duplicates(GENES))
        assert_same(read(path), expected)

    @pytest.mark.parametrize("dtype", NUMBER_TYPES)
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_number_type_gives_the_values_of_the_loom(self, tmp_path, counts, expected, kind, dtype):
        path = write_h5ad(tmp_path / "study.h5ad", counts.astype(dtype), kind, ensembl_id=with_duplicates(GENES))
        assert_same(read(path), expected)

    @pytest.mark.parametrize("dtype", ["i1", "i4", "i8", "u2", "u4", "u8", ">i4"])
    @pytest.mark.parametrize("kind", ["csr", "csc"])
    def test_every_type_of_indices_gives_the_values_of_the_loom(self, tmp_path, counts, expected, kind, dtype):
        few = counts * (np.cumsum(counts.ravel() > 0).reshape(counts.shape) <= 120) if dtype == "i1" else counts
        path = write_h5ad(
            tmp_path / "study.h5ad", few, kind, index_type=dtype, ensembl_id=with_duplicates(GENES),
            n_counts=counts.sum(axis=0),
        )  # fmt: skip
        if dtype == "i1":
            loom = write_loom(
                tmp_path / "few.loom", few, ensembl_id=with_duplicates(GENES), n_counts=counts.sum(axis=0)
            )
            expected = loom_values(loom)[0]
        assert_same(read(path), expected)

    def test_truth_values_count_as_ones(self, tmp_path, counts):
        path = write_h5ad(tmp_path / "study.h5ad", counts > 0, "dense")
        assert_same(read(path), loom_values(write_loom(tmp_path / "s.loom", counts > 0))[0])

    @pytest.mark.parametrize("kind", ["csr", "csc"])
    def test_entries_of_any_order_and_explicit_zeros(self, tmp_path, counts, expected, kind):
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind, ensembl_id=with_duplicates(GENES))
        rng = np.random.default_rng(1)
        lines = counts.T if kind == "csr" else counts
        data, indices, indptr = [], [], [0]
        for line in lines:
            stored = np.union1d(np.flatnonzero(line), rng.integers(0, len(line), 3))
            stored = rng.permutation(stored)
            data += line[stored].tolist()
            indices += stored.tolist()
            indptr.append(len(data))
        with h5py.File(path, "r+") as file:
            del file["X"]
            put_sparse(file, "X", kind, (CELLS, GENES), np.array(data), np.array(indices), np.array(indptr))
        assert_same(read(path), expected)
        assert_same(read(path, cuts=[5, 30]), expected)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_uri_is_read(self, tmp_path, counts, expected, kind):
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind, ensembl_id=with_duplicates(GENES))
        assert_same(read(f"file://{path}"), expected)

    @pytest.mark.parametrize("kind", KINDS)
    def test_cells_that_do_not_pass_and_genes_that_are_not_chosen(self, tmp_path, counts, kind):
        passed = (np.arange(CELLS) % 3 > 0).astype(int)
        types = ["miRNA", "lncRNA", "protein_coding", "lncRNA"] * 13 + ["miRNA"]
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind, filter_pass=passed, gene_type=types)
        loom = write_loom(tmp_path / "study.loom", counts, filter_pass=passed, gene_type=types)
        assert_same(read(path, cuts=[13]), loom_values(loom)[0])

    @pytest.mark.parametrize("kind", KINDS)
    def test_more_entries_than_are_read_at_once(self, tmp_path, kind):
        counts = random_counts(np.random.default_rng(3), 1_500, 1_200, density=0.4, dtype=np.float32)
        path = write_h5ad(
            tmp_path / "study.h5ad", counts, kind, storage={"chunks": (5_000, 300), "compression": "gzip"}
        )
        loom = write_loom(tmp_path / "study.loom", counts)
        assert np.count_nonzero(counts) > 2 * (1 << 18)
        assert_same(read(path, cuts=[1, 700]), loom_values(loom)[0])

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_file_without_an_entry(self, tmp_path, kind):
        path = write_h5ad(tmp_path / "study.h5ad", np.zeros((4, 3), np.int32), kind, n_counts=[1, 1, 1])
        assert read(path) == {}


@pytest.mark.parametrize("kind", KINDS)
@given(cuts=st.lists(st.integers(0, CELLS), max_size=6).map(sorted))
@examples(20)
def test_every_cut_into_units_gives_the_same_values(tmp_path_factory, kind, cuts):
    counts = random_counts(np.random.default_rng(11), GENES, CELLS, density=0.3)
    path = tmp_path_factory.getbasetemp() / f"cut-{kind}.h5ad"
    loom = tmp_path_factory.getbasetemp() / "cut.loom"
    if not path.exists():
        write_h5ad(path, counts, kind, storage=STORAGES["gzip"])
        write_loom(loom, counts)
    assert_same(read(path, cuts=cuts), loom_values(loom)[0])


@st.composite
def small_matrices(draw):
    genes, cells = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    counts = rng.integers(0, draw(st.integers(1, 5)), (genes, cells), endpoint=True)
    ids = draw(st.lists(st.sampled_from("ABCDE"), min_size=genes, max_size=genes))
    totals = draw(st.lists(st.floats(1e-3, 1e6), min_size=cells, max_size=cells))
    dtype = draw(st.sampled_from(["i4", "u1", "f4", "f8"]))
    storage = draw(st.sampled_from([{}, {"compression": "gzip"}, {"chunks": (2, 3), "compression": "gzip"}]))
    cuts = sorted(draw(st.lists(st.integers(0, cells), max_size=3)))
    return counts.astype(dtype), {"ensembl_id": ids, "n_counts": totals}, storage, cuts


@pytest.mark.parametrize("kind", KINDS)
@given(small_matrices())
@examples(40)
def test_any_matrix_gives_the_values_of_the_loom(tmp_path_factory, kind, drawn):
    counts, columns, storage, cuts = drawn
    folder = tmp_path_factory.getbasetemp()
    path = write_h5ad(folder / "any.h5ad", counts, kind, storage=storage, **columns)
    loom = write_loom(folder / "any.loom", counts, **columns)
    assert_same(read(path, cuts=cuts), loom_values(loom)[0])


class TestUnits:
    @pytest.mark.parametrize("entries", [1, 50, 200, 10**9])
    @pytest.mark.parametrize("storage", STORAGES)
    @pytest.mark.parametrize("kind", KINDS)
    def test_units_cover_each_cell_once(self, tmp_path, counts, kind, storage, entries):
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind, storage=STORAGES[storage])
        with open_matrix(path, AttributeNames()) as matrix:
            units = outline(matrix, ReadOptions(allow_non_integer=True), entries).units
        assert [cell for unit in units for cell in range(unit.first, unit.last)] == list(range(CELLS))
        assert [unit.number for unit in units] == list(range(len(units)))

    @pytest.mark.parametrize("kind", ["csr", "dense"])
    def test_units_have_few_cells_where_these_have_next_to_no_entries(self, tmp_path, kind, monkeypatch):
        counts = np.zeros((30, 5_000))
        counts[0] = 1
        monkeypatch.setattr(sys.modules["median_spark.matrices.outline"], "UNIT_CELLS", 2_000)
        with open_matrix(write_h5ad(tmp_path / "a.h5ad", counts, kind), AttributeNames()) as matrix:
            units = outline(matrix, ReadOptions()).units
        assert len(units) == 3
        assert max(unit.last - unit.first for unit in units) <= 2_000

    @pytest.mark.parametrize("kind", KINDS)
    def test_units_hold_about_as_many_entries_as_are_wanted(self, tmp_path, kind):
        counts = random_counts(np.random.default_rng(2), 300, 5_000, density=0.2)
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind, storage={"chunks": (100, 100), "compression": "gzip"})
        with open_matrix(path, AttributeNames()) as matrix:
            units = outline(matrix, ReadOptions(), 100_000).units
            tile = matrix.cells_per_tile()
        held = [np.count_nonzero(counts[:, unit.first : unit.last]) for unit in units]
        assert max(held) <= 100_000 + 70 * tile
        assert 3 <= len(units) <= 6

    @pytest.mark.parametrize("kind", ["csr", "csc"])
    def test_what_is_held_does_not_grow_with_the_file(self, tmp_path, kind):
        counts = random_counts(np.random.default_rng(2), 500, 20_000, density=0.3, dtype=np.float32)
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind)
        lists = 8 * np.count_nonzero(counts)
        taken = np.ones(50, dtype=np.bool_)
        with open_matrix(path, AttributeNames()) as matrix:
            matrix.entries(np.arange(500), 0, 50, taken)  # compiles, and reads the index of chunks
            tracemalloc.start()
            found = matrix.entries(np.arange(500), 9_000, 9_050, taken)
            matrix.cell_totals(9_000, 9_050)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert len(found.cells) == np.count_nonzero(counts[:, 9_000:9_050])
        assert lists > 20e6
        assert peak < 8e6

    @pytest.mark.parametrize("kind", KINDS)
    def test_totals_of_fractions_do_not_depend_on_the_cut(self, tmp_path, kind):
        counts = np.random.default_rng(3).random((997, 5))
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind)
        options = ReadOptions(compute_n_counts=True, allow_non_integer=True)
        loom = write_loom(tmp_path / "study.loom", counts)
        assert_same(read(path, options, cuts=range(1, 5)), read(loom, options))


class TestLayers:
    def logged(self, counts):
        return np.log1p(counts / counts.sum(axis=0) * 1e4).astype(np.float32)

    def of(self, path, **options):
        with open_matrix(path, AttributeNames(), options.get("layer", "auto")) as matrix:
            warnings = outline(matrix, ReadOptions(**options)).warnings
            return matrix.place, tuple(worded(warning, Style.FLAGS) for warning in warnings)

    @pytest.mark.parametrize("kind", KINDS)
    def test_counts_in_raw_are_found_and_it_is_said(self, tmp_path, counts, kind):
        whole = np.vstack([counts, random_counts(np.random.default_rng(1), 9, CELLS)])
        path = write_h5ad(
            tmp_path / "study.h5ad", self.logged(counts), kind, raw=whole, n_counts=whole.sum(axis=0),
            raw_var={"gene_type": categorical(["protein_coding"] * len(whole))},
        )  # fmt: skip
        place, (warning,) = self.of(path)
        assert place == "raw.X"
        assert "X holds no counts" in warning
        assert "--layer raw.X says so" in warning
        loom = write_loom(tmp_path / "study.loom", whole)
        assert_same(read(path), loom_values(loom)[0])
        assert_same(read(path, ReadOptions(layer="raw.X")), loom_values(loom)[0])

    def test_counts_in_a_layer_of_that_name_are_found_and_it_is_said(self, tmp_path, counts, expected):
        path = write_h5ad(
            tmp_path / "study.h5ad", self.logged(counts), layers={"counts": counts, "spliced": counts},
            n_counts=counts.sum(axis=0), ensembl_id=with_duplicates(GENES),
        )  # fmt: skip
        place, (warning,) = self.of(path)
        assert place == "layer 'counts'"
        assert "--layer counts says so" in warning
        assert_same(read(path), expected)

    def test_x_is_taken_where_it_holds_counts_too(self, tmp_path, counts):
        path = write_h5ad(tmp_path / "study.h5ad", counts, raw=counts, layers={"counts": counts})
        assert self.of(path) == ("X", ())

    def test_a_raw_x_with_more_genes_is_told(self, tmp_path, counts):
        path = write_h5ad(tmp_path / "study.h5ad", counts[:20], raw=counts)
        place, (warning,) = self.of(path)
        assert place == "X"
        assert "raw.X of 53" in warning

    def test_what_is_named_is_read_without_a_word(self, tmp_path, counts):
        other = counts * 2
        path = write_h5ad(tmp_path / "study.h5ad", counts, layers={"other": other}, n_counts=other.sum(axis=0))
        assert self.of(path, layer="other") == ("layer 'other'", ())
        loom = write_loom(tmp_path / "study.loom", other)
        assert_same(read(path, ReadOptions(layer="other")), loom_values(loom)[0])

    def test_a_layer_that_is_not_there(self, tmp_path, counts):
        path = write_h5ad(tmp_path / "study.h5ad", counts, layers={"other": counts})
        with pytest.raises(
            InputError,
            match=r"no layer 'raw\.X' in this file; it has 'X', 'other': name it with ReadOptions\(layer=…\)",
        ):
            open_matrix(path, AttributeNames(), "raw.X")

    def test_x_by_name_is_refused_with_what_holds_counts(self, tmp_path, counts):
        path = write_h5ad(
            tmp_path / "study.h5ad", self.logged(counts), raw=counts, raw_var={"gene_type": ["miRNA"] * GENES}
        )
        with pytest.raises(
            InputError,
            match=r"X holds .* not whole .*: raw\.X holds counts: .*\(layer='raw\.X'\), or .*\(allow_non_int",
        ):
            self.of(path, layer="X")
        assert self.of(path, layer="X", allow_non_integer=True, compute_n_counts=True) == ("X", ())

    def test_the_command_line_names_a_layer(self, tmp_path, counts, capsys):
        path = write_h5ad(
            tmp_path / "study.h5ad", self.logged(counts), layers={"umis": counts}, n_counts=counts.sum(axis=0)
        )
        main(["inspect", path])
        assert re.search("can be used +no: X holds", capsys.readouterr().out)
        main(["inspect", path, "--layer", "umis"])
        assert re.search("can be used +yes", capsys.readouterr().out)
        main(["inspect", path, "--allow-non-integer"])
        assert re.search("can be used +yes", capsys.readouterr().out)

    def test_a_file_without_x(self, tmp_path, counts, expected):
        path = write_h5ad(tmp_path / "study.h5ad", counts, layers={"counts": counts}, ensembl_id=with_duplicates(GENES))
        with h5py.File(path, "r+") as file:
            del file["X"]
            file.create_dataset("X", data=h5py.Empty("f4"))
            file["X"].attrs["encoding-type"] = "null"
        assert self.of(path)[1] == ("there is no X, so layer 'counts' was read: --layer counts says so",)
        assert_same(read(path), expected)

    def test_a_layer_of_a_loom(self, tmp_path, counts):
        other = counts * 3
        path = write_loom(tmp_path / "study.loom", self.logged(counts), n_counts=other.sum(axis=0))
        with h5py.File(path, "r+") as file:
            file.create_dataset("layers/counts", data=other, chunks=(16, 16), compression="gzip")
        with pytest.raises(
            InputError, match=r"the matrix holds .* not whole .*: counts holds counts: .*\(layer='counts'\), or"
        ):
            self.of(path)
        assert self.of(path, layer="counts") == ("layer 'counts'", ())
        assert_same(read(path, ReadOptions(layer="counts")),
                    loom_values(write_loom(tmp_path / "other.loom", other))[0])  # fmt: skip
        with pytest.raises(
            InputError, match=r"this loom has no layer 'X'; it has 'counts': .*\(layer='auto'\) takes its main"
        ):
            open_matrix(path, AttributeNames(), "X")


class TestColumns:
    def opened(self, path, **names):
        return open_matrix(path, AttributeNames(**names))

    @pytest.mark.parametrize("name", ["ensembl_id", "index"])
    def test_the_index_holds_the_ids(self, tmp_path, counts, name):
        ids = [f"ENSMUSG{number:011d}" for number in range(GENES)]
        path = write_h5ad(tmp_path / "study.h5ad", counts, ensembl_id=None, var_names=ids)
        with self.opened(path, gene_id=name) as matrix:
            assert matrix.gene_ids().tolist() == ids

    def test_an_index_of_symbols_is_not_taken_for_ids(self, tmp_path, counts):
        path = write_h5ad(tmp_path / "study.h5ad", counts, ensembl_id=None, var_feature=["x"] * GENES)
        with (
            self.opened(path) as matrix,
            pytest.raises(
                InputError,
                match=r"var column 'ensembl_id' is missing; it .*: name it .*\(gene_id=…\), or .*\(gene_id='index'\)",
            ),
        ):
            matrix.gene_ids()
        with self.opened(path, gene_id="index") as matrix:
            assert matrix.gene_ids()[0] == "symbol0"

    def test_an_id_column_that_was_named_is_not_replaced_by_the_index(self, tmp_path, counts):
        ids = [f"ENSG{number:011d}" for number in range(GENES)]
        path = write_h5ad(tmp_path / "study.h5ad", counts, var_names=ids)
        with (
            self.opened(path, gene_id="gene") as matrix,
            pytest.raises(InputError, match="var column 'gene' is missing"),
        ):
            matrix.gene_ids()

    @pytest.mark.parametrize(
        ("columns", "found"),
        [
            ({"gene_type": None, "var_feature_type": ["lncRNA", "protein_coding"]}, ["lncRNA", "protein_coding"]),
            ({"gene_type": None, "var_feature_type": ["Gene Expression"] * 2}, None),
            ({"gene_type": None, "var_feature_biotype": ["gene"] * 2}, None),
            ({"gene_type": ["miRNA", "x"], "var_feature_type": ["protein_coding"] * 2}, ["miRNA", "x"]),
        ],
        ids=["CELLxGENE", "10x", "old CELLxGENE", "both"],
    )
    def test_gene_types(self, tmp_path, columns, found):
        with self.opened(write_h5ad(tmp_path / "study.h5ad", np.ones((2, 3), int), **columns)) as matrix:
            types = matrix.gene_types()
        assert (types if types is None else types.tolist()) == found

    def test_types_come_from_the_gene_table_where_the_file_has_none(self, tmp_path, counts):
        path = write_h5ad(tmp_path / "study.h5ad", counts, gene_type=None)
        table = {f"ENSG{number:011d}": "miRNA" if number % 2 else "lncRNA" for number in range(GENES)}
        loom = write_loom(tmp_path / "study.loom", counts, gene_type=None)
        assert_same(read(path, ReadOptions(gene_table=GeneTable("g.csv", table))), loom_values(loom, table)[0])

    @pytest.mark.parametrize(
        "encode", [list, categorical, old_categorical, np.array], ids=["list", "new", "old", "array"]
    )
    def test_text_in_every_encoding(self, tmp_path, encode):
        kinds = ["lncRNA", "protein_coding", "miRNA", "miRNA"]
        content = np.array([kind.encode() for kind in kinds]) if encode is np.array else encode(kinds)
        with self.opened(write_h5ad(tmp_path / "study.h5ad", np.ones((4, 3), int), gene_type=content)) as matrix:
            assert matrix.gene_types().tolist() == kinds

    @pytest.mark.parametrize(
        "encode", [categorical, lambda values: nullable(values, "string-array")], ids=["cat", "null"]
    )
    def test_a_missing_text_is_empty(self, tmp_path, encode):
        path = write_h5ad(tmp_path / "study.h5ad", np.ones((3, 2), int), ensembl_id=encode(["A", None, "C"]))
        with self.opened(path) as matrix:
            assert matrix.gene_ids().tolist() == ["A", "", "C"]

    @pytest.mark.parametrize(
        ("content", "passing"),
        [
            (np.array([True, False, True]), [0, 2]),
            (nullable([1, 0, None]), [0]),
            (nullable([True, None, True], "boolean"), [0, 2]),
            (categorical([1, 0, None]), [0]),
            (categorical([True, True, False]), [0, 1]),
            (np.array([1.0, np.nan, 1.0], "f4"), [0, 2]),
        ],
        ids=["bool", "nullable integer", "nullable boolean", "categories", "categories of truth", "float"],
    )
    def test_filters_in_every_encoding(self, tmp_path, content, passing):
        path = write_h5ad(tmp_path / "study.h5ad", np.ones((1, 3), int), filter_pass=content)
        ((cells, _),) = read(path).values()
        assert cells.tolist() == passing

    def test_a_total_that_is_missing_is_refused(self, tmp_path):
        path = write_h5ad(tmp_path / "study.h5ad", np.ones((1, 3), int), n_counts=nullable([1, 1, None]))
        with pytest.raises(InputError, match=r"obs column 'n_counts' must be above 0 .* it is nan for cell 'cell2'"):
            read(path)

    def test_cells_are_called_by_the_index_or_by_what_is_named(self, tmp_path):
        path = write_h5ad(
            tmp_path / "study.h5ad", np.ones((1, 3), int), obs_names=["a", "b", "Zürich"], obs_barcode=["x", "y", "z"]
        )
        with self.opened(path) as matrix:
            assert matrix.cell_ids().tolist() == ["a", "b", "Zürich"]
            assert matrix.cell_ids(1, 3).tolist() == ["b", "Zürich"]
        with self.opened(path, cell_id="barcode") as matrix:
            assert matrix.cell_ids(1, 2).tolist() == ["y"]

    def test_an_index_by_another_name(self, tmp_path):
        path = write_h5ad(tmp_path / "study.h5ad", np.ones((1, 3), int))
        with h5py.File(path, "r+") as file:
            file.move("obs/_index", "obs/barcodes")
            file["obs"].attrs["_index"] = "barcodes"
        with self.opened(path) as matrix:
            assert matrix.cell_ids().tolist() == ["cell0", "cell1", "cell2"]
            assert matrix.attributes("cell") == ["filter_pass", "n_counts"]


def make_old(path, version):
    """Rewrite an h5ad as anndata wrote it before 0.7: records, categories in uns, h5sparse_format, raw at the root."""
    with h5py.File(path, "r+") as file:
        del file.attrs["encoding-type"]
        frames = {name: file[name] for name in ("obs", "var")}
        made = {}
        for name, frame in frames.items():
            columns = {"index": frame["_index"].asstr()[:].astype("S")}
            for column in sorted(set(frame) - {"_index"}):
                held = frame[column][:]
                columns[column] = np.array([text.decode() for text in held]).astype("S") if held.dtype == "O" else held
            if name == "var":
                kinds, codes = np.unique(columns["gene_type"], return_inverse=True)
                columns["gene_type"] = codes.astype(np.int8)
                file["uns/gene_type_categories"] = kinds
            dtype = [(column, content.dtype) for column, content in columns.items()]
            made[name] = np.empty(len(frame["_index"]), dtype=dtype)
            for column, content in columns.items():
                made[name][column] = content
        for name, records in made.items():
            del file[name]
            file[name] = records
        if isinstance(file["X"], h5py.Group):
            kind, shape = file["X"].attrs["encoding-type"][:3], file["X"].attrs["shape"]
            for name in list(file["X"].attrs):
                del file["X"].attrs[name]
            file["X"].attrs["h5sparse_format"] = kind if version == "text" else np.bytes_(kind)
            file["X"].attrs["h5sparse_shape"] = shape


class TestOldFiles:
    @pytest.mark.parametrize("version", ["text", "bytes"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_their_values_are_those_of_new_ones(self, tmp_path, counts, kind, version):
        kinds = ["protein_coding", "lncRNA", "miRNA"] * 17 + ["miRNA", "lncRNA"]
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind, gene_type=kinds)
        expected = read(path)
        make_old(path, version)
        assert_same(read(path), expected)
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.gene_types().tolist() == kinds
            assert matrix.cell_ids(3, 5).tolist() == ["cell3", "cell4"]
            assert matrix.attributes("row") == ["ensembl_id", "gene_type"]

    def test_raw_at_the_root(self, tmp_path, counts):
        path = write_h5ad(tmp_path / "study.h5ad", counts, raw=counts * 2, raw_var={"gene_type": ["miRNA"] * GENES})
        expected = read(path, ReadOptions(layer="raw.X"))
        with h5py.File(path, "r+") as file:
            file.move("raw/X", "raw.X")
            file.move("raw/var", "raw.var")
            del file["raw"]
        assert_same(read(path, ReadOptions(layer="raw.X")), expected)


class TestAnndata:
    """Files as anndata itself writes them, against what anndata itself reads."""

    @pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_its_files_give_the_oracle_s_values(self, tmp_path, counts, expected, kind, compression):
        import pandas as pd
        import scipy.sparse

        anndata = pytest.importorskip("anndata")  # not in the environments of make test-matrix

        wrap = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix, "dense": np.asarray}[kind]
        var = pd.DataFrame(
            {"ensembl_id": with_duplicates(GENES), "gene_type": pd.Categorical(["protein_coding"] * GENES)},
            index=[f"symbol{gene}" for gene in range(GENES)],
        )
        obs = pd.DataFrame(
            {
                "n_counts": counts.sum(axis=0),
                "filter_pass": pd.array([1] * CELLS, dtype="Int64"),
                "donor": pd.Categorical(["a", "b", None] * 13 + ["a", "b"]),
                "name": pd.array([f"Zürich-{cell}" for cell in range(CELLS)], dtype="string"),
            },
            index=[f"cell{cell}" for cell in range(CELLS)],
        )
        made = anndata.AnnData(wrap(counts.T.astype(np.float32)), obs=obs, var=var)
        made.layers["twice"] = wrap(counts.T * 2)
        made.raw = made
        path = str(tmp_path / "study.h5ad")
        with anndata.settings.override(allow_write_nullable_strings=True):
            made.write_h5ad(path, compression=compression)
        assert_same(read(path, cuts=[7]), expected)
        back = anndata.read_h5ad(path)
        with open_matrix(path, AttributeNames(cell_id="name"), "twice") as matrix:
            assert matrix.cell_ids().tolist() == back.obs["name"].tolist()
            assert (
                matrix.cell_totals(3, 20).tolist()
                == np.asarray(back.layers["twice"].sum(axis=1)).ravel()[3:20].tolist()
            )
            assert matrix.count_layers() == ["X", "raw.X"]


NO_PLUGIN = """
import sys
sys.modules["hdf5plugin"] = None
from median_spark.errors import InputError
from median_spark.matrices import AttributeNames, open_matrix
try:
    open_matrix(sys.argv[1], AttributeNames()).gene_ids()
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_compression_that_needs_a_plugin_is_named_with_what_to_install(tmp_path, counts, kind):
    import hdf5plugin

    path = write_h5ad(tmp_path / "study.h5ad", counts, kind, storage=dict(hdf5plugin.Zstd()))
    done = subprocess.run([sys.executable, "-c", NO_PLUGIN, path], capture_output=True, text=True, check=True)
    part = "X" if kind == "dense" else "X/data"
    assert done.stdout == (
        f"{path}: '{part}' is compressed with zstd (HDF5 filter 32015), which needs a plugin that is not installed: "
        "pip install 'median_spark[h5ad]'\n"
    )


@pytest.mark.parametrize(
    "name", ["pbmc_1k_v2.geneformer_style", "pbmc_1k_v2.cellxgene_style", "sc_dropseq.csc", "facs_test100.dense"]
)
def test_real_files_give_what_anndata_reads(real_data, name):
    import anndata

    path = str(real_data / "h5ad" / f"{name}.h5ad")
    held = anndata.read_h5ad(path)  # it cannot open what is open here, for it locks
    with open_matrix(path, AttributeNames()) as matrix:
        counts = (held.raw.X if matrix.place == "raw.X" else held.X).T
        counts = np.asarray(counts.todense() if hasattr(counts, "todense") else counts)
        found = matrix.entries(np.arange(matrix.shape[0]), 0, matrix.shape[1], np.ones(matrix.shape[1], dtype=np.bool_))
        rows, cells = np.nonzero(counts)
        assert (matrix.place == "raw.X") == ("cellxgene" in name)
        assert np.array_equal(found.lengths, np.count_nonzero(counts, axis=1))
        assert np.array_equal(found.cells, cells)
        assert np.array_equal(found.counts, counts[rows, cells])
        assert matrix.cell_ids().tolist() == held.obs_names.tolist()


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_gzipped_whole_gives_the_values_of_the_loom(tmp_path, counts, expected, kind, members):
    path = Path(write_h5ad(tmp_path / "study.h5ad", counts, kind, ensembl_id=with_duplicates(GENES)))
    content = path.read_bytes()
    bounds = np.linspace(0, len(content), members + 1).astype(int).tolist()
    parts = [gzip.compress(content[first:last]) for first, last in itertools.pairwise(bounds)]
    zipped = tmp_path / "study.h5ad.gz"
    zipped.write_bytes(b"".join(parts))
    assert_same(read(zipped), expected)
    assert_same(read(zipped, cuts=[1, 2, 17, 40]), expected)
