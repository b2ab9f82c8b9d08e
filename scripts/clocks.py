"""Tells what is being done, and how long each step took."""

from __future__ import annotations

import time


class Clock:
    """Prints a line for each step that is over: its own time, and that since the clock began. Seconds."""

    def __init__(self, name: str):
        self.name = name
        self.began = self.last = time.monotonic()

    def tell(self, step: str) -> None:
        now = time.monotonic()
        print(f"{self.name}: {now - self.began:6.2f} s  (+{now - self.last:.2f})  {step}", flush=True)
        self.last = now
