"""The tables of the deployment plane: columns, constraints and querysets; nothing here does I/O of its own."""

from __future__ import annotations

from .environments import Environment, Observation
from .idempotency import IdempotentCall
from .installations import Installation
from .keys import KeysetVersion, SigningKey
from .log import LogEntry
from .nodes import LogQuery, Node, NodeNonce
from .orders import Order
from .payloads import Payload, Receipt
from .releases import Release
from .surveys import Orphan, Survey
from .values import NamedValue
from .volumes import Volume

__all__ = [
    "Environment",
    "IdempotentCall",
    "Installation",
    "KeysetVersion",
    "LogEntry",
    "LogQuery",
    "NamedValue",
    "Node",
    "NodeNonce",
    "Observation",
    "Order",
    "Orphan",
    "Payload",
    "Receipt",
    "Release",
    "SigningKey",
    "Survey",
    "Volume",
]
