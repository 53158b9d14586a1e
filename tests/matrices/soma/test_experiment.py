"""Reading SOMA experiments: the same cells give the same values as from an h5ad, however they are stored and cut."""

import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import tiledbsoma
from h5ads import write_h5ad
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, write_loom
from oracle import loom_values
from reading import assert_same, read, refusal
from somas import write_joined, write_soma

from examples import examples
from median_spark.matrices import AttributeNames, ReadOptions, find_sources, open_matrix, outline
from median_spark.matrices.formats import matrix_stat

GENES, CELLS = 53, 41
CENSUS = ReadOptions(names=AttributeNames(n_counts="raw_sum", filter_pass="is_primary_data"))


@pytest.fixture(scope="module")
def counts():
    return random_counts(np.random.default_rng(7), GENES, CELLS, density=0.3)


@pytest.fixture(scope="module")
def expected(counts, tmp_path_factory):
    """What an h5ad of the same cells gives, which the oracle has confirmed."""
    folder = tmp_path_factory.mktemp("others")
    values = loom_values(write_loom(folder / "study.loom", counts))[0]
    assert_same(read(write_h5ad(folder / "study.h5ad", counts)), values)
    return values


class TestValues:
    @pytest.mark.parametrize("dense", [False, True])
    @pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u2", "i8"])
    def test_what_tiledbsoma_writes_gives_the_values_of_the_h5ad(self, tmp_path, counts, expected, dtype, dense):
        path = write_soma(tmp_path / "exp", counts.astype(dtype), dense=dense)
        assert_same(read(path), expected)
        assert_same(read(path, cuts=[1, 2, 17, 40]), expected)
        assert_same(read(path, ReadOptions(compute_n_counts=True), cuts=[16, 17]), expected)

    @pytest.mark.parametrize("pieces", [1, 4])
    def test_gaps_in_joinids_and_arrays_that_were_written_in_pieces(self, tmp_path, counts, expected, pieces):
        rng = np.random.default_rng(3)
        cell_ids, gene_ids = (np.sort(rng.choice(5000, size, replace=False)) for size in (CELLS, GENES))
        path = write_joined(tmp_path / "exp", counts, cell_ids, gene_ids, pieces=pieces)
        assert_same(read(path, CENSUS), expected)
        assert_same(read(path, CENSUS, cuts=[1, 2, 17, 40]), expected)

    def test_joinids_that_are_far_apart(self, tmp_path, counts, expected):
        cell_ids = np.arange(CELLS) * 3_000_000_000 + 7
        gene_ids = np.arange(GENES) * 1_000_000 + 1
        path = write_joined(tmp_path / "exp", counts, cell_ids, gene_ids)
        assert_same(read(path, CENSUS, cuts=[5, 40]), expected)

    @examples(8, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 5))
    def test_any_joinids_and_pieces(self, tmp_path_factory, seed, pieces):
        rng = np.random.default_rng(seed)
        genes, cells = rng.integers(2, 30, 2)
        counts = random_counts(rng, genes, cells, density=0.5)
        counts[0] = 1
        folder = tmp_path_factory.mktemp("any")
        cell_ids, gene_ids = (np.sort(rng.choice(size * 3, size, replace=False)) for size in (cells, genes))
        path = write_joined(folder / "exp", counts, cell_ids, gene_ids, pieces=pieces)
        cuts = sorted(set(rng.integers(1, cells, 2).tolist())) if cells > 1 else []
        assert_same(read(path, CENSUS, cuts=cuts), loom_values(write_loom(folder / "study.loom", counts))[0])

    def test_cells_that_do_not_pass_are_left_out(self, tmp_path, counts):
        passed = np.arange(CELLS) % 3 > 0
        path = write_joined(tmp_path / "exp", counts, range(CELLS), range(GENES), obs={"is_primary_data": passed})
        assert_same(
            read(path, CENSUS),
            loom_values(write_loom(tmp_path / "s.loom", counts, filter_pass=passed.astype(np.int64)))[0],
        )

    def test_categories_texts_and_missing_values_of_obs(self, tmp_path, counts):
        kinds = pa.array([["low", "full", None][cell % 3] for cell in range(CELLS)]).dictionary_encode()
        path = write_joined(tmp_path / "exp", counts, range(CELLS), range(GENES), obs={"pass_filter": kinds})
        options = ReadOptions(
            names=AttributeNames(n_counts="raw_sum", filter_pass="pass_filter"), filter_values=("full",)
        )
        passed = (np.arange(CELLS) % 3 == 1).astype(np.int64)
        assert_same(read(path, options), loom_values(write_loom(tmp_path / "s.loom", counts, filter_pass=passed))[0])

    def test_cell_ids_are_of_obs_id_else_joinids(self, tmp_path, counts):
        with open_matrix(write_soma(tmp_path / "named", counts), AttributeNames()) as matrix:
            assert matrix.cell_ids(3, 5).tolist() == ["cell3", "cell4"]
        with open_matrix(
            write_joined(tmp_path / "numbered", counts, np.arange(CELLS) * 10, range(GENES)), AttributeNames()
        ) as matrix:
            assert matrix.cell_ids(3, 5).tolist() == ["30", "40"]

    def test_units_follow_tiles_and_a_small_limit(self, tmp_path, counts):
        path = write_soma(tmp_path / "exp", np.tile(counts, (1, 120)))
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.cells_per_tile() == 2048
            units = outline(matrix, ReadOptions(), unit_entries=40_000).units
            assert [unit.first for unit in units] == [0, 2048, 4096]
            assert matrix.stored_bytes(0, 4920) == pytest.approx(
                matrix.stored_bytes(0, 2000) + matrix.stored_bytes(2000, 4920)
            )


