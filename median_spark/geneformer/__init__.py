"""The three dictionaries that a Geneformer tokenizer loads, and the contract that they keep.

gene_median_dictionary.pkl     gene → median, or mean
token_dictionary.pkl           special token or gene → token id
ensembl_mapping_dict.pkl       id or name in upper case → gene

The same as JSON stands beside them.
"""

from median_spark.geneformer.contract import DEFAULT_TOKENS, TOKEN_LAYOUTS, check_dictionaries
from median_spark.geneformer.dictionaries import (
    DICTIONARY_NAMES,
    FACTORS,
    DictionaryFigures,
    GeneformerDictionaries,
    GeneformerOptions,
    Group,
    geneformer_dictionaries,
)
from median_spark.geneformer.of_group import (
    check_group,
    check_group_columns,
    group_text,
    parse_group,
)

__all__ = [
    "DEFAULT_TOKENS",
    "DICTIONARY_NAMES",
    "FACTORS",
    "TOKEN_LAYOUTS",
    "DictionaryFigures",
    "GeneformerDictionaries",
    "GeneformerOptions",
    "Group",
    "check_dictionaries",
    "check_group",
    "check_group_columns",
    "geneformer_dictionaries",
    "group_text",
    "parse_group",
]
