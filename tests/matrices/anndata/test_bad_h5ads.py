"""An h5ad that cannot be used is refused by an error that names file and field, what was found, what is allowed."""

import re
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from h5ads import KINDS, categorical, put_sparse, write_h5ad
from looms import random_counts
from reading import read, refusal

from median_spark.matrices import AttributeNames, ReadOptions, open_matrix

COUNTS = [[1, 0, 2], [3, 4, 0]]


@pytest.fixture
def path(tmp_path):
    return write_h5ad(tmp_path / "study.h5ad", COUNTS)


def rewritten(path, kind="csr", shape=(3, 2), data=(1, 3, 4, 2), indices=(0, 1, 1, 0), indptr=(0, 2, 3, 4)):
    """Replace the lists of X; by default by sound ones of the same counts, by cell."""
    with h5py.File(path, "r+") as file:
        del file["X"]
        put_sparse(file, "X", kind, shape, *(np.array(each) for each in (data, indices, indptr)))
    return path


def by_gene(path, data=(1, 2, 3, 4), indices=(0, 2, 0, 1), indptr=(0, 2, 4)):
    return rewritten(path, "csc", data=data, indices=indices, indptr=indptr)


def test_the_lists_that_these_tests_damage_are_sound(path):
    expected = {gene: values.tolist() for gene, (_, values) in read(path).items()}
    for rewrite in (rewritten, by_gene):
        assert {gene: values.tolist() for gene, (_, values) in read(rewrite(path)).items()} == expected


class TestFile:
    def test_a_missing_file(self, tmp_path):
        assert refusal(tmp_path / "none.h5ad") == "there is no such file"

    def test_a_file_that_is_no_hdf5(self, tmp_path):
        (tmp_path / "study.h5ad").write_text("gene,cell\n")
        assert refusal(tmp_path / "study.h5ad").startswith("this is not an HDF5 file, or it is damaged (")

    @pytest.mark.parametrize("left", [0.2, 0.5, 0.99])
    def test_a_truncated_file(self, tmp_path, left):
        whole = Path(write_h5ad(tmp_path / "study.h5ad", random_counts(np.random.default_rng(1), 99, 99)))
        kept = int(whole.stat().st_size * left)
        whole.write_bytes(whole.read_bytes()[:kept])
        assert refusal(whole).startswith(f"this HDF5 file is cut off after {kept:,} bytes: copy it again")

    def test_a_loom_by_another_name(self, tmp_path):
        from looms import write_loom

        assert refusal(write_loom(tmp_path / "study.h5ad", COUNTS)).startswith(
            "this HDF5 file is no h5ad: it must have 'obs', 'var' and 'X'; it has 'attrs', 'col_attrs', 'col_graphs'"
        )

    def test_an_h5ad_by_another_name(self, path):
        Path(path).rename(f"{path}.loom")
        assert refusal(f"{path}.loom").startswith("this HDF5 file is no loom: it has no dataset 'matrix'; it has 'X'")

    @pytest.mark.parametrize(
        ("gone", "found"),
        [
            ("X", "there is no X in this file; it has none: name it with --layer"),
            ("var", "this HDF5 file is no h5ad: it must have 'obs', 'var' and 'X'; it has 'X', 'obs'"),
            (
                "X/indptr",
                "X must have a list of whole numbers 'indptr'; the file is damaged, or was not written as it should be",
            ),
            ("X/data", "X must have a list of numbers 'data'; it has none; the file is damaged, or was not written"),
            ("obs/_index", "obs has no index: its attribute '_index' must name one of its columns"),
        ],
    )
    def test_a_part_that_is_missing(self, path, gone, found):
        with h5py.File(path, "r+") as file:
            del file[gone]
        assert refusal(path).startswith(found)

    @pytest.mark.parametrize("kind", KINDS)
    def test_bytes_that_are_overwritten(self, tmp_path, kind):
        counts = random_counts(np.random.default_rng(1), 300, 200, density=0.5)
        storage = {"chunks": (64 if kind == "dense" else 1_000, 64), "compression": "gzip"}
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind, storage=storage)
        with h5py.File(path) as file:
            lists = file["X"] if kind == "dense" else file["X/indices"]
            chunk = lists.id.get_chunk_info_by_coord((128, 64) if kind == "dense" else (1_000,))
        with Path(path).open("r+b") as file:
            file.seek(chunk.byte_offset)
            file.write(b"\xff" * chunk.size)
        where = r"X at cells 128 to 192, genes 64 to 128" if kind == "dense" else r"'X/indices' from 1,000 to 2,000"
        assert re.match(rf"{where} cannot be read; the file is damaged \(", refusal(path))


