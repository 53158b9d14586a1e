"""The example notebook: it runs, and shows what its stored outputs show; `jupyter execute --inplace` renews them."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "demo.ipynb"


def texts(notebook):
    """Return the text of each output, without what compression by another library changes."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    found = ["".join(output.get("text", output.get("data", {}).get("text/plain", ""))) for output in outputs]
    return [re.sub(r"stored bytes.*\n", "", text) for text in found]


def test_stored_outputs_are_complete_and_of_no_machine():
    notebook = json.loads(NOTEBOOK.read_text())
    assert [
        cell["id"] for cell in notebook["cells"] if cell["cell_type"] == "code" and not cell["execution_count"]
    ] == []
    assert not re.search(r"/(tmp|home|root|work|Users)/", NOTEBOOK.read_text())
    assert "Traceback" not in NOTEBOOK.read_text()


@pytest.mark.slow
@pytest.mark.spark
def test_running_it_gives_the_stored_outputs(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = texts(notebook)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert texts(notebook) == stored
