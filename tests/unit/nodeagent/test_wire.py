"""The wire: one strict decoder, envelopes, keysets, sealed parts, signed requests."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import nacl.public
import nacl.signing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.wire import base64text, enrol, envelope, keyset, requests, sealed
from nodeagent.wire.decode import MAX_INTEGER, decode, encode, load, read
from nodeagent.wire.enrol import EnrolAnswer, EnrolRequest
from nodeagent.wire.envelope import PAYLOAD_RECEIPT, PAYLOAD_RELEASE
from nodeagent.wire.errors import EnvelopeError, KeysetError, RequestError, SealedError, WireError
from nodeagent.wire.events import Event, EventBatch, extends_deadline
from nodeagent.wire.fetch import Fetched, Payload, pack, unpack
from nodeagent.wire.heartbeat import Heartbeat, Reply, ServiceObserved
from nodeagent.wire.keyset import Keyset
from nodeagent.wire.logs import LogAnswer
from nodeagent.wire.orders import VOLUMES, DeviceSource, DirectorySource
from nodeagent.wire.receipt import Receipt
from nodeagent.wire.sealed import RegistryLogin, Sealed
from nodeagent.wire.statement import Statement
from tests import signed
from tests.signed import BOX_KEY, NODE, RELEASE, ROOT, STRANGER, Offer, keyset_envelope, ring, signing_key

GOLDEN = Path(__file__).parents[2] / "golden" / "wire"
MESSAGES: dict[str, type] = {
    "statement": Statement,
    "keyset": Keyset,
    "heartbeat": Heartbeat,
    "reply": Reply,
    "receipt": Receipt,
    "event_batch": EventBatch,
    "log_answer": LogAnswer,
    "enrol_request": EnrolRequest,
    "enrol_answer": EnrolAnswer,
    "fetched": Fetched,
}


def refusal(cls: type, raw: bytes) -> str:
    with pytest.raises(WireError) as caught:
        decode(cls, raw)
    return caught.value.code


# Golden files


@pytest.mark.parametrize("name", MESSAGES)
def test_a_golden_message_is_read_and_written_byte_for_byte(name: str) -> None:
    raw = (GOLDEN / f"{name}.json").read_bytes()
    assert encode(decode(MESSAGES[name], raw)) == raw


@pytest.mark.parametrize("name", MESSAGES)
def test_a_golden_message_with_a_member_more_or_less_is_refused(name: str) -> None:
    members = json.loads((GOLDEN / f"{name}.json").read_bytes())
    assert refusal(MESSAGES[name], encode(members | {"extra": 1})) == "wire.members"
    for member in members:
        less = {key: value for key, value in members.items() if key != member}
        assert refusal(MESSAGES[name], encode(less)) == "wire.members"


def test_the_golden_envelope_is_what_these_keys_sign() -> None:
    raw = (GOLDEN / "envelope.json").read_bytes()
    statement = (GOLDEN / "statement.json").read_bytes()
    assert envelope.sign(PAYLOAD_RELEASE, statement, RELEASE) == raw
    keys = {signed.key_id(RELEASE): signed.public(RELEASE)}
    assert envelope.open_envelope(raw, payload_type=PAYLOAD_RELEASE, keys=keys) == statement


def test_the_preauthentication_encoding_is_that_of_the_dsse_specification() -> None:
    # The example of the specification's protocol.md.
    encoded = envelope.pae("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


# The decoder


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "wire.syntax"),
        (b"{", "wire.syntax"),
        (b"[]", "wire.type"),
        (b"null", "wire.type"),
        (b"\xef\xbb\xbf{}", "wire.encoding"),
        (b"\xff", "wire.encoding"),
        ("{}".encode("utf-16"), "wire.encoding"),
        (b'{"a":1,"a":1}', "wire.duplicate"),
        (b'{"a":{"b":1,"b":2}}', "wire.duplicate"),
        (b'{"a":1.0}', "wire.type"),
        (b'{"a":1e3}', "wire.type"),
        (b'{"a":NaN}', "wire.type"),
        (b'{"a":-Infinity}', "wire.type"),
        (b'{"a":9007199254740992}', "wire.value"),
        (b'{"a":' + b"9" * 5000 + b"}", "wire.value"),
        (b"[" * 100_000, "wire.syntax"),
        (b'{"a":"\n"}', "wire.syntax"),
        (b"{} {}", "wire.syntax"),
    ],
)
def test_what_is_not_strict_json_is_refused(raw: bytes, code: str) -> None:
    assert refusal(Statement, raw) == code


def test_a_message_over_its_bound_is_refused_unread() -> None:
    with pytest.raises(WireError, match="more than 10 bytes"):
        decode(Statement, b"[" * 11, max_bytes=10)


@pytest.mark.parametrize(
    ("member", "value", "code"),
    [
        ("seq", True, "wire.type"),
        ("seq", "1", "wire.type"),
        ("seq", None, "wire.type"),
        ("seq", -1, "wire.value"),
        ("node_id", 1, "wire.type"),
        ("node_id", "x" * 129, "wire.value"),
        ("node_id", "\ud800", "wire.value"),
        ("action", "Apply", "wire.value"),
        ("action", [], "wire.value"),
        ("v", "1", "wire.value"),
        ("release_digest", "sha256:" + "a" * 64 + "\n", "wire.value"),
        ("release_digest", "sha256:" + "é" * 64, "wire.value"),
    ],
)
def test_values_are_of_their_type_and_within_their_bounds(member: str, value: Any, code: str) -> None:
    members = json.loads((GOLDEN / "statement.json").read_bytes()) | {member: value}
    assert refusal(Statement, json.dumps(members).encode()) == code


def test_no_error_repeats_what_was_refused() -> None:
    for raw in (
        b'{"canary-value":1}',
        b'{"v":"canary-value"}',
        b'"canary-value',
        b'{"canary-value":1,"canary-value":1}',
    ):
        with pytest.raises(WireError) as caught:
            decode(Sealed, raw)
        assert "canary" not in str(caught.value)
        assert "canary" not in repr(caught.value)
        assert caught.value.__cause__ is None


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
counts = st.integers(0, MAX_INTEGER)


@given(st.builds(Sealed, st.uuids().map(str), texts, st.integers(1, MAX_INTEGER), st.lists(texts).map(tuple),
                 st.lists(st.builds(RegistryLogin, texts, texts, texts), max_size=3).map(tuple)))  # fmt: skip
def test_what_is_encoded_is_decoded_the_same(message: Sealed) -> None:
    assert decode(Sealed, encode(message)) == message


@given(st.builds(ServiceObserved, texts, texts, texts, st.none() | st.integers(-255, 255), counts, st.just(""),
                 st.just("sha256:" + "0f" * 32), counts))  # fmt: skip
def test_optional_and_signed_members_survive_the_round_trip(message: ServiceObserved) -> None:
    assert decode(ServiceObserved, encode(message)) == message


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_raise_anything_but_its_own_error(raw: bytes) -> None:
    for cls in MESSAGES.values():
        with pytest.raises(WireError):
            decode(cls, raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(sorted(MESSAGES)), st.data())
@settings(max_examples=300)
def test_a_golden_message_with_one_foreign_value_is_read_or_refused(name: str, data: st.DataObject) -> None:
    members = json.loads((GOLDEN / f"{name}.json").read_bytes())
    members[data.draw(st.sampled_from(sorted(members)))] = data.draw(json_values)
    with contextlib.suppress(WireError):
        decode(MESSAGES[name], json.dumps(members).encode())


@given(st.binary(max_size=60))
def test_base64_has_one_text_for_each_sequence_of_bytes(content: bytes) -> None:
    text = base64text.to_text(content)
    assert base64text.to_bytes(text) == content
    if text.endswith("="):
        with pytest.raises(WireError):
            base64text.to_bytes(text.rstrip("="))


@pytest.mark.parametrize("text", ["QR==", "QQ=", "Q Q=", "QQ==\n", "QQ==QQ==", "-_8=", "é", "=", "QQ==="])
def test_base64_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        base64text.to_bytes(text)


def test_a_volume_is_a_directory_or_a_device_and_nothing_between() -> None:
    directory = {"kind": "directory", "path": "/srv/v"}
    device = {"kind": "device", "path": "/dev/disk/by-id/x", "serial": "s", "size_bytes": 10, "format": None}
    for source, cls in ((directory, DirectorySource), (device, DeviceSource)):
        volume = {"name": "store", "id": "v", "source": source, "read_only": False}
        assert isinstance(read(VOLUMES, load(encode([volume])))[0].source, cls)
    for source in (
        directory | {"serial": "s"},
        device | {"kind": "directory"},
        {"kind": "device", "path": "/dev/x"},
        None,
        7,
    ):
        with pytest.raises(WireError):
            read(VOLUMES, [{"name": "store", "id": "v", "source": source, "read_only": False}])


# Envelopes


def test_an_envelope_over_its_bound_is_neither_made_nor_opened() -> None:
    with pytest.raises(EnvelopeError, match=r"envelope\.size"):
        envelope.sign(PAYLOAD_RECEIPT, bytes(200_000), RELEASE)


def test_an_envelope_of_two_signatures_is_opened_where_two_are_asked_for() -> None:
    raw = envelope.sign(PAYLOAD_RECEIPT, b"{}", RELEASE, ROOT)
    keys = {signed.key_id(key): signed.public(key) for key in (RELEASE, ROOT)}
    assert envelope.open_envelope(raw, payload_type=PAYLOAD_RECEIPT, keys=keys, signatures=2) == b"{}"
    with pytest.raises(EnvelopeError, match=r"envelope\.shape"):
        envelope.open_envelope(raw, payload_type=PAYLOAD_RECEIPT, keys=keys)
    del keys[signed.key_id(ROOT)]
    with pytest.raises(EnvelopeError, match=r"envelope\.unknown_key"):
        envelope.open_envelope(raw, payload_type=PAYLOAD_RECEIPT, keys=keys, signatures=2)


def test_a_key_of_small_order_verifies_nothing() -> None:
    # The neutral element: with it, a naive verifier takes an all-zero signature for any message.
    neutral = b"\x01" + bytes(31)
    made = json.loads(envelope.sign(PAYLOAD_RECEIPT, b"{}", RELEASE))
    made["signatures"] = [{"keyid": envelope.keyid(neutral), "sig": base64text.to_text(neutral + bytes(32))}]
    with pytest.raises(EnvelopeError, match=r"envelope\.signature"):
        keys = {envelope.keyid(neutral): neutral}
        envelope.open_envelope(encode(made), payload_type=PAYLOAD_RECEIPT, keys=keys)


# Keysets

NEW_ROOT, NEW_RELEASE = signing_key(11), signing_key(12)
HELD = signed.keyset()
NEXT = signed.keyset(version=2, root=ring(NEW_ROOT), keys=ring(RELEASE, NEW_RELEASE))


def keyset_refusal(raw: bytes, *, held: Keyset = HELD, now: int = 0) -> str:
    with pytest.raises(KeysetError) as caught:
        keyset.successor(held, raw, now=now)
    return caught.value.code


def test_a_pinned_keyset_is_signed_by_itself() -> None:
    assert keyset.first(keyset_envelope(HELD, ROOT)) == HELD
    for signer in (RELEASE, STRANGER):
        with pytest.raises(KeysetError, match=r"keyset\.signature"):
            keyset.first(keyset_envelope(HELD, signer))


def test_a_successor_signed_by_the_old_root_and_its_own_is_trusted() -> None:
    assert keyset.successor(HELD, keyset_envelope(NEXT, ROOT, NEW_ROOT), now=0) == NEXT


def test_one_signature_will_do_where_the_root_stays() -> None:
    same_root = signed.keyset(version=2, keys=ring(NEW_RELEASE))
    assert keyset.successor(HELD, keyset_envelope(same_root, ROOT), now=0) == same_root


def test_a_successor_may_revoke_the_root_that_hands_over() -> None:
    revoking = dataclasses.replace(NEXT, revoked=(signed.key_id(ROOT),))
    assert keyset.successor(HELD, keyset_envelope(revoking, ROOT, NEW_ROOT), now=0) == revoking


@pytest.mark.parametrize(
    "signers",
    [(ROOT,), (NEW_ROOT,), (RELEASE, NEW_ROOT), (ROOT, STRANGER), (STRANGER, NEW_ROOT), (ROOT, NEW_ROOT, STRANGER)],
)
def test_a_successor_without_the_old_or_its_own_signature_or_with_a_foreign_one_is_refused(
    signers: tuple[nacl.signing.SigningKey, ...],
) -> None:
    assert keyset_refusal(keyset_envelope(NEXT, *signers)) == "keyset.signature"


def test_a_root_that_is_revoked_hands_over_nothing() -> None:
    held = dataclasses.replace(HELD, revoked=(signed.key_id(ROOT),))
    assert keyset_refusal(keyset_envelope(NEXT, ROOT, NEW_ROOT), held=held) == "keyset.signature"


def test_a_keyset_is_neither_replayed_nor_skipped_nor_early() -> None:
    assert keyset_refusal(keyset_envelope(HELD, ROOT)) == "keyset.replayed"
    skipping = dataclasses.replace(NEXT, version=3)
    assert keyset_refusal(keyset_envelope(skipping, ROOT, NEW_ROOT)) == "keyset.skipped"
    later = dataclasses.replace(NEXT, not_before=10)
    assert keyset_refusal(keyset_envelope(later, ROOT, NEW_ROOT), now=9) == "keyset.not_yet"
    assert keyset.successor(HELD, keyset_envelope(later, ROOT, NEW_ROOT), now=10) == later


def test_a_keyset_with_a_key_under_a_foreign_id_or_of_another_type_is_refused() -> None:
    lent = dataclasses.replace(NEXT, keys={signed.key_id(RELEASE): base64text.to_text(signed.public(STRANGER))})
    assert keyset_refusal(keyset_envelope(lent, ROOT, NEW_ROOT)) == "keyset.shape"
    assert keyset_refusal(envelope.sign(PAYLOAD_RELEASE, encode(NEXT), ROOT, NEW_ROOT)) == "keyset.shape"


def test_revoked_keys_count_no_longer() -> None:
    revoked = dataclasses.replace(HELD, revoked=(signed.key_id(RELEASE), signed.key_id(ROOT)))
    assert revoked.release_keys() == {} == revoked.root_keys()


# Sealed parts


def test_a_sealed_part_opens_with_its_nodes_key_only() -> None:
    content = Sealed(signed.ENVIRONMENT, NODE, 1, ("a", ""), (RegistryLogin("h", "u", "p"),))
    raw = sealed.seal(content, bytes(BOX_KEY.public_key))
    assert sealed.unseal(raw, BOX_KEY) == content
    for changed, key in ((raw, nacl.public.PrivateKey.generate()), (raw[:-1] + b"\0", BOX_KEY), (b"", BOX_KEY)):
        with pytest.raises(SealedError, match=r"sealed\.key"):
            sealed.unseal(changed, key)


def test_no_value_shows_in_a_sealed_parts_repr_or_error() -> None:
    content = Sealed(signed.ENVIRONMENT, NODE, 1, ("canary",), (RegistryLogin("h", "canary", "canary"),))
    assert "canary" not in repr(content) + repr(content.registries)
    box = nacl.public.SealedBox(BOX_KEY.public_key)
    with pytest.raises(SealedError) as caught:
        sealed.unseal(box.encrypt(b'{"values":["canary"]}'), BOX_KEY)
    assert caught.value.code == "sealed.shape"
    assert "canary" not in str(caught.value)


# Requests and enrolment


def signed_request(**changes: Any) -> tuple[dict[str, str], dict[str, Any]]:
    sent: dict[str, Any] = {"method": "POST", "path_with_query": "/api/node/v1/heartbeat?wait=5", "body": b"{}"}
    headers = requests.sign_request(
        signed.NODE_KEY, NODE, 1, sent["method"], sent["path_with_query"], sent["body"], signed.NOW, "n" * 16
    )
    return headers, sent | changes


def test_a_signed_request_proves_its_node() -> None:
    headers, sent = signed_request()
    claim = requests.verify_request(signed.public(signed.NODE_KEY), headers=headers, now=signed.NOW + 5, **sent)
    assert (claim.node_id, claim.generation, claim.nonce) == (NODE, 1, "n" * 16)


@pytest.mark.parametrize(
    "changes", [{"method": "GET"}, {"path_with_query": "/api/node/v1/heartbeat?wait=6"}, {"body": b"{ }"}]
)
def test_a_request_that_was_changed_is_refused(changes: dict[str, Any]) -> None:
    headers, sent = signed_request(**changes)
    with pytest.raises(RequestError, match=r"request\.signature"):
        requests.verify_request(signed.public(signed.NODE_KEY), headers=headers, now=signed.NOW, **sent)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Sam-Node", "another"),
        ("X-Sam-Generation", "2"),
        ("X-Sam-Time", str(signed.NOW + 1)),
        ("X-Sam-Nonce", "m" * 16),
    ],
)
def test_every_header_is_covered_by_the_signature(header: str, value: str) -> None:
    headers, sent = signed_request()
    with pytest.raises(RequestError, match=r"request\.signature"):
        requests.verify_request(
            signed.public(signed.NODE_KEY), headers=headers | {header: value}, now=signed.NOW, **sent
        )


def test_a_request_of_another_time_or_without_headers_is_refused() -> None:
    headers, sent = signed_request()
    with pytest.raises(RequestError, match=r"request\.time"):
        requests.verify_request(signed.public(signed.NODE_KEY), headers=headers, now=signed.NOW + 301, **sent)
    for name in headers:
        less = {key: value for key, value in headers.items() if key != name}
        with pytest.raises(RequestError, match=r"request\.headers"):
            requests.claim(less)
    with pytest.raises(RequestError, match=r"request\.headers"):
        requests.claim(headers | {"X-Sam-Time": "1\n2"})


def test_an_enrolment_proves_possession_of_both_its_keys() -> None:
    request = decode(EnrolRequest, (GOLDEN / "enrol_request.json").read_bytes())
    enrol.verify_proof(request)
    assert request.token not in repr(request)
    other = base64text.to_text(signed.public(STRANGER))
    for changes in ({"ed25519_public": other}, {"x25519_public": other}, {"token": "t" * 43}):
        with pytest.raises(RequestError, match=r"enrol\.proof"):
            enrol.verify_proof(dataclasses.replace(request, **changes))


# Small things


def test_a_fetched_payload_is_its_bytes_again() -> None:
    payload = Offer().payload()
    assert unpack(decode(Fetched, encode(pack(payload)))) == payload
    assert unpack(pack(Payload(b"", b"", b"", b"", b""))) == Payload(b"", b"", b"", b"", b"")


def test_only_the_beginning_and_the_pull_extend_a_deadline() -> None:
    assert extends_deadline("apply:begin", "verify")
    assert extends_deadline("apply:progress", "pull")
    assert not extends_deadline("apply:progress", "health")
    assert not extends_deadline("alarm", "pull")


def test_an_event_speaks_of_its_time_in_utc() -> None:
    batch = decode(EventBatch, (GOLDEN / "event_batch.json").read_bytes())
    local = dataclasses.replace(batch.events[0], at="2027-01-15T08:00:00+01:00")
    assert refusal(Event, encode(local)) == "wire.value"
