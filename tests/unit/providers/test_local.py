"""This machine as a provider: one node for all environments, and its enrolment on disk."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from providers.errors import InvalidRequest, NameTaken, Unavailable
from providers.local import ENROLMENT, MARKER, LocalProvider
from providers.ports import ResourceKey, ServerSpec, VolumeSpec

FIRST = ResourceKey("installation", "environment-1", "node")
SECOND = ResourceKey("installation", "environment-2", "node")


@pytest.fixture
def provider(tmp_path: Path) -> LocalProvider:
    return LocalProvider({"node_dir": str(tmp_path / "node"), "volumes_dir": str(tmp_path / "volumes")})


def spec(key: ResourceKey, document: str = '{"token": "t1"}') -> ServerSpec:
    return ServerSpec(key, "local", "machine", "", document)


def test_every_key_of_the_installation_gets_the_one_server(provider: LocalProvider) -> None:
    one, other = provider.create_server(spec(FIRST)), provider.create_server(spec(SECOND, '{"token": "t2"}'))

    assert one.value.id == other.value.id
    assert provider.capabilities.serves_many_environments
    listed = provider.list_servers(installation="installation", environment_id="environment-2")
    assert [server.id for server in listed] == [one.value.id]


def test_the_enrolment_is_handed_over_whole_and_to_its_owner_only(provider: LocalProvider, tmp_path: Path) -> None:
    provider.create_server(spec(FIRST))

    handed = tmp_path / "node" / ENROLMENT
    assert json.loads(handed.read_text()) == {"token": "t1"}
    assert stat.S_IMODE(handed.stat().st_mode) == 0o600
    assert stat.S_IMODE(handed.parent.stat().st_mode) == 0o700
    assert [path.name for path in handed.parent.iterdir()] == [ENROLMENT]


def test_a_used_enrolment_is_not_handed_over_again_unless_it_was_renewed(
    provider: LocalProvider, tmp_path: Path
) -> None:
    handed = tmp_path / "node" / ENROLMENT
    provider.create_server(spec(FIRST))
    handed.unlink()

    provider.create_server(spec(FIRST))
    provider.create_server(spec(SECOND, '{"token": "t2"}'))
    assert not handed.exists()

    provider.create_server(spec(FIRST, '{"token": "t3"}'))
    assert json.loads(handed.read_text()) == {"token": "t3"}


def test_the_server_record_holds_no_token(provider: LocalProvider, tmp_path: Path) -> None:
    provider.create_server(spec(FIRST, '{"token": "one-time-secret"}'))

    for path in (tmp_path / "volumes").rglob("*"):
        if path.is_file():
            assert "one-time-secret" not in path.read_text()


def test_giving_the_server_back_takes_an_unused_token_back(provider: LocalProvider, tmp_path: Path) -> None:
    server = provider.create_server(spec(FIRST)).value

    provider.delete_server(server.id)

    assert not (tmp_path / "node" / ENROLMENT).exists()
    assert provider.list_servers(installation="installation") == []


def test_another_installation_does_not_get_this_machine(provider: LocalProvider) -> None:
    provider.create_server(spec(FIRST))

    with pytest.raises(NameTaken):
        provider.create_server(spec(ResourceKey("another", "e", "node")))
    assert provider.list_servers(installation="another") == []


@pytest.mark.parametrize(("location", "size"), [("moon", "machine"), ("local", "huge")])
def test_another_place_or_size_is_refused(provider: LocalProvider, location: str, size: str) -> None:
    with pytest.raises(InvalidRequest):
        provider.create_server(ServerSpec(FIRST, location, size, "", "{}"))


def test_twenty_at_once_get_one_server_and_one_volume(provider: LocalProvider, tmp_path: Path) -> None:
    found: set[tuple[str, str]] = set()
    gate = threading.Barrier(20)

    def work() -> None:
        gate.wait()
        server = provider.create_server(spec(FIRST)).value
        volume = provider.create_volume(VolumeSpec(ResourceKey("installation", "e", "data"), "local", 10)).value
        found.add((server.id, volume.id))

    workers = [threading.Thread(target=work) for _ in range(20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len(found) == 1
    assert len(list((tmp_path / "volumes").glob(f"*/{MARKER}"))) == 1


def test_a_volume_is_a_directory_with_its_marker_and_keeps_its_data(provider: LocalProvider) -> None:
    volume = provider.create_volume(VolumeSpec(ResourceKey("installation", "e", "data"), "local", 10)).value
    assert volume.directory is not None
    directory = Path(volume.directory)
    assert json.loads((directory / MARKER).read_text())["id"] == volume.id
    (directory / "data").mkdir()
    (directory / "data" / "kept").write_text("yes")

    provider.resize_volume(volume.id, 20)

    again = provider.create_volume(VolumeSpec(ResourceKey("installation", "e", "data"), "local", 20)).value
    assert (again.id, again.size_gb) == (volume.id, 20)
    assert (directory / "data" / "kept").read_text() == "yes"


def test_a_volume_that_was_not_made_to_its_end_does_not_count(provider: LocalProvider, tmp_path: Path) -> None:
    """Killed between the directory and its name."""
    (tmp_path / "volumes" / ".vol-0123456789ab").mkdir(parents=True)

    assert provider.list_volumes(installation="installation") == []


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    provider = LocalProvider({"node_dir": str(tmp_path / "node"), "volumes_dir": str(tmp_path / "file" / "volumes")})

    with pytest.raises(Unavailable) as refused:
        provider.create_server(spec(FIRST))
    assert str(tmp_path / "file") in str(refused.value)
