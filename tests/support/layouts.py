"""Small files of every layout, by the libraries that write the real ones, and what numpy makes of each.

Each writer returns the path of its file and the expected values: {gene: (cell ids, values)}.
"""

from pathlib import Path

import anndata
import loompy
import numpy as np
import pandas as pd
import scipy.sparse
from parquets import gene_numbers, write_gene_table, write_lists, write_long
from somas import write_joined
from tenx import write_old_tenx_h5, write_tenx_h5
from triples import write_parse, write_tenx
from zarrs import copy_h5ad

GENES, CELLS = 23, 31
IDS = [f"ENSG{number:011d}" for number in range(GENES)]
VERSIONED = [f"{gene}.{number % 4 + 1}" for number, gene in enumerate(IDS)]
SYMBOLS = [f"Sym{number}" for number in range(GENES)]


def small_counts(seed):
    """Return counts of cells by genes, of which the first cell has none of the last gene, and all cells have some."""
    rng = np.random.default_rng(seed)
    counts = (rng.random((CELLS, GENES)) < 0.4) * rng.integers(1, 9, (CELLS, GENES))
    counts[:, 0] = 1
    return counts


def expected(counts, cells, passed=None, totals=None, target_sum=10_000.0):
    """Return {gene: (cell ids, values)} for counts of cells by genes."""
    counts = np.asarray(counts, dtype=np.float64)
    totals = counts.sum(axis=1) if totals is None else np.asarray(totals, dtype=np.float64)
    passed = np.ones(len(counts), dtype=bool) if passed is None else np.asarray(passed, dtype=bool)
    values = {}
    for number, gene in enumerate(IDS):
        taken = np.flatnonzero(passed & (counts[:, number] > 0))
        if len(taken):
            scaled = counts[taken, number] / totals[taken] * target_sum
            values[gene] = ([cells[cell] for cell in taken], scaled)
    return values


def write_anndata(path, counts, obs, var, index, *, raw=None, layers=None, uns=None, dtype=np.float32):
    cells = [f"{Path(path).stem}-{number}" for number in range(len(counts))]
    frame = pd.DataFrame(obs, index=cells)
    data = anndata.AnnData(
        scipy.sparse.csr_matrix(np.asarray(counts, dtype=dtype)), frame, pd.DataFrame(var, index=index), uns=uns or {}
    )
    if raw is not None:
        data.raw = anndata.AnnData(scipy.sparse.csr_matrix(np.asarray(raw, dtype=dtype)), frame, data.var)
    for name, layer in (layers or {}).items():
        data.layers[name] = scipy.sparse.csr_matrix(np.asarray(layer, dtype=dtype))
    data.write_h5ad(path)
    return cells


def write_loompy(path, layers, rows, columns):
    counts = next(iter(layers.values()))
    cells = [f"{Path(path).stem}-{number}" for number in range(len(counts))]
    matrices = {name: np.asarray(layer).T for name, layer in layers.items()}
    columns = {"CellID": np.array(cells), **{name: np.asarray(column) for name, column in columns.items()}}
    loompy.create(str(path), matrices, {name: np.asarray(row) for name, row in rows.items()}, columns)
    return cells


def geneformer(folder, seed=1):
    counts, path = small_counts(seed), folder / "geneformer.loom"
    passed = np.arange(CELLS) % 3 > 0
    rows = {"ensembl_id": IDS, "gene_type": ["protein_coding"] * GENES}
    totals = counts.sum(axis=1).astype(float)
    cells = write_loompy(
        path, {"": counts.astype(np.int32)}, rows, {"n_counts": totals, "filter_pass": passed.astype(int)}
    )
    return path, expected(counts, cells, passed)


def geneformer_h5ad(folder, seed=2):
    counts, path = small_counts(seed), folder / "geneformer2.h5ad"
    passed = np.arange(CELLS) % 4 > 0
    obs = {"n_counts": counts.sum(axis=1).astype(float), "filter_pass": passed.astype(int)}
    cells = write_anndata(path, counts, obs, {"ensembl_id": IDS}, SYMBOLS)
    return path, expected(counts, cells, passed)


