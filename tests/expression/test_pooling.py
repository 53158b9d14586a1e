"""Which sources may be pooled."""

from pathlib import Path

import pytest
from tables import PARAMETERS, record_of, stage_source

from median_spark.errors import TableError
from median_spark.expression import create_table, naming_changes, plan_sweeps, repeated_cells, require_uniform, sweep
from median_spark.expression.table import part_location
from median_spark.storage import FileStat


def test_sources_of_the_same_options_may_be_pooled():
    other_names = PARAMETERS | {"cell_filter": False}
    require_uniform("/t", [record_of("a"), record_of("b", parameters=other_names)])


@pytest.mark.parametrize(
    ("option", "value"), [("target_sum", 1e6), ("gene_types", ["lncRNA"]), ("gene_table", "0123456789abcdef")]
)
def test_values_that_cannot_be_pooled_are_refused(option, value):
    odd = record_of("odd", parameters=PARAMETERS | {option: value})
    with pytest.raises(TableError, match=rf"^/t: .*'{option}': .*2 sources: 'a', 'b'.*1 source: 'odd'"):
        require_uniform("/t", [record_of("a"), record_of("b"), odd])


def test_one_file_under_two_names_is_refused():
    twice = [record_of("a"), record_of("b"), record_of("c", input=FileStat("/looms/a.loom", 100, 7))]
    with pytest.raises(TableError, match=r"^/t: /looms/a\.loom stands in the table as 'a', 'c'"):
        require_uniform("/t", twice)


def test_a_table_without_sources_is_refused():
    with pytest.raises(TableError, match=r"^/t: .* holds no source"):
        require_uniform("/t", [])


def study(name, **changes):
    same = {"cells_passed": 4_000, "genes": 19_000, "values": 5_000_000, "median_n_counts": 2_500.0}
    return record_of(name, **{**same, **changes})


class TestRepeatedCells:
    def test_sources_with_equal_figures_are_named_and_others_are_not(self):
        others = [
            study(f"{name}-{n}", **{name: n}) for name in ("cells_passed", "genes", "values") for n in (9, 99_999)
        ]
        (warning,) = repeated_cells([study("db/a.loom"), *others, study("db/b.h5ad")])
        assert warning == (
            "'db/a.loom', 'db/b.h5ad' have equally many cells that pass (4,000), genes (19,000) and values (5,000,000)"
            ": if these are the same cells, each of them counts twice"
        )

    def test_three_count_three_times(self):
        (warning,) = repeated_cells([study(name) for name in "abc"])
        assert warning.endswith("each of them counts 3 times")

    @pytest.mark.parametrize(
        ("totals", "named"),
        [
            ([1.0, 1.0], ["ab"]),
            ([1.0, None], ["ab"]),
            ([None, None], ["ab"]),
            ([1.0, 2.0], []),
            ([1.0, 2.0, 1.0], ["ac"]),
            ([1.0, 2.0, 1.0, None, 2.0], ["ac", "be"]),
        ],
    )
    def test_known_median_totals_must_agree(self, totals, named):
        warnings = repeated_cells([study(n, median_n_counts=total) for n, total in zip("abcde", totals, strict=False)])
        assert [warning.split(" have ")[0] for warning in warnings] == [", ".join(map(repr, names)) for names in named]

    def test_few_values_tell_nothing(self):
        assert repeated_cells([study(name, values=9_999) for name in "ab"]) == []


class TestNamingChanges:
    @pytest.fixture
    def table(self, tmp_path):
        table = create_table(str(tmp_path / "expression"))
        for name in ("a", "b", "c"):
            table.commit(stage_source(table, name, f"c{name}", [1.0]))
        return table

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda table: table.remove(["b"]), r"1 source removed \('b'\) by another run"),
            (lambda table: table.remove(["a", "c"]), r"2 sources removed \('a', 'c'\) by another run"),
            (lambda table: table.commit(stage_source(table, "b", "d", [2.0])), r"1 source converted again \('b'\) by"),
        ],
        ids=["removed", "two removed", "replaced"],
    )
    def test_a_part_that_went_while_it_was_read_is_no_damage(self, table, change, words):
        records = table.sources()
        plan = plan_sweeps(table.values, records, ["A"])
        change(table)
        with pytest.raises(TableError, match=rf"{words}.*run this again"), naming_changes(table, records):
            list(sweep(plan, 0))

    def test_a_part_that_is_missing_otherwise_is_damage(self, table):
        records = table.sources()
        Path(part_location(table.values, "a", records[0].parts[0].name)).unlink()
        plan = plan_sweeps(table.values, records, ["A"])
        with pytest.raises(TableError, match="convert the source again"), naming_changes(table, records):
            list(sweep(plan, 0))

    def test_other_errors_are_their_own(self, table):
        with pytest.raises(KeyError), naming_changes(table, []):
            raise KeyError
