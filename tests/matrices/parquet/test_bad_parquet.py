"""A Parquet file that cannot be used is refused by an error that names file and column, and what is allowed."""

import contextlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from looms import random_counts
from parquets import write_gene_table, write_lists, write_long, write_table
from reading import convert, refusal

from median_spark.errors import InputError
from median_spark.genes import GeneTable
from median_spark.matrices import AttributeNames, ReadOptions, open_matrix

IDS = [f"ENSG{number:011d}" for number in range(9)]
TABLE = GeneTable("genes", dict.fromkeys(IDS, "protein_coding"))
SUMMED = ReadOptions(gene_table=TABLE, cell_filter=False, compute_n_counts=True)
LONG = ReadOptions(gene_table=TABLE)


@pytest.fixture
def folder(tmp_path):
    write_gene_table(tmp_path / "gene_metadata.parquet", 9, token_id=list(range(3, 12)))
    return tmp_path


def lists(folder, genes, expressions, **more):
    kinds = {"genes": pa.list_(pa.int64()), "expressions": pa.list_(pa.float32())}
    columns = {"genes": pa.array(genes, kinds["genes"]), "expressions": pa.array(expressions, kinds["expressions"])}
    return write_table(folder / "cells.parquet", {**columns, **more})


class TestFile:
    def test_a_missing_file(self, tmp_path):
        assert refusal(tmp_path / "none.parquet") == "there is no such file"

    def test_an_empty_file(self, tmp_path):
        (tmp_path / "a.parquet").write_bytes(b"")
        assert refusal(tmp_path / "a.parquet") == "this file is empty (0 bytes)"

    @pytest.mark.parametrize("left", [0.2, 0.5, 0.99])
    def test_a_truncated_file(self, tmp_path, left):
        path = Path(write_long(tmp_path / "a.parquet", random_counts(np.random.default_rng(1), 99, 99)))
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * left)])
        assert refusal(path).startswith("this file is not a Parquet file, or it is cut off (")

    @pytest.mark.parametrize("write", [write_lists, write_long])
    def test_zeroed_pages(self, folder, write):
        path = Path(write(folder / "a.parquet", random_counts(np.random.default_rng(1), 9, 500)))
        content = bytearray(path.read_bytes())
        content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
        path.write_bytes(content)
        assert "the file is damaged" in refusal(path, SUMMED)

    @pytest.mark.parametrize("write", [write_lists, write_long])
    def test_bytes_that_were_changed_are_refused_in_a_sentence_or_read(self, folder, write):
        path = Path(write(folder / "a.parquet", random_counts(np.random.default_rng(1), 9, 60, density=0.4), group=17))
        sound, rng, refused = path.read_bytes(), np.random.default_rng(5), 0
        for _ in range(150):
            content = bytearray(sound)
            for place in rng.integers(4, len(content), 3).tolist():
                content[place] = int(rng.integers(256))
            path.write_bytes(content)
            with contextlib.suppress(InputError):  # nothing else may be raised
                convert(path, SUMMED)
                continue
            refused += 1
        assert refused > 50

    def test_columns_of_something_else(self, tmp_path):
        path = write_table(tmp_path / "a.parquet", {"sample": [1], "Count": [2]})
        message = refusal(path)
        assert message.startswith(
            "this Parquet file is no count matrix: it must have lists 'genes' and 'expressions' or"
        )
        assert message.endswith(
            "; it has 'sample', 'Count': name others with --gene-id-attr, --layer and --cell-id-attr"
        )

    def test_several_columns_that_may_be_the_genes(self, tmp_path):
        path = write_long(tmp_path / "a.parquet", [[1, 2]], gene_id=["x", "y"])
        assert refusal(path) == "'gene_id', 'gene' may all be the column of genes: name it with --gene-id-attr"
        assert refusal(path, ReadOptions(names=AttributeNames(gene_id="gene"))).startswith(
            "an attribute for the gene type"
        )

    @pytest.mark.parametrize("name", ["count", "gene", "cell", "n_counts", "more"])
    def test_several_columns_of_one_name(self, tmp_path, name):
        path = write_long(tmp_path / "a.parquet", [[1, 2], [0, 3]], more=[1, 2, 3])
        table = pq.read_table(path)
        pq.write_table(table.append_column(name, table[name]), path)
        assert refusal(path, LONG) == f"this file has several columns '{name}': give each a name of its own"

    @pytest.mark.parametrize("name", ["token_id", "ensembl_id", "gene_symbol"])
    def test_a_table_of_genes_with_several_columns_of_one_name(self, folder, name):
        path, beside = write_lists(folder / "a.parquet", [[1, 2]]), str(folder / "gene_metadata.parquet")
        table = pq.read_table(beside)
        pq.write_table(table.append_column(name, table[name]), beside)
        with pytest.raises(InputError) as refused:
            convert(path, SUMMED)
        assert str(refused.value) == (f"{beside}: this file has several columns '{name}': give each a name of its own")

    def test_a_column_of_counts_that_is_not_there(self, tmp_path):
        path = write_long(tmp_path / "a.parquet", [[1, 2]])
        assert refusal(path, ReadOptions(layer="umis")) == (
            "there is no column 'umis' in this file; it has 'gene', 'cell', 'count', 'n_counts', 'filter_pass': name "
            "it with --layer"
        )

    def test_a_part_of_an_expression_table(self, tmp_path):
        path = write_table(tmp_path / "values/source=a/part-0.parquet", {"gene": ["x"], "cell": ["c"], "value": [1.0]})
        assert refusal(path).startswith("this is a part of an expression table, whose values are normalised: name the")

    @pytest.mark.parametrize("write", [write_lists, write_long])
    def test_counts_that_are_no_numbers(self, folder, write):
        texts = {"expressions": pa.array([["a"], ["b"]])} if write is write_lists else {"count": ["1", "2"]}
        path = write(folder / "a.parquet", [[1, 2]], **texts)
        assert "must hold numbers, the counts; it holds " in refusal(path, SUMMED)


