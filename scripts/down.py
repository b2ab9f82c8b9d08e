"""`make down` stops what `make up` started; `make clean-data` then removes what it stored."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from scripts import containers, places, plane, stops


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make down", description=__doc__)
    parser.add_argument(
        "--clean-data", action="store_true", help="remove the state directory, containers and networks too"
    )
    parser.add_argument("--state-dir", type=Path, help="instead of .sam in this checkout")
    options = parser.parse_args(argv)
    where = places.Places(options.state_dir.absolute()) if options.state_dir else places.here()
    if not where.state.exists():
        print("down: nothing was ever started here")
        return 0
    was_up = stops.stop_from_elsewhere(where)
    print("down: stopped" if was_up else "down: nothing was running")
    if options.clean_data:
        _forget(where)
    return 0


def _forget(where: places.Places) -> None:
    environment_ids = plane.placed_environments(where)
    containers.remove(environment_ids)
    containers.remove_mount_points(environment_ids)
    shutil.rmtree(where.state)
    if where.sockets.exists():
        shutil.rmtree(where.sockets)
    print(f"clean-data: removed {where.state}")


if __name__ == "__main__":
    sys.exit(main())