def cellxgene(folder, seed=3, *, raw=True, assays=("EFO:0009922",)):
    counts, path = small_counts(seed), folder / f"cellxgene{'' if raw else '-x'}.h5ad"
    primary = np.arange(CELLS) % 5 > 1
    obs = {
        "is_primary_data": primary,
        "assay_ontology_term_id": pd.Categorical([assays[number % len(assays)] for number in range(CELLS)]),
        "tissue": pd.Categorical(["lung" if number % 2 else "heart" for number in range(CELLS)]),
    }
    var = {"feature_type": ["protein_coding"] * GENES}
    normalised = np.log1p(counts) if raw else counts
    cells = write_anndata(path, normalised, obs, var, IDS, raw=counts if raw else None, uns={"schema_version": "7.1.0"})
    return path, expected(counts, cells, primary)


def scbasecount(folder, seed=4):
    counts, path = small_counts(seed), folder / "SRX1.h5ad"
    obs = {"gene_count_Unique": (counts > 0).sum(axis=1), "umi_count_Unique": counts.sum(axis=1)}
    layers = {"UniqueAndMult-Uniform": counts + 0.5 * (counts > 0)}
    cells = write_anndata(path, counts, obs, {"gene_symbols": SYMBOLS}, IDS, layers=layers)
    return path, expected(counts, cells)


def tahoe(folder, seed=5):
    counts, path = small_counts(seed), folder / "plate1_filt.h5ad"
    full = np.arange(CELLS) % 3 < 2
    totals = counts.sum(axis=1) + 7  # of more genes than the file has
    obs = {"pass_filter": pd.Categorical(np.where(full, "full", "minimal")), "tscp_count": totals}
    cells = write_anndata(path, counts, obs, {"gene_id": IDS}, SYMBOLS)
    return path, expected(counts, cells, full, totals)


def optimus(folder, seed=6, *, emptydrops=True):
    counts, path = small_counts(seed), folder / f"optimus{'' if emptydrops else '-sn'}.loom"
    is_cell = np.arange(CELLS) % 2 == 0
    columns = {"n_molecules": counts.sum(axis=1) + 3, "fragments_per_molecule": np.ones(CELLS)}
    if emptydrops:
        columns["emptydrops_IsCell"] = is_cell.astype(np.uint8)
    rows = {"ensembl_ids": VERSIONED, "Gene": SYMBOLS, "gene_names": SYMBOLS}
    cells = write_loompy(path, {"": counts.astype(np.int32)}, rows, columns)
    return path, expected(counts, cells, is_cell if emptydrops else None)


def optimus_sn(folder):
    return optimus(folder, 7, emptydrops=False)


def smartseq2(folder, seed=8):
    counts, path = small_counts(seed), folder / "smartseq2.loom"
    estimated = (counts + 0.25 * (counts > 0)).astype(np.float32)
    rows = {"ensembl_ids": VERSIONED, "Gene": SYMBOLS}
    cells = write_loompy(path, {"": (counts * 1.37).astype(np.float32), "estimated_counts": estimated}, rows, {})
    return path, expected(estimated, cells)


def allen(folder, seed=9):
    counts, path = small_counts(seed), folder / "WMB-10Xv3-HY-raw.h5ad"
    obs = {"cell_barcode": ["ACGT"] * CELLS, "library_label": ["L8TX"] * CELLS}
    cells = write_anndata(path, counts, obs, {"gene_symbol": SYMBOLS}, IDS)
    return path, expected(counts, cells)


def velocyto(folder, seed=10):
    spliced, unspliced = small_counts(seed), small_counts(seed + 100)
    path = folder / "velocyto.loom"
    whole = (spliced + unspliced).astype(np.float32)
    layers = {"": whole, "spliced": spliced.astype(np.uint16), "unspliced": unspliced.astype(np.uint16)}
    cells = write_loompy(path, layers, {"Accession": IDS, "Gene": SYMBOLS}, {"Clusters": np.zeros(CELLS, dtype=int)})
    return path, expected(whole, cells)


