"""Image references read as Docker reads them."""

from __future__ import annotations

import pytest

from deployments.domain import images

H = "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "path", "tag", "digest"),
    [
        ("nginx", "docker.io", "library/nginx", "latest", None),
        ("nginx:1.25", "docker.io", "library/nginx", "1.25", None),
        ("shop/web", "docker.io", "shop/web", "latest", None),
        ("docker.io/nginx", "docker.io", "library/nginx", "latest", None),
        ("index.docker.io/nginx", "docker.io", "library/nginx", "latest", None),
        ("localhost/web", "localhost", "web", "latest", None),
        ("localhost:5000/web:a", "localhost:5000", "web", "a", None),
        ("127.0.0.1:5000/shop/web", "127.0.0.1:5000", "shop/web", "latest", None),
        ("[::1]:5000/web", "[::1]:5000", "web", "latest", None),
        ("ghcr.io/a/b/c:v1.0-rc_1", "ghcr.io", "a/b/c", "v1.0-rc_1", None),
        (f"ghcr.io/a/b@sha256:{H}", "ghcr.io", "a/b", None, f"sha256:{H}"),
        (f"ghcr.io/a/b:1@sha256:{H}", "ghcr.io", "a/b", "1", f"sha256:{H}"),
        ("UPPER/web", "UPPER", "web", "latest", None),
        ("a__b/c--d.e_f", "docker.io", "a__b/c--d.e_f", "latest", None),
    ],
)
def test_a_reference_has_docker_s_defaults(
    text: str, host: str, path: str, tag: str | None, digest: str | None
) -> None:
    assert images.parse_reference(text) == images.ImageReference(host, path, tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "Nginx", "a/B", "https://a.example/b", "docker://a", "user:pw@a.example/b", "user@a.example/b",
        "a:${TAG}", "$A",
        H, f"sha256:{H}", "a@sha256:abc", f"a@sha512:{H}{H}", f"a@sha256:{H.upper()}", "a:", "a@", "/a", "a/", "a//b",
        "a b", "-a",
        "a:-b", "a___b", "a..b", "a.example:port/b", "reg.ex_ample/b", f"a:{'t' * 129}", "a" * 256, "a\n", "é",
        ":5000/a", "a:b:c",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(images.ImageReferenceError):
        images.parse_reference(text)


def test_a_pinned_image_has_a_host_a_path_and_a_digest_and_nothing_else() -> None:
    assert images.is_pinned(f"docker.io/library/nginx@sha256:{H}")
    assert not images.is_pinned(f"nginx@sha256:{H}")
    assert not images.is_pinned(f"docker.io/nginx:1@sha256:{H}")
    assert not images.is_pinned("docker.io/nginx:1")
