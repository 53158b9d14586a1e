"""What a worker does with one unit: read it from its matrix, and stage its part and record."""

from median_spark import storage
from median_spark.errors import InputError
from median_spark.expression.parts import write_part
from median_spark.expression.records import UnitRecord
from median_spark.expression.table import ExpressionTable
from median_spark.matrices import ReadOptions, Unit, open_matrix, read_unit, select_rows


def stage_unit(table: ExpressionTable, path: str, conversion: str, unit: Unit, options: ReadOptions, stop: str) -> None:
    """Read one unit, write its part, and then its record; on a worker.

    Nothing is done if the run was stopped, if another unit of the source has failed, or if this one is staged already:
    by a copy of the task, or by one whose machine was lost before Spark knew. A matrix that cannot be read is recorded
    and not raised: Spark would only try it again. Copies at the same time do no harm: each file appears whole, and all
    of them write the same bytes.

    Parameters
    ----------
    table : ExpressionTable
        Where parts are staged.
    path : str
        The matrix.
    conversion : str
        Fingerprint of the source's conversion.
    unit : Unit
        The cells to read.
    options : ReadOptions
        What decides the values.
    stop : str
        A file that is there once the run shall stop.
    """
    part_location, record_location = table.staged_unit(conversion, unit.number)
    failed = storage.join(table.staged(conversion), "failed")
    if storage.stat(stop) is not None or storage.stat(failed) is not None:
        return
    if storage.stat(record_location) is not None and storage.stat(part_location) is not None:
        return
    try:
        with open_matrix(path, options.names, options.layer) as matrix:
            cells = matrix.shape[1]
            runs, cell_ids = read_unit(matrix, select_rows(matrix, options), unit, options)
    except InputError as error:
        storage.write_bytes(failed, b"")
        record = UnitRecord(unit.first, unit.last, 0, None, str(error))
    else:
        if unit.first == 0 and unit.last == cells:
            storage.let_go(path)  # no other unit will come for it
        part = write_part(part_location, runs, cell_ids) if len(runs.values) else None
        record = UnitRecord(unit.first, unit.last, len(runs.values), part)
    storage.write_json(record_location, record.as_json())
