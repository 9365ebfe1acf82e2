"""Odd input of every kind, a thousand cases and more: read, noted, or refused with a sentence, and nothing lost.

    python -m benchmarks.faults [--cases 1500] [--seed 0] [--kinds pictures COCO ...] [--docs docs/faults.md]

A case is drawn by its kind, its variety and a number (``benchmarks/fault_cases``) and tried in a process of its own
with a limit of time and of memory, so that a crash or a hang is a result. Exit code 1 if one is not handled, or if a
file is lost; each is printed with the command that repeats it.
"""

import argparse
import itertools
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from benchmarks.fault_cases.attempt import Result
from benchmarks.fault_cases.worker import KINDS, Case, Worker, varieties
from benchmarks.report import print_table, write_report

ENDINGS = ("read", "noted", "refused", "lost", "unhandled")
HEADER = ("kind", "variety", "tried", "read", "left out with a note", "refused with a sentence", "lost", "unhandled")
# How many cases of a kind for one of the cheapest: a whole run takes seconds where a picture takes milliseconds.
SHARES = {"run folders": 0.5, "command lines": 0.5, "weights": 0.6, "whole runs": 0.15}


def main() -> int:
    """Try all, print the table; returns the exit code."""
    options = _parse()
    cases = list(draw(options.kinds, options.cases, options.seed, options.varieties))
    results = try_all(cases, options.workers)
    rows = [tuple(map(str, row)) for row in table(cases, results)]
    print_table("Faults", HEADER, rows)
    failed = [(case, result) for case, result in zip(cases, results, strict=True) if result.ending in ENDINGS[3:]]
    for case, result in some_of_each(failed, options.show):
        print(f"\n  {result.ending}: {result.text}\n    {result.what}\n    {repeat(case)}")
    print(f"\n  {len(cases)} cases, {len(failed)} of them not handled")
    if options.docs is not None:
        write_docs(options.docs, rows)
    found = [{"kind": case.kind, "variety": case.variety, "seed": case.seed, **vars(result)} for case, result in failed]
    write_report(
        options.json,
        {
            "benchmark": "faults",
            "cases": len(cases),
            "rows": [dict(zip(HEADER, row, strict=True)) for row in rows],
            "failed": found,
        },
    )
    return 1 if failed else 0


def draw(kinds: Sequence[str], count: int, seed: int, only: str = "") -> Iterator[Case]:
    """About ``count`` cases, the same number of each variety within a kind, at least one."""
    names = [(kind, variety) for kind in kinds for variety in varieties(kind) if only in variety]
    each = count / sum(SHARES.get(kind, 1) for kind, _ in names)
    for kind, variety in names:
        for number in range(max(1, round(each * SHARES.get(kind, 1)))):
            yield Case(kind, variety, seed + number)


def try_all(cases: Sequence[Case], num_workers: int) -> list[Result]:
    """The results, in the order of the cases."""
    with tempfile.TemporaryDirectory(prefix="maskdistill-faults-", ignore_cleanup_errors=True) as folder:
        free: SimpleQueue[Worker] = SimpleQueue()
        workers = [Worker(Path(folder), number) for number in range(num_workers)]
        for worker in workers:
            free.put(worker)

        def attempt(case: Case) -> Result:
            worker = free.get()
            try:
                return worker.attempt(case)
            finally:
                free.put(worker)

        try:
            with ThreadPoolExecutor(num_workers) as pool:
                return list(pool.map(attempt, cases))
        finally:
            for worker in workers:
                worker.__exit__()


def table(cases: Sequence[Case], results: Sequence[Result]) -> Iterator[tuple[str | int, ...]]:
    """A row a variety, as ``HEADER``, and one for all."""
    pairs = list(zip(cases, results, strict=True))
    for (kind, variety), group in itertools.groupby(pairs, lambda pair: (pair[0].kind, pair[0].variety)):
        yield kind, variety, *_count([result for _, result in group])
    yield "all", "", *_count(results)


def _count(results: Sequence[Result]) -> tuple[int, ...]:
    counts = Counter(result.ending for result in results)
    return len(results), *(counts[ending] for ending in ENDINGS)


def some_of_each(failed: Sequence[tuple[Case, Result]], count: int) -> Iterator[tuple[Case, Result]]:
    """At most so many of a variety."""
    for _, group in itertools.groupby(failed, lambda pair: (pair[0].kind, pair[0].variety)):
        yield from itertools.islice(group, count)


def repeat(case: Case) -> str:
    """The command that tries one case again."""
    return (
        f'python -m benchmarks.faults --kinds "{case.kind}" --varieties "{case.variety}" --cases 1 --seed {case.seed}'
    )


def write_docs(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Put the table between its two marks in a document."""
    begin, end = "<!-- table of benchmarks.faults -->\n", "<!-- end -->"
    lines = [HEADER, ["---"] * 2 + ["---:"] * 6, *rows]
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    body = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    path.write_text(f"{before}{begin}\n{body}\n{end}{after}", encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1500, help="about so many")
    parser.add_argument("--seed", type=int, default=0, help="number of the first case of every variety")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--varieties", default="", help="only those whose name holds this")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--show", type=int, default=2, help="print so many of each variety that are not handled")
    parser.add_argument("--docs", type=Path, help="write the table into this document")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
