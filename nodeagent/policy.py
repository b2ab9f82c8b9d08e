"""The node's own policy: what a Compose file may say here, even one that is signed.

Everything is a row of one of the tables below: the keys that the renderer emits and no others, each with the rule that
its value must keep. What no row names is refused. The document is judged as parsed (`composefile.load`), however it is
written. Rules answer violations instead of raising, so that one look finds all of them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import composefile

DEFAULT_VOLUME_ROOT = "/mnt"
KEPT_CAPABILITIES = frozenset({"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "NET_BIND_SERVICE", "KILL"})
NO_NEW_PRIVILEGES = ("no-new-privileges:true", "no-new-privileges")
TMPFS_OPTIONS = r"rw,noexec,nosuid,nodev,size=[1-9][0-9]{0,15},mode=1777"
MAX_SERVICES = 20
SUBNETS = ipaddress.IPv4Network("10.128.0.0/9")
MIN_SUBNET_PREFIX = 26

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_IMAGE = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?)"
    r"(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+@sha256:[0-9a-f]{64}"
)
_SECRET = re.compile(r"\$\{SAM_SECRET_(0|[1-9][0-9]{0,3})\?\}")
_DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(h|ms|m|s|us|ns))+|0")
_NUMBER = re.compile(r"[0-9]{1,16}(\.[0-9]{1,9})?")
_FORBIDDEN_TARGETS = ("/proc", "/sys", "/dev")
_DOCKER_SOCKETS = ("/run/docker.sock", "/var/run/docker.sock")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the file would be applied: what its values are measured by."""

    environment_id: str
    sequence: int
    registry_hosts: frozenset[str]
    volume_root: str = DEFAULT_VOLUME_ROOT

    @property
    def project(self) -> str:
        """The Compose project's name."""
        return f"sam-{self.environment_id.replace('-', '')[:12]}"

    def volume_source(self) -> re.Pattern[str]:
        """What a bind's source must match in full."""
        root = re.escape(f"{self.volume_root.rstrip('/')}/sam-env-{self.environment_id}/volumes")
        return re.compile(rf"{root}/{_NAME.pattern}/data")


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing the node does not do for anybody: a stable code, a pointer into the document, a sentence."""

    code: str
    pointer: str
    why: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the document: its pointer, the service it belongs to, and where the file would be applied."""

    place: Place
    pointer: str = ""
    service: str = ""

    def at(self, key: object, *, service: str | None = None) -> Spot:
        """The spot one level deeper."""
        escaped = str(key).replace("~", "~0").replace("/", "~1")
        return Spot(self.place, f"{self.pointer}/{escaped}", self.service if service is None else service)

    def breaks(self, code: str, why: str) -> Violation:
        """A violation here."""
        return Violation(f"policy.{code}", self.pointer, why)


Rule = Callable[[Any, Spot], Iterator[Violation]]


def judge(raw: bytes, place: Place) -> list[Violation]:
    """Every violation in a rendered Compose file, in the order of the tables; empty if it may be applied here."""
    try:
        document = composefile.load(raw)
    except composefile.ComposeFileError as error:
        return [Violation("policy.syntax", "", str(error))]
    spot = Spot(place)
    return [*_dollars(document, spot), *DOCUMENT(document, spot)]


# What rules are made of


@dataclass(frozen=True, slots=True)
class Keys:
    """An object with these keys and no others, `required` ones among them. `code` names the fault of an unknown one."""

    rules: Mapping[str, Rule]
    required: frozenset[str] = frozenset()
    code: str = "key"
    missing: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, value: Any, spot: Spot) -> Iterator[Violation]:
        if not isinstance(value, dict):
            yield spot.breaks(self.code, "An object is expected")
            return
        for key in sorted(self.required - value.keys()):
            yield spot.breaks(self.missing.get(key, self.code), f"{key} is missing")
        for key, each in value.items():
            rule = self.rules.get(key)
            if rule is None:
                yield spot.at(key).breaks(self.code, "This key is none of those that may be applied here")
            else:
                yield from rule(each, spot.at(key))


