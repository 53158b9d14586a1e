"""Gene tables that are annotations: GTF and GFF3 as GENCODE, Ensembl and NCBI write them, plain and compressed."""

import gzip
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from median_spark import read_gene_table
from median_spark.errors import GeneTableError
from median_spark.genes import annotation

GENCODE = """\
##description: evidence-based annotation of the human genome (GRCh38), version 29 (Ensembl 94)
##provider: GENCODE
##format: gtf
chr1\tHAVANA\tgene\t11869\t14409\t.\t+\t.\tgene_id "ENSG00000223972.5"; gene_type "transcribed_unprocessed_pseudogene"; gene_name "DDX11L1"; level 2; havana_gene "OTTHUMG00000000961.2";
chr1\tHAVANA\ttranscript\t11869\t14409\t.\t+\t.\tgene_id "ENSG00000223972.5"; transcript_id "ENST00000456328.2"; gene_type "transcribed_unprocessed_pseudogene"; gene_name "DDX11L1"; transcript_type "lncRNA"; level 2;
chr1\tHAVANA\texon\t11869\t12227\t.\t+\t.\tgene_id "ENSG00000223972.5"; transcript_id "ENST00000456328.2"; gene_type "transcribed_unprocessed_pseudogene"; exon_number 1; level 2;
chr17\tHAVANA\tgene\t7661779\t7687550\t.\t-\t.\tgene_id "ENSG00000141510.17"; gene_type "protein_coding"; gene_name "TP53"; level 2; tag "overlapping; locus";
chrX\tHAVANA\tgene\t276322\t303356\t.\t+\t.\tgene_id "ENSG00000167393.17"; gene_type "protein_coding"; gene_name "PPP2R3B"; level 2;
chrY\tHAVANA\tgene\t276322\t303356\t.\t+\t.\tgene_id "ENSG00000167393.17_PAR_Y"; gene_type "protein_coding"; gene_name "PPP2R3B"; level 2; tag "PAR";
"""  # noqa: E501
OF_GENCODE = {
    "ENSG00000223972.5": "transcribed_unprocessed_pseudogene",
    "ENSG00000141510.17": "protein_coding",
    "ENSG00000167393.17": "protein_coding",
    "ENSG00000167393.17_PAR_Y": "protein_coding",
}
ENSEMBL = """\
#!genome-build GRCh38.p12
#!genome-version GRCh38
1\thavana\tgene\t11869\t14409\t.\t+\t.\tgene_id "ENSG00000223972"; gene_version "5"; gene_name "DDX11L1"; gene_source "havana"; gene_biotype "transcribed_unprocessed_pseudogene";
1\thavana\ttranscript\t11869\t14409\t.\t+\t.\tgene_id "ENSG00000223972"; gene_version "5"; transcript_id "ENST00000456328"; gene_biotype "transcribed_unprocessed_pseudogene";
17\tensembl_havana\tgene\t7661779\t7687550\t.\t-\t.\tgene_id "ENSG00000141510"; gene_version "17"; gene_name "TP53"; gene_source "ensembl_havana"; gene_biotype "protein_coding";
17\thavana\tgene\t3\t4\t.\t-\t.\tgene_id "ENSG00000285000"; gene_version "1"; gene_source "havana"; gene_biotype "lncRNA";
"""  # noqa: E501
OF_ENSEMBL = {
    "ENSG00000223972": "transcribed_unprocessed_pseudogene",
    "ENSG00000141510": "protein_coding",
    "ENSG00000285000": "lncRNA",
}
GENCODE_GFF3 = """\
##gff-version 3
#description: evidence-based annotation of the human genome (GRCh38), version 29 (Ensembl 94)
##sequence-region chr1 1 248956422
chr1\tHAVANA\tgene\t11869\t14409\t.\t+\t.\tID=ENSG00000223972.5;gene_id=ENSG00000223972.5;gene_type=transcribed_unprocessed_pseudogene;gene_name=DDX11L1;level=2
chr1\tHAVANA\ttranscript\t11869\t14409\t.\t+\t.\tID=ENST00000456328.2;Parent=ENSG00000223972.5;gene_id=ENSG00000223972.5;gene_type=transcribed_unprocessed_pseudogene
"""
ENSEMBL_GFF3 = """\
##gff-version 3
##sequence-region   1 1 248956422
1\tGRCh38\tchromosome\t1\t248956422\t.\t.\t.\tID=chromosome:1;Alias=CM000663.2,chr1,NC_000001.11
###
1\thavana\tpseudogene\t11869\t14409\t.\t+\t.\tID=gene:ENSG00000223972;Name=DDX11L1;biotype=transcribed_unprocessed_pseudogene;description=DEAD/H-box helicase 11 like 1 [Source:HGNC Symbol%3BAcc:HGNC:37102];gene_id=ENSG00000223972;logic_name=havana;version=5
1\thavana\tlnc_RNA\t11869\t14409\t.\t+\t.\tID=transcript:ENST00000456328;Parent=gene:ENSG00000223972;biotype=lncRNA;transcript_id=ENST00000456328
17\tensembl_havana\tgene\t7661779\t7687550\t.\t-\t.\tID=gene:ENSG00000141510;Name=TP53;biotype=protein_coding;gene_id=ENSG00000141510;version=17
17\thavana\tncRNA_gene\t3\t4\t.\t-\t.\tID=gene:ENSG00000285000;biotype=lncRNA;gene_id=ENSG00000285000;version=1
"""  # noqa: E501

