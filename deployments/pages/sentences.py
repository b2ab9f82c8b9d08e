"""The first line of a page: what is, in one sentence or two. Everything below it is evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..domain.states import RELEASE_WITH_NODE, EnvironmentState, ReleaseStatus
from ..models import Environment, Release

QUIET, LOOK, ACT = "quiet", "look", "act"
_TONES = {"ok": QUIET, "healthy": QUIET, "ready": QUIET, "none": QUIET, "unknown": LOOK, "warning": LOOK, "failed": ACT}
_URGENCY = (QUIET, LOOK, ACT)
URGENT_FIRST = {ACT: 0, LOOK: 1, QUIET: 2}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an environment stands. `tone` is quiet, look or act: colour is for what deviates."""

    sentence: str
    tone: str


def standing(
    environment: Environment, *, live: Release | None, newest: Release | None, observed: Mapping[str, Mapping[str, Any]]
) -> Standing:
    """The answer before the evidence."""
    if environment.state != EnvironmentState.ACTIVE and live is None:
        return Standing(f"{environment} is {environment.state}.", QUIET)
    if newest is None:
        return Standing(f"{environment} has no release yet.", QUIET)
    said = [_of_newest(newest, live)] if newest != live else []
    worst = QUIET
    if live is not None:
        text, worst = _of_live(environment, live, observed)
        said.append(text)
    tone = max(worst, _tone_of(newest), key=_URGENCY.index)
    return Standing(" ".join(said), tone)


def tone(dimension: Mapping[str, Any]) -> str:
    """Of one observed dimension. That nothing was reported yet is no deviation: a new environment is not in trouble."""
    if dimension.get("code") == "observation.none":
        return QUIET
    return _TONES.get(str(dimension.get("state")), LOOK)


def _of_live(environment: Environment, live: Release, observed: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    app = observed["app"]
    since = f", since {live.live_at:%-d %b %H:%M} UTC" if live.live_at else ""
    if app["state"] == "ok":
        return f"{environment} runs release {live.sequence}, healthy{since}.", QUIET
    doubt = f" {app['summary'].rstrip('.')}." if app.get("summary") else ""
    return f"{environment} runs release {live.sequence}{since}.{doubt}", tone(app)


def _of_newest(newest: Release, live: Release | None) -> str:
    number = f"Release {newest.sequence}"
    if newest.status == ReleaseStatus.FAILED:
        why = (newest.evidence or {}).get("summary", "the node gave no reason").rstrip(".")
        return f"{number} failed: {why}." + (f" Release {live.sequence} still serves." if live else " Nothing runs.")
    if newest.status == ReleaseStatus.UNKNOWN:
        return f"{number} has an unknown outcome: its node has not answered."
    if newest.status in RELEASE_WITH_NODE:
        return f"{number} is being applied."
    if newest.status == ReleaseStatus.WAITING:
        waiting = newest.waiting or {}
        return f"{number} waits for its {waiting.get('on', 'turn')}: {waiting.get('message', '')}".rstrip(" :")
    return f"{number} is {newest.status}."


def _tone_of(release: Release) -> str:
    return {ReleaseStatus.FAILED: ACT, ReleaseStatus.UNKNOWN: ACT, ReleaseStatus.WAITING: LOOK}.get(
        ReleaseStatus(release.status), QUIET
    )
