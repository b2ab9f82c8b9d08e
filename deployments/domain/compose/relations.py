"""Relations: what only shows when the whole document is read, and the manifest that comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from deployments.domain.compose import dependencies, mounts, nodes
from deployments.domain.compose.dependencies import DependencyRead, Leaving
from deployments.domain.compose.findings import Draft, add, echo, move, remove, replace
from deployments.domain.compose.mounts import MountRead
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.ports import Hint
from deployments.domain.compose.routes import RouteRead
from deployments.domain.compose.rules import Members, Reading, no_members
from deployments.domain.compose.table import LIMITS
from deployments.domain.manifest import (
    Dependency,
    Healthcheck,
    Manifest,
    Mount,
    PreFlight,
    Resources,
    Route,
    Service,
    VolumeSpec,
)

# Databases and brokers that nobody means to put on the open network; a hint for one of these stays private.
PRIVATE_PORTS: Final = frozenset((1433, 1521, 2379, 3306, 4222, 5432, 5672, 6379, 9042, 9092, 9200, 9300, 11211, 27017))
_LIMIT_RULES: Final = {row.key: row.rule for row in LIMITS}
_MOVED_LIMITS: Final = {"mem_limit": "memory", "cpus": "cpus", "pids_limit": "pids"}


class Relations:
    """One document's services, volumes and routes, checked against each other."""

    def __init__(self, root: Node, top: Members, reading: Reading) -> None:
        self.root = root
        self.top = top
        self.reading = reading
        read: Members = top.get("services") or no_members()
        self.service_nodes = read.nodes
        self.services: dict[str, Members] = {name: value for name, value in read.items() if isinstance(value, Members)}
        self.routes: list[RouteRead] = top.get("x-sam-routes") or []
        declared: Members = top.get("volumes") or no_members()
        self.volumes: dict[str, VolumeSpec] = dict(declared)
        self.volumes_known = "volumes" not in top.nodes or "volumes" in top
        self.mounts: dict[str, list[MountRead]] = {
            name: members.get("volumes") or [] for name, members in self.services.items()
        }
        self.dependencies: dict[str, list[DependencyRead]] = {
            name: members.get("depends_on") or [] for name, members in self.services.items()
        }
        self.awaited = {
            dependency.name
            for found in self.dependencies.values()
            for dependency in found
            if dependency.condition == dependencies.COMPLETED
        }
        self.routed = {route.members.get("service") for route in self.routes}

    def check(self) -> None:
        """Note every fault between the parts."""
        if self.reading.errors:
            # What only changes the fix or the hint of an error that is there already.
            for name, members in self.services.items():
                self._moved_limits(name, members)
                self._secret_files(members)
        for name, members in self.services.items():
            if "volumes" in members or "tmpfs" in members:
                self._targets(name, members)
                self._update_order(members)
            if "restart" in members:
                self._restart(name, members)
        self._declared_volumes()
        if any(self.dependencies.values()):
            self._dependencies()
            self._cycles()
        self._pre_flight()
        if self.routes:
            self._routes()
        if self.reading.errors:
            self._bind_mounts()
            self._public_route(self._staying())
        else:
            self._public_route(set(self.service_nodes))
        self._private_ports()
        self._container_names()

    # Limits

    def _moved_limits(self, name: str, members: Members) -> None:
        """`mem_limit` and its like have fixes that carry them to where limits are; their values are read as there."""
        for key, limit in _MOVED_LIMITS.items():
            node = members.nodes.get(key)
            if node is None:
                continue
            service = self.service_nodes[name]
            finding = next(found for found in reversed(self.reading.errors) if found.node is node)
            deploy = nodes.child(service, "deploy")
            taken, possible = _limit_place(deploy, limit)
            if taken:
                continue
            finding.fix = (move(node, service, "deploy", "resources", "limits", limit),) if possible else None
            if nodes.is_null(node):
                finding.fix = (remove(node),)
            elif possible:
                _LIMIT_RULES[limit](node, self.reading)

    # Secrets

    def _secret_files(self, members: Members) -> None:
        """Where `X_FILE` reads a secret that the service lists, the hint says how X gets it here."""
        node = members.nodes.get("secrets")
        environment: Members | None = members.get("environment")
        if node is None or environment is None or type(node) is not nodes.Sequence:
            return
        listed = {_secret_name(item) for item in node.value}
        used = [
            f"{name.removesuffix('_FILE')}: {{x-sam-secret: {secret}}}"
            for name, value in environment.items()
            if name.endswith("_FILE") and isinstance(value, str)
            for secret in (value.removeprefix("/run/secrets/"),)
            if value.startswith("/run/secrets/") and secret in listed
        ]
        if used:
            finding = next(found for found in reversed(self.reading.errors) if found.node is node)
            finding.hint = (
                f"Remove it; set the secret in the environment, and write {', '.join(used)} under `environment`."
            )

    # Mounts

    def _targets(self, name: str, members: Members) -> None:
        """Each target once, tmpfs included."""
        seen: set[str] = set()
        for mount in self.mounts[name]:
            target = mounts.stripped(mount.target) if mount.target else ""
            if mount.kind == "bind":
                continue  # later, when it is known whether it becomes a volume
            self._unique(mount.target_node, mount.node, target, seen)
        for node, path in members.get("tmpfs") or []:
            self._unique(node, node, path, seen)

    def _unique(self, place: Node, node: Node, target: str, seen: set[str]) -> None:
        if target in seen:
            self.reading.error(
                place,
                "compose.mount_target_twice",
                f"Something is mounted at {echo(target)} already.",
                "Keep one of the two.",
                (remove(node),),
            )
        seen.add(target)

    def _declared_volumes(self) -> None:
        if not self.volumes_known:
            return
        for mount in self._all_mounts("volume"):
            if mount.source in self.volumes:
                continue
            meant = self.reading.nearest(mount.source, self.volumes)
            self.reading.error(
                mount.source_node,
                "compose.volume_undeclared",
                f"The volume {echo(mount.source)} is not declared.",
                f"Declare it under the top level's `volumes`{f', or write `{meant}`' if meant else ''}.",
                (self._declare(mount.source),) if self._declarable(mount.source) else None,
            )

    def _declarable(self, name: str) -> bool:
        return all(known.lower() != name.lower() for known in self.volumes)

    def _declare(self, name: str) -> Draft:
        return add(self.root, "volumes", name, value={})

    def _all_mounts(self, kind: str) -> Iterator[MountRead]:
        return (mount for found in self.mounts.values() for mount in found if mount.kind == kind)

    def _bind_mounts(self) -> None:
        """A relative bind mount becomes a named volume, the same one wherever the same source is mounted."""
        taken = {name.lower() for name in self.volumes}
        taken |= {mount.source.lower() for mount in self._all_mounts("volume")}
        chosen: dict[str, str] = {}
        for service, found in self.mounts.items():
            targets = {mount.target for mount in found if mount.kind == "volume"}
            targets |= {path for _, path in self.services[service].get("tmpfs") or []}
            for mount in found:
                if mount.kind != "bind" or mount.finding is None:
                    continue
                target = mounts.stripped(mount.target) if mount.target else ""
                name = self._volume_for(mount.source, chosen, taken) if target and target not in targets else None
                if name is None or not self.volumes_known:
                    continue
                if not mount.read_only and self._would_block_update(service):
                    continue
                targets.add(target)
                mount.finding.fix = (replace(mount.node, mounts.cured_bind(mount, name)), self._declare(name))
                mount.finding.hint = "Put the files into the image, or keep what the app writes in a volume."

    def _would_block_update(self, service: str) -> bool:
        """True if a writable volume would contradict an explicit `start-first`."""
        deploy = self.services[service].get("deploy") or no_members()
        update = deploy.get("update_config") or no_members()
        return update.get("order") == "start-first" and not _writable(self.mounts[service])

    def _volume_for(self, source: str, chosen: dict[str, str], taken: set[str]) -> str | None:
        if source in chosen:
            return chosen[source]
        wanted = mounts.volume_name_for(source)
        if wanted is None:
            return None
        name, number = wanted, 2
        while name.lower() in taken:
            name, number = f"{wanted}-{number}", number + 1
        taken.add(name.lower())
        chosen[source] = name
        return name

    # Updates and restarts

    def _update_order(self, members: Members) -> None:
        deploy = members.get("deploy") or no_members()
        update = deploy.get("update_config") or no_members()
        if update.get("order") == "start-first" and _writable(members.get("volumes") or []):
            node = update.nodes["order"]
            self.reading.error(
                node,
                "compose.start_first_with_volume",
                "Old and new would write to the same volume at once.",
                "Write stop-first, or mount the volume read-only.",
                (replace(node, "stop-first"),),
            )

    def _has_ports(self, name: str) -> bool:
        members = self.services[name]
        return bool(members.get("ports") or members.get("expose")) or name in self.routed

    def is_job(self, name: str) -> bool:
        """A job runs to completion: `no`, or absent or `on-failure` while somebody awaits it; never with a port."""
        restart = self.services[name].get("restart", "")
        may_end = restart == "no" or (name in self.awaited and (restart == "" or restart.startswith("on-failure")))
        return may_end and not self._has_ports(name)

    def _restart(self, name: str, members: Members) -> None:
        restart = members.get("restart")
        if restart is None:
            return
        node = members.nodes["restart"]
        if restart == "no" and self._has_ports(name):
            self.reading.warning(
                node,
                "compose.restart_with_port",
                "A service with a port is no job: it is restarted unless stopped.",
                "Remove `restart`, or the ports.",
            )
        if restart.startswith("on-failure") and self.is_job(name):
            self.reading.warning(
                node,
                "compose.job_runs_once",
                "A job runs once per release; if it fails, the release fails and the old one goes on serving.",
                "Let the job itself try again what may fail for a while.",
            )

    # Dependencies

    def _dependencies(self) -> None:
        for name, found in self.dependencies.items():
            for dependency in found:
                if dependency.name == name:
                    self.reading.error(
                        dependency.node, "compose.dependency_cycle", "The service depends on itself.", "Remove it.",
                        (remove(dependency.node),),
                    )  # fmt: skip
                elif dependency.name not in self.service_nodes:
                    self._nobody(name, dependency, found)
                elif dependency.name in self.services:
                    self._condition(dependency)

    def _nobody(self, name: str, dependency: DependencyRead, found: list[DependencyRead]) -> None:
        meant = self.reading.nearest(dependency.name, self.service_nodes.keys() - {name})
        hint, fix = "Remove it, or add the service.", (remove(dependency.node),)
        if meant is not None:
            hint = f"Write `{meant}`."
            if all(other.name != meant for other in found) and not self._leads(meant, name) and dependency.listed:
                fix = (replace(dependency.node, meant),)
        self.reading.error(
            dependency.node,
            "compose.dependency_unknown",
            f"There is no service {echo(dependency.name)}.",
            hint,
            fix,
            at_key=not dependency.listed,
        )

    def _leads(self, start: str, goal: str) -> bool:
        """True if `start` depends on `goal`, at any distance."""
        seen, waiting = set(), [start]
        while waiting:
            name = waiting.pop()
            if name == goal:
                return True
            if name not in seen:
                seen.add(name)
                waiting += [dependency.name for dependency in self.dependencies.get(name, ())]
        return False

    def _condition(self, dependency: DependencyRead) -> None:
        other = self.services[dependency.name]
        if dependency.condition == dependencies.COMPLETED and not self.is_job(dependency.name):
            if "restart" in other.nodes and "restart" not in other:
                return  # what it should have been is not known
            self.reading.error(
                dependency.node,
                "compose.dependency_never_completes",
                f"{echo(dependency.name)} is no job: it never completes.",
                'Give it restart: "no" and no ports, or await `service_started` or `service_healthy`.',
            )
        check: Healthcheck | None = other.get("healthcheck")
        if dependency.condition == dependencies.HEALTHY and check is not None and check.disabled:
            self.reading.error(
                dependency.node,
                "compose.dependency_without_check",
                f"{echo(dependency.name)} has its healthcheck turned off: it never becomes healthy.",
                "Give it a healthcheck, or await `service_started`.",
            )

    def _cycles(self) -> None:
        """One problem per dependency that closes a circle, found by walking each service once."""
        done: set[str] = set()
        for start in self.dependencies:
            path: list[tuple[str, Iterator[DependencyRead]]] = []
            on_path: set[str] = set()
            self._enter(start, path, on_path, done)
            while path:
                name, remaining = path[-1]
                dependency = next(remaining, None)
                if dependency is None:
                    path.pop()
                    on_path.discard(name)
                    done.add(name)
                elif dependency.name in on_path and dependency.name != name:
                    self._cycle(dependency, [each for each, _ in path])
                else:
                    self._enter(dependency.name, path, on_path, done)

    def _enter(
        self, name: str, path: list[tuple[str, Iterator[DependencyRead]]], on_path: set[str], done: set[str]
    ) -> None:
        if name not in done and name not in on_path and name in self.dependencies:
            path.append((name, iter(self.dependencies[name])))
            on_path.add(name)

    def _cycle(self, dependency: DependencyRead, path: list[str]) -> None:
        circle = [*path[path.index(dependency.name) :], dependency.name]
        shown = " → ".join(circle if len(circle) < 8 else [*circle[:3], "…", *circle[-2:]])
        self.reading.error(
            dependency.node,
            "compose.dependency_cycle",
            f"These services wait for each other: {shown}.",
            "Remove one of these dependencies.",
        )

    # Pre-flight and routes

    def _pre_flight(self) -> None:
        members: Members | None = self.top.get("x-sam-pre-flight")
        if members is None:
            return
        service = members.get("service")
        if service is not None and service not in self.service_nodes:
            self._unknown_service(members.nodes["service"], service, None)
        if members.get("command") == ():
            self.reading.error(
                members.nodes["command"], "compose.pre_flight_command", "The command is empty.", "Say what is to run."
            )
        elif "command" in members.nodes and nodes.is_null(members.nodes["command"]):
            pass  # noted as a null of a required key

    def _unknown_service(self, node: Node, name: str, entry: Node | None) -> None:
        meant = self.reading.nearest(name, self.service_nodes)
        fix: tuple[Draft, ...] | None = (replace(node, meant),) if meant else None
        if fix is None and entry is not None:
            fix = (remove(entry),)
        self.reading.error(
            node,
            "compose.service_unknown",
            f"There is no service {echo(name)}.",
            f"Write `{meant}`." if meant else "Name a service of this file.",
            fix,
        )

    def _routes(self) -> None:
        taken: set[tuple[str, str]] = set()
        for route in self.routes:
            members = route.members
            service = members.get("service")
            if service is not None and service not in self.service_nodes:
                self._unknown_service(members.nodes["service"], service, route.node)
            if members.get("mode") == "private":
                self._private_route(members)
            elif "host" in members and members.get("mode") == "public":
                place = (members["host"], _route_path(members))
                if place in taken:
                    self.reading.error(
                        route.node,
                        "compose.route_taken",
                        f"Another public route has the host {echo(place[0])} and the path {echo(place[1])}.",
                        "Give one of them another host or path.",
                    )
                taken.add(place)

    def _private_route(self, members: Members) -> None:
        for key in ("host", "path", "health_path"):
            if key in members.nodes and members.get(key) != "/":
                self.reading.warning(
                    members.nodes[key],
                    "compose.private_route",
                    f"`{key}` has no effect on a private route and is dropped.",
                    "Remove it, or make the route public.",
                    at_key=True,
                )

    # Services that do not run

    def _staying(self) -> set[str]:
        """The services that run. One that does not gets the fix of being taken out, if nothing else needs it."""
        everybody = set(self.service_nodes)
        leaving = {name: found for name in everybody if (found := list(self._reasons_to_leave(name)))}
        granted = self._unneeded(set(leaving))
        if not self._reachable(everybody - granted):
            # Taking out the only way in would put one problem in another's place.
            granted = self._unneeded({name for name in granted if not self._is_public(name)})
        for name in granted:
            for reason in leaving[name]:
                reason.finding.fix = (remove(self.service_nodes[name]),)
        return everybody - granted

    def _unneeded(self, candidates: set[str]) -> set[str]:
        """Those of the candidates that nobody who stays names; none if nobody would stay."""
        if len(candidates) == len(self.service_nodes):
            return set()
        while needed := self._named_by(self.service_nodes.keys() - candidates) & candidates:
            candidates = candidates - needed
        return candidates

    def _reasons_to_leave(self, name: str) -> Iterator[Leaving]:
        value = (self.top.get("services") or {}).get(name)
        if isinstance(value, Leaving):
            yield value
        elif isinstance(value, Members):
            deploy = value.get("deploy") or no_members()
            for found in (value.get("profiles"), value.get("scale"), deploy.get("replicas")):
                if isinstance(found, Leaving):
                    yield found

    def _named_by(self, names: Iterable[str]) -> set[str]:
        needed = {dependency.name for name in names for dependency in self.dependencies.get(name, ())}
        needed |= {str(route.members.get("service")) for route in self.routes}
        pre_flight: Members = self.top.get("x-sam-pre-flight") or no_members()
        needed.add(str(pre_flight.get("service")))
        return needed

    def _public_route(self, staying: set[str]) -> None:
        """At least one public route, unless it is a worker."""
        if self.service_nodes and not self._reachable(staying):
            self.reading.error(
                self.top.nodes["services"],
                "compose.no_public_route",
                "Nothing of this app can be reached: there is no public route.",
                "Add `ports` to the service that the world should reach, or `x-sam-worker: true` if there is none.",
                at_key=True,
            )

    def _reachable(self, staying: set[str]) -> bool:
        """True if there is a public route or none is wanted, and also where a refused entry may still become one."""
        top = self.top
        if top.get("x-sam-worker") or any(
            key in top.nodes and key not in top and not nodes.is_null(top.nodes[key])
            for key in ("x-sam-worker", "x-sam-routes", "services")
        ):
            return True
        for route in self.routes:
            members = route.members
            if members.get("mode") != "private" and (
                "service" not in members or members["service"] in self.service_nodes
            ):
                return True
        return any(self._is_public(name) for name in staying)

    def _is_public(self, name: str) -> bool:
        """True if the service's own hints make, or may yet make, a public route."""
        members = self.services.get(name)
        if members is None or name in self.routed:
            return False
        if "ports" in members.nodes and "ports" not in members:
            return not nodes.is_null(members.nodes["ports"])
        return any(hint.public and hint.port not in PRIVATE_PORTS for hint in members.get("ports") or ())

    def _private_ports(self) -> None:
        """A database's port is never made public by a hint alone; its author is told."""
        for name, members in self.services.items():
            if name in self.routed:
                continue
            for hint in members.get("ports") or ():
                if hint.public and hint.port in PRIVATE_PORTS:
                    self.reading.warning(
                        hint.node,
                        "compose.private_port",
                        f"Port {hint.port} is that of a database or broker: it stays private.",
                        "Use `expose`, or declare it in `x-sam-routes` if the world must reach it.",
                    )

    # Container names

    def _container_names(self) -> None:
        names = {
            name: members.nodes["container_name"]
            for name, members in self.services.items()
            if "container_name" in members
        }
        if not names:
            return
        values = list(_scalars(self.top.nodes["services"]))
        for service, node in names.items():
            wanted = node.value
            used = wanted and wanted != service and any(wanted in value.value for value in values if value is not node)
            self.reading.warning(
                node,
                "compose.container_name",
                "Containers are named by the node; this name is dropped."
                + (" Another value of the file contains it: reach the service by its own name." if used else ""),
                f"Write `{service}` wherever the container's name was meant." if used else "Remove it.",
                at_key=True,
            )

    # The manifest

    def manifest(self) -> Manifest:
        """The manifest of a document without errors."""
        return Manifest(
            services={name: self._service(name, members) for name, members in self.services.items()},
            volumes=self.volumes,
            routes=self._all_routes(),
            pre_flight=_pre_flight_of(self.top.get("x-sam-pre-flight")),
            worker=bool(self.top.get("x-sam-worker")),
        )

    def outline(self) -> Manifest:
        """What can be judged of a document with errors: the services whose image could be read. Never stored."""
        return Manifest(
            services={
                name: Service(
                    image=members["image"],
                    environment=members.get("environment") or {},
                    resources=_resources(_limits(members)),
                )
                for name, members in self.services.items()
                if members.get("image")
            }
        )

    def _service(self, name: str, members: Members) -> Service:
        get = members.get
        deploy = get("deploy") or _NOTHING
        found = self.mounts[name]
        order = (deploy.get("update_config") or _NOTHING).get("order")
        return Service(
            image=members["image"],
            command=get("command"),
            entrypoint=get("entrypoint"),
            environment=get("environment") or {},
            volumes=tuple([Mount(mount.source, mount.target, mount.read_only) for mount in found]) if found else (),
            depends_on={each.name: Dependency(each.condition, each.required) for each in self.dependencies[name]},  # type: ignore[arg-type]
            healthcheck=get("healthcheck"),
            resources=_resources(_limits(members)),
            update_order=order or ("stop-first" if _writable(found) else "start-first"),
            restart="no" if self.is_job(name) else "unless-stopped",
            user=get("user"),
            working_dir=get("working_dir"),
            read_only=get("read_only", False),
            init=get("init"),
            tmpfs=tuple(path for _, path in get("tmpfs") or ()),
            stop_grace_period_ms=get("stop_grace_period"),
            stop_signal=get("stop_signal"),
            shm_size_bytes=get("shm_size"),
            cap_drop=get("cap_drop", ()),
            cap_add=get("cap_add", ()),
        )

    def _all_routes(self) -> tuple[Route, ...]:
        routes = {_declared_route(route.members) for route in self.routes}
        named = {(route.service, route.port) for route in routes}
        for name, members in self.services.items():
            hints: list[Hint] = [*(members.get("ports") or ()), *(members.get("expose") or ())]
            public = {hint.port for hint in hints if hint.public and hint.port not in PRIVATE_PORTS}
            if name in self.routed:
                public = set()
            for port in {hint.port for hint in hints if hint.port is not None}:
                if (name, port) not in named:
                    routes.add(Route(name, port, "public" if port in public else "private"))
        return tuple(sorted(routes, key=route_order))


