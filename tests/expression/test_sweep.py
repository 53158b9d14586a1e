"""Sweeps: together they hold every value of the table once, gene by gene, and damage is named."""

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import record_of

from examples import examples
from median_spark.errors import TableError
from median_spark.expression import PartEntry, PartReader, RowGroup, plan_sweeps, sweep, write_part
from median_spark.gene_values import GeneValues

GENES = [f"G{number:02d}" for number in range(14)]


def write(folder, source, number, values, row_group_rows):
    """Write {gene: values} as a part of a source, and return its entry."""
    lengths = [len(found) for found in values.values()]
    runs = GeneValues(
        np.array(list(values)),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([np.asarray(found, dtype=np.float64) for found in values.values()]),
        np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
    )
    ids = np.arange(max(lengths)).astype(np.str_)
    return write_part(f"{folder}/source={source}/part-{number:05d}.parquet", runs, ids, row_group_rows)


@dataclass
class Table:
    """An expression table, and what is in it: {gene: values} by part, and the number of each part's source."""

    values: str
    records: list
    content: dict
    source_of_part: dict

    def plan(self, window_rows=10**9, sweep_rows=10**9):
        return plan_sweeps(self.values, self.records, GENES, None, window_rows, sweep_rows)


def table_of(folder, sources, row_group_rows):
    """Write lists of parts, {gene: values} each, as the sources s0, s1, … of a table."""
    records, content, source_of_part = [], {}, {}
    for source, parts in enumerate(sources):
        entries = [
            write(folder, f"s{source}", number, values, row_group_rows[(source + number) % len(row_group_rows)])
            for number, values in enumerate(parts)
        ]
        records.append(record_of(f"s{source}", parts=entries))
        for entry, values in zip(entries, parts, strict=True):
            location = f"{folder}/source=s{source}/{entry.name}"
            content[location], source_of_part[location] = values, source
    return Table(str(folder), records, content, source_of_part)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sweeps")


@st.composite
def tables(draw):
    """Draw parts of several sources, some of them with few genes, some with all, and values with ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    most = draw(st.sampled_from([1, 3, 20]))

    def part(genes):
        return {gene: rng.choice([0.5, 1.0, *rng.lognormal(size=8)], rng.integers(1, most + 1)) for gene in genes}

    genes = st.sets(st.sampled_from(GENES), min_size=1).map(sorted) | st.just(GENES)
    sources = draw(st.lists(st.lists(genes, max_size=3), min_size=1, max_size=4))
    sizes = draw(st.lists(st.sampled_from([1, 5, 30, 10**6]), min_size=1, max_size=3))
    return [[part(chosen) for chosen in parts] for parts in sources], sizes


def expected(table, plan):
    """Return {(bundle, gene): (values, sources)} from what was written, and the plan's cut of parts into bundles."""
    found = defaultdict(lambda: ([], set()))
    for bundle, (first, last) in enumerate(pairwise(plan.parts_of_bundle.tolist())):
        for location in plan.parts[first:last]:
            for gene, values in table.content[location].items():
                of_gene, sources = found[bundle, gene]
                of_gene.extend(values.tolist())
                sources.add(table.source_of_part[location])
    return {key: (sorted(values), sorted(sources)) for key, (values, sources) in found.items()}


def swept(plan, step_rows=10**9):
    """Return the same from all sweeps, having seen to it that genes ascend and none comes twice."""
    found = {}
    for number in range(plan.sweeps):
        genes = []
        for block in sweep(plan, number, step_rows):
            runs = block.gene_values
            assert len(block.sources) == len(runs.genes) > 0
            genes += runs.genes.tolist()
            for place, gene in enumerate(runs.genes.tolist()):
                key = (int(plan.bundle_of_sweep[number]), gene)
                assert key not in found
                found[key] = (
                    sorted(runs.of_gene(place).tolist()),
                    np.frombuffer(block.sources[place].as_py(), "<i4").tolist(),
                )
        assert all(low < high for low, high in pairwise(genes))
        assert set(genes) <= set(GENES[plan.begin[number] : plan.end[number]])
    return found


