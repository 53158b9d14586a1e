"""Gene tables and gene maps in the files that people have: of R, of Excel, of pandas, compressed, with comments."""

import csv
import gzip
import io
import pickle
import warnings
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looms import write_loom

from median_spark import read_gene_map, read_gene_table
from median_spark.errors import GeneMapError, GeneTableError, UsageError
from median_spark.verification.naming import namings_of

FRAME = pd.DataFrame(
    {
        "ensembl_id": ["ENSG1", "ENSG2", "ENSG3"],
        "gene_name": ["TP53", "NKX2-1", "MT-ND1"],
        "gene_type": ["protein_coding", "miRNA", "lncRNA"],
    }
)
TYPES = dict(zip(FRAME["ensembl_id"], FRAME["gene_type"], strict=True))
NAMES = dict(zip(FRAME["ensembl_id"], FRAME["gene_name"], strict=True))
MAPPED = {name.upper(): gene for gene, name in NAMES.items()}


def of_r(text, separator, *, short):
    """Return what R's write.table makes of a CSV: rows with names; a header without a field for these if `short`."""
    header, *rows = [f'"{line}"'.replace(",", f'"{separator}"') for line in text.splitlines()]
    named = [f'"{number}"{separator}{row}' for number, row in enumerate(rows, 1)]
    return "\n".join([header if short else f'""{separator}{header}', *named, ""])


PLAIN = FRAME.to_csv(index=False)
FILES = {
    "write.csv": of_r(PLAIN, ",", short=False),
    "write.csv without a field for row names": of_r(PLAIN, ",", short=True),
    "write.table": of_r(PLAIN, " ", short=True),
    "write.table, tabs": of_r(PLAIN, "\t", short=True),
    "write.table, unquoted": of_r(PLAIN, " ", short=True).replace('"', ""),
    "write.csv2": of_r(PLAIN, ";", short=False),
    "pandas with its index": FRAME.to_csv(),
    "tabs": FRAME.to_csv(index=False, sep="\t"),
    "semicolons": FRAME.to_csv(index=False, sep=";"),
    "aligned": FRAME.to_string(index=False),
    "blanks around fields": PLAIN.replace(",", " ,  ").replace("\n", " \n"),
    "blanks within quotes": "".join(
        '" ' + line.replace(",", ' ", " ') + ' "\n' for line in PLAIN.splitlines()
    ),
    "comments": "#!genome-build GRCh38\n# made by, whom\n\n" + PLAIN,
    "blank lines": "\n\n" + PLAIN.replace("\n", "\n\n") + ",,\n , ,\n",
    "blank ids": PLAIN + ",X,miRNA\n  ,Y,lncRNA\n",
    "a separator at the end of rows": PLAIN.replace("\n", ",\n").replace("gene_type,", "gene_type"),
    "a separator at the end of all lines": PLAIN.replace("\n", ",\n"),
    "no line end": PLAIN.rstrip("\n"),
}  # fmt: skip
ENCODED = {
    "plain": lambda text: text.encode(),
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "old Mac": lambda text: text.replace("\n", "\r").encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
    "bgzip": lambda text: b"".join(gzip.compress(line.encode()) for line in text.splitlines(keepends=True)),
}


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("file", FILES)
def test_table_and_map_are_read_and_verification_reads_the_same_map(tmp_path, file, encoding):
    path = tmp_path / "genes.csv"
    path.write_bytes(ENCODED[encoding](FILES[file]))
    table = read_gene_table(str(path))
    assert (table.gene_types, table.gene_names) == (TYPES, NAMES)
    gene_map = read_gene_map(str(path))
    assert gene_map.ids == MAPPED
    recorded = {"study": {"parameters": {"gene_map": gene_map.fingerprint()}}}
    assert namings_of(recorded, str(path))[0].gene_map == MAPPED


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty: it must have a header with the names of its columns"),
        (b" \n\n", "it is empty: it must have a header"),
        (b"# nothing\n#\n", "nothing but lines of comment: it must have a header"),
        (b"\xef\xbb\xbf", "it is empty"),
        (gzip.compress(b""), "it is empty"),
        (gzip.compress(PLAIN.encode())[:-9], "end-of-stream"),
        (gzip.compress(PLAIN.encode())[:15] + b"\xff" * 40, "decompressing|CRC|invalid|end-of-stream"),
        (gzip.compress(bytes(300 * 2**20), 1), "more than 268,435,456 bytes once it is decompressed"),
        (b"PK\x03\x04 and so on", "Excel workbook: save it as CSV"),
        (PLAIN.encode() + b"ENSG4,A\n", r"line 5 has 2 fields where the header has 3: 'ENSG4', 'A'; .*'gene_type'"),
        (PLAIN.encode() + b"ENSG4,A,b,c,d\n", "line 5 has 5 fields where the header has 3"),
        (PLAIN.encode().replace(b"TP53", b"a" * 200_000), "field larger than field limit"),
    ],
    # Not the content itself: gzip puts the time into it, and all processes must call the tests the same.
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, content, said):
    path = tmp_path / "genes.csv"
    path.write_bytes(content)
    for read, refusal in ((read_gene_table, GeneTableError), (read_gene_map, GeneMapError)):
        with pytest.raises(refusal, match=rf"^{path}: the gene (table|map) cannot be read as CSV \(.*({said})"):
            read(str(path))


