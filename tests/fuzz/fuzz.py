"""Read damaged matrices and hostile pickles until time is up: `make fuzz`, and `make fuzz FUZZ='--seed 7 --case 12'`.

Every case is made from the seed and its number alone, and read in a child process within limits. A failure is a crash,
a hang, an exception that is no refusal, a value other than an independent reader's, or much memory for a small file.
"""

import argparse
import multiprocessing
import os
import secrets
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import subject  # noqa: E402
from children import Ending, in_child  # noqa: E402
from damage import damage_bytes, damage_structure  # noqa: E402
from good_matrices import KINDS, THREADED, Case, good_matrix, zip_whole  # noqa: E402
from good_parquets import damage_table  # noqa: E402
from good_somas import damage_experiment  # noqa: E402
from good_triples import damage_lines  # noqa: E402
from good_zarrs import damage_store  # noqa: E402
from hostile_pickles import pickle_of  # noqa: E402
from independent import Reading, difference, read_independently  # noqa: E402
from pickles_elsewhere import read_by_python  # noqa: E402

SMALL = 100_000
"""Bytes; reading a smaller file must not take more than `MEMORY`."""
MEMORY = 500_000_000
KEPT = 3
"""Cases to keep of one kind of failure."""
OTHERS_SECONDS = 10.0
"""Processor time for making a case, and for independent readers."""


@dataclass
class Verdict:
    """What came of one case.

    Attributes
    ----------
    number : int
        The case's.
    counts : list of str
        What to count: ``"matrices"``, ``"accepted"`` and so on.
    failures : list of (str, str)
        Kind of the failure, the same for failures of one cause, and what is known of it.
    notes : list of str
        How the case was made.
    kept : str
        Folder of the case if it failed.
    """

    number: int
    counts: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kept: str = ""


def is_pickle(number: int) -> bool:
    """Say whether a case is a pickle: one of four is."""
    return number % 4 == 3


def try_case(seed: int, number: int, folder: Path, kinds: Sequence[str]) -> Verdict:
    """Make a case in an empty folder, read it, and say what came of it."""
    rng = np.random.default_rng([seed, number])
    return _try_pickle(rng, number, folder) if is_pickle(number) else _try_matrix(rng, number, folder, kinds)


def _try_matrix(rng: np.random.Generator, number: int, folder: Path, kinds: Sequence[str]) -> Verdict:
    verdict = Verdict(number)

    def make() -> Case:
        made = good_matrix(rng, folder, kinds)
        how = rng.choice(["sound", "bytes", "structure", "both"], p=[0.15, 0.4, 0.35, 0.1])
        made.sound = made.sound and how == "sound"
        try:
            if made.path.is_dir():
                damage_folder = damage_experiment if made.path.suffix == ".soma" else damage_store
                file = damage_folder(rng, made.path, made.notes) if how != "sound" else None
                if file is not None:
                    damage_bytes(rng, file, made.notes)
                return made
            if made.path.suffix == ".parquet":
                of = made.files[0 if rng.random() < 0.8 else -1]
                if how in ("structure", "both"):
                    damage_table(rng, of, made.notes)
                if how in ("bytes", "both"):
                    damage_bytes(rng, of, made.notes)
                return made
            if how in ("structure", "both"):
                if made.files:
                    damage_lines(rng, made.files[rng.choice(3, p=[0.6, 0.2, 0.2])], made.notes)
                else:
                    damage_structure(rng, made.path, made.notes)
            if not made.files and rng.random() < 0.15:
                zip_whole(rng, made)
            if how in ("bytes", "both"):
                damage_bytes(rng, made.files[rng.integers(3)] if made.files else made.path, made.notes)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:  # what HDF5 does not let one write
            made.notes.append(f"not finished: {error}")
        return made

    made = in_child(make, OTHERS_SECONDS, folder)
    if made.kind != "returned":
        verdict.counts.append("not made")
        verdict.notes.append(made.text)
        if made.kind == "raised":  # what damaging raises is caught where it is done
            verdict.failures.append(("a sound file could not be written", made.text))
        return verdict
    case: Case = made.value
    verdict.notes = [*case.notes, str(case.options.as_json()), f"unit_entries {case.unit_entries}"]
    verdict.counts.append("matrices")
    path = str(case.path)
    read = in_child(
        lambda: subject.read_all(path, case.options, case.unit_entries), subject.SECONDS, folder, (subject.Refusal,)
    )
    _judge(verdict, read, case.path, "read")
    if read.kind != "returned":
        return verdict
    described = in_child(lambda: subject.describe(path, case.options), subject.SECONDS, folder, (subject.Refusal,))
    _judge(verdict, described, case.path, "describe")
    if read.value == "refused":
        verdict.counts.append("matrices refused")
        if case.sound:
            verdict.failures.append(("a sound file was refused", read.text))
        return verdict
    verdict.counts.append("matrices accepted")
    _compare(verdict, case, read.value, folder)
    return verdict


