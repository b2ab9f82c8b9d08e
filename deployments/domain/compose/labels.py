"""Labels and container names: dropped with a warning, unless they would steer a proxy or an updater."""

from __future__ import annotations

import re
from typing import Final

from deployments.domain.compose import nodes
from deployments.domain.compose.findings import echo, remove
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import Reading, text

# Prefixes by which programs that watch the engine take orders from a container.
STEERING: Final = (
    "traefik.", "caddy", "com.centurylinklabs.watchtower", "com.docker.compose.", "com.docker.stack.",
    "com.docker.swarm.", "sam.", "com.github.nginx-proxy.", "com.github.jrcs.letsencrypt_nginx_proxy_companion.",
    "haproxy.", "easyhaproxy.", "nginx.", "ouroboros.", "diun.", "wud.", "ofelia.", "io.containers.", "autoheal",
    "sablier.", "swag", "kamal", "coolify.", "dokku.", "io.balena.",
)  # fmt: skip

_HOST_RULE = re.compile(r"Host\(\s*[`'\"]([A-Za-z0-9.-]{1,253})[`'\"]")
_PORT_LABEL = re.compile(r"traefik\.http\.services\.[^.]+\.loadbalancer\.server\.port")
_UPSTREAM = re.compile(r"\{\{\s*upstreams\s+([0-9]{1,5})\s*\}\}")


def labels(node: Node, reading: Reading) -> None:
    """Drop harmless labels with one warning; refuse each that steers something."""
    pairs = _pairs(node)
    if pairs is None:
        reading.mismatch(node, "a mapping or a list of labels")
        return
    steering = [(label, name) for label, name, _ in pairs if name.startswith(STEERING)]
    hint = _route_hint({name: value for _, name, value in pairs}) if steering else ""
    for label, name in steering:
        reading.error(
            label,
            "compose.steering_label",
            f"The label {echo(name)} gives orders to a proxy or an updater; there is none that you could steer.",
            hint,
            (remove(label),),
            at_key=type(node) is nodes.Mapping,
        )
    if not steering:
        reading.warning(
            node, "compose.labels", "Labels have no effect here and are dropped.", "Remove them.", at_key=True
        )


def _pairs(node: Node) -> list[tuple[Node, str, str]] | None:
    if type(node) is nodes.Mapping:
        return [(child, child.key.value, child.value if type(child) is nodes.Scalar else "") for child in node.value]
    if type(node) is not nodes.Sequence:
        return None
    split = [(item, *item.value.partition("=")) for item in node.value if type(item) is nodes.Scalar]
    return [(item, name, value) for item, name, _, value in split]


def _route_hint(found: dict[str, str]) -> str:
    """The route that a proxy's labels describe, as far as they say."""
    host = next((match.group(1) for value in found.values() if (match := _HOST_RULE.search(value))), None)
    port = next((value for name, value in found.items() if _PORT_LABEL.fullmatch(name) and value.isdigit()), None)
    if host is None and found.get("caddy", "").strip():
        host = found["caddy"].split()[0]
    if port is None:
        port = next((match.group(1) for value in found.values() if (match := _UPSTREAM.search(value))), None)
    if host is None and port is None:
        return "Remove it; routes are declared in `ports` or `x-sam-routes`."
    route = f"service: NAME, port: {port or 'PORT'}, mode: public"
    if host is not None and len(host) < 254:
        route += f", host: {host}"
    return f"Remove it, and declare the route: x-sam-routes: [{{{route}}}]."


def container_name(node: Node, reading: Reading) -> str | None:
    """The name, which is dropped; the warning is written once it is known who else uses it."""
    return text(node, reading)
