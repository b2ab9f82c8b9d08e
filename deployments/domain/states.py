"""The state machines: one enum and one table of edges per noun, each edge with who takes it. Everything else obeys."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ReleaseStatus(StrEnum):
    ACCEPTED = "accepted"
    WAITING = "waiting"
    OFFERED = "offered"
    APPLYING = "applying"
    LIVE = "live"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


R = ReleaseStatus
RELEASE_EDGES: Mapping[R, Mapping[R, str]] = {
    R.ACCEPTED: {
        R.WAITING: "advance, while the node, a volume or another release is not ready",
        R.OFFERED: "advance, when a payload for the node is signed and stored",
        R.FAILED: "advance, when it can never be offered (an image vanished, a quota is refused)",
        R.CANCELLED: "whoever cancels, a newer release, or stop and retire",
    },
    R.WAITING: {
        R.OFFERED: "advance, when what it waited for is there",
        R.FAILED: "advance, when what it waits for can never come",
        R.CANCELLED: "whoever cancels, a newer release, or stop and retire",
    },
    R.OFFERED: {
        R.APPLYING: "the node's first event",
        R.LIVE: "the node's receipt, when its events come late",
        R.FAILED: "the node's receipt, or advance when the offer can no longer be made",
        R.CANCELLED: "the node's receipt, or whoever cancels before the node fetched it",
        R.UNKNOWN: "the deadline sweep",
    },
    R.APPLYING: {
        R.LIVE: "the node's receipt",
        R.FAILED: "the node's receipt",
        R.CANCELLED: "the node's receipt, after it reverted",
        R.UNKNOWN: "the deadline sweep",
    },
    R.UNKNOWN: {
        R.LIVE: "the node's receipt, whenever it comes",
        R.FAILED: "the node's receipt, whenever it comes",
        R.CANCELLED: "the node's receipt, whenever it comes",
        R.SUPERSEDED: "the node's receipt that it was live, when a later release or another node serves by then",
    },
    R.LIVE: {R.SUPERSEDED: "the receipt that makes a later release live, or that stops the environment"},
}
RELEASE_SETTLED = frozenset({R.LIVE, R.FAILED, R.SUPERSEDED, R.CANCELLED, R.UNKNOWN})
RELEASE_PENDING = frozenset({R.ACCEPTED, R.WAITING, R.OFFERED, R.APPLYING})
RELEASE_WITH_NODE = frozenset({R.OFFERED, R.APPLYING})


class OrderStatus(StrEnum):
    """Life of a stop or retire order: the other thing that takes a sequence."""

    ACCEPTED = "accepted"
    OFFERED = "offered"
    DONE = "done"
    FAILED = "failed"


ORDER_EDGES: Mapping[OrderStatus, Mapping[OrderStatus, str]] = {
    OrderStatus.ACCEPTED: {
        OrderStatus.OFFERED: "advance, when its payload is signed and stored",
        OrderStatus.DONE: "advance, when there is no node that runs anything",
    },
    OrderStatus.OFFERED: {
        OrderStatus.DONE: "the node's receipt, or advance when the node is gone for good",
        OrderStatus.FAILED: "the node's receipt, or the deadline sweep",
    },
    OrderStatus.FAILED: {OrderStatus.DONE: "the node's receipt, when it comes late"},
}


class EnvironmentState(StrEnum):
    ACTIVE = "active"
    STOPPING = "stopping"
    STOPPED = "stopped"
    STARTING = "starting"
    RETIRING = "retiring"
    RETIRED = "retired"


E = EnvironmentState
ENVIRONMENT_EDGES: Mapping[E, Mapping[E, str]] = {
    E.ACTIVE: {E.STOPPING: "an operator's stop", E.RETIRING: "an operator's retire"},
    E.STOPPING: {
        E.STOPPED: "advance, when the app is down, the volumes are detached and the node is given back",
        E.RETIRING: "an operator's retire",
    },
    E.STOPPED: {E.STARTING: "an operator's start", E.RETIRING: "an operator's retire"},
    E.STARTING: {
        E.ACTIVE: "advance, when the release that start made has settled",
        E.STOPPING: "an operator's stop",
        E.RETIRING: "an operator's retire",
    },
    E.RETIRING: {E.RETIRED: "advance, when the app is down and the node is given back"},
}


class NodeState(StrEnum):
    REQUESTED = "requested"
    CREATING = "creating"
    BOOTING = "booting"
    ENROLLED = "enrolled"
    READY = "ready"
    UNREACHABLE = "unreachable"
    WARM = "warm"
    DRAINING = "draining"
    DELETING = "deleting"
    DELETED = "deleted"
    FAILED = "failed"
    LOST = "lost"


_GONE_BY_HAND = "the survey, or an exchange: the provider has it no more"
N = NodeState
NODE_EDGES: Mapping[N, Mapping[N, str]] = {
    N.REQUESTED: {
        N.CREATING: "the placement that claims the row before it asks the provider",
        N.DELETING: "stop or retire, before anything was made",
        N.FAILED: "the placement, when the provider refuses for good",
    },
    N.CREATING: {
        N.BOOTING: "the placement, when the provider says that the server runs",
        N.ENROLLED: "the node itself, when it is faster than the provider's answer",
        N.DELETING: "stop, retire or replacement",
        N.FAILED: "the placement, when the provider refuses for good",
        N.LOST: _GONE_BY_HAND,
    },
    N.BOOTING: {
        N.ENROLLED: "the node itself, with its one-time token",
        N.FAILED: "the boot deadline",
        N.DELETING: "stop, retire or replacement",
        N.LOST: _GONE_BY_HAND,
    },
    N.ENROLLED: {
        N.READY: "the node's first heartbeat",
        N.UNREACHABLE: "the silence sweep",
        N.DRAINING: "stop or retire",
        N.DELETING: "stop, retire or replacement",
        N.LOST: _GONE_BY_HAND,
    },
    N.READY: {
        N.UNREACHABLE: "the silence sweep",
        N.WARM: "the pool, for workspace nodes only",
        N.DRAINING: "stop or retire",
        N.DELETING: "stop, retire or replacement; for workspace nodes, a sweep",
        N.LOST: _GONE_BY_HAND,
    },
    N.WARM: {
        N.READY: "the claim of a workspace",
        N.UNREACHABLE: "the silence sweep",
        N.DELETING: "a sweep of the workspaces",
        N.LOST: _GONE_BY_HAND,
    },
    N.UNREACHABLE: {
        N.READY: "the node's next heartbeat",
        N.DRAINING: "stop or retire",
        N.DELETING: "an operator's replacement, stop or retire; for workspace nodes, a sweep",
        N.LOST: _GONE_BY_HAND,
    },
    N.DRAINING: {
        N.DELETING: "advance, when the app is down and the volumes are detached",
        N.UNREACHABLE: "the silence sweep",
        N.LOST: _GONE_BY_HAND,
    },
    N.FAILED: {N.DELETING: "the next release, stop or retire"},
    N.LOST: {
        N.DELETING: "an operator's replacement, stop or retire",
        N.BOOTING: "the survey, when the provider lists its server again and it has not enrolled yet",
        N.UNREACHABLE: "the survey, when the provider lists its server again",
    },
    N.DELETING: {N.DELETED: "the placement, when the provider has no such server any more"},
}
# A node in one of these is the environment's one node; partial unique constraints are built on it.
NODE_HELD = frozenset(N) - {N.DELETED}


class VolumeState(StrEnum):
    REQUESTED = "requested"
    CREATING = "creating"
    AVAILABLE = "available"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    RESIZING = "resizing"
    DELETING = "deleting"
    DELETED = "deleted"
    FAILED = "failed"
    LOST = "lost"


V = VolumeState
VOLUME_EDGES: Mapping[V, Mapping[V, str]] = {
    V.REQUESTED: {
        V.CREATING: "the placement that claims the row before it asks the provider",
        V.DELETING: "an operator",
    },
    V.CREATING: {
        V.AVAILABLE: "the placement, when the provider says so",
        V.FAILED: "the placement, when refused for good",
        V.LOST: "the observation that the provider has it no more",
    },
    V.AVAILABLE: {
        V.ATTACHING: "advance, when the node's server runs",
        V.RESIZING: "a release that declares more, or an operator",
        V.DELETING: "an operator, with the name typed",
        V.LOST: "the observation that the provider has it no more",
    },
    V.ATTACHING: {
        V.ATTACHED: "the placement, when the provider says so",
        V.AVAILABLE: "the placement, when the attachment was refused",
        V.LOST: "the observation that the provider has it no more",
    },
    V.ATTACHED: {
        V.DETACHING: "stop, retire, replacement, or a release that no longer declares it",
        V.RESIZING: "a release that declares more, or an operator",
        V.LOST: "the observation that the provider has it no more",
    },
    V.DETACHING: {
        V.AVAILABLE: "the placement, when the provider says so",
        V.LOST: "the observation that the provider has it no more",
    },
    V.RESIZING: {
        V.AVAILABLE: "the placement, when grown and detached",
        V.ATTACHED: "the placement, when grown and attached",
        V.LOST: "the observation that the provider has it no more",
    },
    V.FAILED: {V.REQUESTED: "the next release that declares it", V.DELETING: "an operator"},
    V.LOST: {
        V.DELETED: "an operator, with the name typed; a release that waits then makes a new one",
        V.AVAILABLE: "the survey, when the provider lists it again",
    },
    V.DELETING: {V.DELETED: "the placement, when the provider has it no more"},
}
