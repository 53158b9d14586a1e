"""A loom that cannot be used is refused by an error that names the file, the field, what was found, what is allowed.

Each test asserts on the words that a person needs to find and mend what is wrong.
"""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from looms import random_counts, write_loom
from reading import refusal

from median_spark.errors import InputError, UsageError
from median_spark.genes import GeneTable
from median_spark.matrices import (
    AttributeNames,
    ReadOptions,
    find_sources,
    open_matrix,
)

COUNTS = [[1, 0, 2], [3, 4, 0]]


@pytest.fixture(params=["path", "URI"])
def place(request, tmp_path):
    """A folder as a local path, and as a URI, through which h5py reads a stream."""
    return str(tmp_path) if request.param == "path" else f"file://{tmp_path}"


class TestNoFile:
    def test_a_missing_file(self, place):
        assert refusal(f"{place}/study.loom") == "there is no such file"

    def test_an_empty_file(self, place, tmp_path):
        (tmp_path / "study.loom").touch()
        assert refusal(f"{place}/study.loom") == "this file is empty (0 bytes)"

    @pytest.mark.parametrize(
        "content", [b"x", b"gene,cell\n1,2\n" * 1000, bytes(5000)], ids=["1 byte", "text", "zeros"]
    )
    def test_a_file_that_is_no_hdf5(self, place, tmp_path, content):
        (tmp_path / "study.loom").write_bytes(content)
        assert refusal(f"{place}/study.loom").startswith("this is not an HDF5 file, or it is damaged (")

    def test_a_folder_in_place_of_a_file(self, tmp_path):
        (tmp_path / "study.loom").mkdir()
        assert re.search("not an HDF5 file|directory", refusal(tmp_path / "study.loom"))

    @pytest.mark.parametrize("left", [0.2, 0.5, 0.99])
    def test_a_truncated_loom(self, place, tmp_path, left):
        whole = Path(write_loom(tmp_path / "study.loom", random_counts(np.random.default_rng(1), 99, 99)))
        kept = int(whole.stat().st_size * left)
        whole.write_bytes(whole.read_bytes()[:kept])
        assert refusal(f"{place}/study.loom").startswith(
            f"this HDF5 file is cut off after {kept:,} bytes: copy it again from where it came"
        )

    @pytest.mark.parametrize("name", ["study.hdf5", "study.loom.zip", "loom", "study.txt"])
    def test_an_ending_that_is_not_known(self, tmp_path, name):
        with pytest.raises(InputError, match=rf"/{name}: not a matrix .* must end in \.loom"):
            open_matrix(f"{tmp_path}/{name}", AttributeNames())