def mapping(
    names: re.Pattern[str], member: Rule, *, maximum: int, code: str = "key", names_service: bool = False
) -> Rule:
    """An object of at most `maximum` members whose keys match `names`, each value under the same rule."""

    def check(value: Any, spot: Spot) -> Iterator[Violation]:
        if not isinstance(value, dict) or len(value) > maximum:
            yield spot.breaks(code, f"An object of at most {maximum} members is expected")
            return
        for key, each in value.items():
            below = spot.at(key, service=key if names_service else None)
            if not names.fullmatch(key):
                yield below.breaks(code, f"The name does not match {names.pattern}")
            yield from member(each, below)

    return check


def items(member: Rule, *, maximum: int = 1000, code: str = "value") -> Rule:
    """An array of at most `maximum` members, each under the same rule."""

    def check(value: Any, spot: Spot) -> Iterator[Violation]:
        if not isinstance(value, list) or len(value) > maximum:
            yield spot.breaks(code, f"An array of at most {maximum} members is expected")
            return
        for index, each in enumerate(value):
            yield from member(each, spot.at(index))

    return check


def text(pattern: str | re.Pattern[str] = r"(?s).*", *, code: str = "value") -> Rule:
    """A text that matches the pattern in full."""
    compiled = re.compile(pattern)

    def check(value: Any, spot: Spot) -> Iterator[Violation]:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            yield spot.breaks(code, "The value is not one that may be applied here")

    return check


def one_of(*allowed: str, code: str = "value") -> Rule:
    """One of these texts."""

    def check(value: Any, spot: Spot) -> Iterator[Violation]:
        if value not in allowed:
            yield spot.breaks(code, f"Only {' or '.join(allowed)} may be applied here")

    return check


def exactly(expected: Any, *, code: str) -> Rule:
    """This value and no other."""

    def check(value: Any, spot: Spot) -> Iterator[Violation]:
        if value != expected:
            yield spot.breaks(code, f"Only {expected!r} may be applied here")

    return check


def expected(of: Callable[[Spot], str], *, code: str) -> Rule:
    """The one text that this place requires."""

    def check(value: Any, spot: Spot) -> Iterator[Violation]:
        if value != of(spot):
            yield spot.breaks(code, f"Only {of(spot)} may be applied here")

    return check


# Rules that know the subject


def image(value: Any, spot: Spot) -> Iterator[Violation]:
    """HOST/PATH@sha256:HEX, the host one of those given at enrolment."""
    match = _IMAGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        yield spot.breaks("image", "The image is not HOST/PATH@sha256:HEX")
    elif match["host"] not in spot.place.registry_hosts:
        yield spot.breaks("registry", "The image's registry is none of those given at enrolment")


def target(value: Any, spot: Spot) -> Iterator[Violation]:
    """An absolute, normalised path in the container that hides nothing of the system."""
    if not isinstance(value, str) or not re.fullmatch(r"(/[^/\x00]+)+", value):
        yield spot.breaks("bind", "The target is not an absolute path")
    elif any(part in (".", "..") for part in value.split("/")):
        yield spot.breaks("bind", "The target is not normalised")
    elif value in _DOCKER_SOCKETS or any(value == bad or value.startswith(f"{bad}/") for bad in _FORBIDDEN_TARGETS):
        yield spot.breaks("bind", "The target would hide a part of the system")


def memory_mount(value: Any, spot: Spot) -> Iterator[Violation]:
    """A path in memory, with exactly the renderer's options."""
    path, _, options = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not re.fullmatch(TMPFS_OPTIONS, options):
        yield spot.breaks("bind", "The options of a path in memory are not the renderer's")
    yield from target(path, spot)


def source(value: Any, spot: Spot) -> Iterator[Violation]:
    """A volume's `data` directory, below the environment's own volume root."""
    if not isinstance(value, str) or not spot.place.volume_source().fullmatch(value):
        yield spot.breaks("bind", "The source is not a volume of this environment")


