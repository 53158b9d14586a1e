"""Every option of reading, declared once, and how messages name options.

In an f-string an `Option` is a neutral mention, such as ``⟦layer ["raw.X"]⟧``: errors cross processes as text, and only
where they leave the program is it known whether they speak to the command line, to Python or to Spark's reader.
"""

import json
import re
import shlex
from dataclasses import dataclass
from enum import Enum, auto

from median_spark.display import printable


class Style(Enum):
    """Whose words name an option."""

    FLAGS = auto()
    ARGUMENTS = auto()
    READER = auto()


class Takes(Enum):
    """What an option takes."""

    TEXT = auto()
    NUMBER = auto()
    NOTHING = auto()
    TYPES = auto()
    VALUES = auto()
    GENE_TABLE = auto()
    GENE_MAP = auto()
    CELL_LIST = auto()
    LAYOUT = auto()


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes
    ----------
    name : str
        Name for Spark's reader, and with dashes for the command line.
    takes : Takes
        Kind of its argument; what takes nothing sets its field, or clears it if the name begins with ``no_``.
    owner : str
        Python class with a field for it; empty for an argument of functions.
    argument : str
        Name in Python, if that is another one.
    group, metavar, help : str
        Texts of the command line's help.
    """

    name: str
    takes: Takes = Takes.TEXT
    owner: str = ""
    argument: str = ""
    group: str = ""
    metavar: str | None = None
    help: str = ""

    @property
    def flag(self) -> str:
        """Name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def field(self) -> str:
        """Name in Python."""
        return self.argument or self.name

    @property
    def sets(self) -> bool:
        """Value of the field if an option that takes nothing is given."""
        return not self.name.startswith("no_")

    def __format__(self, form: str) -> str:
        """Return a neutral mention; of nothing but the name (``name``), or with a placeholder (``…`` or ``=…``)."""
        return f"⟦{self.name}{form and ' '}{form}⟧"

    def given(self, *values: str) -> str:
        """Return a neutral mention with values."""
        return format(self, json.dumps(values))

    def worded(self, style: Style, form: str) -> str:
        """Return a mention in the words of a style."""
        values: list[str] = json.loads(form) if form.startswith("[") else []
        if style is Style.FLAGS:
            joint = "=" if form == "=…" or any(value.startswith("-") for value in values) else " "
            words = [self.metavar or ""] if form.endswith("…") else list(map(shlex.quote, values))
            return joint.join([self.flag, *([" ".join(words)] if words else [])])
        reader = style is Style.READER and self in READING
        if form == "name":
            return f"the reader's option '{self.name}'" if reader else self.field
        if reader:
            value = (
                "True"
                if self.takes is Takes.NOTHING
                else json.dumps(",".join(values), ensure_ascii=False)
                if values
                else "…"
            )
            return f'.option("{self.name}", {value})'
        value = str(self.sets) if self.takes is Takes.NOTHING else "…"
        if values:
            value = repr(tuple(values) if self.takes is Takes.VALUES else values[0])
        return f"{self.owner}({self.field}={value})" if self.owner else f"{self.field}={value}"


_NAMES, _READ = "AttributeNames", "ReadOptions"
_GENES, _CELLS, _COUNTS = "which genes", "which cells, and their totals", "where the counts are"
_LAYOUT = "which layout"

# fmt: off
GENE_TABLE = Option("gene_table", Takes.GENE_TABLE, "", "", _GENES, "FILE",
    "GTF or GFF3 of Ensembl or GENCODE, or a CSV with the columns ensembl_id and gene_type; repeat the option for "
    "further species; its genes of the chosen types are the genes of the corpus, and it supplies the gene types of "
    "matrices that have none (default: the genes of the matrices)")
GENE_TYPES = Option("gene_types", Takes.TYPES, "", "", _GENES, "TYPE",
    "gene types to take, after INPUT or with commas between them (default: %(default)s)")
GENE_MAP = Option("gene_map", Takes.GENE_MAP, "", "", _GENES, "FILE",
    "maps ids and symbols, in any case, to the Ensembl ids to use: a CSV with the columns name and ensembl_id, or a "
    "pickled dict such as Geneformer's ensembl_mapping_dict; rows of one id are summed, and rows that the map lacks "
    "are left out")
STRIP_VERSION = Option("strip_version", Takes.NOTHING, _READ, "", _GENES, None,
    "remove versions of Ensembl ids, as in ENSG00000123456.12, before anything is looked up")
GENE_ID_ATTR = Option("gene_id_attr", Takes.TEXT, _NAMES, "gene_id", _GENES, "NAME",
    "row attribute (loom) or var column (h5ad; 'index' is the index) with Ensembl ids (default: %(default)s; in an "
    "h5ad without it the index, if that has Ensembl ids)")
GENE_TYPE_ATTR = Option("gene_type_attr", Takes.TEXT, _NAMES, "gene_type", _GENES, "NAME",
    "row attribute or var column with gene types (default: %(default)s, else CELLxGENE's feature_type)")
LAYOUT = Option("layout", Takes.LAYOUT, _READ, "", _LAYOUT, "NAME",
    "read every matrix as one of these, and reject those that do not match: %(choices)s; auto recognises the layout of "
    "each matrix, none recognises nothing; other options override the layout (default: %(default)s)")
