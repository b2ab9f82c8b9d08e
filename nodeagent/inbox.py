"""Decides whether a payload may be trusted: pure, from bytes and what the node knows, before anything is touched.

Two questions are asked of the same bytes. *Acceptance*, when a payload was fetched: may it be applied now? *Boot*, of
the payload that `current` points to: is it still what a trusted key signed for this node? Rules of time, sequence and
keyset age gate acceptance only. Every rule is a row of `RULES` and answers findings; the first refusal in their order
is the payload's, and the report holds them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields

from . import policy
from .records import EnvironmentFloor
from .wire import base64text
from .wire.decode import decode, load, read
from .wire.digests import EMPTY, sha256_digest
from .wire.envelope import PAYLOAD_RELEASE, keyid, parse_envelope, verify
from .wire.errors import WireError
from .wire.fetch import Payload
from .wire.keyset import Keyset
from .wire.orders import ROUTES, VOLUMES
from .wire.statement import MAX_LIFETIME_SECONDS, MAX_SEQUENCE_JUMP, Statement

OTHER_SEQUENCE = "payload.other_sequence"

ATTACHMENTS = ("compose", "routes", "volumes", "sealed")

REFUSALS: Mapping[str, str] = {
    "envelope.size": "The envelope is larger than 256 KiB.",
    "envelope.shape": "The envelope's members, base64, or number of signatures are wrong.",
    "envelope.type": "The payload is of another type than a release.",
    "envelope.unknown_key": "It is signed by a key that the node's keyset does not have.",
    "envelope.revoked_key": "It is signed by a key that the node's keyset has revoked.",
    "envelope.signature": "The signature is not that of the named key over these bytes.",
    "statement.shape": "The statement's members are not exactly those of version 1.",
    "payload.node": "It is for another node.",
    "payload.environment": "It is for another environment, or one that is not placed here.",
    "payload.generation": "It is for another generation of the environment.",
    "payload.keyset_older": "It was made under an older keyset than the node's.",
    "payload.keyset_newer": "It was made under a newer keyset; the node must get that first.",
    "payload.not_yet_valid": "Its time has not come.",
    "payload.expired": "Its time is over.",
    "payload.lifetime": "It would be valid for more than an hour, or never.",
    "payload.clock": "The node's clock is behind the highest signed server time that it has seen.",
    "payload.compose_digest": "compose.yaml is not the file that was signed.",
    "payload.routes_digest": "routes.json is not the file that was signed.",
    "payload.volumes_digest": "volumes.json is not the file that was signed.",
    "payload.sealed_digest": "sealed.bin is not the file that was signed.",
    "payload.attachments": "A stop or retire order comes with attachments that are not empty.",
    "payload.routes": "routes.json is signed, and no list of routes.",
    "payload.volumes": "volumes.json is signed, and no list of volumes.",
    "payload.below_floor": "Its sequence is below the highest that was ever accepted.",
    "payload.equivocation": "Its sequence was accepted before, with another release digest.",
    "payload.jump": "Its sequence is more than 10,000 above the highest that was ever accepted.",
    "policy.syntax": "compose.yaml cannot be read, or has aliases, tags, duplicates or directives.",
    "policy.key": "compose.yaml has a key that the renderer does not emit.",
    "policy.value": "compose.yaml has a value that the renderer does not emit.",
    "policy.interpolation": "compose.yaml has a `$` that Compose would replace.",
    "policy.project": "compose.yaml is for another Compose project.",
    "policy.image": "An image is not pinned by digest.",
    "policy.registry": "An image's registry is none of those given at enrolment.",
    "policy.capabilities": "Capabilities are not dropped, or others than the seven are added.",
    "policy.security_opt": "The security options are not exactly no-new-privileges.",
    "policy.logging": "Logs are not bounded json-file logs.",
    "policy.port": "A port is not published on loopback alone, or has a number of its author's.",
    "policy.network": "A network is not the environment's own bridge.",
    "policy.bind": "A mount is not a volume of the environment, or hides a part of the system.",
    "policy.limits": "The limits of memory, swap and processes are missing or wrong.",
    "policy.label": "The labels are not exactly those of the environment, service and release.",
}
"""Every code with which a payload is refused, and what it means."""

TRANSIENT = frozenset(
    {"payload.not_yet_valid", "payload.expired", "payload.clock", "payload.keyset_older", "payload.keyset_newer"}
)
"""Refusals that another fetch may overcome: time passes, payloads are made anew, keysets arrive."""

FINAL = frozenset(code for code in REFUSALS if code.startswith("policy.")) | {
    "payload.jump",
    "payload.routes",
    "payload.volumes",
    "payload.attachments",
}
"""Refusals of an authentic payload that no other payload of the same sequence would overcome."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the node knows and believes when it is asked about one environment.

    `generation` is None where the environment was never placed here. Times are Unix seconds.
    """

    node_id: str
    environment_id: str
    generation: int | None
    keyset: Keyset
    registry_hosts: frozenset[str]
    floor: EnvironmentFloor
    server_time: int
    volume_root: str = policy.DEFAULT_VOLUME_ROOT


@dataclass(frozen=True, slots=True)
class Finding:
    """One field or part of a payload: whether it is trusted, why, and if not the refusal's code."""

    name: str
    value: str | int
    trusted: bool
    why: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer about one payload. `statement` is there once its signature verified, trusted or not."""

    statement: Statement | None
    findings: tuple[Finding, ...]

    @property
    def code(self) -> str | None:
        """The code of the first refusal; None if all is trusted."""
        return next((finding.code for finding in self.findings if not finding.trusted), None)

    @property
    def why(self) -> str:
        """The first refusal in a sentence; "" if there is none."""
        return next((f"{finding.name}: {finding.why}" for finding in self.findings if not finding.trusted), "")

    @property
    def is_trusted(self) -> bool:
        """Whether nothing was refused."""
        return self.code is None


@dataclass(frozen=True, slots=True)
class _Case:
    """A payload whose signature verified, and what it is measured by. `now` is None at boot."""

    payload: Payload
    statement: Statement
    known: Knowledge
    now: int | None


_Rule = Callable[[_Case], Iterator[Finding]]


def accept(payload: Payload, known: Knowledge, *, now: int) -> Verdict:
    """May this fetched payload be applied at `now` (Unix seconds)?

    The same sequence with the same digest passes: whether it is taken up again or answered from the record is for the
    caller, who knows whether there is an outcome.
    """
    return _judge(payload, known, now)


def boot(payload: Payload, known: Knowledge) -> Verdict:
    """Is this stored payload still what a trusted key signed for this node and environment?"""
    return _judge(payload, known, None)


def of_directory(verdict: Verdict, seq: int | None) -> Verdict:
    """The same verdict, or a refusal where the payload lies in the directory of another sequence (None: of none)."""
    if seq is None or not verdict.is_trusted or verdict.statement is None or verdict.statement.seq == seq:
        return verdict
    return refused("seq", OTHER_SEQUENCE, "It is the payload of another sequence than this one")


def refused(name: str, code: str, why: str) -> Verdict:
    """The verdict on a payload that cannot even be looked at."""
    return Verdict(None, (Finding(name, "", False, why, code),))


def _judge(payload: Payload, known: Knowledge, now: int | None) -> Verdict:
    try:
        content, signer = _open(payload.envelope, known.keyset)
    except WireError as error:
        return refused("envelope", error.code, error.why)
    signed = Finding("envelope", signer, True, "signed by a key of the trusted keyset")
    try:
        statement = decode(Statement, content)
    except WireError as error:
        shape = Finding("statement", "", False, f"{error.why} at {error.where or '/'}", "statement.shape")
        return Verdict(None, (signed, shape))
    case = _Case(payload, statement, known, now)
    return Verdict(statement, (signed, *(finding for rule in RULES for finding in rule(case))))


def _open(raw: bytes, keyset: Keyset) -> tuple[bytes, str]:
    """The signed bytes and the id of the key that signed them. Raises WireError."""
    envelope = parse_envelope(raw, payload_type=PAYLOAD_RELEASE)
    if len(envelope.signatures) != 1:
        raise WireError("envelope.shape", "There must be exactly one signature", "/signatures")
    signer = envelope.signatures[0].keyid
    if signer in keyset.revoked:
        raise WireError("envelope.revoked_key", "The signing key is revoked", "/signatures/0")
    return verify(envelope, keys=keyset.release_keys()).payload, signer


def _finding(name: str, value: str | int, problem: tuple[str, str] | None, why: str) -> Finding:
    """Trusted because of `why`, unless there is a problem (code and sentence)."""
    if problem is None:
        return Finding(name, value, True, why)
    return Finding(name, value, False, problem[1], problem[0])


def _refuse_if(wrong: bool, code: str) -> tuple[str, str] | None:
    return (code, REFUSALS[code]) if wrong else None


def _identity(case: _Case) -> Iterator[Finding]:
    stated, known = case.statement, case.known
    yield Finding("v", stated.v, True, "the version that this agent reads")
    wrong = _refuse_if(stated.node_id != known.node_id, "payload.node")
    yield _finding("node_id", stated.node_id, wrong, "this node")
    elsewhere = stated.environment_id != known.environment_id or known.generation is None
    yield _finding(
        "environment_id",
        stated.environment_id,
        _refuse_if(elsewhere, "payload.environment"),
        "an environment placed on this node",
    )
    other = not elsewhere and stated.generation != known.generation
    yield _finding(
        "generation", stated.generation, _refuse_if(other, "payload.generation"), "the environment's placement here"
    )


def _age_of_keyset(case: _Case) -> Iterator[Finding]:
    stated, held = case.statement.keyset_version, case.known.keyset.version
    if case.now is None:
        yield Finding("keyset_version", stated, True, "not judged at boot: any key that is not revoked counts")
        return
    problem = _refuse_if(stated < held, "payload.keyset_older") or _refuse_if(stated > held, "payload.keyset_newer")
    yield _finding("keyset_version", stated, problem, "the version of the trusted keyset")


def _time(case: _Case) -> Iterator[Finding]:
    stated, now = case.statement, case.now
    if now is None:
        yield Finding("issued_at", stated.issued_at, True, "not judged at boot")
        yield Finding("expires_at", stated.expires_at, True, "not judged at boot")
        return
    early = _refuse_if(now < stated.issued_at, "payload.not_yet_valid")
    yield _finding("issued_at", stated.issued_at, early, "not later than now")
    lifetime = stated.expires_at - stated.issued_at
    problem = _refuse_if(now >= stated.expires_at, "payload.expired") or _refuse_if(
        not 0 < lifetime <= MAX_LIFETIME_SECONDS, "payload.lifetime"
    )
    yield _finding("expires_at", stated.expires_at, problem, "later than now, and at most an hour after it was issued")
    behind = _refuse_if(now < case.known.server_time, "payload.clock")
    yield _finding("clock", now, behind, "not behind the highest signed server time seen")


def _attachments(case: _Case) -> Iterator[Finding]:
    for part in ATTACHMENTS:
        stated: str = getattr(case.statement, f"{part}_sha256")
        differs = sha256_digest(getattr(case.payload, part)) != stated
        problem = _refuse_if(differs, f"payload.{part}_digest") or _refuse_if(
            case.statement.action != "apply" and stated != EMPTY, "payload.attachments"
        )
        yield _finding(f"{part}_sha256", stated, problem, "the digest of the bytes beside the envelope")


def _sequence(case: _Case) -> Iterator[Finding]:
    stated, floor = case.statement, case.known.floor
    if case.now is None:
        yield Finding("seq", stated.seq, True, "not judged at boot")
        yield Finding("release_digest", stated.release_digest, True, "signed")
        return
    problem = _refuse_if(stated.seq < floor.max_seen_seq, "payload.below_floor") or _refuse_if(
        stated.seq > floor.max_seen_seq + MAX_SEQUENCE_JUMP, "payload.jump"
    )
    again = stated.seq == floor.max_seen_seq
    why = "the highest that was ever accepted, again" if again else f"above the floor {floor.max_seen_seq}"
    yield _finding("seq", stated.seq, problem, why)
    two_faced = _refuse_if(again and stated.release_digest != floor.max_seen_digest, "payload.equivocation")
    yield _finding(
        "release_digest", stated.release_digest, two_faced, "signed, and no other is known for this sequence"
    )


def _signed_only(case: _Case) -> Iterator[Finding]:
    stated = case.statement
    yield Finding("action", stated.action, True, "signed")
    yield Finding("previous_release_digest", stated.previous_release_digest, True, "signed")


def _content(case: _Case) -> Iterator[Finding]:
    """What the attachments of an apply say, judged by the node itself although they are signed."""
    if case.statement.action != "apply" or any(not finding.trusted for finding in _attachments(case)):
        return
    for name, kind, raw in (("routes", ROUTES, case.payload.routes), ("volumes", VOLUMES, case.payload.volumes)):
        try:
            read(kind, load(raw))
        except WireError as error:
            yield Finding(f"{name}.json", "", False, f"{error.why} at {error.where or '/'}", f"payload.{name}")
        else:
            yield Finding(f"{name}.json", "", True, f"a list of {name}")
    yield from _policy(case)


def _policy(case: _Case) -> Iterator[Finding]:
    place = policy.Place(
        environment_id=case.known.environment_id,
        sequence=case.statement.seq,
        registry_hosts=case.known.registry_hosts,
        volume_root=case.known.volume_root,
    )
    violations = policy.judge(case.payload.compose, place)
    for violation in violations:
        yield Finding("compose.yaml", violation.pointer, False, violation.why, violation.code)
    if not violations:
        yield Finding("compose.yaml", "", True, "only what this node's own policy allows")


RULES: tuple[_Rule, ...] = (_identity, _age_of_keyset, _time, _attachments, _sequence, _signed_only, _content)


def statement_fields() -> tuple[str, ...]:
    """The members of a statement, each of which a report names."""
    return tuple(field.name for field in fields(Statement))


def fingerprint(public: str) -> str:
    """The id of a key given as base64."""
    return keyid(base64text.to_bytes(public))