def capabilities(value: Any, spot: Spot) -> Iterator[Violation]:
    """Some of the seven capabilities that containers may keep."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        yield spot.breaks("capabilities", "An array of capabilities is expected")
    elif not KEPT_CAPABILITIES.issuperset(value):
        yield spot.breaks("capabilities", f"Only {', '.join(sorted(KEPT_CAPABILITIES))} may be added")


def security_options(value: Any, spot: Spot) -> Iterator[Violation]:
    """no-new-privileges, and nothing beside it."""
    if not isinstance(value, list) or len(value) != 1 or value[0] not in NO_NEW_PRIVILEGES:
        yield spot.breaks("security_opt", f"Only [{NO_NEW_PRIVILEGES[0]}] may be applied here")


def release_label(value: Any, spot: Spot) -> Iterator[Violation]:
    """The sequence that last changed the service: this one or one before."""
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]{0,15}", value) or int(value) > spot.place.sequence:
        yield spot.breaks("label", f"sam.release is not a sequence from 1 to {spot.place.sequence}")


def positive(code: str) -> Rule:
    """A number above zero, in digits."""

    def check(value: Any, spot: Spot) -> Iterator[Violation]:
        if not isinstance(value, str) or not _NUMBER.fullmatch(value) or float(value) <= 0:
            yield spot.breaks(code, "A number above zero is expected")

    return check


def swap_equals_memory(value: Any, spot: Spot) -> Iterator[Violation]:
    """Containers get no swap beside their memory: both limits are the same number."""
    if not isinstance(value, dict):
        return
    limits = value.get("deploy")
    for part in ("resources", "limits"):
        limits = limits.get(part) if isinstance(limits, dict) else None
    memory = limits.get("memory") if isinstance(limits, dict) else value.get("mem_limit")
    if value.get("memswap_limit", memory) != memory:
        yield spot.breaks("limits", "memswap_limit is not the memory limit")


def both(*rules: Rule) -> Rule:
    """All of the rules."""

    def check(value: Any, spot: Spot) -> Iterator[Violation]:
        for rule in rules:
            yield from rule(value, spot)

    return check


def own_subnet(value: Any, spot: Spot) -> Iterator[Violation]:
    """A small network out of the range that environments have theirs from."""
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError:
        network = None
    if network is None or network.prefixlen < MIN_SUBNET_PREFIX or not network.subnet_of(SUBNETS):
        yield spot.breaks("network", f"The subnet is not a small one of {SUBNETS}")


def _dollars(document: Any, spot: Spot) -> Iterator[Violation]:
    """Compose would replace any `$` that is not doubled: only sealed values may be referred to, in environments."""
    for pointer, value in _texts(document, ""):
        # Doubled dollars go first, from the left as Compose reads them: `$$${X}` holds a reference.
        rest = value.replace("$$", "")
        if re.match(r"/services/[^/]+/environment/", pointer):
            rest = _SECRET.sub("", rest)
        if "$" in rest:
            yield Spot(spot.place, pointer).breaks("interpolation", "Compose would replace a part of this value")


def _texts(node: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Every text in the tree with its pointer; depth is bounded by the loader."""
    if isinstance(node, str):
        yield pointer, node
    pairs: Iterable[tuple[Any, Any]] = (
        node.items() if isinstance(node, dict) else enumerate(node if isinstance(node, list) else ())
    )
    for key, each in pairs:
        yield from _texts(each, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")


# The tables

boolean = one_of("true", "false")
duration = text(_DURATION)
whole = text(r"[0-9]{1,16}")

LABELS = Keys(
    {
        "sam.environment": expected(lambda spot: spot.place.environment_id, code="label"),
        "sam.service": expected(lambda spot: spot.service, code="label"),
        "sam.release": release_label,
    },
    required=frozenset({"sam.environment", "sam.service", "sam.release"}),
    code="label",
)
PORT = Keys(
    {
        "target": text(r"[1-9][0-9]{0,4}", code="port"),
        "host_ip": exactly("127.0.0.1", code="port"),
        "protocol": exactly("tcp", code="port"),
        "mode": one_of("ingress", "host", code="port"),
    },
    required=frozenset({"target", "host_ip"}),
    code="port",
)
BIND = Keys(
    {
        "type": exactly("bind", code="bind"),
        "source": source,
        "target": target,
        "read_only": boolean,
        "bind": Keys(
            {"create_host_path": exactly("false", code="bind")}, required=frozenset({"create_host_path"}), code="bind"
        ),
    },
    required=frozenset({"type", "source", "target", "bind"}),
    code="bind",
)
LOGGING = Keys(
    {
        "driver": exactly("json-file", code="logging"),
        "options": Keys(
            {
                "max-size": text(r"[1-9][0-9]{0,3}[km]?", code="logging"),
                "max-file": text(r"[1-9][0-9]?", code="logging"),
            },
            required=frozenset({"max-size", "max-file"}),
            code="logging",
        ),
    },
    required=frozenset({"driver", "options"}),
    code="logging",
)
LIMITS = Keys(
    {"cpus": positive("limits"), "memory": positive("limits"), "pids": positive("limits")},
    required=frozenset({"memory", "pids"}),
    code="limits",
)
DEPLOY = Keys(
    {"resources": Keys({"limits": LIMITS}, required=frozenset({"limits"}), code="limits")},
    required=frozenset({"resources"}),
    code="limits",
)
HEALTHCHECK = Keys(
    {
        "test": items(text()),
        "interval": duration,
        "timeout": duration,
        "retries": whole,
        "start_period": duration,
        "start_interval": duration,
        "disable": boolean,
    }
)
DEPENDENCY = Keys(
    {
        "condition": one_of("service_started", "service_healthy", "service_completed_successfully"),
        "required": boolean,
        "restart": exactly("false", code="value"),
    },
    required=frozenset({"condition"}),
)
HTTP_CHECK = Keys(
    {
        "path": text(r"/[^\x00-\x20\x7f]*"),
        "port": text(r"[1-9][0-9]{0,4}"),
        "status_from": text(r"[1-5][0-9]{2}"),
        "status_to": text(r"[1-5][0-9]{2}"),
    },
    required=frozenset({"path", "port", "status_from", "status_to"}),
)
EXTENSION = Keys({"job": boolean, "order": one_of("start-first", "stop-first"), "http": HTTP_CHECK})
SERVICE = Keys(
    {
        "image": image,
        "command": items(text()),
        "entrypoint": items(text()),
        "environment": mapping(_VARIABLE, text(), maximum=5000),
        "hostname": expected(lambda spot: spot.service, code="network"),
        "ports": items(PORT, maximum=100, code="port"),
        "volumes": items(BIND, maximum=200, code="bind"),
        "tmpfs": items(memory_mount, maximum=50, code="bind"),
        "depends_on": mapping(_NAME, DEPENDENCY, maximum=MAX_SERVICES),
        "healthcheck": HEALTHCHECK,
        "deploy": DEPLOY,
        "memswap_limit": positive("limits"),
        "restart": one_of("unless-stopped", "no"),
        "user": text(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?"),
        "working_dir": text(r"/[^\x00]*"),
        "read_only": boolean,
        "init": boolean,
        "stop_grace_period": duration,
        "stop_signal": text(r"[A-Z0-9+]{1,16}"),
        "shm_size": whole,
        "cap_drop": exactly(["ALL"], code="capabilities"),
        "cap_add": capabilities,
        "security_opt": security_options,
        "logging": LOGGING,
        "labels": LABELS,
        "x-sam": EXTENSION,
    },
    required=frozenset({"image", "cap_drop", "security_opt", "logging", "labels", "deploy"}),
    missing={
        "cap_drop": "capabilities",
        "security_opt": "security_opt",
        "logging": "logging",
        "labels": "label",
        "deploy": "limits",
        "image": "image",
    },
)
SUBNET = Keys({"subnet": own_subnet}, required=frozenset({"subnet"}), code="network")
NETWORK = Keys(
    {
        "driver": exactly("bridge", code="network"),
        "ipam": Keys({"config": items(SUBNET, maximum=1, code="network")}, code="network"),
    },
    code="network",
)
PRE_FLIGHT = Keys(
    {"service": text(_NAME), "command": items(text()), "timeout_seconds": text(r"[1-9][0-9]{0,3}")},
    required=frozenset({"service", "command", "timeout_seconds"}),
)
DOCUMENT = Keys(
    {
        "name": expected(lambda spot: spot.place.project, code="project"),
        "services": mapping(_NAME, both(SERVICE, swap_equals_memory), maximum=MAX_SERVICES, names_service=True),
        "networks": Keys({"default": NETWORK}, code="network"),
        "x-sam": Keys({"schema": exactly("1", code="value"), "pre_flight": PRE_FLIGHT}, required=frozenset({"schema"})),
    },
    required=frozenset({"name", "services"}),
    missing={"name": "project"},
)
