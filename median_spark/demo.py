"""A small corpus of looms to try everything on: two databases, realistic depth and sparsity, one seed.

The counts are drawn, not measured: a gene's mean is log-normal, a cell's depth too, and counts are negative binomial,
as in droplet data. The genes' ids are made up and differ from real ones: they begin with ``ENSG9``.
"""

from dataclasses import dataclass
from pathlib import Path

import loompy
import numpy as np
import numpy.typing as npt

from median_spark import storage
from median_spark.errors import OutputError, UsageError, listed

_GENES = 3_000
_TYPES = {"protein_coding": 0.62, "lncRNA": 0.25, "miRNA": 0.05, "processed_pseudogene": 0.08}
_STUDIES = {
    "database1/data/study1": (700, "blood", 3_500),
    "database1/data/study2": (500, "lung", 5_000),
    "database1/data/study3": (300, "heart", 2_500),
    "database2/data/study1": (600, "brain", 8_000),
    "database2/data/study2": (400, "kidney", 3_000),
}
"""Cells, tissue and typical total counts of each source; two of them are called study1."""

_MIN_GENES = 200
"""Fewer detected genes than this, and a cell does not pass the filter."""

DEMO_SEED = 20_260


@dataclass(frozen=True)
class _Genes:
    ids: npt.NDArray[np.str_]
    types: npt.NDArray[np.str_]
    means: npt.NDArray[np.float64]
    dispersions: npt.NDArray[np.float64]


def write_demo(out: str, *, seed: int = DEMO_SEED) -> list[str]:
    """Write the demo corpus and its gene table.

    Parameters
    ----------
    out : str
        New or empty local folder.
    seed : int
        Random seed.

    Returns
    -------
    list of str
        Paths of the looms; ``gene_info_table.csv`` is beside their folders.

    Raises
    ------
    OutputError
        If the folder is not empty, or cannot be written.
    UsageError
        If it is not local.

    Examples
    --------
    >>> import median_spark
    >>> looms = median_spark.write_demo("demo")
    >>> len(looms)
    5
    """
    target = storage.canonical(out)
    if not storage.is_local(target):
        message = f"{target}: the demo corpus is written to a local folder"
        raise UsageError(message)
    held = storage.names_in(target) if storage.kind(target) == "folder" else []
    if held or storage.kind(target) == "file":
        message = f"{target}: the demo corpus needs a new or empty folder; this holds {listed(held, 3) or 'a file'}"
        raise OutputError(message)
    rng = np.random.default_rng(seed)
    genes = _draw_genes(rng)
    paths = [Path(target) / f"{name}.loom" for name in _STUDIES]
    for path, (cells, tissue, depth) in zip(paths, _STUDIES.values(), strict=True):
        storage.make_folder(str(path.parent))
        _write_study(path, rng, genes, cells, tissue, depth)
    rows = sorted(zip(genes.ids.tolist(), genes.types.tolist(), strict=True))
    lines = ["ensembl_id,gene_name,gene_type", *(f"{gene},GENE{gene},{kind}" for gene, kind in rows)]
    (Path(target) / "gene_info_table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(path) for path in paths]


def _draw_genes(rng: np.random.Generator) -> _Genes:
    ids = np.array([f"ENSG9{number:010d}" for number in np.sort(rng.choice(10**6, _GENES, replace=False))])
    types = rng.choice(list(_TYPES), _GENES, p=list(_TYPES.values()))
    means = rng.lognormal(0.0, 1.9, _GENES)
    means *= np.where(types == "protein_coding", 1.0, np.where(types == "miRNA", 0.02, 0.12))
    order = rng.permutation(_GENES)  # a loom's rows do not ascend by id
    return _Genes(ids[order], types[order], means / means.sum(), rng.gamma(2.0, 1.0, _GENES) + 0.3)


def _write_study(path: Path, rng: np.random.Generator, genes: _Genes, cells: int, tissue: str, depth: int) -> None:
    """Draw one source: its tissue turns some genes up and others off, and some of its cells are nearly empty."""
    profile = genes.means * rng.lognormal(0.0, 0.8, _GENES) * (rng.random(_GENES) > 0.12)
    profile /= profile.sum()
    totals = rng.lognormal(np.log(depth), 0.45, cells)
    totals[rng.random(cells) < 0.06] *= 0.02
    expected = profile[:, None] * totals
    counts = rng.poisson(
        expected * rng.gamma(genes.dispersions[:, None], 1 / genes.dispersions[:, None], expected.shape)
    )
    # A few genes have two rows, as symbols mapped to one Ensembl id do.
    ids, types = genes.ids.copy(), dict(zip(genes.ids.tolist(), genes.types.tolist(), strict=True))
    ids[rng.choice(_GENES, 5, replace=False)] = ids[rng.choice(_GENES, 5, replace=False)]
    detected = (counts > 0).sum(axis=0)
    loompy.create(
        str(path),
        counts.astype(np.int32),
        {
            "ensembl_id": ids,
            "gene_type": np.array([types[gene] for gene in ids.tolist()]),
            "gene_name": np.char.add("GENE", ids.astype("<U15")),
        },
        {
            "cell_id": np.array([f"{tissue}-{number:05d}" for number in range(cells)]),
            "n_counts": counts.sum(axis=0).astype(np.float64),
            "filter_pass": (detected >= _MIN_GENES).astype(np.int64),
            "tissue": np.array([tissue] * cells),
        },
    )
