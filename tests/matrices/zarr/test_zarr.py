"""Reading AnnData stores in zarr: the same cells give the same values as from an h5ad and a loom, bit for bit."""

import itertools
import subprocess
import sys
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import zarr
from h5ads import KINDS, categorical, nullable, old_categorical, write_h5ad
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, with_duplicates, write_loom
from oracle import loom_values
from reading import NUMBER_TYPES, assert_same, read
from zarrs import VERSIONS, chunk_files, copy_h5ad, write_zarr

from examples import examples
from median_spark.cli import main
from median_spark.guard import read_guarded
from median_spark.matrices import AttributeNames, ReadOptions, find_sources, matrix_stat, open_matrix, outline
from median_spark.matrices.outline import outline_of

GENES, CELLS = 53, 41


@pytest.fixture(scope="module")
def counts():
    return random_counts(np.random.default_rng(7), GENES, CELLS, density=0.3)


@pytest.fixture(scope="module")
def expected(counts, tmp_path_factory):
    """What a loom of the same cells gives, by the oracle."""
    path = write_loom(tmp_path_factory.mktemp("loom") / "study.loom", counts, ensembl_id=with_duplicates(GENES))
    return loom_values(path)[0]


class TestStorage:
    @pytest.mark.parametrize("chunk", [None, 7])
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_storage_gives_the_values_of_the_loom(self, tmp_path, counts, expected, kind, version, chunk):
        path = write_zarr(tmp_path / "study.zarr", counts, kind, version, chunk, ensembl_id=with_duplicates(GENES))
        assert_same(read(path), expected)
        assert_same(read(path, cuts=[1, 2, 17, 40]), expected)
        assert_same(read(path, ReadOptions(compute_n_counts=True), cuts=[16, 17]), expected)

    @pytest.mark.parametrize(
        ("version", "how"),
        [
            ("2", {"compressors": None}),
            ("2", {"order": "F"}),
            ("2", {"chunk_key_encoding": {"name": "v2", "separator": "/"}}),
            ("3", {"compressors": None}),
            ("3", {"compressors": zarr.codecs.GzipCodec()}),
            ("3", {"compressors": zarr.codecs.BloscCodec(cname="lz4", shuffle="bitshuffle")}),
            ("3", {"compressors": [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()]}),
            ("3", {"chunk_key_encoding": {"name": "default", "separator": "."}}),
        ],
    )
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_codec_gives_the_values_of_the_loom(self, tmp_path, counts, expected, kind, version, how):
        path = write_zarr(
            tmp_path / "study.zarr", counts, kind, version, 100, how=how, ensembl_id=with_duplicates(GENES)
        )
        assert_same(read(path, cuts=[5]), expected)

    @pytest.mark.parametrize("dtype", NUMBER_TYPES)
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("kind", ["csr", "dense"])
    def test_every_number_type_gives_the_values_of_the_loom(self, tmp_path, counts, expected, kind, version, dtype):
        path = write_zarr(
            tmp_path / "study.zarr", counts.astype(dtype), kind, version, ensembl_id=with_duplicates(GENES)
        )
        assert_same(read(path), expected)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_uri_is_read(self, tmp_path, counts, expected, version):
        path = write_zarr(tmp_path / "study.zarr", counts, version=version, ensembl_id=with_duplicates(GENES))
        assert_same(read(f"file://{path}"), expected)

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_more_entries_than_are_read_at_once(self, tmp_path, kind, version):
        counts = random_counts(np.random.default_rng(3), 1_500, 1_200, density=0.4, dtype=np.float32)
        path = write_zarr(tmp_path / "study.zarr", counts, kind, version, 50_000)
        loom = write_loom(tmp_path / "study.loom", counts)
        assert_same(read(path, cuts=[1, 700]), loom_values(loom)[0])

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("kind", ["csr", "csc"])
    def test_a_store_without_an_entry(self, tmp_path, kind, version):
        path = write_zarr(tmp_path / "study.zarr", np.zeros((4, 3), np.int32), kind, version, n_counts=[1, 1, 1])
        assert read(path) == {}

    def test_indices_of_one_gene_may_be_left_out(self, tmp_path):
        path = write_zarr(tmp_path / "study.zarr", np.array([[1, 0, 5]]), n_counts=[10, 10, 10])
        assert not chunk_files(path, "X/indices")
        ((cells, values),) = read(path).values()
        assert (cells.tolist(), values.tolist()) == ([0, 2], [1000, 5000])


@given(
    kind=st.sampled_from(KINDS),
    version=st.sampled_from(VERSIONS),
    chunk=st.integers(20, 200),
    cuts=st.lists(st.integers(0, CELLS), max_size=4).map(sorted),
    seed=st.integers(0, 2**16),
)
@examples(30)
def test_any_chunks_and_cuts_give_the_values_of_the_h5ad(tmp_path_factory, kind, version, chunk, cuts, seed):
    folder = tmp_path_factory.mktemp("any")
    counts = random_counts(np.random.default_rng(seed), GENES, CELLS, density=0.3)
    h5ad = write_h5ad(folder / "study.h5ad", counts, kind)
    assert_same(read(copy_h5ad(h5ad, folder / "study.zarr", version, chunk), cuts=cuts), read(h5ad, cuts=cuts))


