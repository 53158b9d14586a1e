"""Which matrix rows become which genes: the gene table, and the selection against plain Python."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_ids import NO_IDS

from median_spark.errors import GeneTableError, InputError, UsageError
from median_spark.genes import DEFAULT_GENE_TYPES, GeneTable, RowCounts, read_gene_table, select_genes

CODING, MIRNA, LNC = "protein_coding", "miRNA", "lncRNA"
TABLE = GeneTable("genes.csv", {"ENSG1": CODING, "ENSG2": MIRNA, "ENSG3": LNC})


def written(folder, content, encoding="utf-8"):
    path = folder / "genes.csv"
    path.write_bytes(content.encode(encoding))
    return str(path)


def select(ids, own=None, table=None, chosen=DEFAULT_GENE_TYPES):
    return select_genes(
        "study.loom",
        np.array(ids, dtype=np.str_),
        None if own is None else np.array(own, dtype=np.str_),
        table,
        chosen,
    )


def rows_by_gene(selection):
    found = {}
    for row, gene in zip(selection.rows.tolist(), selection.gene_of_row.tolist(), strict=True):
        found.setdefault(str(selection.genes[gene]), []).append(row)
    return found


class TestReadGeneTable:
    @pytest.mark.parametrize(
        "content",
        [
            "ensembl_id,gene_type\nENSG1,protein_coding\nENSG2,miRNA\n",
            "gene_name,gene_type,ensembl_id\nX,protein_coding,ENSG1\nY,miRNA,ENSG2\n",
            "ensembl_id,gene_type\r\nENSG1,protein_coding\r\nENSG2,miRNA",
            '"ensembl_id","gene_type"\n"ENSG1","protein_coding"\n"ENSG2","miRNA"\n',
            "\ufeffensembl_id,gene_type\nENSG1,protein_coding\nENSG2,miRNA\n",
            "ensembl_id,gene_type\nENSG1,protein_coding\nENSG2,miRNA\nENSG1,protein_coding\n",
            "ensembl_id,gene_type\nENSG1,protein_coding\n,miRNA\n,lncRNA\nENSG2,miRNA\n",
        ],
        ids=["plain", "other columns", "Windows", "quoted", "byte order mark", "said twice", "rows without an id"],
    )
    def test_each_gene_has_its_type(self, tmp_path, content):
        assert read_gene_table(written(tmp_path, content)).gene_types == {"ENSG1": CODING, "ENSG2": MIRNA}

    def test_names_for_people_are_kept_where_there_are_some(self, tmp_path):
        content = "ensembl_id,symbol,gene_type,gene_name\nENSG1,A,miRNA,TP53\nENSG2,B,miRNA,\nENSG1,A,miRNA,P53\n"
        assert read_gene_table(written(tmp_path, content)).gene_names == {"ENSG1": "TP53"}

    @pytest.mark.parametrize("column", ["gene_name", "gene_symbol", "symbol"])
    def test_names_for_people_stand_in_any_of_these_columns(self, tmp_path, column):
        path = written(tmp_path, f"ensembl_id,gene_type,{column}\nENSG1,miRNA,NA\n")
        assert read_gene_table(path).gene_names == {"ENSG1": "NA"}

    def test_a_table_without_names_has_none(self, tmp_path):
        assert read_gene_table(written(tmp_path, "ensembl_id,gene_type,name\nENSG1,miRNA,X\n")).gene_names == {}

    @pytest.mark.parametrize("gene", [text for text in NO_IDS if "\udce9" not in text])
    def test_an_id_that_is_none_is_no_gene_of_the_table(self, tmp_path, gene):
        frame = pd.DataFrame({"ensembl_id": [gene, "ENSG1", gene], "gene_type": [MIRNA, CODING, LNC]})
        frame.to_csv(tmp_path / "genes.csv", index=False)
        assert read_gene_table(str(tmp_path / "genes.csv")).gene_types == {"ENSG1": CODING}

    def test_a_table_of_numbers_is_refused(self, tmp_path):
        path = written(tmp_path, "ensembl_id,gene_type\n7157,miRNA\n60,protein_coding\n")
        with pytest.raises(GeneTableError, match=r"genes\.csv: .*'ensembl_id'.*Ensembl ids, not '7157', '60'$"):
            read_gene_table(path)

    def test_a_header_alone_is_refused(self, tmp_path):
        with pytest.raises(GeneTableError, match=r"genes\.csv: .*'ensembl_id'.* no row but its header$"):
            read_gene_table(written(tmp_path, "ensembl_id,gene_type\n"))

    def test_a_uri_is_read(self, tmp_path):
        path = written(tmp_path, "ensembl_id,gene_type\nENSG1,miRNA\n")
        assert read_gene_table(f"file://{path}") == GeneTable(path, {"ENSG1": MIRNA})

    @pytest.mark.parametrize(("column", "what"), [("ensembl_id", "ids"), ("gene_type", "gene types")])
    def test_a_missing_column_is_named_with_those_that_are_there(self, tmp_path, column, what):
        header = "ensembl_id,gene_type,name".replace(column, "other")
        path = written(tmp_path, f"{header}\na,b,c\n")
        there = ", ".join(repr(name) for name in header.split(","))
        said = f"^{path}: the gene table has no column for {what}; it has {there}, and one must be called '{column}', "
        with pytest.raises(GeneTableError, match=said):
            read_gene_table(path)

    def test_contradictory_types_are_refused_by_gene(self, tmp_path):
        path = written(tmp_path, "ensembl_id,gene_type\nENSG1,miRNA\nENSG2,miRNA\nENSG1,lncRNA\n")
        with pytest.raises(GeneTableError, match=r"genes\.csv: 1 gene id with more than one gene_type: 'ENSG1'$"):
            read_gene_table(path)

    def test_a_table_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(GeneTableError, match=rf"^{tmp_path}/none\.csv: there is no such gene table$"):
            read_gene_table(f"{tmp_path}/none.csv")

    def test_a_folder_is_no_table(self, tmp_path):
        with pytest.raises(GeneTableError, match=rf"^{tmp_path}: .*cannot be read.*directory"):
            read_gene_table(str(tmp_path))

    @pytest.mark.parametrize(
        ("content", "encoding", "reason"),
        [
            ("", "utf-8", "it is empty: .*header"),
            ("# made by hand\n#\n", "utf-8", "nothing but lines of comment: .*header"),
            (",,\n", "utf-8", "no names of columns"),
            ("ensembl_id,gene_type\nENSG1\n", "utf-8", "line 2 has 1 fields where the header has 2"),
            ("PK\x03\x04...", "utf-8", "zip archive, such as an Excel workbook: save it as CSV"),
            ("ensembl_id,gene_type\nENSG1,é\n", "latin-1", "can't decode"),
            ("ensembl_id,gene_type\nENSG1,miRNA\nENSG2,miRNA,x,y\n", "utf-8", "line 3"),
            ('ensembl_id,gene_type\n"ENSG1,miRNA\n', "utf-8", "unexpected end of data"),
        ],
        ids=["empty", "comments", "blank header", "short row", "Excel", "not UTF-8", "ragged", "open quote"],
    )
    def test_what_is_no_csv_is_refused_with_the_reason(self, tmp_path, content, encoding, reason):
        with pytest.raises(GeneTableError, match=f"genes.csv: the gene table cannot be read as CSV .*{reason}"):
            read_gene_table(written(tmp_path, content, encoding))


class TestGeneTable:
    def test_its_universe_is_the_genes_of_the_chosen_types_ascending(self):
        table = GeneTable("", {"c": CODING, "a": MIRNA, "b": LNC})
        assert table.universe(DEFAULT_GENE_TYPES) == ["a", "c"]

    def test_no_gene_of_a_chosen_type_is_refused_with_the_types_there_are(self):
        with pytest.raises(
            GeneTableError,
            match=r"^genes\.csv: no gene .* among \['snRNA'\]; the table has 'lncRNA', 'miRNA', 'protein_coding'$",
        ):
            TABLE.universe(("snRNA",))

    def test_a_type_that_it_lacks_is_refused_with_those_there_are_unless_it_is_a_default(self):
        table = GeneTable("genes.csv", {"A": CODING, "B": LNC})
        assert table.universe((*DEFAULT_GENE_TYPES, LNC)) == ["A", "B"]
        said = r"^genes\.csv: the gene table has no gene of type 'lincRNA'; its types are 'lncRNA', 'protein_coding'$"
        with pytest.raises(GeneTableError, match=said):
            table.universe((CODING, "lincRNA"))

    def test_its_fingerprint_is_that_of_its_content_in_any_order(self):
        reordered = GeneTable("elsewhere", dict(reversed(TABLE.gene_types.items())))
        assert reordered.fingerprint() == TABLE.fingerprint()

    def test_its_fingerprint_says_nothing_of_names(self):
        assert GeneTable("", TABLE.gene_types, {"ENSG1": "TP53"}).fingerprint() == TABLE.fingerprint()

    @pytest.mark.parametrize("other", [{"ENSG1": MIRNA}, {"ENSG4": CODING}], ids=["another type", "one more gene"])
    def test_another_content_has_another_fingerprint(self, other):
        assert GeneTable(TABLE.path, TABLE.gene_types | other).fingerprint() != TABLE.fingerprint()


class TestSelection:
    def test_without_a_table_the_matrix_decides(self):
        selection = select(["B", "A", "C"], own=[CODING, MIRNA, LNC])
        assert selection.genes.tolist() == ["A", "B"]
        assert rows_by_gene(selection) == {"A": [1], "B": [0]}

    def test_without_own_types_the_table_decides(self):
        assert rows_by_gene(select(["ENSG3", "ENSG1", "X"], table=TABLE)) == {"ENSG1": [1]}

    def test_with_both_a_row_needs_both(self):
        selection = select(["ENSG1", "ENSG2", "ENSG3", "X"], own=[CODING, LNC, CODING, CODING], table=TABLE)
        assert rows_by_gene(selection) == {"ENSG1": [0]}

    def test_a_row_may_be_of_another_chosen_type_than_the_table_says(self):
        assert rows_by_gene(select(["ENSG1"], own=[MIRNA], table=TABLE)) == {"ENSG1": [0]}

    def test_other_types_can_be_chosen(self):
        assert rows_by_gene(select(["A", "B"], own=[CODING, LNC], chosen=(LNC,))) == {"B": [1]}

    def test_types_are_matched_whole_and_by_case(self):
        assert rows_by_gene(select(["A", "B", "C"], own=["protein_coding_x", "mirna", CODING])) == {"C": [2]}

    def test_duplicated_rows_make_one_gene(self):
        selection = select(["A", "B", "A", "A", "A"], own=[CODING] * 5)
        assert rows_by_gene(selection) == {"A": [0, 2, 3, 4], "B": [1]}
        assert (selection.row_counts.selected_rows, selection.row_counts.genes, selection.row_counts.summed_rows) == (
            5,
            2,
            3,
        )

    def test_a_row_without_an_id_makes_no_gene(self):
        assert rows_by_gene(select(["", "A"], own=[CODING, CODING])) == {"A": [1]}

    def test_disputed_rows_are_counted(self):
        assert select(["ENSG1", "ENSG2"], own=[CODING, LNC], table=TABLE).row_counts.disputed_rows == 1

    def test_unknown_rows_are_counted_with_examples(self):
        row_counts = select(["ENSG1", *"TUVWXYZ"], table=TABLE).row_counts
        assert (row_counts.unknown_rows, row_counts.known_rows) == (7, 1)
        assert row_counts.unknown_examples == ("T", "U", "V", "W", "X")

    def test_rows_of_other_types_are_counted(self):
        assert select(["ENSG1", "ENSG3", "X"], table=TABLE).row_counts.other_type_rows == 1
        assert select(["A", "B"], own=[CODING, LNC]).row_counts.other_type_rows == 1

    def test_its_row_counts_survive_json(self):
        row_counts = select(["ENSG1", "X"], table=TABLE).row_counts
        written = json.loads(json.dumps(row_counts.as_json()))
        assert RowCounts.from_json(written) == row_counts
        assert RowCounts.from_json({**written, "added_later": 1}) == row_counts

    def test_row_counts_of_earlier_versions_are_read(self):
        written = dict.fromkeys(("rows", "selected_rows", "genes", "summed_rows", "other_type_rows"), 1)
        written |= {"unknown_rows": 1, "known_rows": 1, "disputed_rows": 0, "unknown_examples": ["X"]}
        row_counts = RowCounts.from_json(written)
        assert (row_counts.unknown_examples, row_counts.no_id_rows, row_counts.versions_ignored) == (("X",), 0, False)

    @pytest.mark.parametrize("damaged", [{}, {"rows": 1}, None, 5])
    def test_damaged_row_counts_are_a_type_error(self, damaged):
        with pytest.raises(TypeError):
            RowCounts.from_json(damaged)

    def test_its_row_counts_are_plain_json(self):
        found = select(["ENSG1", "X"], table=TABLE).row_counts.as_json()
        assert {type(value) for value in found.values()} == {int, tuple, bool}

    @given(st.data())
    def test_it_is_what_plain_python_selects(self, data):
        types = st.sampled_from([CODING, MIRNA, LNC, "snRNA"])
        names = st.sampled_from(["", "nan", "ENSG1", "ENSG10", "ENSG2", "ENSG3", "ENSG4", "ENSG5", "X"])
        ids = data.draw(st.lists(names, min_size=1, max_size=15))
        given_types = data.draw(st.dictionaries(names.filter(bool), types))
        table = data.draw(st.none() | st.just(GeneTable("genes.csv", given_types)))
        exactly = st.lists(types, min_size=len(ids), max_size=len(ids))
        own = data.draw(exactly if table is None else st.none() | exactly)
        chosen = data.draw(st.sampled_from([(CODING, MIRNA), (LNC,)]))

        expected, fates = {}, Counter()
        for row, gene in enumerate(ids):
            own_fits = own is None or own[row] in chosen
            if gene in ("", "nan"):
                fates["no id"] += 1
            elif table is not None and gene not in given_types:
                fates["unknown"] += 1
            elif table is not None and given_types[gene] not in chosen:
                fates["other type"] += 1
            elif not own_fits:
                fates["other type" if table is None else "disputed"] += 1
            else:
                fates["selected"] += 1
                expected.setdefault(gene, []).append(row)

        if not expected:
            with pytest.raises(InputError, match=r"^study\.loom: no"):
                select(ids, own, table, chosen)
            return
        selection = select(ids, own, table, chosen)
        row_counts = selection.row_counts
        assert rows_by_gene(selection) == expected
        assert selection.genes.tolist() == sorted(expected)
        assert selection.rows.tolist() == sorted(selection.rows.tolist())
        assert (row_counts.rows, row_counts.genes) == (len(ids), len(expected))
        assert {
            "unknown": row_counts.unknown_rows,
            "other type": row_counts.other_type_rows,
            "disputed": row_counts.disputed_rows,
            "selected": row_counts.selected_rows,
            "no id": row_counts.no_id_rows,
        } == {fate: fates[fate] for fate in ("unknown", "other type", "disputed", "selected", "no id")}
        assert row_counts.known_rows == row_counts.rows - row_counts.unknown_rows - row_counts.no_id_rows


class TestNothingSelected:
    def test_neither_own_types_nor_a_table_is_refused_with_the_remedies(self):
        with pytest.raises(InputError, match=r"^study\.loom: .*gene type is missing .*gene_type=.*gene_table"):
            select(["A"])

    def test_no_chosen_type_is_refused(self):
        with pytest.raises(UsageError, match="no gene type was chosen"):
            select(["A"], own=[CODING], chosen=())

    def test_no_gene_of_a_chosen_type_is_refused_with_the_types_there_are(self):
        expected = r"^study\.loom: no gene is of a chosen type \['protein_coding', 'miRNA'\]; .* 'lncRNA', 'snRNA'$"
        with pytest.raises(InputError, match=expected):
            select(["A", "B", "C"], own=["snRNA", LNC, LNC])

    def test_no_gene_that_fits_both_the_table_and_the_matrix_is_refused(self):
        with pytest.raises(InputError, match=r"no gene is in the gene table and of a chosen type .* 'lncRNA'"):
            select(["ENSG1", "ENSG3"], own=[LNC, LNC], table=TABLE)

    def test_symbols_are_guessed(self):
        expected = r"none of its 4 gene ids .*'TP53', 'ACTB', 'MYC' and 1 more: .*symbols.*gene_id=.*gene_map=…$"
        with pytest.raises(InputError, match=expected):
            select(["TP53", "ACTB", "MYC", "CD4"], table=TABLE)

    def test_another_species_is_guessed(self):
        with pytest.raises(InputError, match=r"'ENSMUSG1': they may be of another species"):
            select(["ENSMUSG1"], table=TABLE)

    def test_a_matrix_without_rows_is_refused(self):
        with pytest.raises(InputError, match=r"^study\.loom: the matrix has no row$"):
            select([], own=[])