class TestLists:
    @pytest.mark.parametrize(
        ("genes", "counts", "problem"),
        [
            ([[3], [4, 5]], [[1.0], [2.0]], "in row 1 'genes' has 2 entries and 'expressions' has 1"),
            ([[3], None], [[1.0], [2.0]], "in row 1 'genes' is null"),
            ([[3], [4]], [None, [2.0]], "in row 0 'expressions' is null"),
            ([[3], [4, None]], [[1.0], [2.0, 1.0]], "in row 1 'genes' has a null"),
            ([[3, 4], [4]], [[1.0, None], [2.0]], "in row 0 'expressions' has a null"),
        ],
    )
    def test_lists_that_do_not_fit(self, folder, genes, counts, problem):
        assert refusal(lists(folder, genes, counts), SUMMED) == (
            f"{problem}; both lists must be there, of one length, without nulls"
        )

    @pytest.mark.parametrize(
        ("bad", "problem"), [(-1.0, "1 negative count"), (np.nan, "1 NaN count"), (np.inf, "1 infinite count")]
    )
    def test_impossible_counts(self, folder, bad, problem):
        options = ReadOptions(gene_table=TABLE, cell_filter=False, names=AttributeNames(n_counts="total"))
        message = refusal(lists(folder, [[1, 3], [4]], [[-2.0, 1.0], [bad]], total=[9.0, 9.0]), options)
        assert message.startswith(f"column 'expressions' holds {problem}")

    def test_a_marker_elsewhere_than_first_is_no_marker(self, folder):
        message = refusal(lists(folder, [[3, 1], [4]], [[1.0, -2.0], [1.0]]), SUMMED)
        assert message == "column 'genes' has the number 1 in cell number 0, which the table of genes does not have"

    def test_fractions(self, folder):
        assert "column 'expressions' holds 1 count that is not whole" in refusal(lists(folder, [[3]], [[1.5]]), SUMMED)

    def test_an_unknown_number_of_a_gene(self, folder):
        message = refusal(lists(folder, [[3], [4, 77]], [[1.0], [2.0, 1.0]]), SUMMED)
        assert message == "column 'genes' has the number 77 in cell number 1, which the table of genes does not have"

    def test_numbers_of_genes_without_a_table(self, tmp_path):
        message = refusal(lists(tmp_path, [[3], [4, 5]], [[1.0], [2.0, 1.0]]), SUMMED)
        assert message.startswith("none of its 3 rows has an id that can be a gene's; it has '3', '4', '5': ")
        with open_matrix(str(tmp_path / "cells.parquet"), AttributeNames()) as matrix:
            said = dict(matrix.describe())["genes"]
        assert said == "column 'genes'; numbers, and no table of genes beside the file leads them to ids"

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"token_id": None}, "has no column 'token_id'; it has 'gene_symbol', 'ensembl_id'"),
            ({"ensembl_id": None}, "has no column 'ensembl_id'; it has 'gene_symbol', 'token_id'"),
            ({"token_id": [3, 3, *range(4, 11)]}, "has the number 3 of 'token_id' more than once"),
            ({"token_id": [None, *range(4, 12)]}, "must have a whole number 'token_id' of each gene; it holds int64"),
            ({"token_id": list("abcdefghi")}, "must have a whole number 'token_id' of each gene; it holds string"),
        ],
    )
    def test_a_table_of_genes_that_is_none(self, folder, changes, problem):
        write_gene_table(folder / "gene_metadata.parquet", 9, **changes)
        found = refusal(lists(folder, [[3]], [[1.0]]), SUMMED)
        assert found == f"the table of its genes, {folder}/gene_metadata.parquet, {problem}"

    def test_a_column_of_cells_that_is_missing(self, folder):
        assert refusal(lists(folder, [[3]], [[1.0]], plate=["p"]), LONG).startswith(
            "column 'filter_pass' is missing; it has 'plate': name it with --filter-attr"
        )


