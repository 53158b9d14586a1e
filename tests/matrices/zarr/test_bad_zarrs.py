"""Zarr stores that are damaged, incomplete or hostile: one sentence that names store and place, or a warning."""

import json
import re
import shutil
import tracemalloc

import numcodecs
import numpy as np
import pytest
import zarr
from h5ads import categorical, nullable
from looms import random_counts
from reading import convert, read, refusal
from zarrs import VERSIONS, change, chunk_files, write_zarr

from median_spark.errors import InputError
from median_spark.matrices import AttributeNames, ReadOptions, open_matrix, outline

GENES, CELLS = 30, 40


@pytest.fixture
def counts():
    return random_counts(np.random.default_rng(3), GENES, CELLS, density=0.4)


def warnings_of(path, **options):
    with open_matrix(str(path), AttributeNames(), "auto") as matrix:
        return outline(matrix, ReadOptions(**options)).warnings


class TestRoots:
    def refusal(self, path):
        with pytest.raises(InputError) as refused:
            open_matrix(str(path), AttributeNames())
        message = str(refused.value)
        assert message.startswith(f"{path}: ")
        return message.removeprefix(f"{path}: ")

    def test_what_is_no_store(self, tmp_path):
        path = tmp_path / "a.zarr"
        assert "not a matrix that can be read" in self.refusal(path)
        path.mkdir()
        assert "not a matrix that can be read" in self.refusal(path)

    def test_an_array(self, tmp_path):
        path = tmp_path / "a.zarr"
        zarr.save_array(str(path), np.arange(3))
        assert self.refusal(path) == (
            "this folder is an array of zarr; an AnnData store is a group of zarr version 2 or 3"
        )

    def test_another_group(self, tmp_path):
        path = tmp_path / "a.zarr"
        zarr.open_group(str(path), mode="w").create_group("points")
        assert self.refusal(path) == (
            "this zarr store is no AnnData: attribute 'encoding-type' of its root is missing, and must be 'anndata', "
            "or 'annbatch-preshuffled' with groups dataset_0, dataset_1 …; it has 'points'"
        )

    def test_a_group_with_an_anndata_in_it(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        zarr.open_group(str(path), mode="w").create_group("tables")
        write_zarr(path / "tables/table", counts)
        assert self.refusal(path) == (
            "this zarr store is no AnnData, but has 'tables/table' in it: name one of these as the input, "
            f"{path}/tables/table"
        )
        assert read(path / "tables/table")

    @pytest.mark.parametrize("version", VERSIONS)
    def test_no_obs(self, tmp_path, counts, version):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, version=version)
        shutil.rmtree(path / "obs")
        assert (
            self.refusal(path) == "this zarr store is no AnnData: it must have 'obs', 'var' and 'X'; it has 'X', 'var'"
        )

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"zarr_format": 3}', '{"zarr_format": 3, "node_type": 1}'])
    @pytest.mark.parametrize("node", ["", "obs", "X", "X/data"])
    def test_metadata_that_are_damaged(self, tmp_path, counts, node, content):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts)
        (path / node / "zarr.json").write_text(content)
        assert "cannot be read; the store is damaged" in self.refusal(path)

    def test_an_empty_collection(self, tmp_path):
        path = tmp_path / "a.zarr"
        zarr.open_group(str(path), mode="w").attrs["encoding-type"] = "annbatch-preshuffled"
        assert self.refusal(path) == "this collection has no group dataset_0 with an AnnData; it has nothing"

    def test_a_collection_of_different_genes(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        zarr.open_group(str(path), mode="w").attrs["encoding-type"] = "annbatch-preshuffled"
        write_zarr(path / "dataset_0", counts)
        write_zarr(path / "dataset_1", counts[:-1])
        with pytest.raises(InputError, match="dataset_1: its 29 genes are not the 30 of dataset_0"):
            convert(path)


class TestMissingChunks:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("node", ["X/data", "X/indices", "X/indptr", "obs/_index", "var/ensembl_id"])
    def test_what_is_never_left_out_is_refused(self, tmp_path, counts, node, version):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, version=version, chunk=9)
        file = chunk_files(path, node)[1]
        file.unlink()
        place = {
            "X/data": "'data' of X",
            "X/indices": "'indices' of X",
            "X/indptr": "'indptr' of X",
            "obs/_index": "obs column '_index'",
            "var/ensembl_id": "var column 'ensembl_id'",
        }[node]
        message = refusal(path)
        assert message.startswith(f"{place} lacks 1 chunk of ")
        assert f"('{file.relative_to(path)}'), which zarr would read as" in message
        assert "copy the store again from where it came" in message

    @pytest.mark.parametrize("version", VERSIONS)
    def test_numbers_of_cells_that_may_be_left_out_are_warned_of(self, tmp_path, counts, version):
        passed = np.ones(CELLS, dtype=np.int64)
        passed[:30] = 0
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, version=version, chunk=9, filter_pass=passed)
        sharded = "sharded" in version
        missing = (
            "1 chunk of 2 is not in the store and was" if sharded else "3 chunks of 5 are not in the store and were"
        )
        assert warnings_of(path) == (
            f"obs column 'filter_pass': {missing} read as 0, for zarr leaves out chunks of only that; if files were "
            "lost, copy the store again",
        )
        assert all(cells.min() >= 30 for cells, _ in read(path).values())

    def test_codes_and_masks_that_may_be_left_out_are_warned_of(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        write_zarr(
            path, counts, filter_pass=nullable([True] * CELLS, "boolean"),
            gene_type=categorical(["miRNA"] * GENES, ["miRNA", "protein_coding"]),
        )  # fmt: skip
        codes, mask = warnings_of(path)
        assert codes.startswith("var column 'gene_type': 1 chunk of 1 is not in the store and was read as 0")
        assert mask.startswith("the mask of obs column 'filter_pass': 1 chunk of 1 is not in the store and was read as")

    def test_totals_that_were_lost_are_refused(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, chunk=9)
        chunk_files(path, "obs/n_counts")[1].unlink()
        assert "must be above 0 and finite" in refusal(path)

    def test_dense_tiles_without_counts_are_read_as_0_and_told(self, tmp_path, counts):
        counts[:16, :9] = 0
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, "dense", chunk=9)
        assert [sentence.partition(":")[0] for sentence in warnings_of(path)] == ["X"]
        assert "1 chunk of 10 is not in the store and was read as 0" in warnings_of(path)[0]
        write_zarr(tmp_path / "b.zarr", counts, "csr")
        assert_equal(read(path), read(tmp_path / "b.zarr"))

    def test_dense_cells_without_a_tile_are_refused(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, "dense", chunk=9)
        for file in chunk_files(path, "X")[2:4]:
            file.unlink()
        assert refusal(path) == (
            "X has no chunk of its cells 9 to 18; the store is damaged, was never finished, or these cells have no "
            "counts"
        )

    @pytest.mark.parametrize("name", ["data", "indices"])
    def test_a_shard_that_was_not_finished_is_refused(self, tmp_path, counts, name):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, version="3 sharded", chunk=50)
        array = zarr.open_array(str(path / "X" / name), mode="r+")
        array[50:100] = 0  # as zarr leaves a chunk that was never written
        assert refusal(path) == (
            f"'{name}' of X from 50 to 100 is only 0, as if it had never been written; the store was not finished, or "
            "stores zeros as entries"
        )


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for gene in one:
        assert np.array_equal(one[gene], other[gene])


