"""Recomputing a sample of a result independently: Parquet with pyarrow, matrices with plain h5py, medians with NumPy.

Shares no code with reading, digesting or refining, and must not: they would check themselves.
"""

import numpy as np

from median_spark import storage
from median_spark.errors import UsageError
from median_spark.options import CELL_LIST, GENE_MAP, INPUTS
from median_spark.verification.cells import Cells
from median_spark.verification.documents import document, read
from median_spark.verification.groups import CellsOfResult, check_groups
from median_spark.verification.inputs import check_inputs
from median_spark.verification.kept import check_kept
from median_spark.verification.naming import namings_of
from median_spark.verification.outcome import Verification
from median_spark.verification.result import check_files, check_genes, check_totals
from median_spark.verification.stored import SourceFolders, StoredSource, recorded_sources, stored_records

__all__ = ["Verification", "verify"]


def verify(
    expression: str,
    result: str,
    *,
    genes: int = 100,
    seed: int = 0,
    inputs: bool = False,
    rows: int = 50,
    gene_map: str | None = None,
    cell_list: str | None = None,
) -> Verification:
    """Recompute a random sample of a result from its expression table and, if asked to, from the matrices.

    Parameters
    ----------
    expression : str
        Path or URI of the expression table.
    result : str
        Path or URI of the result folder.
    genes : int
        Genes to recompute.
    seed : int
        Random seed.
    inputs : bool
        Compare values with the matrices they were read from, too.
    rows : int
        Rows (a gene in a source) to compare with the matrices.
    gene_map : str, optional
        Path or URI of the gene map with which the matrices were converted, if there was one; to compare with them.
    cell_list : str, optional
        Path or URI of the list of cells with which they were converted, likewise.

    Returns
    -------
    Verification
        Without differences if the result holds.

    Raises
    ------
    TableError
        If the result or the table cannot be read, the table is not the one that the result was made from, or the
        sources were converted with another gene map or list of cells than the one given.
    UsageError
        If there is a gene map or a list of cells and matrices are not to be compared.

    Examples
    --------
    >>> import median_spark
    >>> checked = median_spark.verify("result/expression", "result/medians", inputs=True)
    >>> checked.differences
    []
    """
    if gene_map is not None and not inputs:
        message = f"a gene map ({GENE_MAP}) is needed only where values are compared with the matrices ({INPUTS})"
        raise UsageError(message)
    if cell_list is not None and not inputs:
        message = f"a list of cells ({CELL_LIST}) is needed only where values are compared with the matrices ({INPUTS})"
        raise UsageError(message)
    expression, result = storage.canonical(expression), storage.canonical(result)
    done = Verification()
    rng = np.random.default_rng(seed)
    provenance = document(result, "provenance.json")
    medians = storage.read_parquet(read(result, "medians.parquet"))
    records = stored_records(expression)
    folders = SourceFolders(expression)
    sources = [
        StoredSource(expression, recorded, records, folders) for recorded in recorded_sources(result, provenance)
    ]
    namings = namings_of({source.name: source.record for source in sources}, gene_map) if inputs else []
    cells = Cells({source.name: source.record["parameters"] for source in sources}, cell_list) if inputs else None
    parameters = provenance["parameters"]
    taken = CellsOfResult(sources, parameters)
    check_files(done, result, medians)
    check_totals(done, sources, medians, taken)
    chosen = medians.take(np.sort(rng.choice(len(medians), min(genes, len(medians)), replace=False)))
    check_genes(done, sources, chosen, taken, exact=parameters["exact"])
    if taken.by:
        check_groups(done, result, sources, taken, chosen["gene"].to_pylist(), exact=parameters["exact"])
    check_kept(done, sources)
    if cells is not None:
        check_inputs(done, sources, namings, cells, medians["gene"].to_pylist(), rng, rows)
    return done
