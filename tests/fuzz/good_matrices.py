"""Small sound matrices of many kinds: by loompy, anndata, tiledbsoma, pyarrow and h5py, and as 10x and Parse do."""

import dataclasses
import gzip
import string
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import h5py
import loompy
import numpy as np
import pandas as pd
import scipy.sparse
from good_parquets import write_parquet
from good_somas import write_experiment
from good_triples import put_tenx, write_triples
from good_zarrs import write_store

from median_spark import GeneTable
from median_spark.matrices import ReadOptions

TYPES = ("protein_coding", "miRNA", "lncRNA")
DTYPES = ("u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i4", ">f4", ">u2", "?")


@dataclass
class Case:
    """A matrix to read.

    Attributes
    ----------
    path : Path
        Where it is.
    options : ReadOptions
        How it is read.
    unit_entries : int
        Into how many units it is cut.
    sound : bool
        Whether it must be read and not refused.
    notes : list of str
        How it was made, for people.
    files : list of Path
        All files of a matrix of several, that of counts first; empty if the matrix is one file or a folder.
    """

    path: Path
    options: ReadOptions
    unit_entries: int
    sound: bool = True
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


@dataclass
class Content:
    """What a matrix is made of: counts of genes by cells, and properties of both."""

    counts: np.ndarray
    rows: dict[str, Any]
    cells: dict[str, Any]


KINDS = {
    "loompy": 8, "loom": 18, "anndata": 8, "h5ad": 18, "tenx": 9, "triples": 9, "zarr": 11, "parquet": 11, "soma": 8,
}  # fmt: skip
"""How often each kind of a hundred matrices is."""
THREADED = ("parquet", "soma")
"""Those whose libraries have threads that a fork loses."""


def good_matrix(rng: np.random.Generator, folder: Path, kinds: Collection[str] = tuple(KINDS)) -> Case:
    """Write one of some kinds, and return how to read it."""
    shares = np.array([KINDS[kind] for kind in kinds])
    kind = str(rng.choice(list(kinds), p=shares / shares.sum()))
    content = _content(rng)
    if kind == "parquet":
        return _parquet(rng, folder, content)
    if kind in ("tenx", "triples"):
        return _without_annotations(rng, folder, content, kind)
    options = _options(rng, content)
    suffix = ".loom" if "loom" in kind else f".{kind}" if kind in {"zarr", "soma"} else ".h5ad"
    case = Case(folder / f"study{suffix}", options, int(rng.choice([50, 400, 20_000_000])), notes=[kind])
    writers = {
        "loompy": _by_loompy, "loom": _loom, "anndata": _by_anndata, "h5ad": _h5ad, "zarr": _zarr, "soma": _soma,
    }  # fmt: skip
    writers[kind](rng, case, content)
    return case


def zip_whole(rng: np.random.Generator, case: Case) -> None:
    """Gzip a matrix that is one file, in one member or two."""
    content, path = case.path.read_bytes(), case.path
    cut = int(rng.integers(1, len(content)))
    parts = [content] if rng.random() < 0.7 else [content[:cut], content[cut:]]
    case.path = path.with_name(f"{path.name}.gz")
    case.path.write_bytes(b"".join(gzip.compress(part) for part in parts))
    path.unlink()
    case.notes.append(f"gzipped in {len(parts)}")


def _without_annotations(rng: np.random.Generator, folder: Path, content: Content, kind: str) -> Case:
    """Write counts with ids of genes and cells, and nothing else."""
    counts = _wide(rng, content.counts)
    options = ReadOptions(
        gene_table=_gene_table(content), cell_filter=False, compute_n_counts=True,
        allow_non_integer=bool(rng.random() < 0.3),
    )  # fmt: skip
    case = Case(folder / "study.h5", options, int(rng.choice([50, 400, 20_000_000])), notes=[kind])
    if kind == "triples":
        case.files = write_triples(rng, folder, counts, content.rows["ensembl_id"])
        case.path = case.files[0]
        return case

    def dataset(group: h5py.Group, name: str, values: np.ndarray) -> None:
        if values.dtype.kind == "S":
            group.create_dataset(name, data=values, **storage_of(rng, values.shape))
        else:
            _dataset(rng, case, group, name, values)

    with _file(rng, case.path) as file:
        case.notes.append(put_tenx(rng, file, dataset, counts, content.rows["ensembl_id"]))
    return case