class TestDamage:
    """Bytes of a sound loom are overwritten, as a bad disk does."""

    @pytest.fixture
    def loom(self, tmp_path):
        counts = random_counts(np.random.default_rng(1), 300, 200, density=0.5)
        return write_loom(tmp_path / "study.loom", counts, storage={"chunks": (64, 64), "compression": "gzip"})

    def overwrite(self, path, offset, content):
        with Path(path).open("r+b") as file:
            file.seek(offset)
            file.write(content)

    def test_a_tile_in_the_middle_is_named_by_its_place(self, loom):
        with h5py.File(loom) as file:
            tile = file["matrix"].id.get_chunk_info_by_coord((128, 64))
        self.overwrite(loom, tile.byte_offset + tile.size // 2, b"\xff" * 64)
        assert re.match(
            r"the matrix at rows 128 to 192, cells 64 to 128 cannot be read; the file is damaged \(", refusal(loom)
        )

    def test_a_damaged_tile_does_not_spoil_the_cells_beside_it(self, loom):
        with h5py.File(loom) as file:
            tile = file["matrix"].id.get_chunk_info_by_coord((128, 64))
        self.overwrite(loom, tile.byte_offset + tile.size // 2, b"\xff" * 64)
        with open_matrix(loom, AttributeNames()) as matrix:
            matrix.cell_totals(0, 64)
            with pytest.raises(InputError, match="cells 64 to 128 cannot be read"):
                matrix.cell_totals(64, 128)

    def test_a_tile_that_fails_its_checksum(self, tmp_path):
        storage = {"chunks": (64, 64), "fletcher32": True}
        path = write_loom(tmp_path / "study.loom", random_counts(np.random.default_rng(1), 99, 99), storage=storage)
        with h5py.File(path) as file:
            tile = file["matrix"].id.get_chunk_info(0)
        self.overwrite(path, tile.byte_offset + 100, b"\xff")
        assert "cannot be read; the file is damaged (" in refusal(path)

    def test_the_index_of_the_tiles(self, loom):
        for found in re.finditer(b"TREE\x01", Path(loom).read_bytes()):
            self.overwrite(loom, found.start(), b"\xff" * 4)
        assert "cannot be read; the file is damaged (" in refusal(loom)
        with (
            open_matrix(loom, AttributeNames()) as matrix,
            pytest.raises(InputError, match=rf"^{loom}: the index of the matrix's tiles cannot be read"),
        ):
            matrix.stored_bytes(0, matrix.shape[1])

    def test_the_strings(self, loom):
        for found in re.finditer(b"GCOL", Path(loom).read_bytes()):
            self.overwrite(loom, found.start(), b"\xff" * 4)
        assert "cannot be read; the file is damaged (" in refusal(loom)

    def test_the_list_of_contents(self, loom):
        for found in re.finditer(b"SNOD", Path(loom).read_bytes()):
            self.overwrite(loom, found.start(), b"\xff" * 4)
        assert "cannot be read; the file is damaged (" in refusal(loom)


class TestMatrix:
    def altered(self, tmp_path, matrix):
        path = write_loom(tmp_path / "study.loom", COUNTS)
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            if matrix is not None:
                file["matrix"] = matrix
        return path

    def test_a_file_without_matrix_is_no_loom(self, tmp_path):
        assert refusal(self.altered(tmp_path, None)) == (
            "this HDF5 file is no loom: it has no dataset 'matrix'; "
            "it has 'attrs', 'col_attrs', 'col_graphs', 'layers', 'row_attrs' and 1 more"
        )

    def test_a_group_is_no_matrix(self, tmp_path):
        path = self.altered(tmp_path, None)
        with h5py.File(path, "r+") as file:
            file.create_group("matrix/x")
        assert "it has no dataset 'matrix'" in refusal(path)

    @pytest.mark.parametrize(
        ("matrix", "found"),
        [
            (np.zeros((2, 3, 4)), "float64 with 3"),
            (np.zeros(3), "float64 with 1"),
            (np.array(1), "int64 with 0"),
            (np.array([[b"1", b"2"]]), "|S1 with 2"),
            ([["1", "2"]], "object with 2"),
            (np.zeros((2, 3), dtype="c16"), "complex128 with 2"),
            (np.zeros((2, 3), dtype=[("a", "i4")]), "[('a', '<i4')] with 2"),
        ],
        ids=["3-d", "1-d", "0-d", "fixed strings", "strings", "complex", "compound"],
    )
    def test_a_matrix_of_another_shape_or_type(self, tmp_path, matrix, found):
        assert refusal(self.altered(tmp_path, matrix)) == (
            f"'matrix' must be numeric with 2 dimensions, rows and cells; it is {found}"
        )

    def test_a_type_that_numpy_does_not_have(self, tmp_path):
        path = self.altered(tmp_path, None)
        with h5py.File(path, "r+") as file:
            h5py.h5d.create(file.id, b"matrix", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((2, 3)))
        assert refusal(path).startswith("the type of 'matrix' cannot be read")

    def test_a_matrix_without_cells(self, tmp_path):
        assert refusal(write_loom(tmp_path / "study.loom", np.zeros((2, 0), dtype=int))) == "the matrix has no cell"

    def test_a_matrix_without_rows(self, tmp_path):
        assert refusal(write_loom(tmp_path / "study.loom", np.zeros((0, 2), dtype=int))) == "the matrix has no row"


class TestAttributes:
    @pytest.mark.parametrize(
        ("name", "remedy"),
        [
            ("n_counts", "name it with --n-counts-attr, or sum them from the matrix with --compute-n-counts"),
            ("filter_pass", "name it with --filter-attr, or take every cell with --no-cell-filter"),
        ],
    )
    def test_a_missing_column_attribute(self, tmp_path, name, remedy):
        path = write_loom(tmp_path / "study.loom", COUNTS, **{name: None}, col_other=[1, 2, 3])
        there = sorted({"cell_id", "n_counts", "filter_pass", "other"} - {name})
        listed = ", ".join(repr(attribute) for attribute in there)
        assert refusal(path) == f"column attribute '{name}' is missing; it has {listed}: {remedy}"

    def test_a_missing_gene_id(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", COUNTS, ensembl_id=None, row_Gene=["A", "B"])
        assert refusal(path) == (
            "row attribute 'ensembl_id' is missing; it has 'Gene', 'gene_type': name it with --gene-id-attr"
        )

    def test_a_missing_gene_type_without_a_gene_table(self, tmp_path):
        found = refusal(write_loom(tmp_path / "study.loom", COUNTS, gene_type=None))
        assert "gene type is missing and there is no gene table" in found
        assert "--gene-type-attr" in found
        assert "--gene-table" in found

    def test_a_chosen_cell_id_that_is_missing(self, tmp_path):
        options = ReadOptions(names=AttributeNames(cell_id="barcode"))
        assert refusal(write_loom(tmp_path / "study.loom", COUNTS), options) == (
            "column attribute 'barcode' is missing; it has 'cell_id', 'filter_pass', 'n_counts': "
            "name it with --cell-id-attr"
        )

    def test_a_chosen_name_that_is_missing_is_the_one_named(self, tmp_path):
        options = ReadOptions(names=AttributeNames(n_counts="total"))
        assert refusal(write_loom(tmp_path / "study.loom", COUNTS), options).startswith(
            "column attribute 'total' is missing; it has 'cell_id', 'filter_pass', 'n_counts'"
        )

    def test_no_attributes_at_all(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", COUNTS)
        with h5py.File(path, "r+") as file:
            del file["row_attrs"]
            del file["col_attrs"]
        assert refusal(path).startswith("row attribute 'ensembl_id' is missing; it has none")

    @pytest.mark.parametrize("name", ["n_counts", "filter_pass", "cell_id"])
    @pytest.mark.parametrize("content", [[1, 2], [1, 2, 3, 4], [[1, 2, 3]], 1], ids=["short", "long", "2-d", "scalar"])
    def test_a_column_attribute_of_another_shape(self, tmp_path, name, content):
        path = write_loom(tmp_path / "study.loom", COUNTS, **{name: content})
        assert refusal(path) == (
            f"column attribute '{name}' has shape {np.shape(content)}, where the matrix has 3 cells"
        )

    @pytest.mark.parametrize("name", ["ensembl_id", "gene_type"])
    @pytest.mark.parametrize("content", [["A"], ["A", "B", "C"]], ids=["short", "long"])
    def test_a_row_attribute_of_another_length(self, tmp_path, name, content):
        path = write_loom(tmp_path / "study.loom", COUNTS, **{name: content})
        assert refusal(path) == f"row attribute '{name}' has shape ({len(content)},), where the matrix has 2 rows"

    @pytest.mark.parametrize("content", [["1", "2", "3"], np.array([b"1", b"2", b"3"])], ids=["variable", "fixed"])
    def test_totals_that_are_strings(self, tmp_path, content):
        path = write_loom(tmp_path / "study.loom", COUNTS, n_counts=content)
        assert refusal(path) == (
            "column attribute 'n_counts' must be numeric, not strings: name another with --n-counts-attr"
        )

    def test_a_filter_of_another_type(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", COUNTS, filter_pass=np.zeros(3, dtype="c16"))
        assert refusal(path) == (
            "column attribute 'filter_pass' must be numeric, not complex128: name another with --filter-attr"
        )


class TestCounts:
    @pytest.mark.parametrize(
        ("bad", "kind", "shown"),
        [
            (-1.5, "negative", "-1.5"),
            (np.nan, "NaN", "nan"),
            (np.inf, "infinite", "inf"),
            (-np.inf, "infinite", "-inf"),
        ],
    )
    def test_a_bad_count_is_named_by_gene_and_cell(self, tmp_path, bad, kind, shown):
        counts = np.array(COUNTS, dtype=float)
        counts[1, 1] = bad
        path = write_loom(tmp_path / "study.loom", counts)
        assert refusal(path) == (
            f"the matrix holds 1 {kind} count (gene 'ENSG00000000001' in cell 'cell1' has {shown}); "
            "counts must be finite and not below 0"
        )

    def test_bad_counts_are_counted_by_kind_and_the_first_is_shown(self, tmp_path):
        counts = np.ones((200, 100))
        counts[3:7, 50] = -2
        counts[150, ::2] = np.nan
        counts[199, 99] = np.inf
        found = refusal(write_loom(tmp_path / "study.loom", counts, n_counts=np.ones(100)))
        assert found.startswith(
            "the matrix holds 4 negative and 50 NaN and 1 infinite counts (gene 'ENSG00000000003' in cell 'cell50'"
        )

    def test_negative_whole_numbers(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", [[1, -7]], n_counts=[1, 1])
        assert "1 negative count (gene 'ENSG00000000000' in cell 'cell1' has -7)" in refusal(path)

    def test_the_gene_is_that_of_the_row_where_rows_are_left_out_shared_and_unordered(self, tmp_path):
        path = write_loom(
            tmp_path / "study.loom",
            [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, -1]],
            ensembl_id=["D", "X", "B", "B"],
            gene_type=["miRNA", "lncRNA", "miRNA", "miRNA"],
            filter_pass=[0, 1, 1],
        )
        assert "(gene 'B' in cell 'cell2' has -1)" in refusal(path)

    def test_the_gene_is_that_of_the_row_in_a_matrix_larger_than_is_read_at_once(self, tmp_path):
        counts = np.zeros((2_110, 4_100), dtype=np.int64)
        counts[:, 7] = 1
        counts[2_105, 4_090] = -1
        path = write_loom(tmp_path / "study.loom", counts, storage={"chunks": (300, 1025), "compression": "lzf"})
        assert counts.nbytes > 64 << 20
        assert "(gene 'ENSG00000002105' in cell 'cell4090' has -1)" in refusal(path)

    @pytest.mark.parametrize("compute", [True, False])
    def test_infinities_of_both_signs(self, tmp_path, compute):
        path = write_loom(tmp_path / "study.loom", [[np.inf], [-np.inf]])
        assert refusal(path, ReadOptions(compute_n_counts=compute)).startswith("the matrix holds 2 infinite counts")

    def test_bad_counts_cannot_cancel_out_in_a_sum_of_rows(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", [[3], [-2]], ensembl_id=["A", "A"])
        assert "1 negative count (gene 'A'" in refusal(path)


class TestTotals:
    @pytest.mark.parametrize(("total", "shown"), [(0.0, "0"), (-3.0, "-3"), (np.nan, "nan"), (np.inf, "inf")])
    def test_a_passing_cell_with_counts_needs_a_total(self, tmp_path, total, shown):
        path = write_loom(tmp_path / "study.loom", COUNTS, n_counts=[4.0, total, total])
        assert refusal(path) == (
            "column attribute 'n_counts' must be above 0 and finite for every passing cell that has counts; "
            f"it is {shown} for cell 'cell1' (2 such cells)"
        )

    def test_the_attribute_is_named_as_it_is_called(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", COUNTS, n_counts=None, col_total=[4, 4, 0])
        found = refusal(path, ReadOptions(names=AttributeNames(n_counts="total")))
        assert found.startswith("column attribute 'total' must be above 0")
        assert "'cell2' (1 such cell)" in found

    def test_a_sum_that_is_no_total(self, tmp_path):
        counts = [[1.0, 1.0], [np.nan, 0.0]]
        path = write_loom(tmp_path / "study.loom", counts, gene_type=["miRNA", "lncRNA"])
        assert refusal(path, ReadOptions(compute_n_counts=True)) == (
            "the sum of its counts must be above 0 and finite for every passing cell that has counts; "
            "it is nan for cell 'cell0' (1 such cell)"
        )

    def test_a_value_too_large_for_float64(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", [[1.0, 1.0]], n_counts=[1.0, 1e-308])
        assert refusal(path) == (
            "count / n_counts × 10000 of cell 'cell1' is too large for float64: check column attribute 'n_counts'"
        )

    @pytest.mark.parametrize("target_sum", [0, -1.0, float("nan"), float("inf")])
    def test_a_target_sum_that_is_none(self, target_sum):
        with pytest.raises(UsageError, match=f"target_sum must be a number above 0, not {target_sum}"):
            ReadOptions(target_sum=target_sum)


class TestNothingLeft:
    @pytest.mark.parametrize(
        ("content", "holds"),
        [
            ([0, 0, 0], "0 (3 cells)"),
            ([2.0, np.nan, 0.5], "0.5 (1 cell), 2.0 (1 cell), no value (1 cell)"),
            ([False, False, False], "False (3 cells)"),
        ],
    )
    def test_no_passing_cell(self, tmp_path, content, holds):
        assert refusal(write_loom(tmp_path / "study.loom", COUNTS, filter_pass=content)) == (
            f"none of its 3 cells passes: column attribute 'filter_pass' is never 1; it holds {holds}: choose among "
            "these with --filter-value, name another with --filter-attr, or take every cell with --no-cell-filter"
        )

    def test_no_gene_of_the_chosen_types(self, tmp_path):
        assert refusal(write_loom(tmp_path / "study.loom", COUNTS, gene_type=["lncRNA", "snRNA"])) == (
            "no gene is of a chosen type ['protein_coding', 'miRNA']; its gene types are 'lncRNA', 'snRNA'"
        )

    @pytest.mark.parametrize(
        ("ids", "hint"),
        [
            (["TP53", "MIR21"], "gene symbols.*--gene-id-attr"),
            (["ENSMUSG1", "ENSMUSG2"], "another species"),
        ],
    )
    def test_no_gene_known_to_the_table(self, tmp_path, ids, hint):
        path = write_loom(tmp_path / "study.loom", COUNTS, ensembl_id=ids)
        table = GeneTable("/genes.csv", {"ENSG1": "miRNA", "ENSG2": "protein_coding"})
        assert re.fullmatch(
            rf"none of its 2 gene ids is in the gene table /genes\.csv; it has '{ids[0]}', '{ids[1]}': .*{hint}.*",
            refusal(path, ReadOptions(gene_table=table)),
        )


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


class TestSources:
    def names(self, *inputs):
        return [source.name for source in find_sources([str(given) for given in inputs])]

    def test_names_are_relative_to_the_folder_and_ascend(self, tmp_path):
        touch(tmp_path, "b.loom", "a/data/study1.loom", "a/study1.loom", "a/notes.txt", "c.loom.bak")
        assert self.names(tmp_path) == ["a/data/study1", "a/study1", "b"]

    def test_a_file_is_called_by_its_own_name(self, tmp_path):
        touch(tmp_path, "a/study.1.loom")
        (found,) = find_sources([f"{tmp_path}/a/study.1.loom"])
        assert (found.name, found.file.path) == ("study.1", f"{tmp_path}/a/study.1.loom")

    def test_endings_may_be_of_any_case(self, tmp_path):
        touch(tmp_path, "A.LOOM", "b.Loom")
        assert self.names(tmp_path) == ["A", "b"]
        assert self.names(tmp_path / "A.LOOM") == ["A"]

    @pytest.mark.parametrize("spelling", ["{}", "{}/", "file://{}", "{}/x/..", "/{}"])
    def test_any_spelling_of_the_folder_gives_the_same_sources(self, tmp_path, spelling):
        touch(tmp_path, "x/a.loom")
        assert find_sources([spelling.format(tmp_path)]) == find_sources([str(tmp_path)])

    def test_several_inputs_are_put_together(self, tmp_path):
        touch(tmp_path, "one/b.loom", "two/a.loom")
        assert self.names(tmp_path / "one", tmp_path / "two") == ["a", "b"]

    def test_the_same_file_given_twice_is_one_source(self, tmp_path):
        touch(tmp_path, "a.loom")
        assert self.names(tmp_path, tmp_path / "a.loom", f"file:{tmp_path}/a.loom") == ["a"]

    def test_the_same_file_by_two_names_is_refused(self, tmp_path):
        touch(tmp_path, "sub/a.loom")
        with pytest.raises(UsageError, match=rf"{tmp_path}/sub/a\.loom was given twice, as .*'sub/a' and 'a'"):
            self.names(tmp_path, tmp_path / "sub")

    def test_two_files_of_one_name_are_refused(self, tmp_path):
        touch(tmp_path, "one/a.loom", "two/a.loom")
        expected = (
            rf"{tmp_path}/one/a\.loom and {tmp_path}/two/a\.loom would both be the source 'a': give the folder above"
        )
        with pytest.raises(UsageError, match=expected):
            self.names(tmp_path / "one", tmp_path / "two")

    def test_two_files_that_differ_in_the_case_of_their_ending_are_refused(self, tmp_path):
        touch(tmp_path, "a.LOOM", "a.loom")
        with pytest.raises(UsageError, match=r"a\.LOOM and .*a\.loom would both be the source 'a'"):
            self.names(tmp_path)

    def test_a_loom_and_an_h5ad_of_one_name_are_refused(self, tmp_path):
        touch(tmp_path, "a.h5ad", "a.loom", "b.h5ad")
        with pytest.raises(
            UsageError, match=r"a\.h5ad and .*a\.loom would both be the source 'a': if they hold the same"
        ):
            self.names(tmp_path)
        assert self.names(tmp_path / "b.h5ad") == ["b"]

    def test_an_empty_folder_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=rf"^{tmp_path}: there is no \.loom.* file .*below it; it is empty$"):
            self.names(tmp_path)

    def test_a_folder_without_looms_is_refused_with_what_it_holds(self, tmp_path):
        touch(tmp_path, "a.hdf5", "b/c.txt", "d.csv", "e.csv")
        with pytest.raises(
            InputError, match=r"no \.loom.* file .*; it holds 'a\.hdf5', 'b/c\.txt', 'd\.csv' and 1 more$"
        ):
            self.names(tmp_path)

    def test_a_file_of_another_ending_is_refused(self, tmp_path):
        touch(tmp_path, "study.txt")
        with pytest.raises(InputError, match=rf"^{tmp_path}/study\.txt: .*cannot|not a matrix.*must end in \.loom"):
            self.names(tmp_path / "study.txt")

    def test_an_input_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=rf"^{tmp_path}/none: there is no such file or folder$"):
            self.names(tmp_path / "none")

    def test_no_input_is_refused(self):
        with pytest.raises(UsageError, match="no input was given"):
            find_sources([])


def test_a_link_to_nothing_is_a_source_that_cannot_be_read(tmp_path):
    (tmp_path / "gone.loom").symlink_to(tmp_path / "unmounted" / "gone.loom")
    found = find_sources([str(tmp_path)])
    assert [source.name for source in found] == ["gone"]
    assert "there is no such file" in refusal(found[0].file.path)


def test_hidden_files_are_passed_over(tmp_path):
    write_loom(tmp_path / "study1.loom", COUNTS)
    (tmp_path / "._study1.loom").write_bytes(b"what macOS leaves on shared disks")
    assert [source.name for source in find_sources([str(tmp_path)])] == ["study1"]