class TestLists:
    @pytest.mark.parametrize("kind", ["csr", "csc"])
    @pytest.mark.parametrize(("gone", "found"), [("encoding-type", "missing"), ("csr_vector", "'csr_vector'")])
    def test_a_kind_that_is_not_known(self, tmp_path, kind, gone, found):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, kind)
        with h5py.File(path, "r+") as file:
            del file["X"].attrs["encoding-type"]
            if gone != "encoding-type":
                file["X"].attrs["encoding-type"] = gone
        assert refusal(path) == (
            f"X is a group whose attribute 'encoding-type' is {found}; it must be csr_matrix or csc_matrix, or X must "
            "be a dense dataset"
        )

    @pytest.mark.parametrize("shape", [None, [3], [3, 2, 1], [3.0, 2.0], [-3, 2], "3x2"])
    def test_a_shape_that_is_none(self, path, shape):
        with h5py.File(path, "r+") as file:
            del file["X"].attrs["shape"]
            if shape is not None:
                file["X"].attrs["shape"] = shape
        assert refusal(path).startswith(
            "X must have an attribute 'shape' of two whole numbers, cells and genes; it is "
        )

    @pytest.mark.parametrize(
        ("changes", "found"),
        [
            ({"indptr": (0, 2, 3)}, "X has an indptr of 3 numbers, where its shape (3, 2) asks for 4"),
            ({"indptr": (1, 2, 3, 4)}, "X has an indptr that begins with 1, where it must with 0"),
            ({"indptr": (0, 3, 2, 4)}, "X has an indptr that falls from 3 to 2; it must never fall"),
            ({"indptr": (0, 2, 3, 5)}, "X has 4 data, 4 indices, and an indptr that ends at 5; these three must"),
            ({"indptr": (0, 2, 3, 3)}, "X has 4 data, 4 indices, and an indptr that ends at 3; these three must"),
            ({"data": (1, 3, 4)}, "X has 3 data, 4 indices, and an indptr that ends at 4; these three must"),
            ({"indptr": (0.0, 2.0, 3.0, 4.0)}, "X must have a list of whole numbers 'indptr'"),
            ({"indices": (0.0, 1.0, 1.0, 0.0)}, "X must have a list of whole numbers 'indices'; it is float64"),
            ({"indices": ((0, 1), (1, 0))}, "X must have a list of whole numbers 'indices'; it is int64 with 2 dim"),
            ({"data": (b"1", b"2", b"3", b"4")}, "X must have a list of numbers 'data'; it is |S1 with 1 dimensions"),
            ({"indices": (0, 1, 2, 0)}, "X has the gene number 2 at entry 2, where it has 2 genes"),
            ({"indices": (0, 1, -1, 0)}, "X has the gene number -1 at entry 2, where it has 2 genes"),
            ({"indices": (0, 1, 1 << 40, 0)}, "X has the gene number 1,099,511,627,776 at entry 2, where it"),
        ],
    )  # fmt: skip
    def test_lists_by_cell_that_do_not_fit_together(self, path, changes, found):
        assert refusal(rewritten(path, **changes)).startswith(found)

    @pytest.mark.parametrize(
        ("changes", "found"),
        [
            ({"indices": (0, 3, 0, 1)}, "X has the cell number 3 at entry 1, where it has 3 cells"),
            ({"indices": (0, -2, 0, 1)}, "X has the cell number -2 at entry 1, where it has 3 cells"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("compute", [False, True])
    def test_lists_by_gene_that_do_not_fit_together(self, path, changes, found, compute):
        assert refusal(by_gene(path, **changes), ReadOptions(compute_n_counts=compute)).startswith(found)

    @pytest.mark.parametrize(
        "content", [np.zeros((2, 3, 4)), np.zeros(3), np.array([[b"1"]])], ids=["3-d", "1-d", "text"]
    )
    def test_a_dense_x_of_another_shape_or_type(self, tmp_path, content):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, "dense")
        with h5py.File(path, "r+") as file:
            del file["X"]
            file["X"] = content
        assert refusal(path) == (
            f"X must be numeric with 2 dimensions, cells and genes; it is {content.dtype} with {content.ndim}"
        )


class TestColumns:
    @pytest.mark.parametrize(
        ("name", "remedy"),
        [
            ("n_counts", "name it with --n-counts-attr, or sum them from the matrix with --compute-n-counts"),
            ("filter_pass", "name it with --filter-attr, or take every cell with --no-cell-filter"),
        ],
    )
    def test_a_missing_obs_column(self, tmp_path, name, remedy):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, **{name: None}, obs_other=[1, 2, 3])
        there = ", ".join(repr(column) for column in sorted({"n_counts", "filter_pass", "other"} - {name}))
        assert refusal(path) == f"obs column '{name}' is missing; it has {there}: {remedy}"

    def test_a_missing_cell_id(self, path):
        options = ReadOptions(names=AttributeNames(cell_id="barcode"))
        assert refusal(path, options) == (
            "obs column 'barcode' is missing; it has 'filter_pass', 'n_counts': name it with --cell-id-attr"
        )

    @pytest.mark.parametrize("content", [["1", "2", "3"], categorical(["a", "b", "a"])], ids=["text", "categories"])
    def test_numbers_that_are_text(self, tmp_path, content):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, n_counts=content)
        assert refusal(path) == "obs column 'n_counts' must be numeric, not strings: name another with --n-counts-attr"

    @pytest.mark.parametrize(
        "content", [[1, 2], [1, 2, 3, 4], [[1, 2, 3]], categorical([1, 1])], ids=["two", "four", "2-D", "categories"]
    )
    def test_an_obs_column_of_another_length(self, tmp_path, content):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, filter_pass=content)
        shape = (2,) if callable(content) else np.shape(content)
        assert refusal(path) == f"obs column 'filter_pass' has shape {shape}, where the matrix has 3 cells"

    @pytest.mark.parametrize("name", ["ensembl_id", "gene_type"])
    def test_a_var_column_of_another_length(self, tmp_path, name):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, **{name: ["A"]})
        assert refusal(path) == f"var column '{name}' has shape (1,), where the matrix has 2 genes"

    def test_a_raw_var_of_the_length_of_var(self, tmp_path):
        path = write_h5ad(
            tmp_path / "study.h5ad", COUNTS, raw=np.ones((5, 3), int), raw_var={"gene_type": ["miRNA"] * 2}
        )
        assert refusal(path, ReadOptions(layer="raw.X")) == (
            "raw.var column 'gene_type' has shape (2,), where the matrix has 5 genes"
        )

    def test_codes_without_a_category(self, tmp_path):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, gene_type=categorical(["miRNA", "miRNA"]))
        with h5py.File(path, "r+") as file:
            file["var/gene_type/codes"][:] = [0, 7]
        assert refusal(path) == (
            "var column 'gene_type' has the codes 0 to 7, where it has 1 categories; the file is damaged"
        )

    @pytest.mark.parametrize(("encoding", "found"), [(None, "a group without attribute 'encoding-type'"),
                                                     ("rec-array", "of encoding-type 'rec-array'")])  # fmt: skip
    def test_an_encoding_that_is_not_known(self, tmp_path, encoding, found):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, gene_type=categorical(["miRNA", "miRNA"]))
        with h5py.File(path, "r+") as file:
            del file["var/gene_type"].attrs["encoding-type"]
            if encoding:
                file["var/gene_type"].attrs["encoding-type"] = encoding
        assert refusal(path).startswith(f"var column 'gene_type' is {found}; columns can be read that are arrays")

    @pytest.mark.parametrize("part", ["codes", "categories"])
    def test_a_part_of_a_column_that_is_no_dataset(self, tmp_path, part):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, gene_type=categorical(["miRNA", "miRNA"]))
        with h5py.File(path, "r+") as file:
            del file[f"var/gene_type/{part}"]
            file[f"var/gene_type/{part}"] = np.dtype("i4")
        assert refusal(path) == ("var column 'gene_type' must be a dataset, or made of datasets; it is a datatype")

    def test_a_missing_gene_type_without_a_gene_table(self, tmp_path):
        found = refusal(write_h5ad(tmp_path / "study.h5ad", COUNTS, gene_type=None))
        assert "gene type is missing and there is no gene table" in found

    def test_no_passing_cell(self, tmp_path):
        assert refusal(write_h5ad(tmp_path / "study.h5ad", COUNTS, filter_pass=[0, 0, 0])).startswith(
            "none of its 3 cells passes: obs column 'filter_pass' is never 1; it holds 0 (3 cells): choose among these"
        )


