"""The servers that every other integration test leans on."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request

import psycopg
import pytest
import redis
from pytest_socket import SocketConnectBlockedError


def test_postgresql_answers_and_is_no_root(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT current_setting('server_version_num')::int, current_user").fetchone()
    assert row is not None
    assert row[0] >= 140000


def test_redis_keeps_what_it_is_told(redis_database: str) -> None:
    with redis.Redis.from_url(redis_database) as client:
        client.set("greeting", "hello")
        assert client.get("greeting") == b"hello"


def test_the_registry_has_no_repositories_at_first(registry_host: str) -> None:
    with urllib.request.urlopen(f"http://{registry_host}/v2/_catalog") as answer:
        assert json.load(answer)["repositories"] is not None


def test_the_engine_answers(docker_host: str) -> None:
    asked = subprocess.run(["docker", "-H", docker_host, "info", "--format", "{{.ServerVersion}}"], capture_output=True)
    assert asked.returncode == 0


@pytest.mark.filterwarnings("ignore:A test tried to use")
def test_no_test_reaches_beyond_loopback() -> None:
    with socket.socket() as client, pytest.raises(SocketConnectBlockedError):
        client.connect(("192.0.2.1", 80))
