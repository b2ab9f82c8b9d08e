"""`sam-node-agent`: run the agent, enrol a node, show its state, examine the machine, verify payloads offline."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__
from .client import ClientError, connect
from .enrolment import enrol_if_asked
from .policy import DEFAULT_VOLUME_ROOT
from .records import Enrolment
from .store import DEFAULT_STATE_DIR, Store, StoreError
from .traces import trace
from .wire import base64text
from .wire.decode import decode, encode
from .wire.errors import WireError

DONE, REFUSED, USAGE = 0, 1, 2
STOP_SECONDS = 5.0
MAX_TOKEN_CHARACTERS = 256


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 done, 1 refused or failed, 2 usage."""
    given = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = given.command
    try:
        return command(given)
    except (StoreError, ClientError, WireError) as error:
        _complain(str(error))
        return REFUSED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED


# Commands


def run(given: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT. What is under way then is taken up by the next start."""
    # Here, since they bring Docker's library: the other commands are quick and small without it.
    from . import firewall
    from .agent import Agent, Settings
    from .engine import build

    _log_to_stderr()
    firewall.guard_metadata()
    store = Store(given.state_dir)
    store.prepare()
    with store.lock():
        engine = build(
            store,
            docker_host=given.docker_host,
            proxy_dir=given.proxy_dir or given.state_dir / "proxy",
            proxy_ports=given.proxy_ports,
            container_ports=given.container_ports,
            volume_root=given.volume_root,
        )
        settings = Settings(parallel=given.parallel, volume_root=str(given.volume_root))
        agent = Agent(store, engine, settings)
        return _until_told(agent.run, agent.stop)


def enrol(given: argparse.Namespace) -> int:
    """Enrol now: with what lies in enrolment.json, or with options and a token from standard input."""
    _log_to_stderr()
    store = Store(given.state_dir)
    store.prepare()
    with store.lock():
        if given.control_url:
            _write_enrolment(given, store)
        node = enrol_if_asked(store, connect)
    if node is None:
        _complain("There is no enrolment.json, and no --control-url. Give one of them.")
        return USAGE
    _say(f"This is node {node.node_id}, generation {node.node_generation}, of {node.control_url}")
    return DONE


def status(given: argparse.Namespace) -> int:
    """Show who this node is and what it has."""
    from . import condition

    found = condition.status(Store(given.state_dir))
    if given.json:
        _say(json.dumps(found))
    else:
        for name, value in found.items():
            _say(f"{name}: {json.dumps(value) if isinstance(value, (dict, list)) else value}")
    return DONE if found["enrolled"] else REFUSED


def doctor(given: argparse.Namespace) -> int:
    """Examine the machine: what the agent needs, how it is, and the cure."""
    from . import condition

    machine = condition.Machine(Store(given.state_dir), given.docker_host, given.proxy_dir)
    checks = []
    for check in condition.examine(machine):
        checks.append(check)
        if not given.json:
            cure = f"\n          cure: {check.cure}" if check.cure else ""
            _say(f"{check.result:<8}  {check.name}: {check.found}{cure}")
    if given.json:
        _say(condition.as_json(checks))
    return REFUSED if any(check.result == "failed" for check in checks) else DONE


def verify(given: argparse.Namespace) -> int:
    """Check stored payloads: exit 0 all trusted, 1 any refused, 2 usage."""
    from . import verification

    if given.at is not None and not given.accept:
        return _usage("--at is the time of acceptance; give --accept with it")
    if not given.state_dir.is_dir():
        return _usage(f"{given.state_dir} is no directory; give the agent's with --state-dir")
    at = (verification.now() if given.at is None else given.at) if given.accept else None
    question = verification.Question(Store(given.state_dir), at, str(given.volume_root))
    if given.ndjson:
        paths = given.files or (path for line in sys.stdin if (path := line.rstrip("\r\n")))
        return DONE if verification.answer_lines(question, paths) else REFUSED
    files = given.files or [str(path) for path in verification.currents(question.store)]
    return DONE if verification.answer_all(question, files, as_json=given.json) else REFUSED


# Arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sam-node-agent", description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, add in (
        ("run", run, _run_arguments),
        ("enrol", enrol, _enrol_arguments),
        ("status", status, _json_argument),
        ("doctor", doctor, _doctor_arguments),
        ("verify", verify, _verify_arguments),
    ):
        about = (command.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(name, help=about, description=command.__doc__, allow_abbrev=False)
        sub.set_defaults(command=command)
        sub.add_argument(
            "--state-dir", type=Path, default=Path(_setting("STATE_DIR", str(DEFAULT_STATE_DIR))), metavar="DIR"
        )
        add(sub)
    return parser


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    _machine_arguments(parser)
    parser.add_argument("--proxy-ports", type=_range, default=_setting("PROXY_PORTS", "20000-20999"), metavar="FROM-TO")
    parser.add_argument(
        "--container-ports", type=_range, default=_setting("CONTAINER_PORTS", "21000-29999"), metavar="FROM-TO"
    )
    parser.add_argument("--volume-root", type=Path, default=_setting("VOLUME_ROOT", DEFAULT_VOLUME_ROOT), metavar="DIR")
    parser.add_argument("--parallel", type=int, default=4, metavar="N", help="how many applies may run at once")


def _machine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--docker-host", default=_setting("DOCKER_HOST", "unix:///var/run/docker.sock"), metavar="URL")
    parser.add_argument("--proxy-dir", type=Path, default=_setting("PROXY_DIR", "") or None, metavar="DIR")


def _enrol_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--control-url", metavar="URL", help="the token is then read from standard input")
    parser.add_argument("--keyset", type=Path, metavar="FILE", help="the pinned keyset's envelope")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificates in PEM that the control plane's is under")


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    _machine_arguments(parser)
    _json_argument(parser)


def _json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accept", action="store_true", help="ask the question of acceptance instead of boot's")
    parser.add_argument("--at", type=_unix_time, metavar="UNIX", help="the time of acceptance, in Unix seconds")
    forms = parser.add_mutually_exclusive_group()
    _json_argument(forms)  # type: ignore[arg-type]  # a group takes arguments as a parser does
    forms.add_argument("--ndjson", action="store_true", help="one path per line in, one JSON object per line out")
    parser.add_argument("--volume-root", type=Path, default=_setting("VOLUME_ROOT", DEFAULT_VOLUME_ROOT), metavar="DIR")
    parser.add_argument("files", nargs="*", metavar="FILE", help="an envelope.json; default: each current one")


def _setting(name: str, default: str) -> str:
    """A default from the environment: SAM_AGENT_NAME."""
    return os.environ.get(f"SAM_AGENT_{name}") or default


def _range(text: str) -> range:
    """FROM-TO, both included."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})-([1-9][0-9]{0,4})", text)
    if found is None or not int(found[1]) <= int(found[2]) <= 65535:
        raise argparse.ArgumentTypeError("FROM-TO is expected, such as 20000-20999")
    return range(int(found[1]), int(found[2]) + 1)


