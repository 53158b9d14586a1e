"""A process that tokenizes matrices with the tokenizer of a Geneformer copy and prints each cell's tokens as JSON.

Takes the folder of the package, that of our dictionaries, that of the matrices, and their format. Of the package only
its tokenizer is imported: the rest needs torch.
"""

import inspect
import json
import sys
import types
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from datasets import load_from_disk

NAMES = {
    "GENE_MEDIAN_FILE": "gene_median_dictionary.pkl",
    "TOKEN_DICTIONARY_FILE": "token_dictionary.pkl",
    "ENSEMBL_MAPPING_FILE": "ensembl_mapping_dict.pkl",
}


def tokenizer(package, dictionaries):
    """Return the copy's tokenizer, told of our dictionaries by its arguments."""
    stand_in = types.ModuleType("geneformer")
    stand_in.__path__ = [str(package)]
    for constant, name in NAMES.items():
        setattr(stand_in, constant, dictionaries / name)
    sys.modules["geneformer"] = stand_in
    made = import_module("geneformer.tokenizer").TranscriptomeTokenizer
    files = {
        "gene_median_file": dictionaries / "gene_median_dictionary.pkl",
        "token_dictionary_file": dictionaries / "token_dictionary.pkl",
        "gene_mapping_file": dictionaries / "ensembl_mapping_dict.pkl",
    }
    known = inspect.signature(made).parameters
    return made({"cell": "cell"}, **{name: file for name, file in files.items() if name in known})


def main():
    package, dictionaries, matrices, suffix = sys.argv[1:]
    with TemporaryDirectory() as folder:
        tokenizer(Path(package), Path(dictionaries)).tokenize_data(matrices, folder, "tokens", file_format=suffix)
        found = load_from_disk(f"{folder}/tokens.dataset")
        tokens = dict(zip(found["cell"], found["input_ids"], strict=True))
    print(json.dumps(tokens))


if __name__ == "__main__":
    main()