def scenic(folder, seed=11):
    counts, path = small_counts(seed), folder / "scenic.loom"
    columns = {"nGene": (counts > 0).sum(axis=1), "nUMI": counts.sum(axis=1)}
    cells = write_loompy(path, {"": counts.astype(np.int32)}, {"Gene": SYMBOLS}, columns)
    return path, expected(counts, cells)


def scanpy(folder, seed=12):
    counts, path = small_counts(seed), folder / "scanpy.h5ad"
    totals = counts.sum(axis=1) + np.arange(CELLS) % 2  # of half of the cells, not that of this matrix
    obs = {"total_counts": totals.astype(np.float32), "n_genes_by_counts": (counts > 0).sum(axis=1)}
    cells = write_anndata(path, np.log1p(counts), obs, {}, IDS, layers={"counts": counts})
    return path, expected(counts, cells)


def cellxgene_zarr(folder, seed=14):
    path, values = cellxgene(folder, seed, raw=False)
    copy_h5ad(path, folder / "cellxgene.zarr")
    path.unlink()
    return folder / "cellxgene.zarr", values


def census(folder, seed=15):
    counts, primary = small_counts(seed), np.arange(CELLS) % 3 > 0
    numbers = np.arange(CELLS) + 40
    write_joined(folder / "census.soma", counts.T, numbers, np.arange(GENES), obs={"is_primary_data": primary})
    return folder / "census.soma", expected(counts, numbers.astype(str), primary)


def barcodes(folder):
    return [f"{folder.name}-{number}" for number in range(CELLS)]


def tenx(folder, seed=16):
    counts, path = small_counts(seed), folder / "filtered_feature_bc_matrix.h5"
    return write_tenx_h5(path, counts.T, barcodes=barcodes(folder)), expected(counts, barcodes(folder))


def old_tenx(folder, seed=17):
    counts, path = small_counts(seed), folder / "old.h5"
    return write_old_tenx_h5(path, {"GRCh38": counts.T}, barcodes=barcodes(folder)), expected(counts, barcodes(folder))


def tenx_folder(folder, seed=18):
    counts, path = small_counts(seed), folder / "tenx"
    return write_tenx(path, counts.T, barcodes=barcodes(path)), expected(counts, barcodes(path))


def parse(folder, seed=19):
    counts = small_counts(seed)
    totals = counts.sum(axis=1) + 4
    cells = [f"01_01_{number:02d}" for number in range(CELLS)]
    path = write_parse(folder / "parse", counts.T, columns={"tscp_count": totals.tolist()})
    return path, expected(counts, cells, totals=totals)


def tahoe_parquet(folder, seed=20):
    counts = small_counts(seed)
    write_gene_table(folder / "tahoe" / "metadata" / "gene_metadata.parquet", GENES)
    path = write_lists(folder / "tahoe" / "data" / "train-0.parquet", counts.T, gene_numbers(GENES), drug=["x"] * CELLS)
    return path, expected(counts, [f"cell{number}" for number in range(CELLS)])


def count_table(folder, seed=21):
    counts = small_counts(seed)
    path = write_long(folder / "long.parquet", counts.T, n_counts=None, filter_pass=None)
    return path, expected(counts, [f"cell{number}" for number in range(CELLS)])


WRITERS = {
    "geneformer": (geneformer, geneformer_h5ad),
    "cellxgene": (cellxgene, lambda folder: cellxgene(folder, 13, raw=False), cellxgene_zarr),
    "scbasecount": (scbasecount,),
    "tahoe": (tahoe,),
    "optimus": (optimus, optimus_sn),
    "smartseq2": (smartseq2,),
    "allen": (allen,),
    "velocyto": (velocyto,),
    "scenic": (scenic,),
    "scanpy": (scanpy,),
    "census": (census,),
    "10x": (tenx, old_tenx, tenx_folder),
    "parse": (parse,),
    "tahoe-parquet": (tahoe_parquet,),
    "count-table": (count_table,),
}
"""Writers of every layout."""
