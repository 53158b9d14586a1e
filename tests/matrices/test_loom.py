"""Reading looms into runs: bit for bit what tests/oracle.py finds, however they are stored and however they are cut."""

import fcntl
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, with_duplicates, write_loom
from oracle import CHOSEN, loom_values
from reading import NUMBER_TYPES, assert_same, read

from examples import examples
from median_spark.errors import InputError
from median_spark.genes import GeneTable
from median_spark.matrices import (
    AttributeNames,
    ReadOptions,
    Unit,
    open_matrix,
    outline,
    read_unit,
    select_rows,
)

LAYOUTS = {
    "contiguous": {},
    "uncompressed": {"chunks": (16, 16)},
    "gzip": {"chunks": (16, 16), "compression": "gzip"},
    "shuffle": {"chunks": (16, 16), "compression": "gzip", "shuffle": True},
    "fletcher32": {"chunks": (16, 16), "compression": "gzip", "fletcher32": True},
    "lzf": {"chunks": (16, 16), "compression": "lzf"},
    "odd tiles": {"chunks": (7, 5), "compression": "gzip"},
    "tiles of a row": {"chunks": (1, 41)},
    "tiles of a cell": {"chunks": (53, 1)},
    "one tile": {"chunks": (53, 41), "compression": "gzip"},
    "growing": {"chunks": (16, 16), "maxshape": (None, None)},
}


def cut(matrix, entries):
    return outline(matrix, ReadOptions(cell_filter=False, allow_non_integer=True), entries).units


@pytest.fixture(scope="module")
def counts():
    return random_counts(np.random.default_rng(7), 53, 41, density=0.3)


class TestStorage:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_every_layout_gives_the_oracle_s_values(self, tmp_path, counts, layout):
        path = write_loom(tmp_path / "study.loom", counts, storage=LAYOUTS[layout])
        assert_same(read(path), loom_values(path)[0])

    @pytest.mark.parametrize("dtype", NUMBER_TYPES)
    def test_every_number_type_gives_the_oracle_s_values(self, tmp_path, counts, dtype):
        path = write_loom(tmp_path / "study.loom", counts.astype(dtype))
        assert_same(read(path), loom_values(path)[0])

    def test_truth_values_count_as_ones(self, tmp_path, counts):
        path = write_loom(tmp_path / "study.loom", counts > 0)
        assert_same(read(path), loom_values(path)[0])

    @pytest.mark.parametrize(
        ("dtype", "most"), [("i8", 2**63 - 1), ("u8", 2**64 - 1), ("f4", 1e36), ("f8", 1e300), ("f8", 1e-300)]
    )
    def test_the_largest_and_smallest_counts_are_read(self, tmp_path, counts, dtype, most):
        extreme = np.where(counts > 2, np.array(most, dtype), counts.astype(dtype))
        path = write_loom(tmp_path / "study.loom", extreme, n_counts=np.full(41, 12345.0))
        assert_same(read(path, ReadOptions(allow_non_integer=most < 1)), loom_values(path)[0])

    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    def test_fractions_are_read(self, tmp_path, counts, dtype):
        path = write_loom(tmp_path / "study.loom", (counts * 0.37).astype(dtype), ensembl_id=with_duplicates(53))
        assert_same(read(path, ReadOptions(allow_non_integer=True)), loom_values(path)[0])

    def test_a_matrix_larger_than_is_read_at_once_is_read_whole(self, tmp_path):
        counts = np.zeros((2_110, 4_100), dtype=np.int64)
        chosen = np.random.default_rng(1).integers(0, counts.size, 5_000)
        counts.flat[chosen] = 1 + chosen % 7
        path = write_loom(
            tmp_path / "study.loom",
            counts,
            gene_type=["miRNA", "lncRNA", "protein_coding"] * 703 + ["miRNA"],
            storage={"chunks": (300, 1025), "compression": "lzf"},
        )
        assert counts.nbytes > 64 << 20
        assert_same(read(path), loom_values(path)[0])

    def test_a_lock_on_the_file_is_no_obstacle(self, tmp_path, counts):
        path = write_loom(tmp_path / "study.loom", counts)
        expected = loom_values(path)[0]
        with Path(path).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert_same(read(path), expected)

    def test_a_uri_is_read(self, tmp_path, counts):
        path = write_loom(tmp_path / "study.loom", counts)
        assert_same(read(f"file://{path}"), loom_values(path)[0])

    @pytest.mark.parametrize("name", ["study.LOOM", "study.Loom", "a b.ü.loom"])
    def test_the_ending_may_be_of_any_case_and_the_name_of_any_letters(self, tmp_path, counts, name):
        path = write_loom(tmp_path / name, counts)
        assert_same(read(path), loom_values(path)[0])


