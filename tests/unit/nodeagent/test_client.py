"""The client: bounded, timed, verified by the given CA, and never led elsewhere."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nodeagent.client import Client, ClientError, Signer
from tests import signed

SIGNER = Signer(signed.NODE_KEY, signed.NODE, 1)


@contextmanager
def answering(
    status: int, body: bytes = b"", *, headers: dict[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything alike: its URL, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    class Server(HTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that hangs up in the handshake is what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def refusal(url: str, ca: str | None = None) -> ClientError:
    with pytest.raises(ClientError) as caught:
        Client(url, ca=ca, signer=SIGNER).keyset(1)
    return caught.value


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(401, True), (403, False), (404, False), (409, True), (422, False), (429, True), (503, True)],
)
def test_a_refusal_says_whether_time_may_help(status: int, retryable: bool) -> None:
    with answering(status, b'{"code":"node.gone","detail":"It is gone."}') as (url, _):
        error = refusal(url)
    assert (error.code, error.status, error.retryable) == ("node.gone", status, retryable)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"code":', b"\xff", b"null"])
def test_a_refusal_that_is_no_problem_document_is_one_all_the_same(body: bytes) -> None:
    with answering(500, body) as (url, _):
        assert refusal(url).code == "control.refused"


def test_no_redirect_is_followed() -> None:
    with answering(200, b"secret") as (elsewhere, asked), answering(302, headers={"Location": elsewhere}) as (url, _):
        assert refusal(url).status == 302
    assert asked == []


def test_an_answer_over_its_bound_is_refused() -> None:
    with answering(200, bytes(300_000)) as (url, _):
        assert refusal(url).code == "control.answer"


def test_an_answer_that_is_no_payload_is_refused() -> None:
    with answering(200, b"{}") as (url, _), pytest.raises(ClientError, match=r"control\.answer"):
        Client(url, signer=SIGNER).fetch(signed.ENVIRONMENT, 1)


def test_nobody_there_is_no_crash() -> None:
    error = refusal("http://127.0.0.1:1")
    assert (error.code, error.retryable) == ("control.unreachable", True)


def test_a_path_before_the_api_is_kept() -> None:
    with answering(200, b"x") as (url, asked):
        assert Client(f"{url}/sam/", signer=SIGNER).keyset(3) == b"x"
    assert asked == ["/sam/api/node/v1/keyset/3"]


def certificate(directory: Path) -> tuple[str, ssl.SSLContext]:
    """A certificate for loopback that is its own authority: in PEM, and ready to serve with."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "both.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "both.pem")
    return pem.decode(), context


def test_tls_is_verified_with_the_authority_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    pem, serving = certificate(tmp_path)
    other, _ = certificate(tmp_path / "other")
    with answering(200, b"x", tls=serving) as (url, asked):
        assert Client(url, ca=pem, signer=SIGNER).keyset(1) == b"x"
        for ca in (None, other):
            assert refusal(url, ca).code == "control.unreachable"
    assert len(asked) == 1