class TestFrames:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_every_encoding_of_a_column_gives_the_values_of_the_h5ad(self, tmp_path, counts, version):
        passed = (np.arange(CELLS) % 3 > 0).tolist()
        types = ["miRNA", None, "protein_coding", "lncRNA"] * 13 + ["miRNA"]
        changes = {
            "gene_type": categorical(types),
            "filter_pass": nullable([None if number == 4 else flag for number, flag in enumerate(passed)], "boolean"),
            "n_counts": nullable(counts.sum(axis=0).tolist()),
            "obs_batch": old_categorical(["a", "b"] * 20 + ["a"]),
            "obs_names": [f"zelle-ä{number}" for number in range(CELLS)],
        }
        h5ad = write_h5ad(tmp_path / "study.h5ad", counts, **changes)
        path = copy_h5ad(h5ad, tmp_path / "study.zarr", version, 10)
        assert_same(read(path, cuts=[13]), read(h5ad))
        names = AttributeNames(filter_pass="batch")
        for options in (ReadOptions(names=names, filter_values=("b",)), ReadOptions(names=names, filter_values=("a",))):
            assert_same(read(path, options), read(h5ad, options))
        with open_matrix(path, AttributeNames()) as store, open_matrix(h5ad, AttributeNames()) as file:
            assert store.cell_ids().tolist() == file.cell_ids().tolist()
            assert store.cell_ids(3, 5).tolist() == file.cell_ids(3, 5).tolist()
            assert store.attributes("cell") == file.attributes("cell")

    @pytest.mark.parametrize("version", VERSIONS)
    def test_ids_in_the_index_and_counts_in_raw(self, tmp_path, counts, version):
        logged = np.log1p(counts).astype(np.float32)
        ids = [f"ENSG{number:011d}" for number in range(GENES)]
        h5ad = write_h5ad(
            tmp_path / "study.h5ad", logged, raw=counts, raw_var={"gene_type": categorical(["miRNA"] * GENES)},
            ensembl_id=None, var_names=ids, n_counts=counts.sum(axis=0), layers={"spliced": counts},
        )  # fmt: skip
        path = copy_h5ad(h5ad, tmp_path / "study.zarr", version)
        assert_same(read(path), read(h5ad))
        assert_same(read(path, ReadOptions(layer="spliced", gene_types=("protein_coding",))),
                    read(h5ad, ReadOptions(layer="spliced", gene_types=("protein_coding",))))  # fmt: skip
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.place == "raw.X"
            assert matrix.count_layers() == ["spliced"]


class TestAnndata:
    def adata(self, counts, kind):
        matrix = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix, "dense": np.array}[kind]
        obs = pd.DataFrame(
            {"n_counts": counts.sum(axis=0), "filter_pass": pd.array([True, None] + [True] * (CELLS - 2), "boolean")},
            index=[f"cell{number}" for number in range(CELLS)],
        )
        var = pd.DataFrame(
            {"ensembl_id": with_duplicates(GENES), "gene_type": pd.Categorical(["protein_coding"] * GENES)},
            index=[f"symbol{number}" for number in range(GENES)],
        )
        made = anndata.AnnData(matrix(counts.T.astype(np.float32)), obs, var, layers={"counts": counts.T.copy()})
        made.raw = made
        return made

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_its_stores_give_the_values_of_its_h5ad(self, tmp_path, counts, kind, version):
        made = self.adata(counts, kind)
        made.write_h5ad(tmp_path / "study.h5ad")
        settings = {"zarr_write_format": int(version[0])} | (
            {"auto_shard_zarr_v3": True} if "sharded" in version else {}
        )
        with anndata.settings.override(**settings), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.write_zarr(tmp_path / "study.zarr")
        for layer in ("auto", "X", "raw.X", "counts"):
            options = ReadOptions(layer=layer)
            assert_same(read(tmp_path / "study.zarr", options), read(tmp_path / "study.h5ad", options))

    def test_consolidated_metadata_that_are_out_of_date_are_not_believed(self, tmp_path, counts, expected):
        half = counts[:, :20]
        path = write_zarr(tmp_path / "study.zarr", half, ensembl_id=with_duplicates(GENES))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(path)
        consolidated = (tmp_path / "study.zarr/zarr.json").read_text()
        write_zarr(path, counts, ensembl_id=with_duplicates(GENES))
        (tmp_path / "study.zarr/zarr.json").write_text(consolidated)
        assert_same(read(path), expected)


