"""The looms that are converted: as loompy writes them, 36,601 genes, 6 % dense, from fixed seeds."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from drawing import draw_bands, draw_barcodes, draw_expected, draw_shares
from looms import write_loom

_DENSITY = 0.06
_TYPES = {"protein_coding": 0.55, "lncRNA": 0.43, "miRNA": 0.02}
_LEVEL = {"protein_coding": 1.0, "lncRNA": 0.1, "miRNA": 0.02}
_PASSING = 0.95
_STORAGE = {"chunks": (64, 64), "compression": "gzip", "compression_opts": 2, "shuffle": False}


def write_looms(folder: Path, *, looms: int, distinct: int, genes: int, cells: int) -> list[Path]:
    """Write looms of fixed content, `distinct` of them drawn and the others their copies.

    Parameters
    ----------
    folder : Path
        Folder of the looms; those that are there already stay as they are.
    looms, distinct : int
    genes, cells : int
        Size of each loom.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"study{number:03d}.loom" for number in range(looms)]
    with ProcessPoolExecutor(2) as processes:
        drawn = [processes.submit(_write, paths[n], n, genes, cells) for n in range(min(distinct, looms))]
        for each in drawn:
            each.result()
    for number, path in enumerate(paths):
        if not path.exists():
            shutil.copyfile(paths[number % distinct], path)
    return paths


def _write(path: Path, seed: int, genes: int, cells: int) -> None:
    if path.exists():
        return
    common = np.random.default_rng(0)
    types = common.choice(list(_TYPES), genes, p=list(_TYPES.values()))
    shares = draw_shares(common, genes) * np.array([_LEVEL[kind] for kind in types])
    ids = common.permutation(genes)  # a loom's rows do not ascend by id
    rng = np.random.default_rng([1, seed])
    expected = draw_expected(rng, shares, cells, _DENSITY)
    counts = np.zeros((genes, cells), dtype=np.int32)
    first = 0
    for lengths, columns, drawn in draw_bands(rng, expected):
        counts[first + np.repeat(np.arange(len(lengths)), lengths), columns] = drawn
        first += len(lengths)
    begun = path.with_suffix(".begun")
    write_loom(
        begun,
        counts,
        storage=dict(_STORAGE),
        ensembl_id=[f"ENSG{number:011d}" for number in ids],
        gene_type=types.tolist(),
        cell_id=None,
        col_CellID=draw_barcodes(rng, cells).tolist(),
        filter_pass=(rng.random(cells) < _PASSING).astype(np.int64),
    )
    begun.rename(path)
