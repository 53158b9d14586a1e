"""Files of each source's digests without Spark: they merge as the published ones do."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from corpora import GENES, write_corpus
from crick import TDigest
from hypothesis import given
from hypothesis import strategies as st
from published import merge

from examples import examples
from median_spark.digests import (
    PICKLE_ENDING,
    DigestFiles,
    check_digest_folder,
    digest_sources,
    tasks_of_sources,
)
from median_spark.errors import OutputError, UsageError
from median_spark.expression import plan_source, rows_at_once, sweep


@st.composite
def drawn_sources(draw):
    """Draw sources of several parts, some empty, their values with ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    most = draw(st.sampled_from([1, 4, 30]))

    def part(genes):
        return {g: rng.choice([0.5, 1.0, *rng.lognormal(size=8)], rng.integers(1, most + 1)) for g in genes}

    genes = st.sets(st.sampled_from(GENES), max_size=len(GENES)).map(sorted)
    parts = draw(st.lists(st.lists(genes, max_size=3), min_size=1, max_size=5))
    return {f"db/s{number}": [part(chosen) for chosen in of_source] for number, of_source in enumerate(parts)}


def write_files(corpus, files, task_rows=None):
    """Do the work of all tasks here."""
    values = [record.values for record in corpus.records]
    tasks = tasks_of_sources(values) if task_rows is None else [[number] for number in range(len(values))]
    assert sum(digest_sources(corpus.plan(), task, files) for task in tasks) == sum(values)


@given(drawn_sources())
@examples(40)
def test_the_sweep_of_a_source_holds_its_values(tmp_path_factory, sources):
    corpus = write_corpus(tmp_path_factory.mktemp("corpus") / "x", sources, 10)
    plan = corpus.plan()
    for source, record in enumerate(corpus.records):
        own = plan_source(plan, source)
        assert own.sweeps == own.bundles == (1 if record.values else 0)
        found = {}
        for block in sweep(own, 0) if own.sweeps else ():
            for place, gene in enumerate(block.gene_values.genes.tolist()):
                assert gene not in found
                found[gene] = np.sort(block.gene_values.of_gene(place)).tolist()
        assert found == {g: np.sort(v).tolist() for g, v in corpus.content[record.source].items()}


def test_rows_at_once_are_those_of_the_largest_row_groups(tmp_path):
    part = {gene: [1.0] * 10 for gene in GENES}
    corpus = write_corpus(tmp_path / "x", {"a": [part, part], "b": [{}], "c": [part]}, 100)
    groups = [[max(g.rows for g in part.row_groups) for part in record.parts] for record in corpus.records]
    assert rows_at_once(corpus.plan(), 3).tolist() == [sum(of_source) for of_source in groups]
    assert rows_at_once(corpus.plan(), 3)[1] == 0