def _wide(rng: np.random.Generator, counts: np.ndarray) -> np.ndarray:
    """Return counts in a type that text and Parquet have."""
    if counts.dtype.isnative and counts.dtype.kind != "b" and counts.dtype.itemsize >= 4:
        return counts
    return counts.astype(str(rng.choice(["i4", "f8"])))


def _gene_table(content: Content) -> GeneTable:
    """Return a table of all genes, with at least one of the types that are selected."""
    table = dict(zip(content.rows["ensembl_id"], content.rows["gene_type"], strict=True))
    table[content.rows["ensembl_id"][0]] = TYPES[0]
    return GeneTable("genes.csv", table)


def _parquet(rng: np.random.Generator, folder: Path, content: Content) -> Case:
    options = ReadOptions(
        gene_table=_gene_table(content),
        cell_filter=bool(rng.random() < 0.5),
        compute_n_counts=bool(rng.random() < 0.5),
        allow_non_integer=bool(rng.random() < 0.3),
    )
    case = Case(folder / "study.parquet", options, int(rng.choice([50, 400, 20_000_000])), notes=["parquet"])
    counts = _wide(rng, content.counts)
    counts[0, counts.sum(axis=0).argmax()] += 1  # in a cell that passes, so that a gene of the table is there
    columns = {name: content.cells[name] for name in ("n_counts", "filter_pass")}
    columns["n_counts"] = np.maximum(columns["n_counts"], 1)
    note, case.files = write_parquet(rng, case.path, counts, content.rows["ensembl_id"], columns)
    case.notes.append(note)
    return case


def _soma(rng: np.random.Generator, case: Case, content: Content) -> None:
    made = _adata(rng, case, content)
    made.layers.clear()
    case.notes.append(write_experiment(rng, case.path, made))


def _content(rng: np.random.Generator) -> Content:
    rows, cells = int(rng.integers(1, 60)), int(rng.integers(1, 90))
    dtype = np.dtype(str(rng.choice(DTYPES)))
    density = rng.choice([0.02, 0.1, 0.5, 1.0])
    counts = (rng.random((rows, cells)) < density) * rng.geometric(0.4, (rows, cells))
    counts[rng.integers(rows), rng.integers(cells)] = rng.choice([1, 3, 100])
    ids = [f"ENSG{number:011d}" for number in rng.integers(0, 200, rows)]  # some of them twice
    kinds = rng.choice(TYPES, rows, p=[0.6, 0.2, 0.2])
    kinds[rng.integers(rows)] = TYPES[0]
    passed = rng.random(cells) < 0.8
    counts = counts.astype(dtype)
    totals = counts.sum(axis=0, dtype=np.float64) + rng.integers(0, 2, cells)
    passed &= totals > 0
    passed[counts.astype(np.float64).sum(axis=0).argmax()] = True
    barcodes = ["".join(rng.choice(list("ACGT"), 8)) + f"-{number}" for number in range(cells)]
    if rng.random() < 0.1:
        barcodes[0] = "ä <&> \N{SNOWMAN}"
    return Content(
        counts,
        {"ensembl_id": ids, "gene_type": kinds.tolist()},
        {"cell_id": barcodes, "n_counts": totals.astype(rng.choice(["f8", "f4", "i8"])),
         "filter_pass": passed.astype(rng.choice(["i8", "u1", "f8", "?"]))},
    )  # fmt: skip