class TestSources:
    def test_stores_are_found_once_each_and_are_not_searched(self, tmp_path, counts):
        write_zarr(tmp_path / "db/a.zarr", counts, version="2")
        write_zarr(tmp_path / "db/b.zarr", counts)
        write_zarr(tmp_path / "db/without-ending", counts)
        (tmp_path / "db/a.zarr/inside.loom").write_bytes(b"no source")
        found = find_sources([str(tmp_path)])
        assert [source.name for source in found] == ["db/a", "db/b", "db/without-ending"]
        assert found[0].file == matrix_stat(str(tmp_path / "db/a.zarr"))

    def test_a_chunk_that_changes_changes_the_fingerprint(self, tmp_path, counts):
        path = write_zarr(tmp_path / "a.zarr", counts)
        before = matrix_stat(path)
        file = chunk_files(path, "X/data")[0]
        file.write_bytes(file.read_bytes() + b" ")
        assert matrix_stat(path) != before

    def test_the_guard_reads_one_in_a_fork_of_a_process_that_has_used_zarr(self, tmp_path, counts):
        path = write_zarr(tmp_path / "a.zarr", counts)
        read(path)
        assert read_guarded(path, outline_of, path, ReadOptions()).cells == CELLS

    def test_inspect_describes_one(self, tmp_path, counts, capsys):
        path = write_zarr(tmp_path / "a.zarr", counts, version="3 sharded")
        main(["inspect", path])
        text = capsys.readouterr().out
        assert "zarr (AnnData)" in text
        assert "zstd in shards of" in text

    def test_a_missing_library_is_told_with_what_installs_it(self, tmp_path, counts):
        path = write_zarr(tmp_path / "a.zarr", counts)
        program = (
            "import sys; sys.modules['zarr'] = None\n"
            "from median_spark.matrices import AttributeNames, open_matrix\n"
            f"open_matrix({path!r}, AttributeNames())"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[-1].endswith(
            f"InputError: {path}: reading zarr stores needs version 3 of the package zarr: "
            "pip install 'median_spark[zarr]'"
        )


class TestCollections:
    """Stores of annbatch: its writer is not installed here, so its layout is written by hand."""

    def write(self, path, counts, bounds, **changes):
        root = zarr.open_group(str(path), mode="w", zarr_format=3)
        root.attrs.update({"encoding-type": "annbatch-preshuffled", "encoding-version": "0.1.0"})
        for number, (first, last) in enumerate(itertools.pairwise(bounds)):
            more = {name: content[number] for name, content in changes.items()}
            names = [f"cell{cell}" for cell in range(first, last)]
            write_zarr(
                path / f"dataset_{number}", counts[:, first:last], "csr", "3 sharded", obs_names=names,
                **({"ensembl_id": with_duplicates(GENES)} | more),
            )  # fmt: skip
        return str(path)

    def test_the_groups_are_read_as_one(self, tmp_path, counts, expected):
        bounds = [0, 4, 8, 15, 16, 17, 20, 22, 25, 28, 30, 33, CELLS]  # dataset_10 comes after dataset_9
        path = self.write(tmp_path / "all.zarr", counts, bounds)
        assert_same(read(path), expected)
        assert_same(read(path, cuts=[4, 5, 21]), expected)
        assert_same(read(path, ReadOptions(compute_n_counts=True), cuts=[9]), expected)
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.cell_ids(14, 18).tolist() == ["cell14", "cell15", "cell16", "cell17"]
            assert "groups" in dict(matrix.describe())
            assert matrix.shape == (GENES, CELLS)
        assert [source.name for source in find_sources([str(tmp_path)])] == ["all"]

    def test_a_group_may_be_a_source_of_its_own(self, tmp_path, counts):
        self.write(tmp_path / "all.zarr", counts, [0, 15, CELLS])
        found = find_sources([str(tmp_path / "all.zarr/dataset_*")])
        assert [source.name for source in found] == ["dataset_0", "dataset_1"]
        assert read(found[1].file.path)

    def test_groups_may_have_categories_of_their_own(self, tmp_path, counts):
        kinds = [["good", "bad"] * 10, ["fine", "good", "bad"] * 7]
        path = self.write(
            tmp_path / "all.zarr", counts, [0, 20, CELLS], filter_pass=[categorical(column) for column in kinds]
        )
        loom = write_loom(
            tmp_path / "study.loom", counts, ensembl_id=with_duplicates(GENES),
            filter_pass=[int(kind == "good") for kind in kinds[0] + kinds[1]],
        )  # fmt: skip
        assert_same(read(path, ReadOptions(filter_values=("good",)), cuts=[7]), loom_values(loom)[0])


def test_a_unit_holds_no_more_than_its_share(tmp_path):
    """Chunks of cells that are not asked for are not decompressed."""
    counts = random_counts(np.random.default_rng(5), 500, 4_000, density=0.3, dtype=np.int32)
    path = write_zarr(tmp_path / "study.zarr", counts, chunk=20_000)
    for file in chunk_files(path, "X/data")[5:]:
        file.write_bytes(b"damaged")
    with open_matrix(path, AttributeNames(), "X") as matrix:
        entries = matrix.entries(np.arange(500), 0, 400, np.ones(400, dtype=np.bool_))
    assert len(entries.counts) == np.count_nonzero(counts[:, :400])


def test_warnings_are_none_for_what_zarr_leaves_out_for_certain(tmp_path, counts):
    path = write_zarr(tmp_path / "study.zarr", counts, gene_type=categorical(["protein_coding"] * GENES))
    assert not chunk_files(path, "var/gene_type/codes")
    with open_matrix(path, AttributeNames()) as matrix:
        assert outline(matrix, ReadOptions()).warnings == ()
