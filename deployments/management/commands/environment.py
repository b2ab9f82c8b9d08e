"""`manage.py environment`: the targets of releases, their gate, and their life."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from agents import profiles, projects
from deployments.domain.states import EnvironmentState
from deployments.management.operators import (
    Add,
    Answer,
    OperatorCommand,
    Options,
    by_operator,
    environment_path,
    table,
)
from deployments.models import Environment
from deployments.selectors import environments as selected
from deployments.services import environments, replacements, sites

_POLL_SECONDS = 0.5
_PATH = "PROJECT/ENVIRONMENT"


class Command(OperatorCommand):
    help = "Environments: create, list, show, gate, place, stop, start, retire, replace-node."

    def actions(self, add: Add) -> None:
        create = add("create", self.create, "make an environment; its gate is closed unless said")
        create.add_argument("environment", type=environment_path, metavar=_PATH)
        create.add_argument("--gate", choices=["open", "closed"], default="closed")
        create.add_argument(
            "--account", default="local", metavar="NAME", help="the provider account that its node comes from"
        )
        create.add_argument("--location", default="", metavar="L")
        create.add_argument("--size", default="", metavar="S")
        gate = add("gate", self.gate, "open or close the gate for agents")
        gate.add_argument("environment", type=environment_path, metavar=_PATH)
        gate.add_argument("gate", choices=["open", "closed"])
        gate.add_argument(
            "--profile", action="append", metavar="P", help="admit this agent profile only; may be given again"
        )
        add("list", self.listed, "every environment").add_argument("project", nargs="?", metavar="PROJECT")
        add("show", self.show, "where an environment stands").add_argument(
            "environment", type=environment_path, metavar=_PATH
        )
        for name, words in _LIFE.items():
            chosen = add(name, self._life(name), words)
            chosen.add_argument("environment", type=environment_path, metavar=_PATH)
            chosen.add_argument("--wait", type=int, default=0, metavar="SECONDS", help="wait so long for it to be done")
        replace = add("replace-node", self.replace_node, "give an environment another node; its volumes move along")
        replace.add_argument("environment", type=environment_path, metavar=_PATH)
        replace.add_argument("--confirm", metavar="ENVIRONMENT", help="needed where the old node may still serve")
        place = add("place", self.place, "choose where the next node of an environment comes from")
        place.add_argument("environment", type=environment_path, metavar=_PATH)
        place.add_argument("--account", metavar="NAME")
        place.add_argument("--location", metavar="L")
        place.add_argument("--size", metavar="S")

    def create(self, options: Options) -> Answer:
        project_slug, _, slug = options["environment"].partition("/")
        project = projects.named(project_slug)
        site = sites.choose(account=options["account"], location=options["location"], size=options["size"])
        environment = environments.create(
            project=project,
            slug=slug,
            gate_open=options["gate"] == "open",
            account=site.account,
            location=site.location,
            size=site.size,
            by=by_operator(),
        )
        lines = [f"{environment} made on account {environment.account}; its agent gate is {options['gate']}."]
        return Answer([*lines, *site.lines()], {**_represented(environment), **site.as_json()}, warnings=site.warnings)

    def gate(self, options: Options) -> Answer:
        environment = environments.named(options["environment"])
        # A gate that is opened without naming profiles is open to all of them; closing forgets none.
        names: list[str] | None = options["profile"] or ([] if options["gate"] == "open" else None)
        fresh = [
            name for name in names or () if profiles.ensure(project=environment.project, name=name, by=by_operator())[1]
        ]
        environments.set_gate(
            environment=environment, is_open=options["gate"] == "open", profiles=names, by=by_operator()
        )
        environment = environments.named(options["environment"])
        admitted = ", ".join(environment.admitted_profiles) or "every profile"
        return Answer(
            [f"The agent gate of {environment} is {options['gate']} and admits {admitted}."],
            _represented(environment),
            warnings=[f"Agent profile {name} is new. No token speaks for it yet." for name in fresh],
        )

    def listed(self, options: Options) -> Answer:
        rows = Environment.objects.select_related("project")
        if options["project"]:
            rows = rows.filter(project=projects.named(options["project"]))
        shown = [(row, row.state, "gate open" if row.gate_open else "gate closed", row.account) for row in rows]
        body = [
            {"environment": str(row), "id": str(row.pk), "state": row.state, "gate": gate} for row, _, gate, _ in shown
        ]
        return Answer(
            table(shown, empty="There are no environments. `environment create` makes one."), {"environments": body}
        )

    def show(self, options: Options) -> Answer:
        body = _represented(environments.named(options["environment"]))
        return Answer(_told(body), body)

    def replace_node(self, options: Options) -> Answer:
        environment = environments.named(options["environment"])
        replacements.replace(environment=environment, confirm=options["confirm"], by=by_operator())
        environment = environments.named(options["environment"])
        return Answer(
            [f"The node of {environment} is given back, then another one is made."], _represented(environment)
        )

    def place(self, options: Options) -> Answer:
        environment = environments.named(options["environment"])
        site = sites.choose(
            account=options["account"] or environment.account,
            location=_first(options["location"], environment.location),
            size=_first(options["size"], environment.size),
        )
        sites.move(environment=environment, to=site, by=by_operator())
        environment = environments.named(options["environment"])
        lines = [f"The next node of {environment} comes from account {environment.account}."]
        return Answer([*lines, *site.lines()], {**_represented(environment), **site.as_json()}, warnings=site.warnings)

    def _life(self, name: str) -> Callable[[Options], Answer]:
        def change(options: Options) -> Answer:
            environment = environments.named(options["environment"])
            getattr(environments, name)(environment=environment, by=by_operator())
            environment = _awaited(options["environment"], _ENDS[name], options["wait"])
            is_done = not options["wait"] or environment.state == _ENDS[name]
            return Answer([f"{environment} is {environment.state}."], _represented(environment), is_done=is_done)

        return change


_LIFE = {
    "stop": "take the app down and give the node back; data, secrets and history stay",
    "start": "bring a stopped environment back",
    "retire": "end an environment for good; its volumes stay",
}
_ENDS = {"stop": EnvironmentState.STOPPED, "start": EnvironmentState.ACTIVE, "retire": EnvironmentState.RETIRED}


def _awaited(path: str, state: EnvironmentState, seconds: int) -> Environment:
    """The environment, as soon as it is in this state, or as it is after so many seconds."""
    ends = time.monotonic() + seconds
    while (environment := environments.named(path)).state != state and time.monotonic() < ends:
        time.sleep(_POLL_SECONDS)
    return environment


def _first(given: str | None, kept: str) -> str:
    return kept if given is None else given


def _represented(environment: Environment) -> dict[str, Any]:
    """The REST object, with the node where operators look for it."""
    body = selected.represent(environment)
    return {**body, "environment": str(environment), "node": body["placement"]["node"], "gate": body["policy"]["gate"]}


def _told(body: dict[str, Any]) -> list[str]:
    node = body["node"]
    lines = [
        f"{body['environment']} is {body['state']}; gate {body['gate']}; "
        f"live release {body['live_sequence'] or 'none'}, pending {body['pending_sequence'] or 'none'}.",
        f"node: {node['provider']} {node['id']} {node['state']}" if node else "node: none yet",
        *(f"{name}: {dimension['state']}. {dimension['summary']}" for name, dimension in body["observed"].items()),
        *(f"route: {route['url'] or 'no url yet'} -> {route['service']}:{route['port']}" for route in body["routes"]),
        *(f"volume: {volume['name']} {volume['size_gb']} GB {volume['state']}" for volume in body["volumes"]),
    ]
    return [
        *lines,
        f"variables: {', '.join(body['variables']) or 'none'}",
        f"secrets: {', '.join(body['secrets']) or 'none'}",
    ]
