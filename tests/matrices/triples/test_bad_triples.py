"""Triples that cannot be used are refused by an error that names the file, what was found, and what is allowed."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from reading import read, refusal
from triples import matrix_text, write_parse, write_tenx

from median_spark.errors import InputError
from median_spark.genes import GeneTable
from median_spark.matrices import AttributeNames, ReadOptions, open_matrix
from median_spark.options import Style

COUNTS = [[1, 0, 2], [3, 4, 0]]
TABLE = GeneTable("", {f"ENSG{number:011d}": "protein_coding" for number in range(9)})
EVERY_CELL = ReadOptions(gene_table=TABLE, cell_filter=False, compute_n_counts=True)


def refused(folder, **changes):
    """The words after the file's name of the error that a matrix is refused with."""
    return refusal(write_tenx(folder, COUNTS, gz=False, **changes), EVERY_CELL)


def of_other_file(location):
    """The error that a matrix is refused with, whatever file it names."""
    with pytest.raises(InputError) as error, open_matrix(location, AttributeNames()):
        pass
    return error.value.worded(Style.FLAGS).removeprefix(f"{Path(location).parent}/")


class TestHeader:
    @pytest.mark.parametrize("text", ["", "gene,cell\n1,2\n", "%%MatrixMarket\n", "\x00" * 99])
    def test_no_matrix_market(self, tmp_path, text):
        path = Path(write_tenx(tmp_path, COUNTS, gz=False))
        path.write_text(text)
        assert refusal(path).startswith(
            "this is not a Matrix Market file; its first line must be like '%%MatrixMarket matrix coordinate integer"
        )

    @pytest.mark.parametrize("words", ["array real general", "coordinate pattern general",
                                       "coordinate complex general", "coordinate integer symmetric"])  # fmt: skip
    def test_another_kind_of_matrix(self, tmp_path, words):
        path = Path(write_tenx(tmp_path, COUNTS, gz=False))
        path.write_text(f"%%MatrixMarket matrix {words}\n2 3 0\n")
        assert refusal(path).startswith(f"its header says '{words}'; only 'coordinate' matrices of 'integer' or 'real'")

    @pytest.mark.parametrize("header", ["2 3", "2 3 x", "2 3 -4", "2 3 4 5", "2.0 3 4", "9" * 30 + " 3 4"])
    def test_numbers_that_are_none(self, tmp_path, header):
        assert refused(tmp_path, header=header).startswith("its header must declare three whole numbers, rows, columns")

    def test_no_numbers(self, tmp_path):
        path = Path(write_tenx(tmp_path, COUNTS, gz=False))
        path.write_text("%%MatrixMarket matrix coordinate integer general\n% and no more\n")
        assert refusal(path) == "its header ends before it declares numbers of rows, columns and entries"

    def test_huge_numbers_ask_for_no_memory(self, tmp_path):
        assert refused(tmp_path, header="2 3 100000000000000").startswith(
            "its header declares 100,000,000,000,000 entries, and it has"
        )
        assert "declares 9,999,999,999 rows" in refused(tmp_path, header="9999999999 3 4")


