"""The table of layouts as docs/layouts.md shows it, made from the data."""

from median_spark.matrices.known_layouts import LAYOUTS, Layout
from median_spark.matrices.layouts import AppliedLayout
from median_spark.options import Style, worded

FORMATS = {
    "loom": "loom", "h5ad": "h5ad", "zarr": "zarr", "soma": "SOMA", "10x": "10x `.h5`", "mtx": "triples",
    "counts_parquet": "Parquet",
}  # fmt: skip


def layout_table():
    """Return the lines of the table."""
    rows = [("layout", "formats", "recognised by", "read as with"), ("---",) * 4]
    rows += [(f"`{one.name}`: {one.title}", ", ".join(FORMATS[f] for f in one.formats), _marks(one), _read(one))
             for one in LAYOUTS]  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in rows]


def _marks(layout: Layout):
    named = [("cells", layout.cells), ("rows", layout.rows), ("file", layout.file), ("layers", layout.layers)]
    marks = [f"{what}: {', '.join(f'`{name}`' for name in names)}" for what, names in named if names]
    return "; ".join([*marks, *([f"name: `…{layout.ending}`"] if layout.ending else [])]) or "the format"


def _read(layout: Layout):
    if layout.replaced_by:
        return f"rejected: the counts are in `…{layout.replaced_by}`"
    options = worded(AppliedLayout("", layout.implies).text, Style.FLAGS)
    words = [] if not layout.implies else [f"`{options.removeprefix('read as with ')}`"]
    if layout.filter_if_there:
        words.append(f"`--filter-attr {layout.filter_if_there}` if it is there, else `--no-cell-filter`")
    if layout.counts_in:
        which = "that looks like counts" if layout.counts_looked_for else "that is there"
        words.append(f"`--layer` with the first of {', '.join(f'`{name}`' for name in layout.counts_in)} {which}")
    if layout.needs_gene_map:
        words.append("needs `--gene-map`, if the names are no Ensembl IDs")
    return "; ".join(words) or "the options given"