CELLS = Option("cells", Takes.TEXT, _READ, "", _CELLS, "QUERY",
    "take the cells for which this is true, in the syntax of pandas' query without @ and calls, as in \"tissue == "
    "'lung' and n_genes >= 200\"; any attribute of cells, n_counts and n_genes, which are computed where they are "
    "missing; replaces the filter")
CELL_LIST = Option("cell_list", Takes.CELL_LIST, _READ, "", _CELLS, "FILE",
    "take the cells of this CSV, TSV or Parquet file, by a column of cell ids and, where ids repeat, one named source; "
    "replaces the filter")
FILTER_ATTR = Option("filter_attr", Takes.TEXT, _NAMES, "filter_pass", _CELLS, "NAME",
    "column attribute (loom) or obs column (h5ad) that is 1 for cells of good quality (default: %(default)s)")
FILTER_VALUE = Option("filter_value", Takes.VALUES, _READ, "filter_values", _CELLS, "VALUE",
    "values of that attribute for cells of good quality, after INPUT: texts such as pass, or numbers (default: the "
    "number 1, or a true boolean)")
NO_CELL_FILTER = Option("no_cell_filter", Takes.NOTHING, _READ, "cell_filter", _CELLS, None,
    "take every cell, whatever its quality")
N_COUNTS_ATTR = Option("n_counts_attr", Takes.TEXT, _NAMES, "n_counts", _CELLS, "NAME",
    "column attribute or obs column with each cell's total over all rows (default: %(default)s)")
COMPUTE_N_COUNTS = Option("compute_n_counts", Takes.NOTHING, _READ, "", _CELLS, None,
    "sum each cell's total over all rows of the matrix instead of reading it")
CELL_ID_ATTR = Option("cell_id_attr", Takes.TEXT, _NAMES, "cell_id", _CELLS, "NAME",
    "column attribute or obs column with cell ids (default: in a loom cell_id, else CellID, else obs_names, else "
    "the number of the cell; in an h5ad the index of obs)")
LAYER = Option("layer", Takes.TEXT, _READ, "", _COUNTS, "NAME",
    "X, raw.X or a layer's name (default: %(default)s, the main matrix; in an h5ad whose X holds no counts, "
    "raw.X or a layer 'counts' if it does)")
ALLOW_NON_INTEGER = Option("allow_non_integer", Takes.NOTHING, _READ, "", _COUNTS, None,
    "accept counts that are not whole numbers, as from pseudo-alignment or ambient RNA removal; by default they are "
    "rejected, because they are likely to be normalised values")
TARGET_SUM = Option("target_sum", Takes.NUMBER, _READ, "", _CELLS, "N",
    "scale every cell to this total (default: %(default)g)")

READING = (
    LAYOUT, GENE_TABLE, GENE_TYPES, GENE_MAP, STRIP_VERSION, GENE_ID_ATTR, GENE_TYPE_ATTR,
    CELLS, CELL_LIST, FILTER_ATTR, FILTER_VALUE, NO_CELL_FILTER, N_COUNTS_ATTR, COMPUTE_N_COUNTS, CELL_ID_ATTR,
    LAYER, ALLOW_NON_INTEGER, TARGET_SUM,
)
"""Every field of `ReadOptions` and `AttributeNames`, in the order of the help."""
# fmt: on

BY = Option("by", owner="ResultOptions", metavar="COLUMN")
CELL_COLUMNS = Option("cell_columns", owner="ConvertOptions")
COMPRESSION = Option("compression")
DICTIONARY_OF = Option("dictionary_of", owner="GeneformerOptions", metavar="COLUMN=VALUE[,COLUMN=VALUE]")
DIGEST_PICKLES = Option("digest_pickles")
FACTOR = Option("factor", owner="GeneformerOptions")
INPUTS = Option("inputs", Takes.NOTHING)
MASTER = Option("master")
MIN_CELLS = Option("min_cells", owner="GeneformerOptions")
OVERWRITE = Option("overwrite", Takes.NOTHING)
TABLE = Option("table", owner="ResultOptions", metavar="CATALOG.SCHEMA.NAME")
TOKENS = Option("tokens", owner="GeneformerOptions")

MENTION = "⟦"
"""How every neutral mention of an option begins."""

_OTHERS = (
    BY, CELL_COLUMNS, COMPRESSION, DICTIONARY_OF, DIGEST_PICKLES, FACTOR, INPUTS, MASTER, MIN_CELLS, OVERWRITE, TABLE,
    TOKENS,
)  # fmt: skip
_BY_NAME = {option.name: option for option in (*READING, *_OTHERS)}
_TEXT = r'"(?:[^"\\⟦⟧\x00-\x1f]|\\(?:["\\bfnrt]|u[0-9a-f]{4}))*"'
_MENTION = re.compile(rf"⟦({'|'.join(_BY_NAME)})(?: (name|=?…|\[{_TEXT}(?:, {_TEXT})*\]))?⟧")


def worded(text: str, style: Style) -> str:
    """Return one line in which options are named in the words of a style, safe to send to a terminal."""
    return printable(_MENTION.sub(lambda mention: _BY_NAME[mention[1]].worded(style, mention[2] or ""), text))