_NOTHING: Final[dict[str, Any]] = {}


def route_order(route: Route) -> tuple[str, int, str, str, str, str]:
    """The order of routes in a manifest."""
    return (route.service, route.port, route.mode, route.host or "", route.path, route.health_path or "")


def _declared_route(members: Members) -> Route:
    if members["mode"] == "private":
        return Route(members["service"], members["port"], "private")
    return Route(
        members["service"],
        members["port"],
        "public",
        members.get("host"),
        _route_path(members),
        members.get("health_path"),
    )


def _route_path(members: Members) -> str:
    path: str = members.get("path", "/")
    return mounts.stripped(path)


def _limits(members: Members) -> Members | dict[str, Any]:
    deploy = members.get("deploy") or _NOTHING
    return (deploy.get("resources") or _NOTHING).get("limits") or _NOTHING


def _resources(limits: dict[str, Any]) -> Resources:
    given = {field: limits[key] for key, field in _LIMIT_FIELDS.items() if key in limits}
    return Resources(**given) if given else _DEFAULT_RESOURCES


_LIMIT_FIELDS: Final = {"memory": "memory_bytes", "pids": "pids", "cpus": "nano_cpus"}
_DEFAULT_RESOURCES: Final = Resources()


def _pre_flight_of(members: Members | None) -> PreFlight | None:
    if not members:
        return None
    timeout = members.get("timeout_seconds")
    if timeout is None:
        return PreFlight(members["service"], members["command"])
    return PreFlight(members["service"], members["command"], timeout)


def _writable(found: Iterable[MountRead]) -> bool:
    return any(mount.kind == "volume" and not mount.read_only for mount in found)


def _limit_place(deploy: Node | None, limit: str) -> tuple[bool, bool]:
    """Whether the limit is set there already, and whether it can be moved there at all."""
    node = deploy
    for name in ("resources", "limits", limit):
        if node is None or nodes.is_null(node):
            return False, True
        if type(node) is not nodes.Mapping:
            return False, False
        node = nodes.child(node, name)
    return node is not None, node is None


def _secret_name(item: Node) -> str | None:
    """The name of a secret that a service lists, short or long."""
    source = nodes.child(item, "source") if type(item) is nodes.Mapping else item
    return source.value if source is not None and type(source) is nodes.Scalar else None


def _scalars(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        kind = type(node)
        if kind is nodes.Scalar:
            yield node
        elif kind is nodes.Mapping or kind is nodes.Sequence:
            waiting.extend(node.value)
