"""The sample image: the same bytes wherever and whenever it is made."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

from scripts import samples


def test_equal_input_gives_the_same_digest() -> None:
    layer = samples.Files(files={"b": (b"2", 0o644), "a": (b"1", 0o755)}, links={"c": "a"}, directories={"tmp": 0o1777})
    again = samples.Files(files={"a": (b"1", 0o755), "b": (b"2", 0o644)}, links={"c": "a"}, directories={"tmp": 0o1777})
    assert samples.image([layer], Cmd=["/a"]).digest == samples.image([again], Cmd=["/a"]).digest


def test_the_manifest_names_its_blobs_by_digest() -> None:
    made = samples.image([samples.Files(files={"a": (b"1", 0o644)})], Cmd=["/a"])
    manifest = json.loads(made.manifest)
    named = [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    assert named == [samples.digest_of(blob) for blob in made.blobs]


def test_a_layer_holds_its_files_with_their_modes_and_no_time() -> None:
    made = samples.image([samples.Files(files={"bin/a": (b"content", 0o755)}, directories={"tmp": 0o1777})])
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(made.blobs[1]))) as archive:
        members = {member.name: (member.mode, member.mtime) for member in archive}
        assert members == {"tmp": (0o1777, 0), "bin/a": (0o755, 0)}
