"""The admin of the deployment plane: lists that answer questions, read-only rows, and actions that call the
services."""

from __future__ import annotations

from . import environments, history, nodes, releases

__all__ = ["environments", "history", "nodes", "releases"]
