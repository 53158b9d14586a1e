"""Values by group of cells, without Spark: medians of groups that a sweep sees whole, and what it digests of others."""

from collections import defaultdict
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from corpora import GENES, write_corpus
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from median_spark.digests import (
    GROUP_MEDIANS_SCHEMA,
    PACKED_SCHEMA,
    digest_sweep,
    gene_and_group,
    group_medians,
    group_works,
    grouped,
    in_order_of_groups,
    merge_batches,
    read_group_medians,
    unpack_table,
    write_group_medians,
)
from median_spark.errors import EngineError
from median_spark.expression import CellGroups

GROUPS = 4


@st.composite
def drawn_corpora(draw):
    """Draw sources with parts of a few cells each, and the group of each cell, -1 for none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    most = draw(st.sampled_from([1, 5, 60]))
    sources, groups = {}, {}
    for source in range(draw(st.integers(1, 4))):
        parts = []
        for part in range(draw(st.integers(1, 3))):
            genes = rng.permutation(GENES)[: rng.integers(1, 12)]
            parts.append({g: rng.choice([0.5, 1.0, *rng.lognormal(size=8)], rng.integers(1, most + 1)) for g in genes})
            cells = max(map(len, parts[-1].values()))
            alike = draw(st.booleans())
            groups[f"s{source}", part] = (
                np.full(cells, rng.integers(0, GROUPS)) if alike else rng.integers(-1, GROUPS, cells)
            ).astype(np.int32)
        sources[f"s{source}"] = parts
    return sources, groups


def cell_groups(corpus, groups):
    """Return what a plan needs: the groups of the cells of each part."""
    found = {}
    for record in corpus.records:
        for number, part in enumerate(record.parts):
            own = groups[record.source, number]
            ids = pa.array([str(cell) for cell in range(len(own))])
            found[record.source, part.name] = (
                int(own[0]) if (own == own[0]).all() and own[0] >= 0 else CellGroups.of_cells(own, ids, "nowhere")
            )
    return found


def expected(sources, groups):
    """Return {group: {gene: values}}."""
    found = defaultdict(lambda: defaultdict(list))
    for source, parts in sources.items():
        for number, part in enumerate(parts):
            for gene, values in part.items():
                for group, value in zip(groups[source, number], values, strict=False):
                    if group >= 0:
                        found[int(group)][gene].append(value)
    return {group: dict(genes) for group, genes in found.items()}


def swept(plan, works):
    """Do the work of all passes here; return {(group, gene): (n, median, mean, sd)}, and {gene: the same}."""
    found, corpus = {}, {}
    for work in works:
        batches = [
            batch for number in range(plan.sweeps) for batch in digest_sweep(plan, number, 200.0, exact=True, work=work)
        ]
        table = pa.Table.from_batches(batches, PACKED_SCHEMA)
        if plan.bundles > 1:
            ordered = table.sort_by([("gene", "ascending"), ("bundle", "ascending")])
            table = pa.Table.from_batches(merge_batches(iter(ordered.to_batches()), 200.0), PACKED_SCHEMA)
        digests, _, means = unpack_table(table)
        for key, digest, (mean, sd) in zip(table["gene"].to_pylist(), digests, means, strict=True):
            gene, group = gene_and_group(key)
            row = (digest.n, float(np.median(digest.means)), mean, sd)
            if group is None:
                assert gene not in corpus
                corpus[gene] = row
            else:
                assert (group, gene) not in found
                found[group, gene] = row
        for number in range(plan.sweeps) if work.whole.any() else ():
            rows = read_group_medians(work.piece(number)).to_pylist()
            assert rows == sorted(rows, key=itemgetter("group", "gene"))
            for row in rows:
                key = (row["group"], GENES[row["gene"]])
                assert key not in found
                found[key] = (row["n_cells"], row["median"], row["mean"], row["sd"])
    return found, corpus


@given(drawn_corpora(), st.sampled_from([20, 60, 10**6]), st.sampled_from([5, 10**6]), st.sampled_from([1, 2, 10**6]))
@examples(60)
def test_groups_have_numpys_medians_in_one_bundle_and_in_several(
    tmp_path_factory, drawn, window_rows, row_group_rows, groups_at_once
):
    sources, groups = drawn
    folder = tmp_path_factory.mktemp("corpus")
    corpus = write_corpus(folder / "x", sources, row_group_rows)
    plan = corpus.plan(window_rows=window_rows, cell_groups=cell_groups(corpus, groups), by_group=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("median_spark.digests.grouped._MOST_KEYS", groups_at_once * len(GENES))
        works = group_works(plan, GROUPS, str(folder / "pieces"))
    assert [work.corpus for work in works] == [True] + [False] * (len(works) - 1)
    taken = np.sum([work.whole.astype(int) + work.digested for work in works], axis=0)
    assert (taken == 1).all()
    assert all(work.digested.sum() <= groups_at_once for work in works)
    assert plan.bundles > 1 or not any(work.digested.any() for work in works)
    found, merged = swept(plan, works)
    truth = expected(sources, groups)
    wanted = {(group, gene): values for group, genes in truth.items() for gene, values in genes.items()}
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        n, median, mean, sd = found[key]
        assert (n, median) == (len(values), float(np.median(values)))
        assert mean == pytest.approx(np.mean(values), rel=1e-13)
        assert sd is None or np.isnan(sd) if n == 1 else sd == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-9)
    pooled = defaultdict(list)
    for genes in truth.values():
        for gene, values in genes.items():
            pooled[gene] += values
    assert {gene: row[:2] for gene, row in merged.items()} == {
        gene: (len(values), float(np.median(values))) for gene, values in pooled.items()
    }


@given(drawn_corpora())
@examples(20)
def test_the_bits_of_means_do_not_depend_on_bundles(tmp_path_factory, drawn):
    sources, groups = drawn
    folder = tmp_path_factory.mktemp("corpus")
    corpus = write_corpus(folder / "x", sources, 20)
    results = []
    for window_rows in (20, 10**6):
        plan = corpus.plan(window_rows=window_rows, cell_groups=cell_groups(corpus, groups), by_group=True)
        results.append(swept(plan, group_works(plan, GROUPS, str(folder / f"pieces{window_rows}"))))
    for one, other in zip(*results, strict=True):
        assert one.keys() == other.keys()
        for key, row in one.items():
            assert np.array_equal(np.array(row, dtype=np.float64), np.array(other[key], dtype=np.float64), True)


def test_a_file_that_is_not_visible_is_named(tmp_path):
    with pytest.raises(EngineError, match=r"piece-7.parquet: a worker wrote .* storage that all of them share"):
        read_group_medians(f"{tmp_path}/piece-7.parquet")


def test_keys_ascend_as_genes_and_groups_do():
    from median_spark.digests.grouped import key_of

    keys = [key_of(gene, group) for gene in ("ENSG1", "ENSG10", "ENSG2") for group in (0, 9, 10, 123_456_789)]
    assert keys == sorted(keys)
    assert np.array(keys)[np.argsort(np.array(keys))].tolist() == keys
    assert gene_and_group(keys[3]) == ("ENSG1", 123_456_789)
    for gene in ("ENSG1", "a\tb", "a\0b", "123456789", ""):
        assert gene_and_group(gene) == (gene, None)
        assert gene_and_group(key_of(gene, 7)) == (gene, 7)


@given(st.lists(st.integers(0, 200_000) | st.integers(0, 3), max_size=60))
def test_rows_of_any_groups_are_put_in_order_and_those_of_some_are_read_back(tmp_path_factory, groups):
    medians = pa.table(
        [range(len(groups)), groups, [1] * len(groups), *[[1.0] * len(groups)] * 3], schema=GROUP_MEDIANS_SCHEMA
    )
    location = str(tmp_path_factory.mktemp("medians") / "piece.parquet")
    write_group_medians(location, [medians.slice(0, 7), medians.slice(7)])
    wanted = sorted(medians.to_pylist(), key=itemgetter("group", "gene"))
    assert read_group_medians(location).to_pylist() == wanted
    assert read_group_medians(location, groups=(2, 70_000)).to_pylist() == [
        row for row in wanted if 2 <= row["group"] < 70_000
    ]


def test_a_file_of_several_stretches_is_read_by_group(tmp_path, monkeypatch):
    """Four tables of five genes each, of which two make a stretch, with row groups smaller than a group."""
    monkeypatch.setattr(grouped, "_STRETCH_ROWS", 60)
    monkeypatch.setattr(grouped, "_ROW_GROUP_ROWS", 7)
    tables = []
    for first in range(0, 20, 5):
        pairs = [(gene, group) for gene in range(first, first + 5) for group in range(8) if (gene + group) % 4]
        genes, groups = np.array(pairs).T
        figures = 100.0 * genes + groups
        tables.append(group_medians(genes, groups, genes + 1, figures, figures, figures))
    location = str(tmp_path / "piece.parquet")
    write_group_medians(location, tables)
    rows = pa.concat_tables(tables)
    for first, last in ((0, 8), (2, 3), (3, 7), (7, 8), (5, 5)):
        wanted = rows.filter(pc.and_(pc.greater_equal(rows["group"], first), pc.less(rows["group"], last)))
        found = in_order_of_groups(read_group_medians(location, groups=(first, last)))
        assert found.equals(wanted.sort_by([("group", "ascending"), ("gene", "ascending")]))
    assert sorted(read_group_medians(location, ["group"])["group"].to_pylist()) == sorted(rows["group"].to_pylist())
    write_group_medians(location, [])
    assert len(read_group_medians(location, groups=(0, 8))) == len(read_group_medians(location, ["group"])) == 0
