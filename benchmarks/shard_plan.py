"""Cost of a long manifest before and after the studies: reading, checking for duplicates, sharding, joining."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path

from record import record
from spinefx.second_opinion.manifest import REQUIRED, Manifest, short_digest
from spinefx.second_opinion.many_studies import Shard, cut

SIZES = (10_000, 100_000, 1_000_000)


def write_manifest(path: Path, rows: int) -> None:
    """Write manifest rows one by one, as an archive would."""
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(REQUIRED) + "\n")
        for number in range(rows):
            file.write(
                f"studies/{number // 1000:04d}/{number:07d}\tcase-{number:07d}\t1.25\t-33.5\t50.125\t38.0\t6\t8\n"
            )


def run_once(path: Path) -> None:
    """Check and shard in this process, which a run does first; called in a separate process."""
    manifest, seen, names = Manifest.open(path), array("Q"), []
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    began = time.process_time()
    for studies in cut(manifest.studies(), 256):
        seen.extend(short_digest(study.case_id) for study in studies)
        names.append(Shard(studies, ("sha256:model",), "onnxruntime").name)
    manifest.refuse_doubled(seen)
    seconds = time.process_time() - began
    grown_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before_mb
    print(json.dumps({"shards": len(names), "seconds": seconds, "grown_mb": grown_mb}))


def main() -> None:
    """Measure each size in a fresh process."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="spinefx-plan-") as folder:
        path = Path(folder) / "manifest.tsv"
        for size in SIZES:
            write_manifest(path, size)
            command = [sys.executable, __file__, str(path)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            each_us = 1e6 * found["seconds"] / size
            table_mb = path.stat().st_size / 1e6
            rows.append((f"{size:,}", found["shards"], found["seconds"], each_us, found["grown_mb"], table_mb))
    columns = ("rows", "shards", "CPU s", "CPU us a row", "memory grown MB", "manifest MB")
    note = "One walk through a manifest: every row read and checked, doubled cases looked for, shards of 256 named."
    record("shard_plan", "A long manifest", columns, rows, note + " A run walks three times: check, work, join.")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_once(Path(sys.argv[1]))
    else:
        main()
