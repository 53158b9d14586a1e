"""The three dictionaries that a Geneformer tokenizer loads, and the contract that they keep.

gene_median_dictionary.pkl     gene → median
token_dictionary.pkl           special token or gene → token id
ensembl_mapping_dict.pkl       id or name in upper case → gene
"""

from median_spark.geneformer.contract import DEFAULT_TOKENS, TOKEN_LAYOUTS, check_dictionaries
from median_spark.geneformer.dictionaries import (
    DICTIONARY_NAMES,
    DictionaryFigures,
    GeneformerDictionaries,
    GeneformerOptions,
    geneformer_dictionaries,
)

__all__ = [
    "DEFAULT_TOKENS",
    "DICTIONARY_NAMES",
    "TOKEN_LAYOUTS",
    "DictionaryFigures",
    "GeneformerDictionaries",
    "GeneformerOptions",
    "check_dictionaries",
    "geneformer_dictionaries",
]