some_rows = st.integers(1, 60) | st.just(10**9)


class TestUnion:
    @given(tables(), some_rows, some_rows, some_rows)
    @examples(100)
    def test_holds_every_value_of_each_bundle_and_gene_once(self, folder, drawn, window_rows, sweep_rows, step_rows):
        table = table_of(folder, *drawn)
        plan = table.plan(window_rows, sweep_rows)
        found = swept(plan, step_rows)
        wanted = expected(table, plan)
        assert found == wanted

    @given(tables(), some_rows, some_rows, some_rows)
    def test_is_the_whole_table_whatever_the_bundles(self, folder, drawn, window_rows, sweep_rows, step_rows):
        table = table_of(folder, *drawn)
        together = defaultdict(list)
        for (_, gene), (values, _) in swept(table.plan(window_rows, sweep_rows), step_rows).items():
            together[gene] += values
        written = defaultdict(list)
        for part in table.content.values():
            for gene, values in part.items():
                written[gene] += values.tolist()
        assert {gene: sorted(values) for gene, values in together.items()} == {
            gene: sorted(values) for gene, values in written.items()
        }

    @given(tables(), some_rows, some_rows, some_rows)
    @examples(30)
    def test_is_the_same_from_a_store_whose_parts_are_read_side_by_side(
        self, folder, drawn, window_rows, sweep_rows, step_rows
    ):
        table = table_of(folder, *drawn)
        far = replace(table, values=f"file://{table.values}")
        assert swept(far.plan(window_rows, sweep_rows), step_rows) == swept(
            table.plan(window_rows, sweep_rows), step_rows
        )

    @given(tables(), some_rows, some_rows)
    def test_of_the_rows_that_may_hold_genes_of_interest_has_all_their_values(
        self, folder, drawn, window_rows, sweep_rows
    ):
        table = table_of(folder, *drawn)
        genes = GENES[3:12:4]
        plan = plan_sweeps(table.values, table.records, GENES, genes, window_rows, sweep_rows)
        wanted = {key: found for key, found in expected(table, plan).items() if key[1] in genes} if plan.sweeps else {}
        assert {key: found for key, found in swept(plan, 7).items() if key[1] in genes} == wanted

    def test_does_not_depend_on_the_order_of_parts_but_for_the_order_of_values(self, tmp_path):
        values = [{"G01": [3.0, 1.0], "G05": [2.0]}, {"G01": [7.0]}]
        table = table_of(tmp_path, [[values[0]], [values[1]]], [1])
        (block,) = sweep(table.plan(), 0)
        assert block.gene_values.values.tolist() == [3.0, 1.0, 7.0, 2.0]
        turned = plan_sweeps(table.values, table.records[::-1], GENES)
        (block,) = sweep(turned, 0)
        assert block.gene_values.values.tolist() == [7.0, 3.0, 1.0, 2.0]