class TestLayers:
    def test_raw_of_an_anndata_is_found_where_x_holds_no_counts(self, tmp_path, counts, expected):
        path = write_soma(tmp_path / "exp", np.log1p(counts.astype(np.float32)), layer="data", raw=counts,
                          obs={"n_counts": counts.sum(axis=0).astype(np.float64)})  # fmt: skip
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.place == "ms['raw'].X['data']"
            assert "holds no counts" in matrix.warnings()[0]
            assert matrix.count_layers() == []
        assert refusal(path, ReadOptions(layer="RNA/data")).startswith("ms['RNA'].X['data'] holds ")
        assert_same(read(path), expected)

    def test_a_layer_by_its_name_alone(self, tmp_path, counts, expected):
        path = write_soma(tmp_path / "exp", counts, layer="umi", measurement="Gene")
        assert_same(read(path), expected)
        assert_same(read(path, ReadOptions(layer="umi")), expected)
        assert_same(read(path, ReadOptions(layer="Gene/umi")), expected)
        assert refusal(path, ReadOptions(layer="spliced")) == (
            "there is no layer 'spliced'; it has 'Gene/umi': name it with --layer, measurement and layer with a slash "
            "between"
        )


class TestBadExperiments:
    def test_a_missing_folder(self, tmp_path):
        assert refusal(tmp_path / "none.soma").startswith("not a matrix that can be read")

    def test_a_collection_of_experiments_names_them(self, tmp_path, counts):
        with tiledbsoma.Collection.create(str(tmp_path / "all")) as collection:
            collection.add_new_collection("homo_sapiens", tiledbsoma.Experiment)
        assert refusal(tmp_path / "all") == (
            "this is a SOMACollection and no experiment: name what it holds, 'homo_sapiens'"
        )

    @pytest.mark.parametrize(("entry", "axis"), [((5, 1, 3), "cells"), ((1, 5, 3), "genes")])
    def test_an_entry_of_what_obs_or_var_lacks(self, tmp_path, counts, entry, axis):
        ids = [0, 1, 2, 3, 4, *range(6, 1000)]
        path = write_joined(tmp_path / "exp", counts, ids[:CELLS], ids[:GENES], more=[entry])
        frame = "obs" if axis == "cells" else "var"
        assert refusal(path, CENSUS) == (
            f"ms['RNA'].X['raw'] has an entry of soma_joinid 5 of {axis}, which {frame} does not have; the experiment "
            "is damaged"
        )

    def test_entries_beyond_obs(self, tmp_path, counts):
        path = write_joined(tmp_path / "exp", counts, range(CELLS), range(GENES), more=[(99, 0, 1)])
        assert refusal(path, CENSUS) == (
            "ms['RNA'].X['raw'] has cells of soma_joinid 0 to 99, where obs has 0 to 40; the experiment is damaged"
        )

    @pytest.mark.parametrize(("bad", "kind"), [(-1.0, "negative"), (np.nan, "NaN"), (np.inf, "infinite")])
    def test_impossible_counts(self, tmp_path, counts, bad, kind):
        held = counts.astype(np.float64)
        held[3, 2] = bad
        path = write_joined(tmp_path / "exp", held, range(CELLS), range(GENES), obs={"raw_sum": np.full(CELLS, 9.0)})
        assert f"ms['RNA'].X['raw'] holds 1 {kind} count" in refusal(path, CENSUS)

    def test_fractions(self, tmp_path, counts):
        path = write_joined(tmp_path / "exp", counts * 0.5, range(CELLS), range(GENES))
        assert "ms['RNA'].X['raw'] holds" in (message := refusal(path, CENSUS))
        assert "not whole" in message

    @pytest.mark.parametrize("member", ["ms/RNA/X/raw", "ms/RNA/var", "ms/RNA", "obs"])
    def test_members_that_lie_elsewhere_are_not_read(self, tmp_path, counts, member):
        path = write_soma(tmp_path / "study.soma", counts)
        other = write_soma(tmp_path / "other.soma", counts + 1)
        folder, name = f"{path}/{member}".rsplit("/", 1)
        with tiledbsoma.open(folder, "w") as held:
            del held[name]
        with tiledbsoma.open(folder, "w") as held, tiledbsoma.open(f"{other}/{member}") as elsewhere:
            held.set(name, elsewhere, use_relative_uri=False)
        said = refusal(path)  # in which a long address has no middle
        assert said.startswith(f"'{name}' lies outside the experiment, at file://")
        assert said.endswith(f"/other.soma/{member}: copy the experiment with all that it refers to")

    def test_a_column_that_is_missing(self, tmp_path, counts):
        path = write_joined(tmp_path / "exp", counts, range(CELLS), range(GENES))
        assert refusal(path).startswith(
            "obs column 'filter_pass' is missing; it has 'is_primary_data', 'raw_sum': name it with --filter-attr"
        )

    @pytest.mark.parametrize("gone", ["obs", "ms/RNA/var", "ms/RNA/X/raw", "ms/RNA/X"])
    def test_a_part_that_was_deleted(self, tmp_path, counts, gone):
        path = write_joined(tmp_path / "exp", counts, range(CELLS), range(GENES))
        shutil.rmtree(f"{path}/{gone}")
        assert refusal(path, CENSUS)

    @pytest.mark.parametrize("left", [0.0, 0.5, 0.95])
    def test_files_that_are_cut_off(self, tmp_path, counts, left):
        path = write_joined(tmp_path / "exp", counts, range(CELLS), range(GENES))
        for file in (tmp_path / "exp/ms/RNA/X/raw/__fragments").rglob("*.tdb"):
            content = file.read_bytes()
            file.write_bytes(content[: int(len(content) * left)])
        assert "damaged" in refusal(path, CENSUS)

    def test_a_library_that_is_missing(self, tmp_path, counts):
        path = write_soma(tmp_path / "exp", counts)
        program = (
            "import sys\nsys.modules['tiledbsoma'] = None\n"
            "from median_spark.matrices import open_matrix, AttributeNames\n"
            f"open_matrix({path!r}, AttributeNames())"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert f"{path}: reading this needs tiledbsoma: pip install 'median_spark[soma]'" in ended.stderr


class TestSources:
    def test_an_experiment_is_one_source_and_changes_when_it_is_written_to(self, tmp_path, counts):
        path = write_soma(tmp_path / "corpus" / "study.soma", counts)
        (found,) = find_sources([str(tmp_path / "corpus")])
        assert (found.name, found.file.path) == ("study", path)
        assert found.file == matrix_stat(path)
        with tiledbsoma.open(f"{path}/ms/RNA/X/raw", "w") as array:
            array.write(pa.table({"soma_dim_0": pa.array([0]), "soma_dim_1": pa.array([0]),
                                  "soma_data": pa.array([1], pa.from_numpy_dtype(counts.dtype))}))  # fmt: skip
        assert matrix_stat(path) != found.file
