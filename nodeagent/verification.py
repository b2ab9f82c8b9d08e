"""`sam-node-agent verify`: checks stored payloads offline, writes nothing, and says why it trusts each field."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import files, inbox
from .inbox import Knowledge, Verdict
from .policy import DEFAULT_VOLUME_ROOT
from .store import PAYLOAD_FILES, Store, StoreError
from .wire import base64text
from .wire.decode import load
from .wire.envelope import PAYLOAD_RELEASE, parse_envelope
from .wire.errors import WireError
from .wire.fetch import Payload

_RELEASES = re.compile(r"/environments/([^/]+)/releases/")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of each payload: that of boot (`at` None), or that of acceptance at a time in Unix seconds."""

    store: Store
    at: int | None = None
    volume_root: str = DEFAULT_VOLUME_ROOT

    def ask(self, file: Path) -> Verdict:
        """The verdict on one envelope and the attachments beside it; whatever cannot be read is refused."""
        try:
            payload = _read(file)
        except OSError as error:
            name = Path(error.filename or file).name
            code = "file.missing" if isinstance(error, FileNotFoundError) else "file.unreadable"
            return inbox.refused(name, code, error.strerror or "it cannot be read")
        try:
            known = self._known(file, payload)
        except StoreError as error:
            return inbox.refused(error.path.name, error.code, str(error))
        if self.at is not None:
            return inbox.accept(payload, known, now=self.at)
        return inbox.of_directory(inbox.boot(payload, known), sequence_of_path(file))

    def _known(self, file: Path, payload: Payload) -> Knowledge:
        environment_id = environment_of_path(file) or self._environment_of(payload)
        return self.store.knowledge(environment_id, volume_root=self.volume_root)

    def _environment_of(self, payload: Payload) -> str:
        """What the payload says, if the directory knows such an environment; else "", which no payload is for."""
        stated = _stated_environment(payload.envelope)
        known = {*self.store.placements(), *self.store.floor().environments, *self.store.environments()}
        return stated if stated in known else ""


def environment_of_path(file: Path) -> str | None:
    """The environment below whose releases a file lies, links such as `current` resolved; None if it lies elsewhere."""
    for path in (file.resolve(), file.absolute()):
        found = _RELEASES.findall(str(path))
        if found:
            return str(found[-1])
    return None


def sequence_of_path(file: Path) -> int | None:
    """The sequence in whose directory a file lies, links such as `current` resolved; None if it lies elsewhere."""
    directory = file.resolve().parent
    is_of_release = _RELEASES.search(f"{directory}/") and directory.name.isascii() and directory.name.isdigit()
    return int(directory.name) if is_of_release else None


def currents(store: Store) -> list[Path]:
    """The envelope of each environment's `current`: what is asked about when no file is named."""
    root = store.root / "environments"
    links = (root / environment_id / "current" for environment_id in store.environments())
    return [link / PAYLOAD_FILES["envelope"][0] for link in links if link.is_symlink()]


def as_text(file: str, verdict: Verdict, question: Question) -> Iterator[str]:
    """A person's view of one verdict, a line for each field."""
    asked = "boot" if question.at is None else f"acceptance at {question.at}"
    yield f"{file}: {'trusted' if verdict.is_trusted else f'REFUSED {verdict.code}'} ({asked})"
    for finding in verdict.findings:
        mark = "ok " if finding.trusted else "NO "
        reason = finding.why if finding.trusted else f"{finding.why} [{finding.code}]"
        yield f"  {mark} {finding.name:<24} {finding.value!s:<72} {reason}"


def as_object(file: str, verdict: Verdict) -> dict[str, Any]:
    """A script's view of one verdict."""
    return {
        "file": file,
        "ok": verdict.is_trusted,
        "code": verdict.code,
        "fields": [asdict(finding) for finding in verdict.findings],
    }


def answer_lines(question: Question, paths: Iterable[str]) -> bool:
    """One JSON line for each path, flushed at once; whether all were trusted."""
    all_trusted = True
    for path in paths:
        verdict = question.ask(Path(path))
        all_trusted &= verdict.is_trusted
        _say(json.dumps({"file": path, "ok": verdict.is_trusted, "code": verdict.code}))
    return all_trusted


def answer_all(question: Question, paths: Iterable[str], *, as_json: bool) -> bool:
    """The whole report, as text or as one JSON object; whether all were trusted."""
    verdicts = [(path, question.ask(Path(path))) for path in paths]
    all_trusted = all(verdict.is_trusted for _, verdict in verdicts)
    if as_json:
        asked = {"question": "boot" if question.at is None else "acceptance", "at": question.at}
        files = [as_object(path, verdict) for path, verdict in verdicts]
        _say(json.dumps({"ok": all_trusted, **asked, "files": files}))
    else:
        for path, verdict in verdicts:
            for line in as_text(path, verdict, question):
                _say(line)
        if not verdicts:
            _say("There is nothing current here, so there was nothing to verify.")
    return all_trusted


def now() -> int:
    """The time of acceptance unless another is asked about."""
    return int(time.time())


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _read(file: Path) -> Payload:
    """The envelope and the attachments beside it. One byte more than is allowed is enough to refuse them."""
    contents = {
        part: files.head(file.parent / name, limit + 1)
        for part, (name, limit) in PAYLOAD_FILES.items()
        if part != "envelope"
    }
    return Payload(envelope=files.head(file, PAYLOAD_FILES["envelope"][1] + 1), **contents)


def _stated_environment(envelope: bytes) -> str:
    """What an envelope's payload says, whoever signed it: only used to look up what is known of it."""
    with contextlib.suppress(WireError):
        payload = base64text.to_bytes(parse_envelope(envelope, payload_type=PAYLOAD_RELEASE).payload)
        statement = load(payload)
        if isinstance(statement, dict) and isinstance(statement.get("environment_id"), str):
            return str(statement["environment_id"])
    return ""