class TestSwathes:
    @given(tables(), st.integers(2, 60))
    def test_have_about_the_rows_wanted(self, folder, drawn, step_rows):
        plan = table_of(folder, *drawn).plan()
        for number in range(plan.sweeps):
            blocks = list(sweep(plan, number, step_rows))
            sizes = [len(block.gene_values.values) for block in blocks]
            largest = [int(block.gene_values.lengths.max()) for block in blocks]
            assert all(size >= step_rows // 2 for size in sizes[:-1])
            assert all(size <= 1.5 * step_rows + gene for size, gene in zip(sizes, largest, strict=True))

    def test_hold_no_more_than_is_wanted_though_row_groups_are_larger(self, tmp_path):
        table = table_of(tmp_path, [[{gene: np.ones(10) for gene in GENES}] for _ in range(5)], [10**6])
        blocks = list(sweep(table.plan(), 0, 100))
        assert [len(block.gene_values.values) for block in blocks] == [100] * 7

    def test_a_gene_larger_than_a_step_is_not_cut(self, tmp_path):
        table = table_of(tmp_path, [[{"G00": [1.0], "G01": np.ones(500), "G02": [1.0]}] for _ in range(3)], [1])
        found = {gene: len(values) for (_, gene), (values, _) in swept(table.plan(), 10).items()}
        assert found == {"G00": 3, "G01": 1_500, "G02": 3}

    def test_values_of_blocks_that_were_handed_over_do_not_change(self, tmp_path):
        table = table_of(tmp_path, [[{gene: [float(number + 1)] for number, gene in enumerate(GENES)}]], [1])
        blocks = list(sweep(table.plan(), 0, 2))
        assert len(blocks) > 5
        assert np.concatenate([block.gene_values.values for block in blocks]).tolist() == list(range(1, 15))

    def test_may_be_sorted_in_place(self, tmp_path):
        table = table_of(tmp_path, [[{"G00": [3.0, 1.0], "G01": [2.0]}]], [10**6])
        (block,) = sweep(table.plan(), 0)
        block.gene_values.values.sort()
        assert block.gene_values.values.tolist() == [1.0, 2.0, 3.0]


class TestReading:
    @pytest.fixture
    def reads(self, monkeypatch):
        """Every row group that is read, as (location, number)."""
        found = []
        read = PartReader.read

        def recorded(self, row_group, expected_rows):
            found.append((self.location, row_group))
            return read(self, row_group, expected_rows)

        monkeypatch.setattr(PartReader, "read", recorded)
        return found

    def test_one_sweep_reads_every_row_group_once(self, tmp_path, reads):
        table = table_of(tmp_path, [[{gene: [1.0, 2.0] for gene in GENES}] * 2 for _ in range(3)], [2, 8])
        list(sweep(table.plan(), 0, 5))
        groups = [
            (f"{table.values}/source={record.source}/{part.name}", number)
            for record in table.records
            for part in record.parts
            for number in range(len(part.row_groups))
        ]
        assert sorted(reads) == sorted(groups)

    def test_several_sweeps_read_again_only_what_lies_across_a_cut(self, tmp_path, reads):
        table = table_of(tmp_path, [[{gene: [1.0, 2.0] for gene in GENES}] for _ in range(3)], [2])
        plan = table.plan(sweep_rows=20)
        assert plan.sweeps > 3
        swept(plan)
        assert len(reads) == len(set(reads)) == 3 * len(GENES)

    def test_a_row_group_is_held_no_longer_than_it_is_needed(self, tmp_path, reads):
        table = table_of(tmp_path, [[{gene: [1.0, 2.0] for gene in GENES}] for _ in range(2)], [2])
        steps = sweep(table.plan(), 0, 4)
        assert reads == []
        next(steps)
        assert len(reads) <= 6  # of 28

    def test_no_file_is_left_open(self, tmp_path):
        def held():
            return [fd for fd in Path("/proc/self/fd").iterdir() if str(tmp_path) in str(fd.resolve())]

        table = table_of(tmp_path, [[{gene: [1.0, 2.0] for gene in GENES}] for _ in range(4)], [2])
        steps = sweep(table.plan(), 0, 4)
        next(steps)
        assert len(held()) == 4
        steps.close()
        assert held() == []
        list(sweep(table.plan(), 0, 4))
        assert held() == []


class TestDamage:
    @pytest.fixture
    def table(self, tmp_path):
        """Two parts of three row groups, a gene each."""
        values = {"G01": [1.0, 2.0], "G05": [3.0, 4.0], "G09": [5.0, 6.0]}
        return table_of(tmp_path, [[values], [values]], [2])

    def location(self, table):
        return f"{table.values}/source=s1/part-00000.parquet"

    def refusal(self, table):
        plan = table.plan(sweep_rows=4)
        assert plan.sweeps == 3
        messages = set()
        for number in range(plan.sweeps):
            try:
                list(sweep(plan, number))
            except TableError as error:
                messages.add(str(error))
        assert messages
        return " | ".join(sorted(messages))

    def test_a_missing_part(self, table):
        Path(self.location(table)).unlink()
        assert self.refusal(table).startswith(f"{self.location(table)}: this part is listed by its source's record but")

    @pytest.mark.parametrize("keep", [0, 100, -20])
    def test_a_part_that_is_cut_off(self, table, keep):
        content = Path(self.location(table)).read_bytes()
        Path(self.location(table)).write_bytes(content[:keep])
        assert self.refusal(table).startswith(f"{self.location(table)}: this part cannot be read (")

    def test_a_part_whose_pages_are_overwritten(self, table):
        content = bytearray(Path(self.location(table)).read_bytes())
        content[4:100] = b"\xff" * 96
        Path(self.location(table)).write_bytes(content)
        assert self.refusal(table).startswith(f"{self.location(table)}: this part cannot be read (")

    def test_a_part_with_fewer_row_groups_than_recorded(self, table):
        write(table.values, "s1", 0, {"G01": [1.0, 2.0], "G05": [3.0, 4.0]}, 2)
        assert self.refusal(table).startswith(f"{self.location(table)}: this part cannot be read (")

    def test_a_part_with_other_rows_than_recorded(self, table):
        write(table.values, "s1", 0, {"G01": [1.0, 2.0], "G05": [3.0], "G09": [5.0, 6.0]}, 2)
        assert "part-00000.parquet: row group" in self.refusal(table)
        assert "where the source's record says" in self.refusal(table)

    def rewrite(self, table, groups):
        """Replace a part's row groups by others, and its record with it."""
        with pq.ParquetWriter(
            self.location(table), pa.schema([("gene", pa.string()), ("cell", pa.string()), ("value", pa.float64())])
        ) as writer:
            for genes in groups:
                writer.write_table(pa.table({"gene": genes, "cell": ["c"] * len(genes), "value": [1.0] * len(genes)}))
        entry = PartEntry("part-00000.parquet", 1, tuple(RowGroup(len(g), g[0], g[-1]) for g in groups))
        table.records[1] = record_of("s1", parts=[entry])

    @pytest.mark.parametrize(
        "groups",
        [
            [["G01", "G05"], ["G05", "G09"]],
            [["G01", "G05"], ["G03", "G09"]],
            [["G05", "G09"], ["G01", "G05"]],
        ],
        ids=["a gene in two row groups", "overlapping", "descending"],
    )
    @pytest.mark.parametrize("sweep_rows", [1, 3, 10**9])
    def test_genes_that_do_not_ascend_between_row_groups(self, table, groups, sweep_rows):
        self.rewrite(table, groups)
        plan = table.plan(sweep_rows=sweep_rows)
        with pytest.raises(TableError, match=rf"{self.location(table)}: genes do not ascend between row groups"):
            swept(plan)

    def test_genes_that_do_not_ascend_within_a_row_group(self, table):
        self.rewrite(table, [["G01", "G03", "G02", "G09"]])
        with pytest.raises(TableError, match=rf"{self.location(table)}: genes do not ascend within a row group"):
            swept(table.plan())

    @pytest.mark.parametrize("unknown", ["G0", "G055", "ZZZ"])
    def test_a_gene_that_the_universe_does_not_have(self, table, unknown):
        self.rewrite(table, [sorted(["G01", unknown, "G09"])])
        with pytest.raises(TableError, match=f"{self.location(table)}: gene '{unknown}' is not in its source's list"):
            swept(table.plan())

    def test_only_sweeps_that_need_the_damaged_rows_are_refused(self, table):
        plan = table.plan(sweep_rows=4)
        broken = replace(plan, rows=plan.rows + (np.arange(len(plan.rows)) == 5))
        assert [len(list(sweep(broken, number))) for number in (0, 1)] == [1, 1]
        with pytest.raises(TableError, match="row group 2 has 2 rows where the source's record says 3"):
            list(sweep(broken, 2))