class TestUnits:
    @pytest.fixture(scope="class")
    def study(self, tmp_path_factory):
        rng = np.random.default_rng(11)
        counts = random_counts(rng, 53, 41, density=0.3)
        return write_loom(
            tmp_path_factory.mktemp("units") / "study.loom",
            counts,
            ensembl_id=with_duplicates(53),
            filter_pass=(rng.random(41) < 0.7).astype(int),
            storage={"chunks": (16, 16), "compression": "gzip"},
        )

    @given(cuts=st.lists(st.integers(0, 41), max_size=8).map(sorted))
    @examples(40)
    def test_every_cut_into_units_gives_the_same_values(self, study, cuts):
        assert_same(read(study, cuts=cuts), loom_values(study)[0])

    def test_units_of_one_cell_give_the_same_values(self, study):
        assert_same(read(study, cuts=range(1, 41)), loom_values(study)[0])

    def test_summed_totals_of_fractions_do_not_depend_on_the_cut(self, tmp_path):
        counts = np.random.default_rng(3).random((997, 5))
        path = write_loom(tmp_path / "study.loom", counts)
        options = ReadOptions(compute_n_counts=True, allow_non_integer=True)
        assert_same(read(path, options, cuts=range(1, 5)), read(path, options, cuts=[]))

    @pytest.mark.parametrize("entries", [1, 10, 100, 1_000, 10**9])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_units_are_whole_tiles_that_cover_each_cell_once(self, tmp_path, counts, layout, entries):
        path = write_loom(tmp_path / "study.loom", counts, storage=LAYOUTS[layout])
        with open_matrix(path, AttributeNames()) as matrix:
            units = list(cut(matrix, entries))
            tile = matrix.cells_per_tile()
        assert [cell for unit in units for cell in range(unit.first, unit.last)] == list(range(41))
        assert [unit.number for unit in units] == list(range(len(units)))
        assert all(unit.first % tile == 0 for unit in units)

    @pytest.mark.parametrize("entries", [1, 60, 500, 1_000])
    @pytest.mark.parametrize("layout", ["contiguous", "uncompressed", "tiles of a cell"])
    def test_units_hold_at_most_a_tile_more_than_is_wanted(self, tmp_path, layout, entries):
        path = write_loom(tmp_path / "study.loom", np.ones((53, 41)), storage=LAYOUTS[layout])
        with open_matrix(path, AttributeNames()) as matrix:
            widest = max(unit.last - unit.first for unit in cut(matrix, entries))
            assert 53 * (widest - matrix.cells_per_tile()) <= entries

    def test_a_small_matrix_is_one_unit(self, study):
        with open_matrix(study, AttributeNames()) as matrix:
            assert outline(matrix, ReadOptions()).units == (Unit(0, 0, 41),)

    def test_a_unit_without_a_passing_cell_has_no_run(self, tmp_path, counts):
        path = write_loom(tmp_path / "study.loom", counts, filter_pass=[0] * 20 + [1] * 21)
        with open_matrix(path, AttributeNames()) as matrix:
            runs, cells = read_unit(matrix, select_rows(matrix, ReadOptions()), Unit(0, 0, 20), ReadOptions())
        assert (len(runs.genes), len(runs.values), len(cells)) == (0, 0, 0)