FILES = {
    "GENCODE": (GENCODE, OF_GENCODE),
    "Ensembl": (ENSEMBL, OF_ENSEMBL),
    "GENCODE, GFF3": (GENCODE_GFF3, {"ENSG00000223972.5": "transcribed_unprocessed_pseudogene"}),
    "Ensembl, GFF3": (ENSEMBL_GFF3, OF_ENSEMBL),
}
ENCODED = {
    "plain": str.encode,
    "Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "no line end": lambda text: text.rstrip("\n").encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
    "bgzip": lambda text: b"".join(gzip.compress(line.encode()) for line in text.splitlines(keepends=True)),
}


def read(path, content):
    path.write_bytes(content)
    return read_gene_table(str(path))


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("file", FILES)
def test_gene_lines_are_the_table_whatever_the_file_is_called(tmp_path, file, encoding):
    text, gene_types = FILES[file]
    table = read(tmp_path / "genes.csv", ENCODED[encoding](text))
    assert table.gene_types == gene_types
    assert table.gene_names["ENSG00000223972"] == "DDX11L1"
    assert "ENSG00000285000" not in table.gene_names


@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
def test_lines_are_found_across_blocks(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(annotation, "_CHUNK", chunk)
    assert read(tmp_path / "genes.gtf", GENCODE.encode()).gene_types == OF_GENCODE
    assert read(tmp_path / "genes.gtf.gz", gzip.compress(GENCODE.encode())).gene_types == OF_GENCODE


def test_gene_in_another_column_is_no_gene_line(tmp_path):
    others = 'chr1\tgene\texon\t1\t2\t.\t+\t.\tgene_id "X1"; gene_type "lncRNA"\n' + "#\ta\tgene\tgene\t\n"
    assert read(tmp_path / "genes.gtf", (GENCODE + others).encode()).gene_types == OF_GENCODE


VALUES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters='"'), min_size=1, max_size=8)


