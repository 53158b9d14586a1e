"""Source by source without Spark: each source's medians are numpy's, its digests merge as the published ones do."""

import pickle
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crick import TDigest
from hypothesis import given
from hypothesis import strategies as st
from published import merge
from tables import record_of

from examples import examples
from median_spark.digests import (
    PICKLE_ENDING,
    DigestFiles,
    check_digest_folder,
    cut_sources,
    read_source_medians,
    sweep_sources,
    write_source_medians,
)
from median_spark.errors import EngineError, OutputError, TableError, UsageError
from median_spark.expression import create_table, plan_source, plan_sweeps, rows_at_once, sweep, write_part
from median_spark.gene_values import GeneValues
from median_spark.results import BY_SOURCE_SCHEMA, assemble_by_source

GENES = [f"ENSG{number:03d}" for number in range(40)]


@dataclass
class Corpus:
    """An expression table, and what is in it: {gene: values} by the name of the source."""

    table: object
    records: list
    content: dict

    def plan(self, **sizes):
        return plan_sweeps(self.table.values, self.records, GENES, **sizes)

    def pooled(self):
        """Return {gene: all values}."""
        pooled = defaultdict(list)
        for genes in self.content.values():
            for gene, values in genes.items():
                pooled[gene].append(values)
        return {gene: np.concatenate(values) for gene, values in sorted(pooled.items())}

    def medians(self):
        """Return what a median table has of these genes."""
        pooled = self.pooled()
        return pa.table(
            {
                "gene": GENES,
                "n_cells": [len(pooled.get(gene, [])) for gene in GENES],
                "median": pa.array([float(np.median(pooled[gene])) if gene in pooled else None for gene in GENES]),
            }
        )


def write_corpus(folder, sources, row_group_rows=20):
    """Write {source: parts}, each part {gene: values}, as an expression table."""
    table = create_table(str(folder))
    gene_list = table.store_genes(GENES)
    records, content = [], {}
    for source, parts in sorted(sources.items()):
        entries, whole = [], defaultdict(list)
        for number, values in enumerate(part for part in parts if part):
            names = sorted(values)
            lengths = [len(values[gene]) for gene in names]
            runs = GeneValues(
                np.array(names),
                np.concatenate([[0], np.cumsum(lengths)]),
                np.concatenate([np.asarray(values[gene], dtype=np.float64) for gene in names]),
                np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
            )
            location = f"{table.values}/source={source.replace('/', '%2F')}/part-{number:05d}.parquet"
            entries.append(write_part(location, runs, np.arange(max(lengths)).astype(np.str_), row_group_rows))
            for gene in names:
                whole[gene] += list(values[gene])
        records.append(replace(record_of(source, parts=entries), gene_list=gene_list))
        content[source] = {gene: np.array(values) for gene, values in whole.items()}
    return Corpus(table, records, content)


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


def work(corpus, folder, tasks, files=None):
    """Do the work of all tasks here, and return the files with their medians and how many values were read."""
    plan = corpus.plan()
    files_of_tasks = [f"{folder}/medians-{number}.parquet" for number in range(len(tasks))]
    return files_of_tasks, [
        sweep_sources(plan, sweeps, location, files) for sweeps, location in zip(tasks, files_of_tasks, strict=True)
    ]


@given(drawn_sources(), st.sampled_from([1, 7, 50, 10**6]), st.sampled_from([5, 40, 10**6]))
@examples(60)
def test_each_sources_medians_are_numpys_to_the_bit(tmp_path_factory, sources, task_rows, row_group_rows):
    folder = tmp_path_factory.mktemp("corpus")
    corpus = write_corpus(folder / "x", sources, row_group_rows)
    values = [record.values for record in corpus.records]
    files_of_tasks, read = work(corpus, folder / "files", cut_sources(values, task_rows=task_rows))
    assert sum(read) == sum(values)
    ratios = assemble_by_source(files_of_tasks, corpus.records, corpus.medians(), folder / "all.parquet")
    found = pq.read_table(folder / "all.parquet")
    assert found.schema.equals(BY_SOURCE_SCHEMA)
    expected = [
        {"source": source, "gene": gene, "n_cells": len(of_gene), "median": float(np.median(of_gene))}
        for source, genes in sorted(corpus.content.items())
        for gene, of_gene in sorted(genes.items())
    ]
    assert found.to_pylist() == expected
    assert [ratio.genes_detected for ratio in ratios] == [len(genes) for _, genes in sorted(corpus.content.items())]