class TestDamage:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
    @pytest.mark.parametrize("half", [True, False])
    def test_chunks_that_are_cut_off_or_changed(self, tmp_path, counts, kind, version, half):
        for node in ("X",) if kind == "dense" else ("X/data", "X/indices", "X/indptr"):
            path = tmp_path / "a.zarr"
            write_zarr(path, counts, kind, version)
            file = chunk_files(path, node)[0]
            content = file.read_bytes()
            file.write_bytes(content[: len(content) // 2] if half else b"\x07" * len(content))
            message = refusal(path)
            assert "cannot be read; the store is damaged" in message, message
            assert "X" in message

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("codec", ["none", "blosc", "gzip"])
    @pytest.mark.parametrize("part", [2, 20])
    def test_a_chunk_of_any_codec_that_is_cut_off(self, tmp_path, counts, codec, version, part):
        old, new = {
            "none": (None, None),
            "blosc": (numcodecs.Blosc(), zarr.codecs.BloscCodec()),
            "gzip": (numcodecs.GZip(), zarr.codecs.GzipCodec()),
        }[codec]
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, version=version, how={"compressors": old if version == "2" else new})
        file = chunk_files(path, "X/data")[0]
        file.write_bytes(file.read_bytes()[:-part])
        assert re.match(
            "'data' of X from .* cannot be read; the store is damaged", refusal(path, ReadOptions(layer="X"))
        )

    @pytest.mark.parametrize("length", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
    @pytest.mark.parametrize("version", VERSIONS)
    def test_texts_of_any_declared_length(self, tmp_path, counts, version, length):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, version=version, how={"compressors": None})
        file = chunk_files(path, "var/ensembl_id")[0]
        content = bytearray(file.read_bytes())
        assert int.from_bytes(content[4:8], "little") == len("ENSG00000000000")
        content[4:8] = length.to_bytes(4, "little")
        file.write_bytes(content)
        assert "cannot be read; the store is damaged" in refusal(path)

    def test_lists_of_different_lengths(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts)
        entries = np.count_nonzero(counts)
        zarr.open_array(str(path / "X/data"), mode="r+").resize((entries - 1,))
        assert refusal(path).startswith(
            f"X has {entries - 1} data, {entries} indices, and an indptr that ends at {entries}; these three must be"
        )

    def test_a_column_of_another_length(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, n_counts=[1] * 3)
        assert refusal(path) == "obs column 'n_counts' has shape (3,), where the matrix has 40 cells"

    @pytest.mark.parametrize(
        ("value", "said"),
        [(-1, "1 negative count"), (np.nan, "1 NaN count"), (np.inf, "1 infinite count"), (0.5, "not whole")],
    )
    @pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
    def test_counts_that_are_none(self, tmp_path, counts, kind, value, said):
        totals = counts.sum(axis=0)
        counts = counts.astype(np.float32)
        counts[3, 5] = value
        write_zarr(tmp_path / "a.zarr", counts, kind, n_counts=totals)
        assert said in refusal(tmp_path / "a.zarr", ReadOptions(layer="X"))

    def test_a_column_of_what_is_no_number_and_no_string(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, n_counts=np.ones(CELLS, dtype=np.complex64))
        assert refusal(path) == (
            "obs column 'n_counts' must hold strings or numbers; it holds values of type complex64 in 1 dimensions: "
            "name another one"
        )

    def test_an_index_that_leads_out_of_the_store(self, tmp_path, counts):
        (tmp_path / "other").mkdir()
        write_zarr(tmp_path / "other/a.zarr", counts)
        path = tmp_path / "a.zarr"
        write_zarr(path, counts)
        held = json.loads((path / "obs/zarr.json").read_text())
        held["attributes"]["_index"] = "../../other/a.zarr/obs/_index"
        (path / "obs/zarr.json").write_text(json.dumps(held))
        assert "obs has no index" in refusal(path)

    def test_pickles_are_not_opened(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, version="2")
        change(path, "obs/n_counts", compressor={"id": "pickle"})
        assert refusal(path) == "'obs/n_counts' is stored as pickles, which may run any code: write it again"


class TestDeclaredSizes:
    @pytest.mark.parametrize("version", ["2", "3"])
    @pytest.mark.parametrize("node", ["X/data", "X/indices", "X/indptr", "obs/_index", "obs/n_counts"])
    def test_an_array_that_is_declared_to_be_huge(self, tmp_path, counts, node, version):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, version=version)
        change(path, node, shape=[10**12])
        self.refused_cheaply(path)

    @pytest.mark.parametrize("node", ["X/data", "X/indptr", "obs/n_counts"])
    def test_a_chunk_that_is_declared_to_be_huge(self, tmp_path, counts, node):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, version="2")
        change(path, node, chunks=[10**10])
        assert "is declared to have chunks of" in self.refused_cheaply(path)

    def test_a_matrix_that_is_declared_to_be_huge(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, version="2")
        place = path / "X/.zattrs"
        place.write_text(json.dumps(json.loads(place.read_text()) | {"shape": [10**10, GENES]}))
        assert "is declared to be 10,000,000,000 × 30, where the store has" in self.refused_cheaply(path)

    def test_a_dense_matrix_that_is_declared_to_be_huge(self, tmp_path, counts):
        path = tmp_path / "a.zarr"
        write_zarr(path, counts, "dense", version="2")
        change(path, "X", shape=[10**7, 10**7])
        self.refused_cheaply(path)
        change(path, "X", shape=[10**6, 10**6], chunks=[1, 1])
        assert "is declared to have 1,000,000,000,000 chunks" in self.refused_cheaply(path)

    def refused_cheaply(self, path):
        with pytest.raises(InputError):
            read(path)  # imports what reading needs
        tracemalloc.start()
        message = refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
        tracemalloc.stop()
        return message


class TestColumnOrder:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize(("listed", "columns"), [(["n_counts"], ["n_counts"]), ([], []), ("", []),
                                                     ("n_counts", ["n_counts"])])  # fmt: skip
    def test_columns_are_those_that_the_frame_lists(self, tmp_path, counts, version, listed, columns):
        path = write_zarr(tmp_path / "a.zarr", counts, version=version)
        zarr.open_group(path)["obs"].attrs["column-order"] = listed
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.attributes("cell") == columns

    @pytest.mark.parametrize("listed", [3, [1, 2], {"n_counts": 0}, ["n_counts"] * 1_001])
    def test_what_is_no_list_of_members(self, tmp_path, counts, listed):
        path = write_zarr(tmp_path / "a.zarr", counts)
        zarr.open_group(path)["obs"].attrs["column-order"] = listed
        assert re.fullmatch(
            r"attribute 'column-order' of 'obs' must list some of the group's members; it is .*", refusal(path)
        )
