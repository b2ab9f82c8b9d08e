"""The inbox: what it trusts, and every refusal with its own code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nodeagent import inbox
from nodeagent.records import EnvironmentFloor
from nodeagent.wire import base64text, envelope
from nodeagent.wire.decode import encode
from nodeagent.wire.digests import EMPTY, sha256_digest
from nodeagent.wire.envelope import PAYLOAD_RECEIPT, PAYLOAD_RELEASE
from nodeagent.wire.fetch import Payload
from tests import signed
from tests.signed import NOW, RELEASE, STRANGER, Offer, compose_bytes, compose_document, knowledge, offer_with


def accepted(payload: Payload, **known: Any) -> str | None:
    return inbox.accept(payload, knowledge(**known), now=NOW).code


def booted(payload: Payload, **known: Any) -> str | None:
    return inbox.boot(payload, knowledge(**known)).code


def with_envelope(payload: Payload, change: Callable[[dict[str, Any]], object]) -> Payload:
    members = json.loads(payload.envelope)
    change(members)
    return dataclasses.replace(payload, envelope=json.dumps(members).encode())


def test_a_payload_that_is_right_is_trusted_for_both_questions() -> None:
    payload = Offer().payload()
    assert accepted(payload) is None
    assert booted(payload) is None


def test_a_report_names_every_field_of_the_statement_and_why_it_is_trusted() -> None:
    verdict = inbox.accept(Offer().payload(), knowledge(), now=NOW)
    named = {finding.name for finding in verdict.findings}
    assert set(inbox.statement_fields()) <= named
    assert all(finding.trusted and finding.why for finding in verdict.findings)


def test_stop_and_retire_come_with_empty_attachments() -> None:
    for action in ("stop", "retire"):
        assert accepted(Offer(action=action).payload()) is None
        loaded = Offer(action=action, statement={"compose_sha256": sha256_digest(b"x")}).payload()
        assert accepted(dataclasses.replace(loaded, compose=b"x")) == "payload.attachments"


ENVELOPE_FAULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another payload type": (lambda e: e.update(payloadType=PAYLOAD_RECEIPT), "envelope.type"),
    "a member too many": (lambda e: e.update(extra=1), "envelope.shape"),
    "a member missing": (lambda e: e.pop("payloadType"), "envelope.shape"),
    "no signature": (lambda e: e.update(signatures=[]), "envelope.shape"),
    "the signature twice": (lambda e: e["signatures"].append(e["signatures"][0]), "envelope.shape"),
    "an unknown key": (lambda e: e["signatures"][0].update(keyid="0" * 16), "envelope.unknown_key"),
    "a signature of zeros": (
        lambda e: e["signatures"][0].update(sig=base64text.to_text(bytes(64))),
        "envelope.signature",
    ),
    "unpadded base64": (
        lambda e: e["signatures"][0].update(sig=e["signatures"][0]["sig"].rstrip("=")),
        "envelope.shape",
    ),
    "base64 for URLs": (lambda e: e.update(payload="-_" + e["payload"][2:]), "envelope.shape"),
    "base64 with a line end": (lambda e: e.update(payload=e["payload"] + "\n"), "envelope.shape"),
    "a payload of another kind": (lambda e: e.update(payload=7), "envelope.shape"),
}


@pytest.mark.parametrize("fault", ENVELOPE_FAULTS)
def test_an_envelope_that_is_not_exactly_one_is_refused(fault: str) -> None:
    change, code = ENVELOPE_FAULTS[fault]
    payload = with_envelope(Offer().payload(), change)
    assert accepted(payload) == code
    assert booted(payload) == code


def test_an_envelope_is_bounded_has_no_mark_and_no_member_twice() -> None:
    payload = Offer().payload()
    for raw, code in (
        (payload.envelope + b" " * 262_144, "envelope.size"),
        (b"\xef\xbb\xbf" + payload.envelope, "envelope.shape"),
        (payload.envelope.replace(b'{"payload"', b'{"payloadType":"x","payload"', 1), "envelope.shape"),
        (payload.envelope.decode().encode("utf-16"), "envelope.shape"),
        (b"", "envelope.shape"),
        (b"[" * 100_000, "envelope.shape"),
    ):
        assert accepted(dataclasses.replace(payload, envelope=raw)) == code


def test_a_payload_signed_by_a_stranger_is_refused() -> None:
    assert accepted(Offer(signer=STRANGER).payload()) == "envelope.unknown_key"


def test_a_payload_signed_by_the_root_key_is_refused_since_roots_sign_keysets_only() -> None:
    assert accepted(Offer(signer=signed.ROOT).payload()) == "envelope.unknown_key"


def test_a_payload_signed_by_a_revoked_key_is_refused_at_boot_too() -> None:
    revoked = signed.keyset(revoked=(signed.key_id(RELEASE),))
    assert accepted(Offer().payload(), keyset=revoked) == "envelope.revoked_key"
    assert booted(Offer().payload(), keyset=revoked) == "envelope.revoked_key"


def test_a_keyset_that_files_a_strangers_key_under_a_known_id_lends_it_nothing() -> None:
    lent = {signed.key_id(RELEASE): base64text.to_text(signed.public(STRANGER))}
    payload = with_envelope(
        Offer(signer=STRANGER).payload(), lambda e: e["signatures"][0].update(keyid=signed.key_id(RELEASE))
    )
    assert accepted(payload, keyset=signed.keyset(keys=lent)) == "envelope.unknown_key"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"node_id": "another"}, "payload.node"),
        ({"environment_id": signed.OTHER_ENVIRONMENT}, "payload.environment"),
        ({"generation": 2}, "payload.generation"),
        ({"v": 2}, "statement.shape"),
        ({"v": True}, "statement.shape"),
        ({"seq": "1"}, "statement.shape"),
        ({"seq": 0}, "statement.shape"),
        ({"seq": 1.0}, "statement.shape"),
        ({"action": "delete"}, "statement.shape"),
        ({"release_digest": "sha256:" + "AB" * 32}, "statement.shape"),
        ({"release_digest": ""}, "statement.shape"),
        ({"previous_release_digest": None}, "statement.shape"),
        ({"extra": 1}, "statement.shape"),
        ({"issued_at": -1}, "statement.shape"),
        ({"compose_sha256": EMPTY}, "payload.compose_digest"),
        ({"routes_sha256": EMPTY}, "payload.routes_digest"),
        ({"volumes_sha256": EMPTY}, "payload.volumes_digest"),
        ({"sealed_sha256": EMPTY}, "payload.sealed_digest"),
    ],
)
def test_a_signed_statement_that_is_not_for_us_or_misshapen_is_refused_for_both_questions(
    members: dict[str, Any], code: str
) -> None:
    payload = Offer(statement=members).payload()
    assert accepted(payload) == code
    assert booted(payload) == code


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"issued_at": NOW + 1, "expires_at": NOW + 60}, "payload.not_yet_valid"),
        ({"issued_at": NOW - 60, "expires_at": NOW}, "payload.expired"),
        ({"issued_at": NOW - 1, "expires_at": NOW + 3600}, "payload.lifetime"),
        ({"keyset_version": 2}, "payload.keyset_newer"),
    ],
)
def test_time_and_age_gate_acceptance_only(members: dict[str, Any], code: str) -> None:
    payload = Offer(statement=members).payload()
    assert accepted(payload) == code
    assert booted(payload) is None


def test_an_hour_is_not_too_long_a_life() -> None:
    assert accepted(Offer(statement={"issued_at": NOW, "expires_at": NOW + 3600}).payload()) is None


def test_a_payload_of_an_older_keyset_is_refused_and_still_boots() -> None:
    newer = signed.keyset(version=2)
    assert accepted(Offer().payload(), keyset=newer) == "payload.keyset_older"
    assert booted(Offer().payload(), keyset=newer) is None


def test_a_clock_that_was_set_back_refuses_everything() -> None:
    assert accepted(Offer().payload(), server_time=NOW + 1) == "payload.clock"
    assert accepted(Offer().payload(), server_time=NOW) is None


def test_below_the_floor_nothing_is_accepted_but_current_still_boots() -> None:
    floor = EnvironmentFloor(5, sha256_digest(b"manifest 5"))
    assert accepted(Offer(seq=4).payload(), floor=floor) == "payload.below_floor"
    assert booted(Offer(seq=4).payload(), floor=floor) is None


def test_the_same_sequence_is_taken_up_again_with_the_same_digest_and_refused_with_another() -> None:
    floor = EnvironmentFloor(5, sha256_digest(b"manifest 5"))
    assert accepted(Offer(seq=5).payload(), floor=floor) is None
    two_faced = Offer(seq=5, statement={"release_digest": sha256_digest(b"other")}).payload()
    assert accepted(two_faced, floor=floor) == "payload.equivocation"


def test_a_jump_of_ten_thousand_is_the_widest() -> None:
    floor = EnvironmentFloor(5, sha256_digest(b"manifest 5"))
    assert accepted(Offer(seq=10_005).payload(), floor=floor) is None
    assert accepted(Offer(seq=10_006).payload(), floor=floor) == "payload.jump"


def test_an_environment_that_is_not_placed_here_is_refused() -> None:
    assert accepted(Offer().payload(), generation=None) == "payload.environment"


def test_attachments_that_were_changed_on_disk_are_refused() -> None:
    payload = Offer().payload()
    for part in inbox.ATTACHMENTS:
        changed = dataclasses.replace(payload, **{part: getattr(payload, part) + b" "})
        assert accepted(changed) == f"payload.{part}_digest"
        assert booted(changed) == f"payload.{part}_digest"


def test_any_single_bit_flipped_in_an_envelope_is_refused() -> None:
    payload = Offer(compose=b"{}").payload()
    known = knowledge()
    codes = set()
    for position in range(len(payload.envelope)):
        for bit in range(8):
            flipped = bytearray(payload.envelope)
            flipped[position] ^= 1 << bit
            code = inbox.accept(dataclasses.replace(payload, envelope=bytes(flipped)), known, now=NOW).code
            assert code is not None
            codes.add(code)
    assert codes <= {"envelope.shape", "envelope.type", "envelope.unknown_key", "envelope.signature"}


def test_any_single_bit_flipped_in_an_attachment_is_refused() -> None:
    payload = Offer().payload()
    known = knowledge()
    for part in inbox.ATTACHMENTS:
        content: bytes = getattr(payload, part)
        for position in range(len(content)):
            flipped = bytearray(content)
            flipped[position] ^= 1 << (position % 8)
            changed = dataclasses.replace(payload, **{part: bytes(flipped)})
            assert inbox.accept(changed, known, now=NOW).code == f"payload.{part}_digest"


def test_signed_routes_and_volumes_that_are_no_such_lists_are_refused() -> None:
    assert accepted(Offer(routes=b"{}").payload()) == "payload.routes"
    assert accepted(Offer(volumes=b'[{"name":"x"}]').payload()) == "payload.volumes"
    outside = b'[{"id":"v","name":"x","read_only":false,"source":{"kind":"directory","path":"/srv/../etc"}}]'
    assert accepted(Offer(volumes=outside).payload()) == "payload.volumes"
    inside = b'[{"id":"v","name":"x","read_only":false,"source":{"kind":"directory","path":"/srv/v"}}]'
    assert accepted(Offer(volumes=inside).payload()) is None


def web(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda document: change(document["services"]["web"])


def port(**members: str) -> Callable[[dict[str, Any]], object]:
    return web(lambda s: s["ports"][0].update(members))


def mount(**members: Any) -> Callable[[dict[str, Any]], object]:
    return web(lambda s: s["volumes"][0].update(members))


POLICY_FAULTS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (web(lambda s: s.update(privileged="true")), "policy.key"),
    (web(lambda s: s.update(devices=["/dev/sda"])), "policy.key"),
    (web(lambda s: s.update(pid="host")), "policy.key"),
    (web(lambda s: s.update(network_mode="host")), "policy.key"),
    (web(lambda s: s.update(build=".")), "policy.key"),
    (web(lambda s: s.update(env_file="x")), "policy.key"),
    (web(lambda s: s.update(extra_hosts=["a:1"])), "policy.key"),
    (web(lambda s: s.update(post_start=[{"command": "x"}])), "policy.key"),
    (web(lambda s: s.update({"<<": {}})), "policy.key"),
    (lambda d: d.update(include=["x"]), "policy.key"),
    (lambda d: d.update(volumes={"x": {}}), "policy.key"),
    (lambda d: d.update(secrets={"x": {"file": "/etc/shadow"}}), "policy.key"),
    (lambda d: d.update(name="another"), "policy.project"),
    (lambda d: d.pop("name"), "policy.project"),
    (lambda d: d["networks"].update(other={}), "policy.network"),
    (lambda d: d["networks"].update(default={"external": "true"}), "policy.network"),
    (lambda d: d["networks"].update(default={"driver": "host"}), "policy.network"),
    (web(lambda s: s.update(networks={"other": {}})), "policy.key"),
    (lambda d: d["networks"]["default"].update(ipam={"config": [{"subnet": "10.0.0.0/8"}]}), "policy.network"),
    (lambda d: d["networks"]["default"].update(ipam={"config": [{"subnet": "10.1.0.0/26"}]}), "policy.network"),
    (lambda d: d["networks"]["default"].update(internal="true"), "policy.network"),
    (web(lambda s: s.update(tmpfs=["/tmp:exec,mode=1777"])), "policy.bind"),
    (web(lambda s: s.update(tmpfs=["/proc/x:rw,noexec,nosuid,nodev,size=1,mode=1777"])), "policy.bind"),
    (web(lambda s: s["x-sam"].update(hook="x")), "policy.key"),
    (web(lambda s: s.update(hostname="db")), "policy.network"),
    (web(lambda s: s.update(cap_add=["SYS_ADMIN"])), "policy.capabilities"),
    (web(lambda s: s.update(cap_add=["ALL"])), "policy.capabilities"),
    (web(lambda s: s.update(cap_drop=[])), "policy.capabilities"),
    (web(lambda s: s.pop("cap_drop")), "policy.capabilities"),
    (web(lambda s: s.update(security_opt=["seccomp=unconfined"])), "policy.security_opt"),
    (web(lambda s: s.update(security_opt=["no-new-privileges:true", "apparmor=unconfined"])), "policy.security_opt"),
    (web(lambda s: s.update(security_opt=["no-new-privileges:false"])), "policy.security_opt"),
    (web(lambda s: s.pop("security_opt")), "policy.security_opt"),
    (web(lambda s: s["logging"].update(driver="syslog")), "policy.logging"),
    (web(lambda s: s["logging"]["options"].update({"syslog-address": "tcp://x"})), "policy.logging"),
    (web(lambda s: s["logging"]["options"].pop("max-size")), "policy.logging"),
    (web(lambda s: s.pop("logging")), "policy.logging"),
    (port(host_ip="0.0.0.0"), "policy.port"),  # noqa: S104  what must be refused
    (port(published="80"), "policy.port"),
    (port(protocol="udp"), "policy.port"),
    (web(lambda s: s["ports"][0].pop("host_ip")), "policy.port"),
    (web(lambda s: s.update(ports=["8080:8080"])), "policy.port"),
    (mount(source="/"), "policy.bind"),
    (mount(source="/etc"), "policy.bind"),
    (mount(source=f"/mnt/sam-env-{signed.ENVIRONMENT}/volumes/../../../etc/data"), "policy.bind"),
    (mount(source=f"/mnt/sam-env-{signed.OTHER_ENVIRONMENT}/volumes/store/data"), "policy.bind"),
    (mount(type="volume"), "policy.bind"),
    (mount(bind={"create_host_path": "true"}), "policy.bind"),
    (mount(bind={"create_host_path": "false", "propagation": "rshared"}), "policy.bind"),
    (mount(target="/proc/sys"), "policy.bind"),
    (mount(target="/a/../etc"), "policy.bind"),
    (mount(target="/var/run/docker.sock"), "policy.bind"),
    (web(lambda s: s.update(volumes=["/:/host"])), "policy.bind"),
    (web(lambda s: s.update(image=f"{signed.HOST}/shop/web:latest")), "policy.image"),
    (web(lambda s: s.update(image="web@sha256:" + "ab" * 32)), "policy.image"),
    (web(lambda s: s.pop("image")), "policy.image"),
    (web(lambda s: s.update(image=f"evil.example/shop/web@sha256:{'ab' * 32}")), "policy.registry"),
    (web(lambda s: s["labels"].update({"sam.environment": signed.OTHER_ENVIRONMENT})), "policy.label"),
    (web(lambda s: s["labels"].update({"sam.service": "db"})), "policy.label"),
    (web(lambda s: s["labels"].update({"sam.release": "2"})), "policy.label"),
    (web(lambda s: s["labels"].update({"traefik.enable": "true"})), "policy.label"),
    (web(lambda s: s.pop("deploy")), "policy.limits"),
    (web(lambda s: s["deploy"].update(replicas="2")), "policy.limits"),
    (web(lambda s: s["deploy"]["resources"]["limits"].pop("memory")), "policy.limits"),
    (web(lambda s: s.update(memswap_limit="-1")), "policy.limits"),
    (web(lambda s: s.update(memswap_limit="1073741824")), "policy.limits"),
    (web(lambda s: s["environment"].update(X="${HOME}")), "policy.interpolation"),
    (web(lambda s: s["environment"].update(X="$HOME")), "policy.interpolation"),
    (web(lambda s: s["environment"].update(X="$$${HOME}")), "policy.interpolation"),
    (web(lambda s: s["environment"].update(X="${SAM_SECRET_0:-${HOME}}")), "policy.interpolation"),
    (web(lambda s: s.update(command=["${SAM_SECRET_0?}"])), "policy.interpolation"),
    (web(lambda s: s["environment"].update(X=None)), "policy.value"),
    (web(lambda s: s.update(restart="always")), "policy.value"),
    (web(lambda s: s.update(init="yes")), "policy.value"),
]


@pytest.mark.parametrize("index", range(len(POLICY_FAULTS)))
def test_a_signed_compose_file_that_breaks_the_nodes_own_policy_is_refused(index: int) -> None:
    change, code = POLICY_FAULTS[index]
    payload = offer_with(change)
    assert accepted(payload) == code
    assert booted(payload) == code


def test_the_policy_judges_the_document_however_it_is_written() -> None:
    document = compose_document()
    for raw in (yaml.safe_dump(document).encode(), yaml.safe_dump(document, default_flow_style=True).encode()):
        assert accepted(Offer(compose=raw).payload()) is None
    privileged = yaml.safe_dump(document).replace("    init:", "").encode() + b"    privileged: !!bool true\n"
    assert accepted(Offer(compose=privileged).payload()) == "policy.syntax"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a: &x 1\nb: *x\n",
        b"a: 1\na: 2\n",
        b"--- {}\n--- {}\n",
        b"%YAML 1.1\n--- {}\n",
        b"\xff\xfe",
        b"[" * 60_000,
        b"{a: [}",
        b'"\\ud800"',
        b"<<: {a: 1}\n",
    ],
)
def test_a_signed_compose_file_that_could_mean_two_things_is_refused(raw: bytes) -> None:
    assert accepted(Offer(compose=raw).payload()) == "policy.syntax"


def test_all_violations_are_reported_not_only_the_first() -> None:
    def change(document: dict[str, Any]) -> None:
        document["services"]["web"].update(privileged="true", cap_add=["SYS_ADMIN"], restart="always")

    verdict = inbox.accept(offer_with(change), knowledge(), now=NOW)
    codes = {finding.code for finding in verdict.findings if not finding.trusted}
    assert codes == {"policy.key", "policy.capabilities", "policy.value"}


def test_every_code_that_the_inbox_answers_is_in_its_list() -> None:
    assert {code for _, code in POLICY_FAULTS} | {code for _, code in ENVELOPE_FAULTS.values()} <= inbox.REFUSALS.keys()
    assert inbox.REFUSALS.keys() >= inbox.FINAL | inbox.TRANSIENT


def test_another_payload_type_with_the_right_statement_is_refused() -> None:
    payload = Offer().payload()
    statement = base64text.to_bytes(json.loads(payload.envelope)["payload"])
    forged = envelope.sign(PAYLOAD_RECEIPT, statement, RELEASE)
    assert accepted(dataclasses.replace(payload, envelope=forged)) == "envelope.type"
    relabelled = forged.replace(PAYLOAD_RECEIPT.encode(), PAYLOAD_RELEASE.encode())
    assert accepted(dataclasses.replace(payload, envelope=relabelled)) == "envelope.signature"


def test_the_bytes_of_a_document_say_the_same_as_its_values() -> None:
    assert compose_bytes(compose_document()) == compose_bytes(compose_document())
    assert encode(json.loads(compose_bytes(compose_document())))


def test_every_refusal_is_documented_with_what_follows_it() -> None:
    documented = (Path(__file__).parents[3] / "docs" / "wire-protocol.md").read_text()
    for code, meaning in inbox.REFUSALS.items():
        then = "again" if code in inbox.TRANSIENT else "fails the release" if code in inbox.FINAL else "alarm"
        assert f"| `{code}` | {then} | {meaning} |" in documented
