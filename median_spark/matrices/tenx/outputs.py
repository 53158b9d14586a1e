"""What Cell Ranger leaves in its folder of outputs beside the matrix of cells, and would count the same cells again."""

import re
from collections.abc import Collection

_RAW = re.compile(r"(^|[/_.-])raw_(feature|gene)_bc_matri(?=[^/]*(?:/[^/]*){0,2}$)", re.IGNORECASE)
_MOLECULES = re.compile(r"(^|[/_.-])molecule_info\.h5$", re.IGNORECASE)
_ALL_SAMPLES = re.compile(r"^(.*/)multi/count/raw_", re.IGNORECASE)
_TRIPLES = re.compile(r"^(.*)/matrix\.mtx(\.gz)?$", re.IGNORECASE)


def superfluous(paths: Collection[str]) -> dict[str, str]:
    """Return which of some matrices hold no other cells than another of them, each with the reason, for people."""
    found, known = {}, set(paths)
    for path in paths:
        reason = _reason(path, known)
        if reason is not None:
            found[path] = reason
    return found


def _reason(path: str, known: set[str]) -> str | None:
    if _MOLECULES.search(path) and len(known) > 1:
        return "it lists molecules and not counts"
    of_cells = _RAW.sub(r"\1filtered_\2_bc_matri", path)
    if of_cells != path and of_cells in known:
        return f"it has empty droplets, too: the cells are in {of_cells}"
    together = _ALL_SAMPLES.match(path)
    if together and any(other.startswith(f"{together[1]}per_sample_outs/") for other in known):
        return f"it has empty droplets, too: the cells are in {together[1]}per_sample_outs"
    triples = _TRIPLES.match(path)
    if triples:
        # Cell Ranger 2 has a folder per genome below.
        for same in (f"{triples[1]}.h5", f"{triples[1].rpartition('/')[0]}_h5.h5"):
            if same in known:
                return f"it is the same matrix as {same}"
    return None
