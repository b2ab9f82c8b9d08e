"""`make bench`: an installation of its own, every benchmark in it, a table for people and JSON for machines."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scripts import places
from tests.acceptance.installation import running
from tests.bench import compose, load, memory, releases


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", type=Path, default=places.CHECKOUT / ".sam/bench.json", help="where JSON goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sam-bench-") as directory:
        found = _measured(Path(directory))
    _tell(found)
    options.json.parent.mkdir(mode=0o711, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nJSON: {options.json}")
    return 0


def _measured(workplace: Path) -> dict[str, Any]:
    workplace.chmod(0o711)
    with running(workplace / "state") as installation:
        found: dict[str, Any] = {"machine": _machine(), "memory": memory.measure(installation)}
        found["release"] = releases.measure(installation.tenant(), workplace)
        found["load"] = load.measure(installation.tenant())
    # After the installation has ended: these are processor times.
    found["compose"] = compose.measure()
    return found


def _machine() -> dict[str, Any]:
    cpus = Path("/proc/cpuinfo").read_text().count("processor\t")
    return {"cpus": cpus, "kernel": platform.release(), "python": platform.python_version(), "at": int(time.time())}


def _tell(found: dict[str, Any]) -> None:
    for name, values in found.items():
        print(f"\n{name}")
        for key, value in values.items():
            print(f"  {key:<26} {json.dumps(value) if isinstance(value, (dict, list)) else value}")


if __name__ == "__main__":
    sys.exit(main())
