"""The layouts of public corpora: the marks that each is recognised by, and the options of reading that it implies.

Data only: `median_spark.matrices.layouts` recognises layouts, and docs/layouts.md shows this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

AUTO_LAYOUT, NO_LAYOUT = "auto", "none"
"""Names that stand for the layout of each source, and for none."""


@dataclass(frozen=True)
class Layout:
    """One layout. A source has it if it is of one of the formats and has all of the marks.

    Attributes
    ----------
    name : str
        Name that ``--layout`` takes.
    title : str
        Name for people.
    formats : tuple of str
        Formats, by the name of their `Format`.
    cells, rows, file, layers : tuple of str
        Marks: attributes of cells, of rows and of the whole file (uns of AnnData, global attributes of a loom), and
        layers.
    ending : str
        Mark: how the file's name ends, in lower case.
    implies : mapping of str to object
        Options of reading, by their names in `median_spark.options.READING`.
    filter_if_there : str
        Attribute of cells that is the filter where a source has it; without it, every cell passes.
    counts_in : tuple of str
        Layers that may hold the counts: the first that is there is read.
    counts_looked_for : bool
        True if a layer must also look like counts to be read.
    needs_gene_map : bool
        True if its rows are named by symbols.
    full_length : mapping of str to str
        Terms of `full_length_in`, an attribute of cells, to names of assays whose counts grow with a gene's length.
    opened_by_names : bool
        True if names of attributes decide how a source of the format is opened.
    replaced_by : str
        Ending of the file to use instead of one of this layout, which holds no counts.
    """

    name: str
    title: str
    formats: tuple[str, ...]
    cells: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    file: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    ending: str = ""
    implies: Mapping[str, object] = field(default_factory=dict)
    filter_if_there: str = ""
    counts_in: tuple[str, ...] = ()
    counts_looked_for: bool = False
    needs_gene_map: bool = False
    full_length_in: str = ""
    full_length: Mapping[str, str] = field(default_factory=dict)
    opened_by_names: bool = False
    replaced_by: str = ""


_ANNDATA = ("h5ad", "zarr")
_SUMMED: Mapping[str, object] = {"compute_n_counts": True}
_EVERY_CELL: Mapping[str, object] = {"no_cell_filter": True}

# The terms that CELLxGENE itself normalises for gene length (ASSAYS_FOR_GENE_LENGTH_NORMALIZATION of its data portal).
_FULL_LENGTH = {"EFO:0008930": "Smart-seq", "EFO:0008931": "Smart-seq2", "EFO:0700016": "Smart-seq v4"}

LAYOUTS = (
    Layout(
        "geneformer",
        "Geneformer's own",
        formats=("loom", *_ANNDATA),
        cells=("n_counts", "filter_pass"),
    ),
    Layout(
        "census",
        "CELLxGENE Census",
        formats=("soma",),
        cells=("raw_sum", "is_primary_data"),
        rows=("feature_id",),
        implies={"gene_id_attr": "feature_id", "n_counts_attr": "raw_sum", "filter_attr": "is_primary_data"},
        full_length_in="assay_ontology_term_id",
        full_length=_FULL_LENGTH,
    ),
    Layout(
        "cellxgene",
        "CELLxGENE",
        formats=_ANNDATA,
        cells=("is_primary_data",),
        file=("schema_version",),
        implies={"gene_id_attr": "index", "filter_attr": "is_primary_data", **_SUMMED},
        counts_in=("raw.X", "X"),
        full_length_in="assay_ontology_term_id",
        full_length=_FULL_LENGTH,
    ),
    Layout(
        "scbasecount",
        "scBaseCount",
        formats=_ANNDATA,
        cells=("umi_count_Unique", "gene_count_Unique"),
        implies={"gene_id_attr": "index", "n_counts_attr": "umi_count_Unique", "layer": "X", **_EVERY_CELL},
    ),
    Layout(
        "tahoe",
        "Tahoe-100M",
        formats=_ANNDATA,
        cells=("pass_filter", "tscp_count"),
        rows=("gene_id",),
        implies={
            "gene_id_attr": "gene_id",
            "n_counts_attr": "tscp_count",
            "filter_attr": "pass_filter",
            "filter_value": ("full",),
            "layer": "X",
        },
    ),
    Layout(
        "optimus",
        "HCA Optimus",
        formats=("loom", "h5ad"),
        cells=("n_molecules", "fragments_per_molecule"),
        rows=("ensembl_ids",),
        implies={"gene_id_attr": "ensembl_ids", "strip_version": True, **_SUMMED},
        filter_if_there="emptydrops_IsCell",
    ),
    Layout(
        "smartseq2",
        "HCA Smart-seq2",
        formats=("loom",),
        rows=("ensembl_ids",),
        layers=("estimated_counts",),
        implies={
            "gene_id_attr": "ensembl_ids",
            "strip_version": True,
            "layer": "estimated_counts",
            "allow_non_integer": True,
            **_SUMMED,
            **_EVERY_CELL,
        },
    ),
    Layout(
        "allen",
        "Allen ABC atlas",
        formats=("h5ad",),
        cells=("cell_barcode", "library_label"),
        rows=("gene_symbol",),
        ending="-raw.h5ad",
        implies={"gene_id_attr": "index", "layer": "X", **_SUMMED, **_EVERY_CELL},
    ),
    Layout(
        "allen-log2",
        "Allen ABC atlas, logarithms",
        formats=("h5ad",),
        cells=("cell_barcode", "library_label"),
        rows=("gene_symbol",),
        ending="-log2.h5ad",
        replaced_by="-raw.h5ad",
    ),
    Layout(
        "velocyto",
        "velocyto",
        formats=("loom",),
        rows=("Accession",),
        layers=("spliced", "unspliced"),
        implies={"gene_id_attr": "Accession", "strip_version": True, **_SUMMED, **_EVERY_CELL},
    ),
    Layout(
        "scenic",
        "SCENIC, SCope",
        formats=("loom",),
        cells=("nGene", "nUMI"),
        rows=("Gene",),
        implies={"gene_id_attr": "Gene", **_SUMMED, **_EVERY_CELL},
        needs_gene_map=True,
    ),
    Layout(
        "parse",
        "Parse folder",
        formats=("mtx",),
        cells=("tscp_count",),
        rows=("gene_id",),
        implies={"gene_id_attr": "gene_id", "n_counts_attr": "tscp_count", **_EVERY_CELL},
    ),
    Layout(
        "10x",
        "10x: .h5 of any Cell Ranger, folder of triples",
        formats=("10x", "mtx"),
        rows=("id",),
        implies={"gene_id_attr": "id", **_SUMMED, **_EVERY_CELL},
    ),
    Layout(
        "tahoe-parquet",
        "Tahoe-100M, Parquet",
        formats=("counts_parquet",),
        cells=("BARCODE_SUB_LIB_ID",),
        implies={"cell_id_attr": "BARCODE_SUB_LIB_ID", **_SUMMED, **_EVERY_CELL},
        opened_by_names=True,
    ),
    Layout(
        "count-table",
        "long count table, Parquet",
        formats=("counts_parquet",),
        implies={**_SUMMED, **_EVERY_CELL},
    ),
    Layout(
        "scanpy",
        "scanpy, after quality control",
        formats=_ANNDATA,
        cells=("total_counts", "n_genes_by_counts"),
        implies={**_SUMMED, **_EVERY_CELL},
        counts_in=("counts", "raw.X", "X"),
        counts_looked_for=True,
    ),
)
"""Every layout, from specific to general: a source that has the marks of several is of the first of them."""

LAYOUT_NAMES = (AUTO_LAYOUT, NO_LAYOUT, *(layout.name for layout in LAYOUTS))
"""What ``--layout`` takes."""