@given(st.dictionaries(st.integers(0, 99), st.tuples(VALUES, VALUES), min_size=1, max_size=6), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_quoted_values_of_any_text_come_through(tmp_path, genes, compressed):
    lines = [
        f'chr1\tx\tgene\t1\t2\t.\t+\t.\tnote "gene_id ; {name}"; gene_type "{kind}"; gene_id "ENSG{gene}"; '
        f'gene_name "{name}"; level 2; gene_id "later"\n'
        for gene, (kind, name) in genes.items()
    ]
    content = "".join(lines).encode()
    table = read(tmp_path / "genes.gtf", gzip.compress(content) if compressed else content)
    assert table.gene_types == {f"ENSG{gene}": kind for gene, (kind, _) in genes.items()}
    assert {f"ENSG{gene}": name for gene, (_, name) in genes.items()}.items() <= table.gene_names.items()


LINE = 'chr1\tx\tgene\t1\t2\t.\t+\t.\tgene_id "ENSG1"; gene_type "lncRNA";\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            LINE.replace("\tgene\t", "\texon\t").encode(),
            "it has no line of a gene, only of other features: take one of",
        ),
        (LINE.replace("gene_type", "x").encode(), "a gene line has no gene_type or gene_biotype: 'chr1 x gene 1 2"),
        (LINE.replace("gene_id", "ID").encode(), "a gene line has no gene_id: 'chr1"),
        ((LINE + "chr1\tx\tgene\t1\n").encode(), "a gene line has no gene_id: 'chr1 x gene 1'"),
        (gzip.compress((LINE * 9_999).encode())[:-9], "end-of-stream"),
        ((LINE + "\xe9" + LINE).encode("latin-1"), "can't decode"),
        ((LINE + "x" * (2 << 20)).encode(), "more than 1,048,576 bytes in one line"),
        (gzip.compress(LINE.encode() + bytes(3 << 20)), "more than 1,048,576 bytes in one line"),
    ],
    ids=["exons only", "no type", "no id", "cut line", "cut gzip", "Latin-1", "one long line", "zeros"],
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, content, said):
    with pytest.raises(GeneTableError, match=rf"genes\.gtf: the gene table cannot be read as GTF \(.*{said}"):
        read(tmp_path / "genes.gtf", content)


def test_sizes_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(annotation, "_MOST_BYTES", len(GENCODE) - 1)
    with pytest.raises(GeneTableError, match="bytes once it is decompressed"):
        read(tmp_path / "genes.gtf", gzip.compress(GENCODE.encode()))
    monkeypatch.setattr(annotation, "_MOST_BYTES", len(GENCODE))
    monkeypatch.setattr(annotation, "_MOST_GENE_BYTES", 300)
    with pytest.raises(GeneTableError, match="more than 300 bytes of gene lines"):
        read(tmp_path / "genes.gtf", GENCODE.encode())


def test_one_gene_with_two_types_is_refused(tmp_path):
    with pytest.raises(GeneTableError, match=r"1 gene id with more than one gene_type: 'ENSG1'$"):
        read(tmp_path / "genes.gtf", (LINE + LINE.replace("lncRNA", "miRNA")).encode())


def test_an_annotation_of_symbols_is_read_as_it_is(tmp_path):
    ncbi = LINE.replace("ENSG1", "TP53").replace("gene_type", "gene_biotype")
    assert read(tmp_path / "genes.gtf", ncbi.encode()).gene_types == {"TP53": "lncRNA"}


def test_several_species_are_one_table(tmp_path):
    (tmp_path / "human.gtf").write_text(ENSEMBL)
    (tmp_path / "mouse.gtf.gz").write_bytes(gzip.compress(re.sub("ENSG", "ENSMUSG", ENSEMBL).encode()))
    (tmp_path / "spike.csv").write_text("ensembl_id,gene_type\nERCC-00002,spike_in\n")
    paths = [str(tmp_path / name) for name in ("human.gtf", "mouse.gtf.gz", "spike.csv")]
    table = read_gene_table(paths)
    mouse = {gene.replace("ENSG", "ENSMUSG"): kind for gene, kind in OF_ENSEMBL.items()}
    assert table.gene_types == OF_ENSEMBL | mouse | {"ERCC-00002": "spike_in"}
    assert (table.gene_names["ENSG00000141510"], table.gene_names["ENSMUSG00000141510"]) == ("TP53", "TP53")
    assert table.path == ", ".join(paths)
    assert read_gene_table(paths[::-1]).fingerprint() == table.fingerprint()
    assert read_gene_table(paths[:1]) == read_gene_table(paths[0])


def test_a_gene_with_another_type_in_each_table_is_refused(tmp_path):
    (tmp_path / "one.gtf").write_text(ENSEMBL)
    (tmp_path / "two.gtf").write_text(ENSEMBL.replace("protein_coding", "lncRNA"))
    said = (
        r"one\.gtf and .*two\.gtf: 1 gene id with another gene type in each: 'ENSG00000141510'; 'ENSG00000141510' has "
        "'protein_coding' and 'lncRNA': keep one"
    )
    with pytest.raises(GeneTableError, match=said):
        read_gene_table([str(tmp_path / "one.gtf"), str(tmp_path / "two.gtf")])
