"""What the deployment plane refuses: one base, a stable code each, the cure in the text. Edges map these once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from .domain.problems import Problem


class DeploymentError(Exception):
    """Base of every refusal.

    `code` is public and stable, `status` is its HTTP status, `retryable` says whether time alone may help.
    """

    code: ClassVar[str]
    status: ClassVar[int] = 409
    retryable: ClassVar[bool] = False
    retry_after_seconds: int | None = None
    problems: Sequence[Problem] = ()


class NotFound(DeploymentError):
    code, status = "not_found", 404

    def __init__(self, noun: str, name: object):
        self.noun, self.name = noun, name

    def __str__(self) -> str:
        return f"There is no {self.noun} {self.name} that you may see. Lists show what there is."


class UnknownService(DeploymentError):
    code, status = "service.unknown", 404

    def __init__(self, environment: object, service: str, known: Sequence[str]):
        self.environment, self.service, self.known = environment, service, known

    def __str__(self) -> str:
        there_are = f"its services are {', '.join(self.known)}" if self.known else "nothing of it runs"
        return f"{self.environment} runs no service {self.service}; {there_are}. Ask without `service` for all lines."


class EnvironmentNotActive(DeploymentError):
    code = "environment.not_active"

    def __init__(self, environment: object, state: str):
        self.environment, self.state = environment, state

    def __str__(self) -> str:
        return (
            f"{self.environment} is {self.state}. "
            f"An operator starts it with `manage.py environment start {self.environment}`."
        )


class GateClosed(DeploymentError):
    code, status = "gate.closed", 403

    def __init__(self, environment: object):
        self.environment = environment

    def __str__(self) -> str:
        return (
            f"The agent gate of {self.environment} is closed. An operator opens it with "
            f"`manage.py environment gate {self.environment} open`."
        )


class ProfileNotAdmitted(DeploymentError):
    code, status = "gate.profile_not_admitted", 403

    def __init__(self, environment: object, profile: str | None):
        self.environment, self.profile = environment, profile

    def __str__(self) -> str:
        who = f"the agent profile {self.profile}" if self.profile else "a token without an agent profile"
        return (
            f"{self.environment} does not admit {who}. "
            "An operator admits profiles with `manage.py environment gate --profile`."
        )


class InvalidSubmission(DeploymentError):
    """What was submitted has faults; all of them are in `problems`."""

    code, status = "submission.invalid", 422

    def __init__(self, problems: Sequence[Problem]):
        self.problems = problems

    def __str__(self) -> str:
        count = len(self.problems)
        return f"{count} problem{'' if count == 1 else 's'} in what was submitted; each has its place and its cure."


class PlanStale(DeploymentError):
    code = "plan.stale"

    def __str__(self) -> str:
        return (
            "Something that the plan was made from has changed since. "
            "Ask for a new plan with ?dry_run=true and decide again."
        )


class AlreadySettled(DeploymentError):
    code = "release.settled"

    def __init__(self, sequence: int, status: str):
        self.sequence, self.release_status = sequence, status

    def __str__(self) -> str:
        return f"Release {self.sequence} is {self.release_status} and can no longer be cancelled. Roll back instead."


class NeverLive(DeploymentError):
    code = "rollback.never_live"

    def __init__(self, sequence: int | None):
        self.sequence = sequence

    def __str__(self) -> str:
        if self.sequence is None:
            return "No earlier release of this environment was ever live, so there is nothing to roll back to."
        return f"Release {self.sequence} never was live. Roll back to one that was; the list of releases says which."


class WrongState(DeploymentError):
    code = "environment.wrong_state"

    def __init__(self, environment: object, state: str, wanted: str):
        self.environment, self.state, self.wanted = environment, state, wanted

    def __str__(self) -> str:
        return (
            f"{self.environment} is {self.state}, so it cannot {self.wanted} now. "
            "`manage.py environment show` tells where it stands."
        )


class InvalidValue(DeploymentError):
    code, status = "value.invalid", 422

    def __init__(self, name: str, why: str, cure: str):
        self.name, self.why, self.cure = name, why, cure

    def __str__(self) -> str:
        return f"{self.name}: {self.why}. {self.cure}"


class NotBuiltYet(DeploymentError):
    code, status = "feature.later", 501

    def __init__(self, what: str):
        self.what = what

    def __str__(self) -> str:
        return (
            f"{self.what} is part of the contract and not built yet in this version; the CHANGELOG says when it comes."
        )


class NodeUnavailable(DeploymentError):
    code, status, retryable = "node.unavailable", 503, True

    def __init__(self, environment: object, why: str):
        self.environment, self.why = environment, why
        self.retry_after_seconds = 10

    def __str__(self) -> str:
        return (
            f"The node of {self.environment} {self.why}. Ask again when the environment's `observed.node` says ready."
        )
