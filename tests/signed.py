"""A control plane's keys and one node's knowledge, to make payloads that are right, or wrong in one chosen way."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nacl.public
import nacl.signing

from nodeagent.inbox import Knowledge
from nodeagent.records import EnvironmentFloor, NodeRecord
from nodeagent.store import Store
from nodeagent.wire import base64text, envelope, sealed
from nodeagent.wire.decode import encode
from nodeagent.wire.digests import sha256_digest
from nodeagent.wire.envelope import PAYLOAD_KEYSET, PAYLOAD_RELEASE
from nodeagent.wire.fetch import Payload
from nodeagent.wire.keyset import Keyset
from nodeagent.wire.sealed import RegistryLogin, Sealed
from nodeagent.wire.statement import Action, Statement

NOW = 1_800_000_000
ENVIRONMENT = "6f1c3a52-0b7e-4a53-9d3c-2f6f0a1b7c11"
OTHER_ENVIRONMENT = "0a9b8c7d-1234-4abc-8def-00112233aabb"
NODE = "b7a0cb0e-6b1c-4d32-8a51-5d2f4a3c9e77"
HOST = "127.0.0.1:5000"
IMAGE = f"{HOST}/shop/web@sha256:{'ab' * 32}"
CANARY = "canary-value-0123456789"


def signing_key(seed: int) -> nacl.signing.SigningKey:
    """The same key for the same small number, in every run."""
    return nacl.signing.SigningKey(bytes([seed]) * 32)


def public(key: nacl.signing.SigningKey) -> bytes:
    return bytes(key.verify_key)


def key_id(key: nacl.signing.SigningKey) -> str:
    return envelope.keyid(public(key))


def ring(*keys: nacl.signing.SigningKey) -> dict[str, str]:
    """Key ids to base64, as a keyset has them."""
    return {key_id(key): base64text.to_text(public(key)) for key in keys}


ROOT, RELEASE, STRANGER = signing_key(1), signing_key(2), signing_key(3)
NODE_KEY = signing_key(4)
BOX_KEY = nacl.public.PrivateKey(bytes([5]) * 32)


def keyset(version: int = 1, **changes: Any) -> Keyset:
    return dataclasses.replace(Keyset(version, ring(RELEASE), ring(ROOT), (), 0), **changes)


def keyset_envelope(content: Keyset, *signers: nacl.signing.SigningKey) -> bytes:
    return envelope.sign(PAYLOAD_KEYSET, encode(content), *signers)


def compose_document(*, environment_id: str = ENVIRONMENT, release: int = 1) -> dict[str, Any]:
    """A rendered Compose file with every kind of key, as values; all scalars are texts, as the renderer quotes them."""
    return {
        "name": f"sam-{environment_id.replace('-', '')[:12]}",
        "networks": {"default": {"driver": "bridge"}},
        "services": {
            "web": {
                "image": IMAGE,
                "command": ["serve", "$$HOME"],
                "environment": {"PRICE": "5$$", "TOKEN": "${SAM_SECRET_0?}", "URL": "x://u:${SAM_SECRET_0?}@h"},
                "hostname": "web",
                "ports": [{"target": "8080", "host_ip": "127.0.0.1", "protocol": "tcp"}],
                "volumes": [
                    {
                        "type": "bind",
                        "source": f"/mnt/sam-env-{environment_id}/volumes/store/data",
                        "target": "/var/store",
                        "read_only": "false",
                        "bind": {"create_host_path": "false"},
                    }
                ],
                "healthcheck": {"test": ["CMD", "/probe"], "interval": "1s", "timeout": "1s", "retries": "3"},
                "deploy": {"resources": {"limits": {"cpus": "0.5", "memory": "536870912", "pids": "512"}}},
                "memswap_limit": "536870912",
                "restart": "unless-stopped",
                "cap_drop": ["ALL"],
                "cap_add": ["CHOWN", "KILL"],
                "security_opt": ["no-new-privileges:true"],
                "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
                "labels": {"sam.environment": environment_id, "sam.service": "web", "sam.release": str(release)},
                "x-sam": {"job": "false", "order": "start-first"},
            }
        },
    }


def compose_bytes(document: Any) -> bytes:
    """JSON, which YAML contains: the policy judges the parsed document, however it is written."""
    return json.dumps(document).encode()


@dataclass
class Offer:
    """A payload in the making: change what should be wrong, then `payload()`."""

    seq: int = 1
    action: Action = "apply"
    compose: bytes = field(default_factory=lambda: compose_bytes(compose_document()))
    routes: bytes = b"[]"
    volumes: bytes = b"[]"
    environment_id: str = ENVIRONMENT
    values: tuple[str, ...] = (CANARY,)
    statement: dict[str, Any] = field(default_factory=dict)
    """Members of the statement that are not as they should be."""
    signer: nacl.signing.SigningKey = RELEASE
    now: int = NOW

    def sealed(self) -> bytes:
        content = Sealed(self.environment_id, NODE, self.seq, self.values, (RegistryLogin(HOST, "node", "pull-pass"),))
        return sealed.seal(content, bytes(BOX_KEY.public_key))

    def stated(self, parts: dict[str, bytes]) -> dict[str, Any]:
        members = dataclasses.asdict(
            Statement(
                v=1,
                node_id=NODE,
                environment_id=self.environment_id,
                generation=1,
                seq=self.seq,
                action=self.action,
                release_digest=sha256_digest(b"manifest %d" % self.seq),
                previous_release_digest="",
                issued_at=self.now - 10,
                expires_at=self.now + 600,
                keyset_version=1,
                compose_sha256=sha256_digest(parts["compose"]),
                routes_sha256=sha256_digest(parts["routes"]),
                volumes_sha256=sha256_digest(parts["volumes"]),
                sealed_sha256=sha256_digest(parts["sealed"]),
            )
        )
        return members | self.statement

    def payload(self) -> Payload:
        parts = dict.fromkeys(("compose", "routes", "volumes", "sealed"), b"")
        if self.action == "apply":
            parts = {"compose": self.compose, "routes": self.routes, "volumes": self.volumes, "sealed": self.sealed()}
        raw = envelope.sign(PAYLOAD_RELEASE, encode(self.stated(parts)), self.signer)
        return Payload(envelope=raw, **parts)


def offer_with(change: Callable[[dict[str, Any]], object], **members: Any) -> Payload:
    """A signed payload whose Compose document was changed."""
    document = copy.deepcopy(compose_document())
    change(document)
    return Offer(compose=compose_bytes(document), **members).payload()


def knowledge(**changes: Any) -> Knowledge:
    """What the node knows; nothing was ever accepted."""
    known = Knowledge(
        node_id=NODE,
        environment_id=ENVIRONMENT,
        generation=1,
        keyset=keyset(),
        registry_hosts=frozenset({HOST}),
        floor=EnvironmentFloor(0, ""),
        server_time=NOW - 100,
    )
    return dataclasses.replace(known, **changes)


def enrolled_store(root: Path, *, control_url: str = "http://127.0.0.1:1") -> Store:
    """A state directory as enrolment leaves it, with the environment placed."""
    store = Store(root)
    store.prepare()
    identity = root / "identity"
    for name, key in (("ed25519.key", bytes(NODE_KEY)), ("x25519.key", bytes(BOX_KEY))):
        (identity / name).write_text(base64text.to_text(key) + "\n")
        (identity / name).chmod(0o600)
    store.write_node(NodeRecord(NODE, 1, control_url, (HOST,), None))
    store.place(ENVIRONMENT, 1)
    store.adopt_keyset(keyset(), keyset_envelope(keyset(), ROOT))
    return store
