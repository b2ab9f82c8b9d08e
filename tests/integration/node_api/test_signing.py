"""The deploy keys: made once, the root key outside the database, the release key sealed in it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from nacl.signing import SigningKey as PrivateKey
from pytest_django import Settings

from deployments import signing
from deployments.models import KeysetVersion, SigningKey
from nodeagent.wire import base64text
from nodeagent.wire import keyset as keysets
from nodeagent.wire.envelope import PAYLOAD_KEYSET, keyid, parse_envelope
from tests.situations import at_once


def test_init_makes_a_keyset_that_a_node_takes_as_its_first() -> None:
    made = signing.init()
    trusted = keysets.first(signing.keyset_envelope())
    assert trusted == made == signing.keyset()
    assert (trusted.version, len(trusted.keys), len(trusted.root), trusted.revoked) == (1, 1, 1, ())
    assert keyid(bytes(signing.release_key().verify_key)) in trusted.keys
    envelope = parse_envelope(signing.keyset_envelope(1), payload_type=PAYLOAD_KEYSET)
    assert [each.keyid for each in envelope.signatures] == list(trusted.root)


def test_init_again_changes_nothing() -> None:
    assert signing.init() == signing.init()
    assert (KeysetVersion.objects.count(), SigningKey.objects.count()) == (1, 2)


def test_five_inits_at_once_make_one_set() -> None:
    made = at_once([signing.init] * 5)
    assert len({str(each) for each in made}) == 1
    assert (KeysetVersion.objects.count(), SigningKey.objects.count()) == (1, 2)


def test_the_root_key_is_in_a_file_of_its_owner_and_not_in_the_database(settings: Settings) -> None:
    signing.init()
    path = Path(settings.STATE_DIR) / "root.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["root.key"]
    private = base64text.to_bytes(path.read_text().strip())
    root = SigningKey.objects.get(role="root")
    assert bytes(root.public) == bytes(PrivateKey(private).verify_key)
    assert root.sealed_private is None


def test_the_release_key_lies_sealed_in_the_database() -> None:
    signing.init()
    row = SigningKey.objects.get(role="release")
    assert bytes(signing.release_key()) not in bytes(row.sealed_private or b"")


def test_a_root_key_that_is_there_already_is_used_and_never_replaced(settings: Settings) -> None:
    """Who died between the file and the commit, or restores a database, finds the same key again."""
    held = signing.root_key()
    made = signing.init()
    assert list(made.root) == [keyid(bytes(held.verify_key))]


def test_a_root_key_file_that_is_none_is_refused_with_its_cure(settings: Settings) -> None:
    path = Path(settings.STATE_DIR) / "root.key"
    path.parent.mkdir(parents=True)
    path.write_text("not a key")
    with pytest.raises(signing.RootKeyUnusable, match="move the file away"):
        signing.init()
    assert not SigningKey.objects.exists()


def test_without_keys_everything_says_how_to_make_them() -> None:
    for ask in (signing.release_key, signing.keyset, signing.keyset_envelope, signing.show, signing.history):
        with pytest.raises(signing.KeysMissing, match="keyset init"):
            ask()
    assert signing.newest_version() == 0


def test_show_tells_public_halves_only() -> None:
    signing.init()
    shown = signing.show()
    assert shown["version"] == 1
    assert sorted(key["role"] for key in shown["keys"]) == ["release", "root"]
    for private in (signing.release_key(), signing.root_key()):
        assert base64text.to_text(bytes(private)) not in str(shown)
