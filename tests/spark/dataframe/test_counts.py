"""Medians of DataFrames of raw counts, against numpy over all values of plain Python."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from growing import AtStep, GrowingRows
from hypothesis import given
from hypothesis import strategies as st
from notes import Notes
from pyspark.sql import functions as F

from examples import examples
from median_spark import gene_medians
from median_spark.errors import FrameError, GeneTableError, UsageError
from median_spark.genes import GeneTable

pytestmark = pytest.mark.spark

CODING, MIRNA, LNC = "protein_coding", "miRNA", "lncRNA"
SCHEMA = "gene string, cell string, n double"


def ordered_sum(numbers):
    total = 0.0
    for number in sorted(numbers):
        total += number
    return total


def values_of(rows, totals=None, target_sum=10_000.0, chosen=None):
    """Return the values of each gene by rows of gene, cell and count."""
    counts, by_cell = {}, {}
    for gene, cell, count in rows:
        if count > 0:
            counts.setdefault((gene, cell), []).append(count)
            by_cell.setdefault(cell, []).append(count)
    found = {}
    for (gene, cell), some in counts.items():
        if chosen is None or gene in chosen:
            total = ordered_sum(by_cell[cell]) if totals is None else totals[cell]
            found.setdefault(gene, []).append(np.float64(ordered_sum(some)) / np.float64(total) * target_sum)
    return found


def rows_of(found):
    return {row["gene"]: row.asDict() for row in found.collect()}


def assert_exact(found, values, genes):
    rows = rows_of(found)
    assert list(rows) == sorted(genes)
    for gene, row in rows.items():
        of_gene = np.array(values.get(gene, []))
        assert row["n_cells"] == len(of_gene)
        if len(of_gene):
            assert np.float64(row["median"]).tobytes() == np.median(of_gene).tobytes()
            assert (row["min"], row["max"]) == (of_gene.min(), of_gene.max())
        else:
            assert row["median"] is None


def random_rows(seed, cells=150, genes=12, most=40):
    """Return rows of random counts, some twice and some 0, in no order."""
    rng = np.random.default_rng(seed)
    rows = []
    for cell in range(cells):
        for gene in range(genes):
            rows += [(f"ENSG{gene:011d}", f"c{cell}", float(rng.integers(0, most))) for _ in range(rng.integers(0, 3))]
    return [rows[place] for place in rng.permutation(len(rows))]


def table_of(rows, types=(CODING, LNC, MIRNA)):
    genes = sorted({gene for gene, _, _ in rows})
    return GeneTable("/genes.csv", {gene: types[place % len(types)] for place, gene in enumerate(genes)})


@pytest.mark.parametrize("partitions", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_values_are_those_of_a_matrix_to_the_bit(spark, partitions):
    rows = random_rows(1)
    frame = spark.createDataFrame(rows, SCHEMA).repartition(partitions)
    notes = Notes()
    found = gene_medians(frame, value_col="n", cell_col="cell", compression=20, progress=notes)
    assert_exact(found, values_of(rows), {gene for gene, _, _ in rows})
    zeros = sum(count == 0 for _, _, count in rows)
    assert notes.said[0].startswith(f"{zeros} rows of a count of 0 were left out")


def test_totals_are_those_of_all_genes_and_the_genes_those_of_the_table(spark):
    rows = random_rows(2)
    table = table_of(rows)
    table.gene_types["ENSG99999999999"] = CODING
    frame = spark.createDataFrame(rows, SCHEMA)
    found = gene_medians(frame, value_col="n", cell_col="cell", gene_table=table, target_sum=1e6)
    universe = table.universe((CODING, MIRNA))
    assert_exact(found, values_of(rows, target_sum=1e6, chosen=universe), universe)
    found = gene_medians(frame, value_col="n", cell_col="cell", gene_table=table, gene_types=[LNC])
    assert_exact(found, values_of(rows, chosen=table.universe((LNC,))), table.universe((LNC,)))


def test_totals_of_a_column_are_taken_as_they_are(spark):
    rows = random_rows(3)
    cells = sorted({cell for _, cell, _ in rows})
    totals = dict(zip(cells, np.random.default_rng(4).integers(2_000, 9_000, len(cells)).tolist(), strict=True))
    frame = spark.createDataFrame([(*row, totals[row[1]]) for row in rows], f"{SCHEMA}, total int")
    table, notes = table_of(rows), Notes()
    options = {"value_col": "n", "cell_col": "cell", "gene_table": table, "progress": notes}
    found = gene_medians(frame, total_col="total", **options)
    universe = table.universe((CODING, MIRNA))
    assert_exact(found, values_of(rows, totals, chosen=universe), universe)
    assert not any("counts of more than" in note for note in notes.said)
    # Chosen genes are enough where totals are given.
    again = gene_medians(frame.where(F.col("gene").isin(universe)), total_col="total", **options)
    assert again.collect() == found.collect()


def test_totals_below_the_counts_are_told(spark):
    frame = spark.createDataFrame([("A", "c", 3.0, 2), ("A", "d", 1.0, 2)], f"{SCHEMA}, total int")
    notes = Notes()
    found = gene_medians(frame, value_col="n", cell_col="cell", total_col="total", progress=notes)
    assert rows_of(found)["A"]["median"] == np.median([3 / 2 * 10_000, 1 / 2 * 10_000])
    assert notes.said[0].startswith(
        "1 cell with counts of more than their 'total': it may count only some of the genes"
    )


def test_fractions_are_summed_in_ascending_order(spark):
    rng = np.random.default_rng(5)
    rows = [(gene, cell, float(rng.lognormal(0, 6)) if count else 0.0) for gene, cell, count in random_rows(6, 60)]
    frame = spark.createDataFrame(rows, SCHEMA).repartition(4)
    table = table_of(rows)
    options = {"value_col": "n", "cell_col": "cell", "gene_table": table}
    found = gene_medians(frame, allow_non_integer=True, **options)
    universe = table.universe((CODING, MIRNA))
    assert_exact(found, values_of(rows, chosen=universe), universe)
    said = r"column 'n' holds a number that is not whole in [0-9]+ rows, one of them of gene .*: counts are whole; if"
    with pytest.raises(FrameError, match=said):
        gene_medians(frame, **options)


COUNTS = st.integers(0, 9) | st.integers(0, 2**40)
ENTRIES = st.tuples(st.sampled_from(["A", "B", "C"]), st.sampled_from(["c", "d", "e"]), COUNTS)


@pytest.mark.slow
@given(st.lists(ENTRIES, min_size=1, max_size=12), st.booleans(), st.sampled_from([1e4, 1.0, 12345.678]))
@examples(6)
def test_any_small_frame(spark, rows, chosen, target_sum):
    frame = spark.createDataFrame(rows, "gene string, cell string, n bigint").repartition(2)
    table = GeneTable("/genes.csv", {"A": CODING, "B": LNC, "C": MIRNA, "D": CODING}) if chosen else None
    options = {"value_col": "n", "cell_col": "cell", "target_sum": target_sum, "gene_table": table}
    universe = ["A", "C", "D"] if chosen else {gene for gene, _, _ in rows}
    values = values_of(rows, target_sum=target_sum, chosen=universe)
    if not values:
        with pytest.raises(FrameError, match=r"no count above 0|is in the gene table|one of the gene types"):
            gene_medians(frame, **options)
    else:
        assert_exact(gene_medians(frame, **options), values, universe)


def test_sources_tell_cells_apart_and_are_counted(spark):
    rows = [("A", "c", 1), ("B", "c", 3), ("A", "c", 4), ("B", "c", 4), ("C", "d", 0)]
    frame = spark.createDataFrame(
        [(*row, place // 2) for place, row in enumerate(rows)], "gene string, cell string, n int, study int"
    )
    found = gene_medians(frame, value_col="n", cell_col="cell", source_col="study")
    values = values_of([(gene, (cell, place // 2), n) for place, (gene, cell, n) in enumerate(rows)])
    assert_exact(found, values, "ABC")
    assert {gene: row["n_sources"] for gene, row in rows_of(found).items()} == {"A": 2, "B": 2, "C": 0}
    table = GeneTable("/genes.csv", {"A": CODING, "B": LNC})
    found = rows_of(gene_medians(frame, value_col="n", cell_col="cell", source_col="study", gene_table=table))
    assert {gene: row["n_sources"] for gene, row in found.items()} == {"A": 2}


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [("tinyint", [1, 2, 9]), ("float", [1.0, 2.0, 9.0]), ("decimal(12,2)", [Decimal(1), Decimal(2), Decimal(9)])],
)
def test_counts_and_cells_of_any_kind(spark, kind, numbers):
    rows = [("A", 1, numbers[0]), ("B", 1, numbers[1]), ("A", 2, numbers[2])]
    frame = spark.createDataFrame(rows, f"gene string, id bigint, n {kind}").select(
        F.struct("gene", "id").alias("key"), "n"
    )
    found = gene_medians(frame, gene_col="key.gene", value_col="n", cell_col="key.id")
    assert_exact(found, values_of([(gene, cell, float(n)) for gene, cell, n in rows]), "AB")


def test_ids_that_differ_from_the_table_s_in_spelling_are_matched_and_it_is_said(spark):
    rows = [("GRCh38_ENSG1", "c", 1.0), ("GRCh38_ENSG2", "c", 3.0), ("GFP", "c", 4.0), ("nan", "c", 2.0)]
    frame, notes = spark.createDataFrame(rows, SCHEMA), Notes()
    table = GeneTable("/genes.csv", {"ENSG1.4": CODING, "ENSG2.1": LNC, "ENSG3.1": MIRNA})
    found = rows_of(gene_medians(frame, value_col="n", cell_col="cell", gene_table=table, progress=notes))
    assert {gene: row["median"] for gene, row in found.items()} == {"ENSG1": 1_000.0, "ENSG3": None}
    assert [note[:40] for note in notes.said] == [
        "none of its ids is in the gene table as ",
        "1 gene left out that the gene table lack",
        "1 gene left out whose id is none, such a",
    ]
    doubled = spark.createDataFrame([("ENSG1.1", "c", 1.0), ("ENSG1.2", "c", 1.0)], SCHEMA)
    said = (
        "column 'gene' has 'ENSG1.1' and 'ENSG1.2', which would both be 'ENSG1' of the gene table with versions ignored"
    )
    with pytest.raises(FrameError, match=said):
        gene_medians(doubled, value_col="n", cell_col="cell", gene_table=table)


def test_a_gene_table_chooses_among_values_too(spark):
    rows = pd.DataFrame(
        {"gene": ["A", "A", "B", "C", "D"], "value": [1.0, 3.0, 4.0, 0.0, 1.0], "study": [1, 2, 2, 2, 2]}
    )
    table = GeneTable("/genes.csv", {"A": CODING, "B": LNC, "C": MIRNA, "E": MIRNA})
    found = rows_of(gene_medians(spark.createDataFrame(rows), source_col="study", gene_table=table))
    assert {gene: (row["median"], row["n_sources"]) for gene, row in found.items()} == {
        "A": (2.0, 2),
        "C": (None, 0),
        "E": (None, 0),
    }
    rows.loc[0, "gene"] = None
    with pytest.raises(FrameError, match="column 'gene' is null in 1 row: every row must name its gene"):
        gene_medians(spark.createDataFrame(rows), gene_table=table)


# What is refused


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((None, "c", 1.0, 1.0, "s"), "column 'gene' is null in 2 rows: every row must name its gene"),
        (("B", None, 1.0, 1.0, "s"), "column 'cell' is null in 2 rows, one of them of gene 'B': every count must name"),
        (("B", "c", None, 1.0, "s"), "column 'n' is null in 2 rows, one of them of gene 'B'"),
        (("B", "c", float("nan"), 1.0, "s"), "column 'n' holds NaN in 2 rows, one of them of gene 'B'"),
        (("B", "c", float("inf"), 1.0, "s"), "column 'n' holds an infinite number in 2 rows"),
        (("B", "c", float("-inf"), 1.0, "s"), "column 'n' holds an infinite number in 2 rows"),
        (("B", "c", -1.0, 1.0, "s"), "column 'n' holds a negative number in 2 rows"),
        (("B", "c", 0.5, 1.0, "s"), "column 'n' holds a number that is not whole in 2 rows.*allow_non_integer=True"),
        (("B", "c", 2.0**53, 1.0, "s"), r"column 'n' has a sum of more than 2\^53"),
        (("B", "c", 1.0, None, "s"), "column 'total' is null in 2 rows, one of them of gene 'B'"),
        (("B", "c", 1.0, 0.0, "s"), "column 'total' is not a finite number above 0 in 2 rows"),
        (("B", "c", 1.0, -3.0, "s"), "column 'total' is not a finite number above 0 in 2 rows"),
        (("B", "c", 1.0, float("nan"), "s"), "column 'total' is not a finite number above 0 in 2 rows"),
        (("B", "c", 1.0, float("inf"), "s"), "column 'total' is not a finite number above 0 in 2 rows"),
        (("B", "c", 1.0, 1e-307, "s"), "column 'total' is so small that count / total × target_sum is too large"),
        (("B", "c", 1.0, 1.0, None), "column 'study' is null in 2 rows, one of them of gene 'B'"),
        (("B", "a", 1.0, 8.0, "s"), "column 'total' has more than one total for 1 cell, one of them 'a'"),
    ],
)
def test_rows_that_cannot_be_normalised_are_refused(spark, row, said):
    rows = [("A", "a", 1.0, 9.0, "s"), row, ("C", "b", 2.0, 9.0, "s"), ("C", "b", 0.0, 9.0, "s"), row]
    frame = spark.createDataFrame(rows, "gene string, cell string, n double, total double, study string")
    with pytest.raises(FrameError, match=said):
        gene_medians(frame, value_col="n", cell_col="cell", total_col="total", source_col="study")


@pytest.mark.slow
@pytest.mark.parametrize("step", ["digesting", "refining", "counting sources", "looking for changes"])
@pytest.mark.parametrize("gene", ["B", "C"])
def test_counts_that_grow_between_two_readings_are_refused(spark, tmp_path, step, gene):
    """A count of another gene alters the total of a cell, and with it the values of all its genes."""
    rows = [{"gene": one, "cell": f"c{n}", "n": n * 1.0, "study": "s"} for one in "AB" for n in range(1, 200)]
    growing = GrowingRows(tmp_path, rows)
    progress = AtStep(step, lambda: growing.append([{"gene": gene, "cell": "c9", "n": 1.0, "study": "s"}]))
    frame = growing.frame(spark, f"{SCHEMA}, study string")
    with pytest.raises(FrameError, match=r"other rows .*when it is read again.*versionAsOf"):
        gene_medians(frame, value_col="n", cell_col="cell", source_col="study", compression=20, progress=progress)
    assert progress.called


def test_a_total_matters_only_where_there_are_counts(spark):
    rows = [("A", "a", 1.0, 4.0), ("A", "b", 0.0, None), ("B", "c", 0.0, 0.0)]
    frame = spark.createDataFrame(rows, "gene string, cell string, n double, total double")
    found = gene_medians(frame, value_col="n", cell_col="cell", total_col="total")
    assert_exact(found, {"A": [2_500.0]}, "AB")


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([], {}, "has no rows"),
        ([("A", "c", 0.0), ("B", "c", 0.0)], {}, "no count above 0: all counts of its 2 genes are 0"),
        ([("A", "c", 0.0), ("B", "c", 1.0)], {"A": CODING, "B": LNC}, "no count above 0 of a gene of one of the types"),
        ([("B", "c", 1.0)], {"A": CODING, "B": LNC}, "none of its 1 gene has one of the gene types"),
        ([("TP53", "c", 1.0)], {"A": CODING}, "none of its 1 gene is in the gene table .*'TP53': name the column"),
    ],
)
def test_frames_without_a_count_of_a_chosen_gene_are_refused(spark, rows, options, said):
    frame = spark.createDataFrame(rows, SCHEMA)
    table = GeneTable("/genes.csv", options) if options else None
    with pytest.raises(FrameError, match=said):
        gene_medians(frame, value_col="n", cell_col="cell", gene_table=table)


def test_columns_are_checked(spark):
    frame = spark.createDataFrame([("A", "c", 1.0)], SCHEMA)
    with pytest.raises(FrameError, match=r"no column 'barcode'; .* with cell_col"):
        gene_medians(frame, value_col="n", cell_col="barcode")
    with pytest.raises(
        FrameError, match=r"column 'n' holds double, and cells are strings or integers: .* with cell_col"
    ):
        gene_medians(frame, value_col="n", cell_col="n")
    with pytest.raises(FrameError, match=r"column 'gene' holds string, and totals are numbers: .* with total_col"):
        gene_medians(frame, value_col="n", cell_col="cell", total_col="gene")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"total_col": "n"}, "for counts, and without cell_col"),
        ({"target_sum": 1e6}, "for counts, and without cell_col"),
        ({"allow_non_integer": True}, "for counts, and without cell_col"),
        ({"cell_col": "cell", "target_sum": 0.0}, "target_sum must be a number above 0, not 0.0"),
        ({"cell_col": "cell", "target_sum": float("nan")}, "target_sum must be a number above 0, not nan"),
        ({"cell_col": "cell", "gene_types": ("lncRNA",)}, "choosing gene_types needs a gene_table"),
        ({"cell_col": "cell", "gene_types": "lncRNA"}, "gene_types must be a sequence of at least one gene type"),
        ({"cell_col": "cell", "gene_types": ()}, "gene_types must be a sequence of at least one gene type"),
    ],
)
def test_options_that_would_be_ignored_are_refused(spark, options, said):
    frame = spark.createDataFrame([("A", "c", 1.0)], SCHEMA)
    with pytest.raises(UsageError, match=said):
        gene_medians(frame, value_col="n", **options)


def test_a_type_that_the_table_lacks_is_refused(spark):
    frame = spark.createDataFrame([("A", "c", 1.0)], SCHEMA)
    table = GeneTable("/genes.csv", {"A": CODING})
    with pytest.raises(GeneTableError, match="no gene of type 'lincRNA'; its types are 'protein_coding'"):
        gene_medians(frame, value_col="n", cell_col="cell", gene_table=table, gene_types=(CODING, "lincRNA"))