class TestCounts:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        ("bad", "words", "shown"),
        [(-1.0, "1 negative", "-1.0"), (np.nan, "1 NaN", "nan"), (np.inf, "1 infinite", "inf")],
    )
    def test_a_bad_count_is_named_by_gene_and_cell(self, tmp_path, kind, bad, words, shown):
        counts = np.array(COUNTS, dtype=float)
        counts[1, 1] = bad
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind, n_counts=[1, 1, 1])
        assert refusal(path, ReadOptions(layer="X")) == (
            f"X holds {words} count (gene 'ENSG00000000001' in cell 'cell1' has {shown}); "
            "counts must be finite and not below 0"
        )

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_fraction_far_from_the_cells_looked_at_first_is_found(self, tmp_path, kind):
        counts = np.ones((30, 2_000), dtype=np.float32)
        counts[7, 300] = 1.25
        path = write_h5ad(tmp_path / "study.h5ad", counts, kind, storage={"chunks": (10, 10), "compression": "gzip"})
        assert refusal(path) == (
            "X holds 1 count that is not whole among 60,000 counts looked at (gene 'ENSG00000000007' in cell 'cell300' "
            "has 1.25): if these are counts and not normalised values, --allow-non-integer takes them as they are"
        )


@pytest.mark.filterwarnings("ignore:.*was written without encoding metadata")
class TestColumnOrder:
    """A column that the frame's list does not name is none, as for anndata; whatever else the list may be is told."""

    @staticmethod
    def listing(path, frame, listed):
        with h5py.File(path, "r+") as file:
            if listed is None:
                del file[frame].attrs["column-order"]
            else:
                file[frame].attrs["column-order"] = listed
        return path

    @staticmethod
    def by_anndata(path, frame):
        return sorted(getattr(anndata.read_h5ad(path), frame).columns)

    @staticmethod
    def by_us(path, side):
        with open_matrix(path, AttributeNames()) as matrix:
            return matrix.attributes(side)

    @pytest.mark.parametrize(
        "listed",
        ["", np.array([], dtype=h5py.string_dtype()), np.array([], dtype="f8"), np.array(["n_counts"], dtype=object),
         np.array([b"n_counts", b"filter_pass"]), np.array(["filter_pass", "n_counts"], dtype=h5py.string_dtype())],
    )  # fmt: skip
    def test_columns_are_those_of_anndata(self, path, listed):
        self.listing(path, "obs", listed)
        assert self.by_us(path, "cell") == self.by_anndata(path, "obs")

    def test_the_index_may_be_a_column_too(self, path):
        with h5py.File(path, "r+") as file:
            file["var"].attrs["_index"] = "ensembl_id"
        assert self.by_us(path, "row") == self.by_anndata(path, "var") == ["ensembl_id", "gene_type"]

    @pytest.mark.parametrize(("listed", "columns"), [(None, ["filter_pass", "n_counts"]), ("n_counts", ["n_counts"]),
                                                     (h5py.Empty("f8"), [])])  # fmt: skip
    def test_what_anndata_refuses_and_is_clear(self, path, listed, columns):
        assert self.by_us(self.listing(path, "obs", listed), "cell") == columns

    @pytest.mark.parametrize(
        ("listed", "found"),
        [(np.array([1, 2]), "int64 of shape (2,)"), (1.5, "float64 of shape ()"),
         (np.array(["n_counts"] * 1_001, dtype=h5py.string_dtype()), "object of shape (1001,)"),
         (np.array([[1, 2]]), "int64 of shape (1, 2)")],
    )  # fmt: skip
    def test_what_is_no_list_of_members(self, path, listed, found):
        assert refusal(self.listing(path, "obs", listed)) == (
            f"attribute 'column-order' of 'obs' must list some of the group's members; it is {found}"
        )

    @pytest.mark.parametrize(("frame", "column", "kept"), [("obs", "n_counts", "filter_pass"),
                                                           ("var", "ensembl_id", "gene_type")])  # fmt: skip
    def test_a_column_that_is_there_and_not_listed(self, path, frame, column, kept):
        said = refusal(self.listing(path, frame, np.array([kept], dtype=h5py.string_dtype())))
        assert said.startswith(
            f"{frame} column '{column}' is not listed by attribute 'column-order' of '{frame}', so for AnnData it is "
            "no column, though the file has data of this name (add the name to the attribute if it should be one); it "
            f"has '{kept}': "
        )
        with open_matrix(path, AttributeNames()) as matrix:
            assert (f"{frame}, not listed", column) in matrix.describe()

    def test_gene_types_that_are_not_listed_select_nothing(self, path):
        listed = np.array(["ensembl_id"], dtype=h5py.string_dtype())
        with open_matrix(self.listing(path, "var", listed), AttributeNames()) as matrix:
            assert matrix.gene_types() is None