@pytest.fixture(scope="module")
def loom(tmp_path_factory):
    return Path(write_loom(tmp_path_factory.mktemp("looms") / "a.loom", [[1, 2], [3, 4]])).read_bytes()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (bytes, "an HDF5 file, such as .loom or .h5ad"),
        (lambda loom: gzip.compress(loom, mtime=0), "an HDF5 file, such as .loom or .h5ad"),
        (lambda loom: b"PAR1" + loom, "a Parquet file"),
        (lambda loom: pickle.dumps(loom), "a pickle"),
    ],
    ids=["loom", "gzipped loom", "Parquet", "pickle"],
)
def test_another_kind_of_file_is_refused_with_its_kind_and_with_what_is_allowed(tmp_path, loom, change, kind):
    path = tmp_path / "genes.csv"
    path.write_bytes(change(loom))
    for read, refusal, what, allowed in (
        (read_gene_table, GeneTableError, "gene table", "a CSV, a TSV, a GTF or a GFF3, which may be gzipped"),
        (read_gene_map, GeneMapError, "gene map", "a CSV or TSV, .* or a pickled dict whose name ends in .pkl or"),
    ):
        sentence = rf"^{path}: the {what} cannot be read as CSV \(it is {kind}\): the {what} must be {allowed}"
        with pytest.raises(refusal, match=sentence):
            read(str(path))


def test_other_binary_data_is_said_to_be_no_text(tmp_path):
    path = tmp_path / "genes.csv"
    path.write_bytes(b"\x00\x01\xff\xfe" * 9)
    with pytest.raises(GeneTableError, match=r"cannot be read as CSV \(it is not text\)"):
        read_gene_table(str(path))
    path.write_bytes("ensembl_id,gene_type\nENSG1,\xe9\n".encode("latin-1"))
    with pytest.raises(GeneTableError, match=r"it is not text in UTF-8: save it as UTF-8; .* byte 0xe9"):
        read_gene_table(str(path))


FIELDS = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=6).map(str.strip)


@given(
    st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=6), st.sampled_from(",\t;"), st.booleans(), st.booleans()
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fields_of_any_text_come_through(tmp_path, pairs, separator, with_index, compressed):
    rows = {f"ENSG{number}": pair for number, pair in enumerate(pairs)}
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, quoting=csv.QUOTE_ALL)
    index = [""] if with_index else []
    writer.writerow([*index, "ensembl_id", "gene_type", "gene_name"])
    writer.writerows([*("1" for _ in index), gene, *pair] for gene, pair in rows.items())
    content = stream.getvalue().encode()
    path = tmp_path / "genes.csv"
    path.write_bytes(gzip.compress(content) if compressed else content)
    table = read_gene_table(str(path))
    assert table.gene_types == {gene: gene_type for gene, (gene_type, _) in rows.items()}
    assert table.gene_names == {gene: name for gene, (_, name) in rows.items() if name}


IDS, KINDS = ["ENSG00000000003", "ENSG00000000005"], ["protein_coding", "lncRNA"]
BIOMART = "Gene stable ID,Gene stable ID version,Transcript stable ID,Gene name,Gene type\n"
HEADERS = {
    "BioMart": BIOMART + "{0},{0}.1,ENST1,A,{2}\n{0},{0}.1,ENST2,A,{2}\n{1},{1}.4,ENST3,B,{3}\n",
    "BioMart, tabs": (BIOMART + "{0},{0}.1,ENST1,A,{2}\n{1},{1}.4,ENST3,B,{3}\n").replace(",", "\t"),
    "BioMart, versions alone": "Gene stable ID version,Gene type\n{0},{2}\n{1},{3}\n",
    "BioMart, read by R": '"","Gene.stable.ID","Gene.type"\n"1","{0}","{2}"\n"2","{1}","{3}"\n',
    "biomaRt": '"ensembl_gene_id","external_gene_name","gene_biotype"\n"{0}","A","{2}"\n"{1}","","{3}"\n',
    "CELLxGENE": "feature_id,feature_name,feature_type,feature_length\n{0},A,{2},9\n{1},B,{3},9\n",
    "CELLxGENE's var": ",feature_name,feature_type\n{0},A,{2}\n{1},B,{3}\n",
    "write.table of row names": '"gene_name" "gene_biotype"\n"{0}" "A" "{2}"\n"{1}" "B" "{3}"\n',
    "scanpy": ",gene_ids,feature_type\nA,{0},{2}\nB,{1},{3}\n",
    "GENCODE": "gene_id\tgene_name\tgene_type\n{0}\tA\t{2}\n{1}\tB\t{3}\n",
    "other capitals": "Ensembl ID;Symbol;Gene_Biotype\n{0};A;{2}\n{1};B;{3}\n",
    "ours first": "gene_id,gene_biotype,ensembl_id,gene_type\n1,x,{0},{2}\n2,y,{1},{3}\n",
    "spelled alike first": "Ensembl ID,ensembl_id,gene_type\n1,{0},{2}\n2,{1},{3}\n",
}


@pytest.mark.parametrize("header", HEADERS)
def test_columns_are_known_by_the_names_that_people_have(tmp_path, header):
    path = tmp_path / "genes.csv"
    path.write_text(HEADERS[header].format(*IDS, *KINDS))
    table = read_gene_table(str(path))
    assert table.gene_types == dict(zip(IDS, KINDS, strict=True))
    assert table.gene_names.get(IDS[0], "A") == "A"
    assert table.fingerprint() == "fa1fafcbdfe3cae3"


def test_row_names_that_are_no_ids_are_no_column(tmp_path):
    (tmp_path / "genes.csv").write_text(",gene_type\nA,miRNA\nENSG1,miRNA\n")
    with pytest.raises(GeneTableError, match="no column for ids; it has '', 'gene_type', and one must be called 'ens"):
        read_gene_table(str(tmp_path / "genes.csv"))


def test_no_table_is_refused():
    with pytest.raises(UsageError, match="gene_table names no file"):
        read_gene_table([])