class TestRows:
    def test_duplicated_rows_are_summed_before_they_are_normalised(self, tmp_path):
        path = write_loom(
            tmp_path / "study.loom", [[1, 0, 3], [5, 5, 5], [1, 2, 0]], ensembl_id=["B", "A", "B"], n_counts=[4, 8, 16]
        )
        found = read(path)
        assert found["B"][0].tolist() == [0, 1, 2]
        assert found["B"][1].tolist() == [2 / 4 * 10_000, 2 / 8 * 10_000, 3 / 16 * 10_000]

    def test_duplicated_rows_in_any_order_give_the_oracle_s_values(self, tmp_path, counts):
        path = write_loom(tmp_path / "study.loom", counts, ensembl_id=with_duplicates(53))
        assert_same(read(path), loom_values(path)[0])

    def test_only_genes_of_the_chosen_types_are_read(self, tmp_path, counts):
        types = [["protein_coding", "lncRNA", "miRNA", ""][row % 4] for row in range(53)]
        path = write_loom(tmp_path / "study.loom", counts, gene_type=types)
        assert_same(read(path), loom_values(path)[0])
        assert_same(read(path, ReadOptions(gene_types=("lncRNA",))), loom_values(path, chosen=("lncRNA",))[0])

    @pytest.mark.parametrize("own", [True, False], ids=["own types", "no own types"])
    def test_a_gene_table_decides_with_the_file(self, tmp_path, counts, own):
        path = write_loom(
            tmp_path / "study.loom", counts, gene_type=["protein_coding", "lncRNA"] * 26 + ["miRNA"] if own else None
        )
        types = {f"ENSG{row:011d}": ["protein_coding", "miRNA", "lncRNA"][row % 3] for row in range(0, 60, 2)}
        options = ReadOptions(gene_table=GeneTable("genes.csv", types))
        assert_same(read(path, options), loom_values(path, types)[0])

    def test_the_outline_tells_what_became_of_the_rows(self, tmp_path):
        path = write_loom(
            tmp_path / "study.loom",
            np.eye(6, 4, dtype=int),
            ensembl_id=["A", "B", "A", "X", "C", "D"],
            gene_type=["miRNA"] * 5 + ["lncRNA"],
            filter_pass=[1, 1, 0, 1],
        )
        table = GeneTable("genes.csv", {"A": "miRNA", "B": "miRNA", "C": "lncRNA", "D": "miRNA"})
        with open_matrix(path, AttributeNames()) as matrix:
            found = outline(matrix, ReadOptions(gene_table=table))
        row_counts = found.row_counts
        assert (found.rows, found.cells, found.cells_passed, found.genes.tolist()) == (6, 4, 3, ["A", "B"])
        assert (row_counts.selected_rows, row_counts.summed_rows, row_counts.unknown_rows) == (3, 1, 1)
        assert (row_counts.other_type_rows, row_counts.disputed_rows, row_counts.unknown_examples) == (1, 1, ("X",))