def _compare(verdict: Verdict, case: Case, ours: subject.Values, folder: Path) -> None:
    """Hold what was read against an independent reader."""

    def read() -> Reading:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_independently(str(case.path), case.options, ours.place)

    other = in_child(read, OTHERS_SECONDS, folder)
    if other.kind != "returned":
        verdict.counts.append("matrices that the other reader could not read")
        if case.sound:
            verdict.failures.append(("the other reader failed on a sound file", other.text))
        return
    verdict.counts.append("matrices compared")
    found = difference(ours.genes, other.value)
    if found is not None:
        verdict.failures.append((f"silent difference: {case.path.suffix} {_kind(found)}", found))


def _kind(text: str) -> str:
    """Return a difference without what is particular about it."""
    return " ".join(word for word in text.split() if word.isalpha())[:60]


def _try_pickle(rng: np.random.Generator, number: int, folder: Path) -> Verdict:
    verdict = Verdict(number, ["pickles"])
    path = folder / "study.gene_median_digest_dict.pickle"
    path.write_bytes(pickle_of(rng, verdict.notes))
    for name, reader in subject.PICKLE_READERS.items():
        read = in_child(lambda reader=reader: reader(str(path)), subject.SECONDS, folder, (subject.Refusal,))
        _judge(verdict, read, path, name)
        if read.kind != "returned":
            continue
        verdict.counts.append(
            "readings of pickles refused" if read.value == "refused" else "readings of pickles accepted"
        )
        if read.value == "refused":
            continue
        other = in_child(lambda name=name: read_by_python(path, name), OTHERS_SECONDS, folder)
        if other.kind != "returned":
            verdict.counts.append("readings that the other reader could not do")
        else:
            verdict.counts.append("readings of pickles compared")
            if not _same(read.value, other.value):
                verdict.failures.append((f"silent difference: {name}", f"{read.value!r:.300}\n{other.value!r:.300}"))
    return verdict


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether two dictionaries say the same."""
    if one.keys() != other.keys():
        return False
    return all(
        np.array_equal(one[key], other[key]) if isinstance(one[key], tuple) else one[key] == other[key] for key in one
    )


def _judge(verdict: Verdict, ending: Ending, path: Path, doing: str) -> None:
    """Note what no file may bring about."""
    if ending.kind in ("hang", "memory"):
        verdict.failures.append((f"{ending.kind}: {doing} {path.suffix} {ending.where}", ending.text))
    elif ending.kind == "crash":
        verdict.failures.append((f"crash: {doing} {path.suffix} {ending.value} {ending.where}", ending.text))
    elif ending.kind == "raised":
        verdict.failures.append((f"traceback: {doing} {ending.value} {ending.where}", ending.text))
    elif len(ending.text) > 5_000:
        verdict.failures.append(
            (f"a message of more than 5,000 characters: {doing} {path.suffix}", ending.text[:2_000])
        )
    if ending.kind != "memory" and ending.grown > MEMORY and path.stat().st_size < SMALL:
        text = f"{ending.grown / 1e6:,.0f} MB for {path.stat().st_size:,} bytes; {ending.text[:1_000]}"
        verdict.failures.append((f"much memory: {doing} {path.suffix}", text))


def work(seed: int, kinds: Sequence[str], numbers: Any, until: float, keep: Path, verdicts: Any) -> None:
    """Try cases until time is up; in a process of its own."""
    while time.time() < until:
        with numbers.get_lock():
            number = numbers.value
            numbers.value += 1
        verdicts.put(attempt(seed, kinds, number, keep))
    verdicts.put(None)


def attempt(seed: int, kinds: Sequence[str], number: int, keep: Path) -> Verdict:
    """Try one case, and keep its files if it fails."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        verdict = try_case(seed, number, folder, kinds)
    except Exception:  # of the fuzzing itself: it must be seen, and the others go on
        verdict = Verdict(number, ["not made"], [("the fuzzing itself failed", traceback.format_exc())])
    if verdict.failures:
        kept = keep / f"case-{number}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("outcome", "stderr"))
        texts = [f"{kind}\n{text}" for kind, text in verdict.failures]
        chosen = "" if list(kinds) == list(KINDS) else f" --kinds {' '.join(kinds)}"
        again = f"make fuzz FUZZ='--seed {seed}{chosen} --case {number}'"
        (kept / "what.txt").write_text("\n\n".join([again, *verdict.notes, *texts]), errors="replace")
        verdict.kept = str(kept)
    shutil.rmtree(folder, ignore_errors=True)
    return verdict