class TestLists:
    @pytest.mark.parametrize("name", ["genes.tsv", "barcodes.tsv"])
    def test_a_missing_list(self, tmp_path, name):
        path = write_tenx(tmp_path, COUNTS, gz=False, prefix="GSM1_")
        (tmp_path / f"GSM1_{name}").unlink()
        what = "genes" if name == "genes.tsv" else "cells"
        names = "GSM1_features.tsv or GSM1_genes.tsv" if name == "genes.tsv" else "GSM1_barcodes.tsv"
        assert refusal(path) == (
            f"the list of its {what} is missing: there must be {names}, perhaps with .gz, in the same folder"
        )

    def test_a_list_that_is_there_twice(self, tmp_path):
        path = write_tenx(tmp_path, COUNTS, gz=False)
        (tmp_path / "features.tsv.gz").touch()
        assert refusal(path) == (
            "the list of its genes is there twice, as features.tsv.gz and genes.tsv beside it: take one of them away"
        )

    def test_too_few_cells(self, tmp_path):
        assert of_other_file(write_tenx(tmp_path, COUNTS, barcodes=["a", "b"])) == (
            "barcodes.tsv.gz: it lists 2 cells, where the header of matrix.mtx.gz declares 3"
        )

    def test_a_header_in_a_list_that_has_none(self, tmp_path):
        assert of_other_file(write_tenx(tmp_path, COUNTS, barcodes=["x", "a", "b", "c"])) == (
            "barcodes.tsv.gz: it lists 4 cells, where the header of matrix.mtx.gz declares 3, as if its first line "
            "were a header"
        )

    def test_too_many_genes(self, tmp_path):
        assert of_other_file(write_tenx(tmp_path, COUNTS, ids=list("abcd"))) == (
            "features.tsv.gz: it lists 4 features, where the header of matrix.mtx.gz declares 2"
        )

    def test_an_empty_list(self, tmp_path):
        path = write_tenx(tmp_path, COUNTS, gz=False)
        (tmp_path / "barcodes.tsv").write_text("")
        assert of_other_file(path) == "barcodes.tsv: it lists 0 cells, where the header of matrix.mtx declares 3"

    def test_a_transposed_matrix(self, tmp_path):
        path = Path(write_tenx(tmp_path, COUNTS, gz=False))
        path.write_text(matrix_text([[1, 3], [0, 4], [2, 0]]))
        assert refusal(path) == (
            "its header declares 3 rows and 2 columns for 2 genes and 3 cells: the matrix is transposed"
        )

    def test_no_gene_among_the_features(self, tmp_path):
        assert of_other_file(write_tenx(tmp_path, COUNTS, types=["Peaks"] * 2)) == (
            "features.tsv.gz: no feature is of the type 'Gene Expression'; the third column has 'Peaks'"
        )

    def test_lines_of_different_lengths(self, tmp_path):
        path = write_tenx(tmp_path, COUNTS, gz=False)
        (tmp_path / "genes.tsv").write_text("a\tb\nc\n")
        assert of_other_file(path).startswith("genes.tsv: this list cannot be read (CSV parse error: ")

    def test_a_damaged_list(self, tmp_path):
        path = write_tenx(tmp_path, COUNTS)
        content = (tmp_path / "barcodes.tsv.gz").read_bytes()
        (tmp_path / "barcodes.tsv.gz").write_bytes(content[:-6])
        assert of_other_file(path) == "barcodes.tsv.gz: this gzip file is cut off: copy it again from where it came"

    def test_parse_without_ids(self, tmp_path):
        path = write_parse(tmp_path, COUNTS)
        (tmp_path / "all_genes.csv").write_text("gene_name\na\nb\n")
        with pytest.raises(InputError) as error:
            open_matrix(path, AttributeNames()).gene_ids()
        assert "all_genes.csv: column 'gene_id' is missing; it has 'gene_name'" in str(error.value)

    def test_no_totals_and_no_filter(self, tmp_path):
        path = write_tenx(tmp_path, COUNTS)
        with open_matrix(path, AttributeNames()) as matrix:
            for ask, name in ((matrix.n_counts, "n_counts"), (matrix.filter_pass, "filter_pass")):
                with pytest.raises(InputError, match=f"column '{name}' is missing; it has 'barcode'"):
                    ask()

    def test_layers(self, tmp_path):
        path = write_tenx(tmp_path, COUNTS)
        assert refusal(path, ReadOptions(layer="spliced")) == "a matrix of triples has no layers: leave out --layer"