@given(drawn_sources(), st.integers(1, 6))
@examples(40)
def test_the_sweeps_of_a_source_hold_its_values_once(tmp_path_factory, sources, sweeps):
    corpus = write_corpus(tmp_path_factory.mktemp("corpus") / "x", sources, 10)
    plan = corpus.plan()
    for source, record in enumerate(corpus.records):
        own = plan_source(plan, source, sweeps)
        assert own.sweeps <= sweeps
        assert own.bundles == (1 if record.values else 0)
        found = {}
        for number in range(own.sweeps):
            for block in sweep(own, number):
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


@given(
    st.lists(st.integers(0, 100), max_size=200),
    st.booleans(),
    st.integers(1, 60),
    st.sets(st.integers(0, 200), max_size=5),
)
def test_tasks_have_every_sweep_once_in_order_and_few_values(rows, whole, task_rows, alone):
    tasks = cut_sources(rows, whole=whole, alone=alone, task_rows=task_rows)
    sweeps = [each for task in tasks for each in task]
    assert sorted(sweeps, key=lambda each: (each.source, each.number)) == sweeps
    for source, values in enumerate(rows):
        own = [each for each in sweeps if each.source == source]
        wanted = 1 if whole or source in alone else max(1, -(-values // task_rows))
        assert [(each.number, each.sweeps) for each in own] == [(number, wanted) for number in range(wanted)]
    for task in tasks:
        assert len(task) == 1 or sum(rows[each.source] / each.sweeps for each in task) <= task_rows + len(task)
        assert len(task) == 1 or not alone & {each.source for each in task}
    sizes = [sum(rows[each.source] // each.sweeps for each in task) for task in tasks]
    assert all(a + b > task_rows or len(t) >= 64 or alone for (a, b), t in zip(pairwise(sizes), tasks, strict=False))


def test_a_file_that_is_not_visible_is_named(tmp_path):
    with pytest.raises(EngineError, match=r"medians-7.parquet: a worker wrote .* storage that all of them share"):
        list(read_source_medians([f"{tmp_path}/medians-7.parquet"]))


def test_sweeps_that_overlap_are_refused(tmp_path):
    corpus = write_corpus(tmp_path / "x", {"a": [{gene: [1.0, 2.0] for gene in GENES}]}, 10)
    files_of_tasks, _ = work(corpus, tmp_path, cut_sources([80]))
    with pytest.raises(TableError, match="came up twice"):
        list(read_source_medians([files_of_tasks[0], files_of_tasks[0]]))


def test_a_source_with_fewer_values_than_its_record_says_is_named(tmp_path):
    corpus = write_corpus(tmp_path / "x", {"a": [{"ENSG001": [1.0]}], "b": [{"ENSG002": [1.0, 2.0]}]})
    files_of_tasks, _ = work(corpus, tmp_path, cut_sources([1, 2]))
    write_source_medians(files_of_tasks[0], [pq.read_table(files_of_tasks[0]).slice(0, 1)])
    with pytest.raises(TableError, match="source 'b' has 0 values where its record says 2"):
        assemble_by_source(files_of_tasks, corpus.records, corpus.medians(), tmp_path / "all.parquet")


def test_row_groups_of_the_file_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("median_spark.results.sources._ROW_GROUP_ROWS", 50)
    part = {gene: [1.0] for gene in GENES}
    corpus = write_corpus(tmp_path / "x", {f"s{number}": [part] for number in range(9)})
    files_of_tasks, _ = work(corpus, tmp_path, cut_sources([40] * 9, task_rows=100))
    assemble_by_source(files_of_tasks, corpus.records, corpus.medians(), tmp_path / "all.parquet")
    written = pq.ParquetFile(tmp_path / "all.parquet")
    assert [written.metadata.row_group(i).num_rows for i in range(written.num_row_groups)] == [80, 80, 80, 80, 40]


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
        work(corpus, tmp_path, cut_sources([r.values for r in corpus.records], whole=True), files)
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
        work(corpus, tmp_path, cut_sources([r.values for r in corpus.records], whole=True, task_rows=1), files)
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
