"""Images for tests: scratch images made of one static busybox, with whatever a test wants them to serve or to do."""

from __future__ import annotations

from collections.abc import Mapping

from scripts.samples import Files, Image, Repository, image, programs

__all__ = ["HTTPD", "Files", "Image", "image", "plain_image", "programs", "push", "web_image"]

USER = "65532:65532"
HTTPD = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]


def web_image(
    pages: Mapping[str, str],
    *,
    scripts: Mapping[str, str] | None = None,
    command: list[str] | None = None,
    **config: object,
) -> Image:
    """A web server on 8080 with these pages, and CGI scripts below /cgi-bin/."""
    files = {f"www/{name}": (text.encode(), 0o644) for name, text in pages.items()}
    files |= {f"www/cgi-bin/{name}": (text.encode(), 0o755) for name, text in (scripts or {}).items()}
    return image(
        [programs(), Files(files=files)],
        **{"Cmd": command or HTTPD, "User": USER, "ExposedPorts": {"8080/tcp": {}}, **config},
    )


def plain_image(*words: str, files: Files | None = None, **config: object) -> Image:
    """A command and nothing around it."""
    return image([programs(), files or Files()], **{"Cmd": list(words), "User": USER, **config})


def push(host: str, name: str, built: Image, tag: str) -> str:
    """Push to a registry without authentication; the reference with its digest."""
    return f"{host}/{name}@{Repository(host, name).push(built, tag)}"