def _options(rng: np.random.Generator, content: Content) -> ReadOptions:
    table = None
    if rng.random() < 0.3:
        pairs = zip(content.rows["ensembl_id"], content.rows["gene_type"], strict=True)
        table = GeneTable("genes.csv", dict(pairs))
        if not any(kind in TYPES[:2] for kind in table.gene_types.values()):
            table = None
        elif not any(table.gene_types[gene] in TYPES[:2] and kind in TYPES[:2]
                     for gene, kind in zip(*content.rows.values(), strict=True)):  # fmt: skip
            table = None  # no row would be left
    return ReadOptions(
        gene_table=table,
        cell_filter=bool(rng.random() < 0.7),
        compute_n_counts=bool(rng.random() < 0.5),
        allow_non_integer=bool(rng.random() < 0.3),
    )


def storage_of(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return how a dataset of a shape is stored: contiguous, or in chunks of any size, by any usual filter."""
    if not all(shape) or rng.random() < 0.15:
        return {}
    chunks = tuple(int(rng.integers(1, length + 1)) if rng.random() < 0.7 else length for length in shape)
    if rng.random() < 0.1:
        chunks = tuple(min(length, 2) for length in shape)
    made: dict[str, Any] = {"chunks": chunks}
    filter_ = rng.choice(["none", "gzip", "lzf"], p=[0.2, 0.6, 0.2])
    if filter_ != "none":
        made["compression"] = str(filter_)
    made["shuffle"] = bool(rng.random() < 0.3)
    made["fletcher32"] = bool(rng.random() < 0.2)
    if rng.random() < 0.2:
        made["maxshape"] = tuple(None for _ in shape)
    return made


def texts(rng: np.random.Generator, strings: list[str]) -> Any:
    """Return strings of fixed or variable size, as HDF5 files have them."""
    if rng.random() < 0.4:
        return np.array([text.encode() for text in strings], dtype=f"S{int(rng.integers(40, 60))}")
    return np.array(strings, dtype=h5py.string_dtype())


def _by_loompy(rng: np.random.Generator, case: Case, content: Content) -> None:
    rows = {name: np.array(found) for name, found in content.rows.items()}
    cells = {name: np.array(found) for name, found in content.cells.items()}
    for sided in (rows, cells):
        for name in sided:
            if sided[name].dtype.kind == "b":
                sided[name] = sided[name].astype(np.int64)
    counts = content.counts
    if counts.dtype.kind == "b" or counts.dtype == np.float16 or not counts.dtype.isnative:
        counts = counts.astype(np.int32)
    loompy.create(str(case.path), {"": scipy.sparse.coo_matrix(counts)} if rng.random() < 0.3 else counts, rows, cells)


def _file(rng: np.random.Generator, path: Path) -> h5py.File:
    how: dict[str, Any] = {}
    if rng.random() < 0.2:
        how["userblock_size"] = int(rng.choice([512, 4096]))
    if rng.random() < 0.4:
        how["libver"] = str(rng.choice(["latest", "v108", "v110"]))
    if rng.random() < 0.3:
        how["track_order"] = True
    return h5py.File(path, "w", **how)


def _dataset(rng: np.random.Generator, case: Case, parent: h5py.Group, name: str, values: np.ndarray) -> None:
    """Write numbers, now and then with chunks that are missing, unfiltered, or that lie elsewhere."""
    storage = storage_of(rng, values.shape)
    how = rng.choice(["plain", "fill", "raw", "virtual"], p=[0.7, 0.15, 0.12, 0.03])
    zero = np.zeros((), values.dtype)
    if how == "fill" and "chunks" in storage:
        held = parent.create_dataset(name, values.shape, values.dtype, fillvalue=zero, **storage)
        _write_nonzero_chunks(held, values)
    elif how == "raw" and {"compression", "shuffle"} & set(storage) and not storage.get("fletcher32"):
        held = parent.create_dataset(name, data=values, **storage)
        _leave_a_chunk_unfiltered(rng, held, values)
    elif how == "virtual" and values.size:
        case.sound = False  # it may be refused
        parent.create_dataset(f"{name}_elsewhere", data=values, **storage)
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        place = f"{parent.name}/{name}_elsewhere".replace("//", "/")
        layout[...] = h5py.VirtualSource(".", place, values.shape, values.dtype)
        parent.create_virtual_dataset(name, layout)
    else:
        how = "plain"
        parent.create_dataset(name, data=values, **storage)
    case.notes.append(f"{name} {values.dtype} {values.shape} {how} {storage}")


def _write_nonzero_chunks(held: h5py.Dataset, values: np.ndarray) -> None:
    """Write only chunks that hold something."""
    for place in held.iter_chunks():
        if values[place].any():
            held[place] = values[place]


def _leave_a_chunk_unfiltered(rng: np.random.Generator, held: h5py.Dataset, values: np.ndarray) -> None:
    """Store one chunk as HDF5 does with one that does not get smaller: without the filters."""
    begins = tuple(
        int(rng.integers(0, length)) // chunk * chunk for length, chunk in zip(held.shape, held.chunks, strict=True)
    )
    chunk = np.zeros(held.chunks, values.dtype)
    part = values[tuple(slice(begin, begin + size) for begin, size in zip(begins, held.chunks, strict=True))]
    chunk[tuple(slice(0, size) for size in part.shape)] = part
    filters = held.id.get_create_plist().get_nfilters()
    held.id.write_direct_chunk(begins, chunk.tobytes(), (1 << filters) - 1)


def _loom(rng: np.random.Generator, case: Case, content: Content) -> None:
    old = rng.random() < 0.3
    with _file(rng, case.path) as file:
        if old:
            file.attrs["LOOM_SPEC_VERSION"] = "2.0.1"
            content.rows["ensembl_id"] = list(content.rows["ensembl_id"])
        else:
            file["attrs/LOOM_SPEC_VERSION"] = texts(rng, ["3.0.0"])[0] if rng.random() < 0.5 else "3.0.0"
        _dataset(rng, case, file, "matrix", content.counts)
        for group, properties in (("row_attrs", content.rows), ("col_attrs", content.cells)):
            file.create_group(group)
            for name, found in properties.items():
                if isinstance(found, list):
                    strings = [_entities(text) for text in found] if old else found
                    file[f"{group}/{name}"] = texts(rng, strings)
                else:
                    file.create_dataset(f"{group}/{name}", data=found, **storage_of(rng, found.shape))
        for group in ("layers", "row_graphs", "col_graphs"):
            file.create_group(group)
    case.notes.append("specification 2" if old else "specification 3")


def _entities(text: str) -> str:
    """Return text as loompy wrote it before specification 3."""
    return "".join(
        letter if letter in string.printable and letter not in "<>&" else f"&#{ord(letter)};" for letter in text
    )


def _by_anndata(rng: np.random.Generator, case: Case, content: Content) -> None:
    made = _adata(rng, case, content)
    made.write_h5ad(case.path, compression=[None, "gzip", "lzf"][rng.integers(3)])


def _zarr(rng: np.random.Generator, case: Case, content: Content) -> None:
    version, case.sound = write_store(rng, case.path, _adata(rng, case, content))
    case.notes.append(version)


def _adata(rng: np.random.Generator, case: Case, content: Content) -> anndata.AnnData:
    counts = content.counts.T
    if counts.dtype.kind == "b" or counts.dtype == np.float16 or not counts.dtype.isnative:
        counts = counts.astype(np.float32)
    kind = rng.choice(["csr", "csc", "dense"])
    matrix = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix, "dense": np.array}[kind](counts)
    obs = pd.DataFrame(content.cells).set_index("cell_id")
    var = pd.DataFrame(content.rows, index=[f"symbol{number}" for number in range(counts.shape[1])])
    if rng.random() < 0.5:
        var["gene_type"] = var["gene_type"].astype("category")
        obs["filter_pass"] = obs["filter_pass"].astype(np.int64).astype("Int64")
    made = anndata.AnnData(matrix, obs, var)
    if rng.random() < 0.3:
        made.layers["counts"] = made.X.copy()
    case.notes.append(str(kind))
    return made


def _h5ad(rng: np.random.Generator, case: Case, content: Content) -> None:
    kind = str(rng.choice(["csr", "csc", "dense"]))
    place = str(rng.choice(["X", "raw/X", "layers/counts"], p=[0.7, 0.15, 0.15]))
    counts = content.counts.T
    rows = dict(content.rows)
    index = [f"symbol{number}" for number in range(counts.shape[1])]
    if rng.random() < 0.2:
        index = rows.pop("ensembl_id")
    case.notes += [kind, place]
    with _file(rng, case.path) as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        _matrix(rng, case, file, place, kind, counts)
        if place != "X":
            _array(file, "X", np.log1p(counts.astype(np.float64)) + 0.25)
            if rng.random() < 0.5:
                layer = "raw.X" if place == "raw/X" else "counts"
                case.options = dataclasses.replace(case.options, layer=layer)
        if place == "raw/X":
            _frame(rng, file, "raw/var", index, rows)
        _frame(rng, file, "obs", content.cells["cell_id"],
               {name: found for name, found in content.cells.items() if name != "cell_id"})  # fmt: skip
        _frame(rng, file, "var", index, rows)


def _matrix(rng: np.random.Generator, case: Case, file: h5py.File, place: str, kind: str, counts: np.ndarray) -> None:
    if kind == "dense":
        _dataset(rng, case, file, place, counts)
        file[place].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    else:
        _sparse(rng, case, file.create_group(place), kind, counts)


def _sparse(rng: np.random.Generator, case: Case, group: h5py.Group, kind: str, counts: np.ndarray) -> None:
    plain = counts.astype(np.float64)
    made = (scipy.sparse.csr_matrix if kind == "csr" else scipy.sparse.csc_matrix)(plain)
    if rng.random() < 0.3 and made.nnz:  # as many writers leave them
        for begin, end in zip(made.indptr[:-1], made.indptr[1:], strict=True):
            order = begin + rng.permutation(end - begin)
            made.indices[begin:end], made.data[begin:end] = made.indices[order], made.data[order]
        case.notes.append("indices in any order")
    group.attrs.update({"encoding-type": f"{kind}_matrix", "encoding-version": "0.1.0", "shape": counts.shape})
    integer = str(rng.choice(["i4", "i8"]))
    _dataset(rng, case, group, "data", made.data.astype(counts.dtype))
    _dataset(rng, case, group, "indices", made.indices.astype(integer))
    _dataset(rng, case, group, "indptr", made.indptr.astype(str(rng.choice(["i4", "i8"]))))


def _frame(rng: np.random.Generator, file: h5py.File, name: str, index: list[str], columns: dict[str, Any]) -> None:
    group = file.create_group(name)
    group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index",
                        "column-order": np.array(list(columns), dtype=h5py.string_dtype())})  # fmt: skip
    _array(group, "_index", np.array(index, dtype=h5py.string_dtype()))
    for column, found in columns.items():
        how = rng.random()
        values = texts(rng, found) if isinstance(found, list) else found
        if how < 0.3 and isinstance(found, list):
            _categorical(group, column, found)
        elif how < 0.5 and values.dtype.kind in "iub":
            held = group.create_group(column)
            kind = "nullable-boolean" if values.dtype.kind == "b" else "nullable-integer"
            held.attrs.update({"encoding-type": kind, "encoding-version": "0.1.0"})
            held["values"], held["mask"] = values, np.zeros(len(values), dtype=bool)
        else:
            _array(group, column, values, **storage_of(rng, values.shape))


def _array(group: h5py.Group, name: str, values: np.ndarray, **storage: Any) -> None:
    if values.dtype.hasobject:
        storage.pop("fletcher32", None)  # it is not for strings of variable size
    held = group.create_dataset(name, data=values, **storage)
    kind = "array" if values.dtype.kind in "iufb" else "string-array"
    held.attrs.update({"encoding-type": kind, "encoding-version": "0.2.0"})


def _categorical(group: h5py.Group, name: str, found: list[str]) -> None:
    kinds = sorted(set(found))
    held = group.create_group(name)
    held.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
    _array(held, "categories", np.array(kinds, dtype=h5py.string_dtype()))
    _array(held, "codes", np.array([kinds.index(text) for text in found], dtype=np.int8))
