"""Asks for known vulnerabilities of every pinned package, and never passes an unanswered question off as clean."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts import places

PINS = tuple(places.CHECKOUT / f"requirements/{name}.txt" for name in ("base", "agent", "dev"))


class AuditError(RuntimeError):
    """pip-audit itself failed."""

    code = "audit.failed"
    retryable = True


def main() -> int:
    """1 if a package has a known vulnerability or pip-audit failed; 0 otherwise, also where nobody could be asked."""
    try:
        if not _somebody_answers():
            print("audit: NOTHING WAS AUDITED: the package index gives no vulnerability reports to this machine.")
            print("audit: run `make audit` where the index of packages has them (its JSON API).")
            return 0
        reports = [report for pins in PINS for report in _asked(pins)]
    except AuditError as fault:
        print(f"audit: {fault}", file=sys.stderr)
        return 1
    faulty = [report for report in reports if report["vulns"]]
    for report in faulty:
        names = ", ".join(vulnerability["id"] for vulnerability in report["vulns"])
        print(f"audit: {report['name']} {report['version']}: {names}")
    print(f"audit: {len(reports)} packages audited, {len(faulty)} with known vulnerabilities")
    return 1 if faulty else 0


def _somebody_answers() -> bool:
    """Asks about the first pin alone, before two hundred questions that nobody answers."""
    with tempfile.TemporaryDirectory(prefix="sam-audit-") as directory:
        one = Path(directory) / "one.txt"
        one.write_text("\n".join(_first_pin(PINS[0].read_text().splitlines())) + "\n")
        return bool(_asked(one))


def _asked(pins: Path) -> list[dict[str, Any]]:
    """Reports on the packages that somebody knows of; pip-audit counts the others as fine, so they are left out."""
    argv = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--require-hashes", "--format", "json"]
    asked = subprocess.run([*argv, "-r", str(pins)], capture_output=True, text=True, timeout=300)
    try:
        found = json.loads(asked.stdout)["dependencies"]
    except (ValueError, KeyError) as fault:
        raise AuditError(f"pip-audit gave no report on {pins}: {asked.stderr.strip()[-500:]}") from fault
    return [report for report in found if "skip_reason" not in report]


def _first_pin(lines: list[str]) -> list[str]:
    """The first requirement with its hashes, which are the indented lines after it."""
    wanted = [line for line in lines if "--hash" in line or "==" in line]
    end = next((i for i, line in enumerate(wanted) if i and not line.startswith(" ")), len(wanted))
    return [*wanted[: end - 1], wanted[end - 1].rstrip("\\ ")]


if __name__ == "__main__":
    sys.exit(main())