def _unix_time(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise argparse.ArgumentTypeError("whole Unix seconds are expected")
    return int(text)


def _write_enrolment(given: argparse.Namespace, store: Store) -> None:
    """Through the same file as a provider's, so that a crash after this is taken up by the next start."""
    if given.keyset is None:
        _exit_usage("--control-url needs --keyset FILE: the node must know whom to trust before it calls")
    raw = encode(
        {
            "control_url": given.control_url,
            "token": sys.stdin.read(MAX_TOKEN_CHARACTERS + 2).strip(),
            "keyset": base64text.to_text(given.keyset.read_bytes()),
            "ca": given.ca.read_text() if given.ca else None,
        }
    )
    decode(Enrolment, raw)
    store.write_enrolment(raw)


# Around


def _until_told(work: Callable[[], None], stop: Callable[[], None]) -> int:
    """Do the work in a thread until a signal comes or it ends by itself; its exception, if any, is a failure."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    failures: list[str] = []

    def do() -> None:
        try:
            work()
        except StoreError as error:
            failures.append(str(error))
        except Exception as error:  # noqa: BLE001  a thread's exception would be lost
            failures.append(f"The agent broke off: {trace(error)}")
        finally:
            writer.send(b"\0")

    # The handler does nothing: a signal wakes the reader, and locks are taken by no handler.
    signal.set_wakeup_fd(writer.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    worker = threading.Thread(target=do, name="agent", daemon=True)
    worker.start()
    reader.recv(1)
    stop()
    worker.join(STOP_SECONDS)
    for failure in failures:
        _complain(failure)
    sys.stderr.flush()
    # Not by way of the threads that may wait for Docker: what they do is safe to end anywhere, as by kill -9.
    os._exit(REFUSED if failures else DONE)


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=_setting("LOG_LEVEL", "INFO").upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    for chatty in ("docker", "urllib3"):
        # At DEBUG they would print requests, which hold the values of secrets.
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _usage(text: str) -> int:
    _complain(text)
    return USAGE


def _exit_usage(text: str) -> NoReturn:
    _complain(text)
    raise SystemExit(USAGE)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"sam-node-agent: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