class TestCells:
    @pytest.mark.parametrize("dtype", ["i1", "i8", "f4", "f8", "?"])
    def test_cells_whose_filter_is_one_are_taken(self, tmp_path, counts, dtype):
        passed = (np.arange(41) % 3 == 0).astype(dtype)
        path = write_loom(tmp_path / "study.loom", counts, filter_pass=passed)
        assert_same(read(path), loom_values(path)[0])

    @pytest.mark.parametrize("other", [0, 2, -1, 0.5, np.nan])
    def test_any_other_filter_value_does_not_pass(self, tmp_path, counts, other):
        path = write_loom(tmp_path / "study.loom", counts, filter_pass=[other] * 40 + [1.0])
        assert {cell for cells, _ in read(path).values() for cell in cells} == {40}

    @pytest.mark.parametrize("filter_pass", [None, np.zeros(41)], ids=["missing", "all 0"])
    def test_without_the_filter_every_cell_is_taken(self, tmp_path, counts, filter_pass):
        path = write_loom(tmp_path / "study.loom", counts, filter_pass=filter_pass)
        everyone = write_loom(tmp_path / "everyone.loom", counts)
        assert_same(read(path, ReadOptions(cell_filter=False)), loom_values(everyone)[0])

    def test_totals_are_summed_over_all_rows_where_that_is_chosen(self, tmp_path, counts):
        types = ["protein_coding", "lncRNA"] * 26 + ["lncRNA"]
        path = write_loom(tmp_path / "study.loom", counts, gene_type=types, n_counts=None)
        told = write_loom(tmp_path / "told.loom", counts, gene_type=types, n_counts=counts.sum(axis=0))
        assert_same(read(path, ReadOptions(compute_n_counts=True)), loom_values(told)[0])

    def test_totals_are_those_of_the_file_even_where_its_sums_differ(self, tmp_path, counts):
        path = write_loom(tmp_path / "study.loom", counts, n_counts=np.arange(1, 42) * 1.7)
        assert_same(read(path), loom_values(path)[0])

    @pytest.mark.parametrize("dtype", ["u2", "i8", "f4", ">f8"])
    def test_totals_of_every_number_type_are_read(self, tmp_path, counts, dtype):
        path = write_loom(tmp_path / "study.loom", counts, n_counts=np.arange(1, 42).astype(dtype))
        assert_same(read(path), loom_values(path)[0])

    @pytest.mark.parametrize("total", [0.0, -1.0, np.nan, np.inf])
    def test_a_cell_that_does_not_pass_or_has_no_count_may_have_any_total(self, tmp_path, total):
        path = write_loom(tmp_path / "study.loom", [[1, 0, 3]], n_counts=[1.0, total, total], filter_pass=[1, 1, 0])
        assert_same(read(path), {"ENSG00000000000": (np.array([0]), np.array([10_000.0]))})

    @pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
    def test_counts_of_cells_that_do_not_pass_are_not_judged(self, tmp_path, bad):
        path = write_loom(tmp_path / "study.loom", [[1, bad]], n_counts=[1.0, 1.0], filter_pass=[1, 0])
        assert_same(read(path), {"ENSG00000000000": (np.array([0]), np.array([10_000.0]))})

    @pytest.mark.parametrize("target_sum", [1.0, 1e6, 0.1])
    def test_values_are_scaled_to_the_target_sum(self, tmp_path, counts, target_sum):
        path = write_loom(tmp_path / "study.loom", counts)
        assert_same(read(path, ReadOptions(target_sum=target_sum)), loom_values(path, target_sum=target_sum)[0])

    def test_a_quotient_too_small_for_float64_is_no_value(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", [[1e-300, 1.0], [0.0, 1e-300]], n_counts=[1e300, 1.0])
        values = read(path, ReadOptions(allow_non_integer=True))
        found = {gene: (cells.tolist(), values.tolist()) for gene, (cells, values) in values.items()}
        assert found == {"ENSG00000000000": ([1], [10_000.0]), "ENSG00000000001": ([1], [1e-300 * 10_000])}


class TestNames:
    def test_attributes_may_have_other_names(self, tmp_path, counts):
        passed, totals = np.arange(41) % 2, counts.sum(axis=0) + 1.0
        path = write_loom(
            tmp_path / "study.loom",
            counts,
            **dict.fromkeys(["ensembl_id", "gene_type", "n_counts", "filter_pass", "cell_id"]),
            row_accession=with_duplicates(53),
            row_biotype=["miRNA", "lncRNA"] * 26 + ["miRNA"],
            col_nCount_RNA=totals,
            col_good=passed,
            col_barcode=[f"b{cell}" for cell in range(41)],
        )
        usual = write_loom(
            tmp_path / "usual.loom",
            counts,
            ensembl_id=with_duplicates(53),
            gene_type=["miRNA", "lncRNA"] * 26 + ["miRNA"],
            n_counts=totals,
            filter_pass=passed,
        )
        names = AttributeNames("nCount_RNA", "good", "accession", "biotype", "barcode")
        assert_same(read(path, ReadOptions(names=names)), loom_values(usual)[0])
        with open_matrix(path, names) as matrix:
            assert matrix.cell_ids()[40] == "b40"

    @pytest.mark.parametrize(
        ("attributes", "expected"),
        [
            ({"cell_id": ["a", "b"], "col_CellID": ["c", "d"]}, ["a", "b"]),
            ({"cell_id": None, "col_CellID": ["c", "d"], "col_obs_names": ["e", "f"]}, ["c", "d"]),
            ({"cell_id": None, "col_obs_names": ["e", "f"]}, ["e", "f"]),
            ({"cell_id": None, "col_barcode": ["g", "h"]}, ["0", "1"]),
            ({"cell_id": np.array([17, 5])}, ["17", "5"]),
            ({"cell_id": np.array([b"a", b"bc"])}, ["a", "bc"]),
            ({"cell_id": ["Zürich-1", "細胞"]}, ["Zürich-1", "細胞"]),
        ],
        ids=["cell_id", "CellID", "obs_names", "numbers", "numeric", "fixed length", "any letters"],
    )
    def test_cells_are_called_by_the_first_barcodes_there_are(self, tmp_path, attributes, expected):
        path = write_loom(tmp_path / "study.loom", [[1, 2]], **attributes)
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.cell_ids().tolist() == expected

    def test_a_unit_comes_with_the_ids_of_its_cells(self, tmp_path, counts):
        path = write_loom(tmp_path / "study.loom", counts)
        with open_matrix(path, AttributeNames()) as matrix:
            _, cells = read_unit(matrix, select_rows(matrix, ReadOptions()), Unit(0, 5, 8), ReadOptions())
        assert cells["cell"].to_pylist() == ["cell5", "cell6", "cell7"]

    def test_what_the_file_holds_is_described(self, tmp_path, counts):
        path = write_loom(tmp_path / "study.loom", counts, storage=LAYOUTS["odd tiles"])
        with open_matrix(path, AttributeNames()) as matrix:
            described = dict(matrix.describe())
        assert described["format"] == "loom (specification 3.0.0)"
        assert described["matrix"] == "53 rows × 41 cells, int32, tiles of 7 × 5, gzip"
        assert described["row attributes"] == "ensembl_id, gene_type"
        assert described["column attributes"] == "cell_id, filter_pass, n_counts"


def make_old(path, version):
    """Rewrite a loom as loompy 2 wrote it: the version at the root if at all, strings of fixed ASCII with entities."""
    with h5py.File(path, "r+") as file:
        del file["attrs"]
        if version is not None:
            file.attrs["LOOM_SPEC_VERSION"] = version
        for name in ("row_attrs/ensembl_id", "row_attrs/gene_type", "col_attrs/cell_id"):
            texts = file[name].asstr()[:]
            del file[name]
            file[name] = np.array([text.encode("ascii", "xmlcharrefreplace") for text in texts])


class TestOldLooms:
    @pytest.mark.parametrize("version", [None, "2.0.1", np.bytes_("2.0.1"), np.array([b"2.0.1"])], ids=str)
    def test_entities_stand_for_letters(self, tmp_path, version):
        path = write_loom(tmp_path / "study.loom", [[1, 2, 3]], cell_id=["Zürich-1", "a&amp;b", "細胞"])
        make_old(path, version)
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.cell_ids().tolist() == ["Zürich-1", "a&b", "細胞"]
            assert dict(matrix.describe())["format"].startswith("loom (specification 2")

    def test_their_values_are_those_of_a_new_loom(self, tmp_path, counts):
        path = write_loom(tmp_path / "study.loom", counts, ensembl_id=with_duplicates(53))
        expected = loom_values(path)[0]
        make_old(path, None)
        assert_same(read(path), expected)

    def test_in_a_new_loom_an_entity_is_a_text_like_any_other(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", [[1]], cell_id=["a&amp;b"])
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.cell_ids().tolist() == ["a&amp;b"]


class TestLoompy:
    @pytest.fixture(scope="class", params=["int16", "float32"])
    def written(self, request, tmp_path_factory):
        import loompy

        rng = np.random.default_rng(5)
        counts = random_counts(rng, 150, 130, dtype=request.param)
        path = str(tmp_path_factory.mktemp("loompy") / "study.loom")
        rows = {"ensembl_id": np.array(with_duplicates(150)), "gene_type": np.array(["miRNA", "lncRNA", ""] * 50)}
        columns = {
            "CellID": np.array([f"Zürich-{cell}" for cell in range(130)]),
            "n_counts": counts.sum(axis=0) + 3,
            "filter_pass": rng.integers(0, 2, 130),
        }
        loompy.create(path, counts, rows, columns)
        return path

    def test_its_files_give_the_oracle_s_values(self, written):
        assert_same(read(written), loom_values(written)[0])

    def test_its_files_in_units_give_the_oracle_s_values(self, written):
        assert_same(read(written, cuts=[64, 65]), loom_values(written)[0])

    def test_its_cells_keep_their_names(self, written):
        with open_matrix(written, AttributeNames()) as matrix:
            assert matrix.cell_ids()[129] == "Zürich-129"


@st.composite
def small_looms(draw):
    """Draw counts, attributes, layout, and a gene table or none, all small and full of coincidences."""
    rows, cells = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    counts = rng.integers(0, draw(st.integers(1, 5)), (rows, cells), endpoint=True)
    kind = draw(st.sampled_from(["i4", "u1", "f4", "f8"]))
    counts = counts.astype(kind) * (np.array(0.3, kind) if kind == "f8" else np.array(1, kind))
    types = st.sampled_from(["protein_coding", "miRNA", "lncRNA"])
    ids = st.sampled_from("ABCDE")
    tile = (draw(st.integers(1, rows)), draw(st.integers(1, cells)))
    attributes = {
        "ensembl_id": draw(st.lists(ids, min_size=rows, max_size=rows)),
        "gene_type": draw(st.none() | st.lists(types, min_size=rows, max_size=rows)),
        "n_counts": draw(st.lists(st.floats(1e-3, 1e6), min_size=cells, max_size=cells)),
        "filter_pass": draw(st.lists(st.sampled_from([0, 1, 1]), min_size=cells, max_size=cells)),
        "storage": draw(st.sampled_from([{}, {"chunks": tile}, {"chunks": tile, "compression": "gzip"}])),
    }
    required = st.dictionaries(ids, types, min_size=1)
    table = draw(required if attributes["gene_type"] is None else st.none() | required)
    cuts = sorted(draw(st.lists(st.integers(0, cells), max_size=3)))
    return counts, attributes, table, cuts


@given(small_looms())
@examples(150)
def test_any_loom_gives_the_oracle_s_values(tmp_path_factory, loom):
    counts, attributes, table, cuts = loom
    path = write_loom(tmp_path_factory.getbasetemp() / "any.loom", counts, **attributes)
    options = ReadOptions(
        gene_table=table and GeneTable("genes.csv", table), allow_non_integer=counts.dtype == np.float64
    )
    expected, genes = loom_values(path, table, chosen=CHOSEN)
    if not genes:
        with pytest.raises(InputError, match=r"any\.loom: no"):
            read(path, options)
    elif 1 not in attributes["filter_pass"]:
        with pytest.raises(InputError, match=r"any\.loom: none of its .* passes"):
            read(path, options)
    else:
        assert_same(read(path, options), expected)
        assert_same(read(path, options, cuts), expected)
