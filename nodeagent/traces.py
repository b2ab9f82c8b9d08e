"""Where an exception came from, without what it says: its text may quote what no log should hold."""

from __future__ import annotations


def trace(error: BaseException) -> str:
    """The exception's type, and the files and lines from the outermost call to the fault."""
    places = []
    frame = error.__traceback__
    while frame is not None:
        places.append(f"{frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno}")
        frame = frame.tb_next
    return f"{type(error).__name__} at {' > '.join(places)}"