class TestEntries:
    @pytest.mark.parametrize("line", [b"\x98 1 1", b"1 \xff 1", b"1 1 \x80", b"1 1 1 \xc3", b"\xf0\x28"])
    def test_bytes_that_are_no_text(self, tmp_path, line):
        path = Path(write_tenx(tmp_path, COUNTS, gz=False))
        path.write_bytes(b"%%MatrixMarket matrix coordinate integer general\n2 3 1\n" + line + b"\n")
        assert refusal(path, EVERY_CELL).startswith("an entry cannot be read (")

    @pytest.mark.parametrize(
        ("entries", "problem"),
        [
            (["1 1 1", "3 1 5"], "entry 2 is in row 3, where the header declares 2; the file is damaged"),
            (["1 4 1"], "entry 1 is in column 4, where the header declares 3; the file is damaged"),
            (["0 1 1"], "entry 1 is in row 0, where the header declares 2; the file is damaged"),
            (["1 -1 1"], "entry 1 is in column -1, where the header declares 3; the file is damaged"),
        ],
    )
    def test_outside_the_matrix(self, tmp_path, entries, problem):
        assert refused(tmp_path, entries=entries) == problem

    @pytest.mark.parametrize(
        ("entry", "found"),
        [
            ("1 1", "Expected 3 columns, got 2"),
            ("1 1 1 1", "Expected 3 columns, got 4"),
            ("1  1 1", "Expected 3 columns, got 4"),
            ("1 1 2.5", "invalid value '2.5'"),
            ("1 1 1e3", "invalid value '1e3'"),
            ("1 1 x", "invalid value 'x'"),
            ("1 1 nan", "invalid value 'nan'"),
            ("1 1 3000000000", "invalid value '3000000000'"),
            ("1.0 1 1", "invalid value '1.0'"),
        ],
    )
    def test_what_is_no_entry(self, tmp_path, entry, found):
        message = refused(tmp_path, entries=["2 1 1", entry])
        assert message.startswith("an entry cannot be read (")
        assert found in message
        assert message.endswith("each line must have a row, a column and a count, with one space or tab between them")

    @pytest.mark.parametrize("order", [["1 1 7", "2 2 {}"], ["1 2 {}", "2 1 7"]])
    @pytest.mark.parametrize(
        ("count", "problem"),
        [
            ("-1", "the matrix holds 1 negative count "),
            ("nan", "the matrix holds 1 NaN count "),
            ("inf", "the matrix holds 1 infinite count "),
            ("1.5", "the matrix holds 1 count that is not whole "),
        ],
    )
    def test_counts_that_are_none(self, tmp_path, order, count, problem):
        entries = [line.format(count) for line in order]
        assert refused(tmp_path, field="real", entries=entries).startswith(problem)

    def test_fractions_are_taken_where_that_is_allowed(self, tmp_path):
        path = write_tenx(tmp_path, COUNTS, gz=False, field="real", entries=["1 1 1.5", "2 1 0.5"])
        options = replace(EVERY_CELL, allow_non_integer=True)
        assert {gene: found.tolist() for gene, (_, found) in read(path, options).items()} == {
            "ENSG00000000000": [7_500.0],
            "ENSG00000000001": [2_500.0],
        }

    @pytest.mark.parametrize(("number", "found"), [(3, "more than 3"), (5, "4"), (0, "more than 0")])
    def test_another_number_than_is_declared(self, tmp_path, number, found):
        assert refused(tmp_path, header=f"2 3 {number}") == (
            f"its header declares {number} entries, and it has {found}: it is cut off or damaged, copy it again from "
            "where it came"
        )

    def test_no_entries(self, tmp_path):
        assert "its header declares 4 entries, and it has 0" in refused(tmp_path, header="2 3 4", entries=[])

    @pytest.mark.parametrize("left", [30, 80, -3])
    def test_a_truncated_gzip_file(self, tmp_path, left):
        path = Path(write_tenx(tmp_path, COUNTS))
        path.write_bytes(path.read_bytes()[:left])
        assert refusal(path, EVERY_CELL) == "this gzip file is cut off: copy it again from where it came"

    def test_damaged_gzip(self, tmp_path):
        path = Path(write_tenx(tmp_path, COUNTS))
        content = bytearray(path.read_bytes())
        content[-6] ^= 1
        path.write_bytes(content)
        assert refusal(path, EVERY_CELL).startswith("this gzip file is damaged (CRC check failed")

    def test_waste_behind_gzip(self, tmp_path):
        path = Path(write_tenx(tmp_path, COUNTS))
        path.write_bytes(path.read_bytes() + b"waste")
        assert refusal(path, EVERY_CELL).startswith("this gzip file is damaged (Not a gzipped file (b'wa'))")

    def test_zeros_behind_gzip_are_no_damage(self, tmp_path):
        path = Path(write_tenx(tmp_path, COUNTS))
        path.write_bytes(path.read_bytes() + bytes(512))
        with open_matrix(str(path), AttributeNames()) as matrix:
            assert matrix.cell_totals(0, 3).tolist() == [4, 4, 2]

    def test_a_text_of_one_endless_line(self, tmp_path):
        path = Path(write_tenx(tmp_path, COUNTS))
        path.write_bytes(gzip.compress(b"%%MatrixMarket matrix coordinate integer general\n2 3 4\n" + b"1" * 5_000_000))
        assert refusal(path, EVERY_CELL).startswith("an entry cannot be read (")