@given(st.lists(st.integers(0, 20_000_000), max_size=200))
def test_tasks_have_every_source_once_in_order_and_few_values(rows):
    tasks = tasks_of_sources(rows)
    assert [source for task in tasks for source in task] == list(range(len(rows)))
    most = min(16_000_000, max(2_000_000, -(-sum(rows) // 16)))
    sizes = [sum(rows[source] for source in task) for task in tasks]
    assert all(len(task) == 1 or size <= most for task, size in zip(tasks, sizes, strict=True))
    assert all(len(task) <= 64 for task in tasks)
    assert all(size + rows[after[0]] > most or len(task) == 64
               for task, size, after in zip(tasks, sizes, tasks[1:], strict=False))  # fmt: skip


class TestDigestFiles:
    @pytest.fixture
    def corpus(self, tmp_path):
        rng = np.random.default_rng(4)
        sources = {
            f"db{number}/data/study": [{gene: rng.lognormal(size=rng.integers(1, 900)) for gene in GENES[number:-3]}]
            * 2
            for number in range(3)
        }
        return write_corpus(tmp_path / "x", {**sources, "empty": [{}]}, 500)

    @pytest.fixture
    def pickles(self, corpus, tmp_path):
        locations = tuple(f"{tmp_path}/pickles/{record.source}{PICKLE_ENDING}" for record in corpus.records)
        files = DigestFiles(corpus.table, tuple(r.gene_list for r in corpus.records), locations, 200.0)
        write_files(corpus, files)
        return {record.source: Path(location) for record, location in zip(corpus.records, locations, strict=True)}

    def test_lie_in_the_folders_of_their_sources(self, pickles, tmp_path):
        written = [path for path in (tmp_path / "pickles").rglob("*") if path.is_file()]
        assert set(written) == set(pickles.values())
        assert tmp_path / "pickles" / "db1" / "data" / "study.gene_median_digest_dict.pickle" in written

    def test_hold_a_crick_digest_for_every_gene(self, corpus, pickles):
        for source, path in pickles.items():
            found = pickle.loads(path.read_bytes())
            assert list(found) == GENES
            assert all(type(gene) is str and type(digest) is TDigest for gene, digest in found.items())
            own = corpus.content[source]
            for gene, digest in found.items():
                assert digest.size() == len(own.get(gene, []))
                if gene in own:
                    assert (digest.min(), digest.max()) == (own[gene].min(), own[gene].max())
                else:
                    assert np.isnan(digest.quantile(0.5))

    def test_merge_with_the_published_code_to_near_the_exact_medians(self, corpus, pickles):
        merged = merge((pickle.loads(path.read_bytes()) for path in pickles.values()), GENES)
        pooled = corpus.pooled()
        for gene in GENES:
            assert merged[gene].size() == len(pooled.get(gene, []))
            if gene not in pooled:
                assert np.isnan(merged[gene].quantile(0.5))
                continue
            ordered, estimate = np.sort(pooled[gene]), merged[gene].quantile(0.5)
            below, up_to = np.searchsorted(ordered, estimate, "left"), np.searchsorted(ordered, estimate, "right")
            assert max(below - len(ordered) / 2, len(ordered) / 2 - up_to, 0) <= max(0.02 * len(ordered), 1)

    def test_empty_digests_are_objects_of_their_own(self, pickles):
        found = pickle.loads(pickles["empty"].read_bytes())
        found[GENES[0]].update(np.array([1.0, 2.0]))
        assert found[GENES[1]].size() == 0

    def test_are_the_same_bytes_however_sources_are_grouped(self, corpus, pickles, tmp_path):
        before = {source: path.read_bytes() for source, path in pickles.items()}
        locations = tuple(f"{tmp_path}/again/{record.source}{PICKLE_ENDING}" for record in corpus.records)
        files = DigestFiles(corpus.table, tuple(r.gene_list for r in corpus.records), locations, 200.0)
        write_files(corpus, files, task_rows=1)
        for record, location in zip(corpus.records, locations, strict=True):
            assert Path(location).read_bytes() == before[record.source]


class TestDigestFolder:
    def folder_with(self, tmp_path, *sources):
        for source in sources:
            path = tmp_path / "pickles" / f"{source}{PICKLE_ENDING}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return str(tmp_path / "pickles")

    def test_may_be_new_or_hold_other_things(self, tmp_path):
        assert check_digest_folder(f"{tmp_path}/new/", ["a"], "/r", overwrite=False) == f"{tmp_path}/new"
        (tmp_path / "pickles").mkdir()
        (tmp_path / "pickles" / "a.loom").write_bytes(b"")
        check_digest_folder(str(tmp_path / "pickles"), ["a"], "/r", overwrite=False)
        assert not (tmp_path / "new").exists()

    def test_with_pickles_of_other_sources_is_refused_whatever_is_told(self, tmp_path):
        folder = self.folder_with(tmp_path, "a", "old/b")
        for overwrite in (False, True):
            with pytest.raises(OutputError, match=r"do not belong to this run \('old/b'\)"):
                check_digest_folder(folder, ["a", "c"], "/r", overwrite=overwrite)

    def test_with_pickles_of_the_same_sources_is_refused_unless_told(self, tmp_path):
        folder = self.folder_with(tmp_path, "a", "db/b")
        with pytest.raises(OutputError, match="overwrite=True"):
            check_digest_folder(folder, ["a", "db/b"], "/r", overwrite=False)
        check_digest_folder(folder, ["a", "db/b"], "/r", overwrite=True)

    def test_that_is_a_file_is_refused(self, tmp_path):
        (tmp_path / "f").write_bytes(b"")
        with pytest.raises(OutputError, match="this is a file"):
            check_digest_folder(str(tmp_path / "f"), ["a"], "/r", overwrite=True)

    @pytest.mark.parametrize("within", ["", "/pickles"])
    def test_within_the_result_is_refused(self, tmp_path, within):
        with pytest.raises(UsageError, match="outside"):
            check_digest_folder(f"{tmp_path}/r{within}", ["a"], f"{tmp_path}/r", overwrite=True)
        check_digest_folder(f"{tmp_path}/r2", ["a"], f"{tmp_path}/r", overwrite=True)
