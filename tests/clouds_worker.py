"""A worker in a process of its own, that SIGKILLs itself at a place between two commits. For test_killed_processes."""

from __future__ import annotations

import os
import signal
import sys
import time

import django


def main(environment_id: str, place: str) -> int:
    django.setup()
    from deployments.services import accounts, reconciliation
    from tests.clouds import Deaths, Guillotine

    class Kill(Deaths):
        def at(self, here: str) -> None:
            if here == place:
                os.kill(os.getpid(), signal.SIGKILL)

    deaths, real = Kill(), accounts.provider_of
    accounts.provider_of = lambda account: Guillotine(real(account), deaths)  # type: ignore[assignment, return-value]
    until = time.monotonic() + 30
    while time.monotonic() < until:
        reconciliation.advance(environment_id)  # type: ignore[arg-type]
        time.sleep(0.1)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
