"""Log lines that somebody at the control plane waits for: read, redacted, sent, one request after the other."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from .client import Client, ClientError
from .intake import Intake
from .ports import Engine
from .wire.decode import encode
from .wire.heartbeat import LogRequest
from .wire.logs import MAX_ANSWER_BYTES, MAX_LINE_LENGTH, LogAnswer, LogLine

log = logging.getLogger(__name__)
LINE_LENGTHS = (MAX_LINE_LENGTH, 2048, 500)
"""Characters of each line that are tried; a thousand lines of the shortest fit, whatever JSON must escape in them."""


class LogTail:
    """Answers log requests in a thread of its own, so that no heartbeat waits for Docker's files."""

    def __init__(self, engine: Engine, intake: Intake, client: Client):
        self._engine = engine
        self._intake = intake
        self._client = client
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="logs")
        self._answering: set[str] = set()

    def answer(self, request: LogRequest) -> None:
        """Answer soon. A request that is being answered is not answered twice."""
        if request.id not in self._answering:
            self._answering.add(request.id)
            self._worker.submit(self._answer, request)

    def close(self) -> None:
        """Take no more requests; does not wait."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _answer(self, request: LogRequest) -> None:
        try:
            self._client.send_logs(request.environment_id, self._lines(request))
        except ClientError as error:
            log.warning("Log lines could not be delivered: %s", error)
        finally:
            self._answering.discard(request.id)

    def _lines(self, request: LogRequest) -> LogAnswer:
        """What was asked for; what went wrong is said in the answer, for whoever waits."""
        try:
            redactor = self._intake.redactor(request.environment_id)
            lines, following = self._engine.read_logs(
                request.environment_id, request.service, request.since, request.limit, request.cursor
            )
        except Exception as error:  # noqa: BLE001  whatever it was, somebody waits for an answer
            log.error("Logs of %s cannot be read: %s", request.environment_id, type(error).__name__)
            why = getattr(error, "code", type(error).__name__)
            return LogAnswer(request.id, (), None, f"The node could not read the logs ({why}).")
        # Redacted before it is cut: half a secret would no longer be found.
        redacted = [replace(line, text=redactor.redact(line.text)) for line in lines[: request.limit]]
        return _within_bounds(request.id, redacted, following)


def _within_bounds(request_id: str, lines: list[LogLine], following: str | None) -> LogAnswer:
    """All lines, each cut as short as it takes for the answer to be taken."""
    for length in LINE_LENGTHS:
        answer = LogAnswer(request_id, tuple(replace(line, text=line.text[:length]) for line in lines), following, "")
        if len(encode(answer)) <= MAX_ANSWER_BYTES:
            break
    return answer
