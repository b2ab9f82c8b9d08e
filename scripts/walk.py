"""The path of one release as an agent walks it: the public REST API and the registry, and nothing else."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scripts import clocks, samples

SETTLED = ("live", "failed", "superseded", "cancelled", "unknown")
PAGE_SECONDS = 10  # how long after `live` the page may take; it should be none
RELEASE_SECONDS = 120

COMPOSE = """\
services:
  web:
    image: {image}
    init: true
    environment:
      GREETING: ${{GREETING}}
      SIGNATURE: ${{SIGNATURE}}
      VERSION: "{version}"
    ports:
      - "8080"
    healthcheck:
      test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1:8080/"]
      interval: 1s
      timeout: 2s
      retries: 10
      start_period: 5s
      start_interval: 1s
    deploy:
      resources:
        limits:
          memory: 64m
"""


class WalkError(RuntimeError):
    """The path could not be walked to its end."""

    code = "up.walk"
    retryable = False

    def __init__(self, step: str, said: object):
        self.step, self.said = step, said

    def __str__(self) -> str:
        return f"The walk ended at: {self.step}. {self.said}"


@dataclass(frozen=True, slots=True)
class Walked:
    """What came of it."""

    sequence: int
    app_url: str
    version: str


@dataclass
class Walk:
    """One agent with a token, in one environment."""

    url: str
    environment: str
    token: str
    clock: clocks.Clock
    _opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(urllib.request.ProxyHandler({}))
    )

    def go(self, *, renew: Callable[[], str]) -> Walked:
        """The whole path, each step told with its time. `renew` gets a new token for one that is not accepted any more.

        Raises WalkError, with the answer that ended it.
        """
        self._introduce(renew)
        reference = self._push()
        version = f"{time.strftime('%H:%M:%S')}-{secrets.token_hex(3)}"
        compose = COMPOSE.format(image=reference, version=version).encode()
        plan = self._plan(compose)
        sequence = self._release(compose, plan)
        self._wait_until_live(sequence)
        app_url = self._route()
        self._see(app_url, version)
        return Walked(sequence, app_url, version)

    def _introduce(self, renew: Callable[[], str]) -> None:
        status, answer = self._ask("GET", "")
        if status == 401:
            self.token = renew()
            status, answer = self._ask("GET", "")
        self._expect("look at the environment", (200,), status, answer)
        self.clock.tell(f"the agent sees environment {self.environment}, {answer['state']}")

    def _push(self) -> str:
        status, answer = self._ask("POST", "registry-credentials/", b"{}")
        self._expect("ask for registry credentials", (201,), status, answer)
        self.clock.tell(f"registry credentials for {answer['namespace']}, until {answer['expires_at']}")
        image = samples.sample()
        name = f"{answer['namespace']}/hello"
        repository = samples.Repository(answer["registry"], name, answer["username"], answer["password"])
        try:
            digest = repository.push(image, "sample")
        except (samples.PushError, OSError) as refusal:
            raise WalkError("push the image", refusal) from refusal
        self.clock.tell(f"image built and pushed: {digest[:19]}...")
        return f"{answer['registry']}/{name}:sample"

    def _plan(self, compose: bytes) -> str:
        status, answer = self._ask("POST", "releases/?dry_run=true", compose)
        self._expect("plan the release", (200,), status, answer)
        changes = ", ".join(sorted({change["kind"] for change in answer["changes"]})) or "nothing"
        self.clock.tell(f"dry run: it would change {changes}; downtime {answer['downtime']}")
        return str(answer["plan_hash"])

    def _release(self, compose: bytes, plan_hash: str) -> int:
        query = urllib.parse.urlencode({"plan_hash": plan_hash})
        key = {"Idempotency-Key": secrets.token_hex(16)}
        status, answer = self._ask("POST", f"releases/?{query}", compose, key)
        self._expect("submit the release", (201,), status, answer)
        self.clock.tell(f"release {answer['sequence']} accepted")
        return int(answer["sequence"])

    def _wait_until_live(self, sequence: int) -> None:
        """Tells each status that is seen on the way."""
        until, seen = time.monotonic() + RELEASE_SECONDS, ""
        while seen not in SETTLED:
            if time.monotonic() > until:
                raise WalkError(f"wait for release {sequence}", f"It was still {seen} after {RELEASE_SECONDS} s.")
            status, answer = self._ask("GET", f"releases/{sequence}/?wait=30")
            self._expect(f"wait for release {sequence}", (200,), status, answer)
            if answer["status"] != seen:
                seen = str(answer["status"])
                self.clock.tell(f"release {sequence} is {seen}")
        if seen != "live":
            raise WalkError(f"release {sequence} is {seen}", json.dumps(answer.get("evidence"), indent=1))

    def _route(self) -> str:
        status, answer = self._ask("GET", "")
        self._expect("find the app's address", (200,), status, answer)
        public = [route["url"] for route in answer["routes"] if route["mode"] == "public"]
        if not public:
            raise WalkError("find the app's address", f"There is no public route: {answer['routes']}")
        return str(public[0])

    def _see(self, app_url: str, version: str) -> None:
        """The page, of this very release: an older one that still answers is a failure of the switch."""
        until = time.monotonic() + PAGE_SECONDS
        while True:
            page = self._page(app_url)
            if version in page:
                self.clock.tell(f"the page at {app_url} says version {version}")
                return
            if time.monotonic() > until:
                raise WalkError(f"open {app_url}", f"It does not say version {version}, but: {page[:300]!r}")
            time.sleep(0.1)

    def _page(self, app_url: str) -> str:
        try:
            with self._opener.open(app_url, timeout=5) as answer:
                return str(answer.read().decode(errors="replace"))
        except OSError as fault:
            return str(fault)

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        media_type = "application/json" if body == b"{}" else "application/yaml"
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": media_type, **(headers or {})}
        url = f"{self.url}/api/v1/environments/{self.environment}/{path}"
        try:
            with self._opener.open(urllib.request.Request(url, body, sent, method=method), timeout=90) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, _object(refusal.read())
        except OSError as fault:
            raise WalkError(f"{method} {url}", fault) from fault

    def _expect(self, step: str, wanted: tuple[int, ...], status: int, answer: Mapping[str, Any]) -> None:
        if status not in wanted:
            raise WalkError(step, f"The answer was {status}: {json.dumps(answer, indent=1)[:2000]}")


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        return {"body": body.decode(errors="replace")[:500]}
    return content if isinstance(content, dict) else {"body": content}
