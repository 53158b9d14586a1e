"""Reading the medians that a result is compared with: a dictionary of the published kind, a CSV, or another result."""

import contextlib
import io
import math
import numbers
from collections.abc import Iterable

from median_spark import pickles, storage
from median_spark.csv_text import original_text
from median_spark.errors import InputError, listed
from median_spark.report.comparison import OtherMedians
from median_spark.results import find_result, layout, read_columns

_PICKLES = (".pkl", ".pickle")
_ALLOWED = "a .pkl or .pickle of a plain dict of gene to median, a .csv with the columns gene and median, or a RESULT"


def read_medians(location: str) -> OtherMedians:
    """Read medians from a pickled dictionary, a CSV, ``medians.parquet`` or a result folder.

    A CSV has the columns gene and median, or else its first two columns are taken for them. Raises InputError if the
    file cannot be read or a median is not a number above 0 (undetected genes have NaN or nothing), TableError if a
    result folder is damaged.
    """
    place = storage.canonical(location)
    kind = storage.kind(place)
    if kind == "nothing":
        message = f"{location}: there is no such file or folder to compare with; it may be {_ALLOWED}"
        raise InputError(message)
    if kind == "folder":
        place = storage.join(find_result(place), layout.MEDIANS)
    suffix = "." + place.rsplit(".", 1)[-1].lower()
    if suffix == ".parquet":
        table = read_columns(place, ["gene", "median"])
        return _checked(location, zip(table["gene"].to_pylist(), table["median"].to_pylist(), strict=True))
    if suffix == ".csv":
        return _checked(location, _csv_rows(location, place))
    if suffix in _PICKLES:
        pickled = pickles.read_dict(_content(location, place), location, "a dict of gene to median")
        return _checked(location, pickled.items())
    message = f"{location}: this cannot be compared with; it must be {_ALLOWED}"
    raise InputError(message)


def _content(location: str, place: str) -> bytes:
    try:
        return storage.read_bytes(place)
    except OSError as error:
        message = f"{location}: this file cannot be read ({error})"
        raise InputError(message) from error


def _csv_rows(location: str, place: str) -> Iterable[tuple[object, object]]:
    import pandas as pd  # takes a second to import, and only a CSV needs it

    content = _content(location, place)
    try:
        frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, index_col=False)
    except ValueError as error:
        message = f"{location}: this file cannot be read as CSV ({error})"
        raise InputError(message) from error
    columns = list(frame.columns)
    if len(columns) < 2:
        message = f"{location}: a CSV of medians needs the columns gene and median; it has {listed(columns)}"
        raise InputError(message)
    gene, median = ("gene", "median") if {"gene", "median"} <= set(columns) else columns[:2]
    return zip(map(original_text, frame[gene].tolist()), frame[median].tolist(), strict=True)


def _checked(location: str, rows: Iterable[tuple[object, object]]) -> OtherMedians:
    medians: dict[str, float] = {}
    genes: set[str] = set()
    for gene, median in rows:
        if not isinstance(gene, str) or not gene:
            message = f"{location}: a gene is named {gene!r:.60}; a gene's name must be text"
            raise InputError(message)
        if gene in genes:
            message = f"{location}: the gene '{gene:.60}' stands there twice"
            raise InputError(message)
        genes.add(str(gene))
        value = _median(location, gene, median)
        if not math.isnan(value):
            medians[str(gene)] = value
    if not medians:
        message = f"{location}: there is no gene with a median in it"
        raise InputError(message)
    return OtherMedians(location, medians, len(genes) - len(medians))


def _median(location: str, gene: str, median: object) -> float:
    """Return a median, NaN where there is none."""
    if median is None or median == "":
        return math.nan
    value = -1.0
    if not isinstance(median, bool) and isinstance(median, (str, numbers.Real)):
        with contextlib.suppress(ValueError):  # of a text that is no number, as -1 is no median
            value = float(median)
    if math.isnan(value) or 0 < value < math.inf:
        return value
    message = f"{location}: the median of '{gene:.60}' is {median!r:.60}; a median must be a number above 0, or NaN"
    raise InputError(message)