def warm() -> None:
    """Load and compile what cases need, so that children are forked with it and pay for nothing but their file."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        case = good_matrix(rng, folder, [kind for kind in KINDS if kind not in THREADED])
        try:
            found = subject.read_all(str(case.path), case.options, case.unit_entries)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read_independently(str(case.path), case.options, found.place)
        except subject.Refusal:
            pass  # it is found again, and then reported
        shutil.rmtree(folder)


def report(verdicts: list[Verdict], seed: int, keep: Path, seconds: float) -> int:
    """Print counts and failures, and return the exit status."""
    counts = Counter(name for verdict in verdicts for name in verdict.counts)
    print(f"\n{len(verdicts):,} cases in {seconds / 60:.1f} minutes, seed {seed}")
    for name in sorted(counts):
        print(f"  {counts[name]:>7,} {name}")
    failures: dict[str, list[Verdict]] = {}
    for verdict in sorted(verdicts, key=lambda verdict: verdict.number):
        for kind in dict.fromkeys(kind for kind, _ in verdict.failures):
            failures.setdefault(kind, []).append(verdict)
    needed = {verdict.kept for of in failures.values() for verdict in of[:KEPT]}
    for verdict in verdicts:
        if verdict.kept and verdict.kept not in needed:
            shutil.rmtree(verdict.kept)
    print(f"  {sum(map(len, failures.values())):>7,} failures of {len(failures)} kinds")
    for kind, of in sorted(failures.items(), key=lambda item: -len(item[1])):
        print(f"{len(of):>5} × {kind}: cases {', '.join(str(verdict.number) for verdict in of[:KEPT])}")
    if failures:
        print(f"Kept in {keep}, each with its what.txt. One again: make fuzz FUZZ='--seed {seed} --case N'")
    return 1 if failures else 0


def main() -> int:
    """Run, and return the exit status: 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="repeat an earlier run instead of choosing a new seed")
    parser.add_argument("--minutes", type=float, default=10.0, help="time limit (default: 10)")
    parser.add_argument("--case", type=int, nargs="+", help="try only these cases of the seed")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="only these matrices")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="cases at a time (default: 2)")
    parser.add_argument("--keep", type=Path, help="folder for files that fail (default: a new temporary folder)")
    chosen = parser.parse_args()
    seed = secrets.randbelow(10**9) if chosen.seed is None else chosen.seed
    keep = chosen.keep or Path(tempfile.mkdtemp(prefix="median-spark-fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}", flush=True)
    warm()
    begun = time.time()
    if chosen.case:
        verdicts = [attempt(seed, chosen.kinds, number, keep) for number in chosen.case]
        for verdict in verdicts:
            print(
                "\n".join(
                    [
                        f"case {verdict.number}",
                        *verdict.counts,
                        *verdict.notes,
                        *(f"{kind}\n{text}" for kind, text in verdict.failures),
                    ]
                )
            )
        return report(verdicts, seed, keep, time.time() - begun)
    fork = multiprocessing.get_context("fork")
    queue, numbers = fork.Queue(), fork.Value("q", 0)
    until = begun + 60 * chosen.minutes
    workers = [
        fork.Process(target=work, args=(seed, chosen.kinds, numbers, until, keep, queue)) for _ in range(chosen.workers)
    ]
    for worker in workers:
        worker.start()
    verdicts, running, told = [], len(workers), begun
    while running:
        verdict = queue.get()
        if verdict is None:
            running -= 1
            continue
        verdicts.append(verdict)
        if time.time() - told > 60:
            told = time.time()
            failed = sum(bool(verdict.failures) for verdict in verdicts)
            print(f"{(told - begun) / 60:.0f} minutes: {len(verdicts):,} cases, {failed:,} failed", flush=True)
    return report(verdicts, seed, keep, time.time() - begun)


if __name__ == "__main__":
    sys.exit(main())