class TestLong:
    def test_rows_in_another_order_name_the_way_of_dataframes(self, tmp_path):
        counts = random_counts(np.random.default_rng(1), 9, 9, density=0.9)
        path = write_long(
            tmp_path / "a.parquet", counts, group=5, order=lambda _, genes: np.argsort(genes, kind="stable")
        )
        message = refusal(path, LONG)
        assert message.startswith("the rows of cell 'cell")
        assert message.endswith(
            "do not follow each other, as those of each cell must in a table of an entry per row: sort it by 'cell', "
            "or use it as a DataFrame in any order: gene_medians(df, gene_col='gene', value_col='count', "
            "cell_col='cell')"
        )

    def test_a_single_row_of_a_cell_elsewhere(self, tmp_path):
        columns = {"gene": IDS[:4], "cell": ["a", "b", "c", "a"], "count": [1, 1, 1, 1]}
        assert "the rows of cell 'a' do not follow each other" in refusal(
            write_table(tmp_path / "a.parquet", columns, 2)
        )

    @pytest.mark.parametrize(
        ("column", "problem"),
        [
            ("gene", "column 'gene' has 1 entry without a gene"),
            ("cell", "column 'cell' has 1 entry without a cell"),
            ("count", "column 'count' has a null in cell number 1"),
        ],
    )
    def test_nulls(self, tmp_path, column, problem):
        columns = {"gene": IDS[:3], "cell": ["a", "b", "c"], "count": [1, 2, 3]}
        columns[column][1] = None
        assert refusal(write_table(tmp_path / "a.parquet", columns), SUMMED) == problem

    def test_cells_that_are_no_ids(self, tmp_path):
        path = write_table(tmp_path / "a.parquet", {"gene": IDS[:1], "cell": [1.5], "count": [1]})
        assert refusal(path) == "column 'cell' must hold ids of cells, texts or whole numbers; it holds double"

    def test_genes_that_are_no_ids(self, tmp_path):
        path = write_table(tmp_path / "a.parquet", {"gene": [1.5], "cell": ["a"], "count": [1]})
        assert refusal(path) == "column 'gene' must hold ids or numbers of genes; it holds double"

    @pytest.mark.parametrize("group", [1, 2, 100])
    def test_a_total_that_varies_within_a_cell(self, tmp_path, group):
        columns = {"gene": IDS[:4], "cell": ["a", "a", "b", "b"], "count": [1] * 4, "n_counts": [2.0, 2.0, 2.0, 3.0]}
        options = ReadOptions(gene_table=TABLE, cell_filter=False)
        assert refusal(write_table(tmp_path / "a.parquet", columns, group), options) == (
            "column 'n_counts' has several values in the rows of cell number 1; it must have one for each cell"
        )

    def test_no_rows_at_all(self, tmp_path):
        columns = {"gene": pa.string(), "cell": pa.string(), "count": pa.int64()}
        empty = pa.table({name: pa.array([], kind) for name, kind in columns.items()})
        message = refusal(write_table(tmp_path / "a.parquet", empty), SUMMED)
        assert message == "the matrix has no row"
