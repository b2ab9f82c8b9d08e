"""Every public code: what it means, an example of it, and its cure. Listed at `GET /api/v1/problems/`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from http import HTTPStatus

from django.conf import settings

from ..domain.problems import DOCS_PREFIX


@dataclass(frozen=True, slots=True)
class Entry:
    """`status` is the HTTP status it comes with, None for what stands inside `problems`, `waiting` or `evidence`
    only."""

    code: str
    status: int | None
    title: str
    example: str
    cure: str

    def as_json(self) -> dict[str, str | int | None]:
        return asdict(self)


def entries() -> list[Entry]:
    """All of them, sorted by code."""
    return sorted([*_ENTRIES, *_of_documents()], key=lambda entry: entry.code)


def type_of(code: str) -> str:
    """The URI that names this kind of refusal, and leads to the catalogue."""
    return f"{settings.PUBLIC_URL}{DOCS_PREFIX}{code}"


def title_of(code: str, status: int) -> str:
    entry = _BY_CODE.get(code)
    return entry.title if entry else HTTPStatus(status).phrase


def _of_documents() -> list[Entry]:
    return []


_ENTRIES = (
    # Tokens and requests
    Entry(
        "token.missing",
        401,
        "No token",
        "A call without an Authorization header.",
        "Send `Authorization: Bearer sam_...`; operators make tokens with `manage.py agent_token create`.",
    ),
    Entry(
        "token.invalid",
        401,
        "Token not accepted",
        "A token that was revoked yesterday.",
        "Ask an operator for a new token.",
    ),
    Entry(
        "token.scope",
        403,
        "Scope missing",
        "Asking for registry credentials with a token that has environments:read only.",
        "Use a token with the scope that `detail` names.",
    ),
    Entry(
        "token.unknown_scope",
        422,
        "Unknown scope",
        "`agent_token create shop --scope deploy`.",
        "Take one of the scopes that `detail` lists.",
    ),
    Entry(
        "not_found",
        404,
        "Not found",
        "An environment of another project, or one that the token does not name.",
        "Look at the lists; what is not yours is not told apart from what is not there.",
    ),
    Entry(
        "request.malformed",
        400,
        "Malformed request",
        "A body that ends in the middle.",
        "Send the request again, whole.",
    ),
    Entry(
        "request.body", 422, "Wrong body", '`{"to_sequence": "41"}`.', "Send the shape that /api/v1/schema/ describes."
    ),
    Entry(
        "request.parameter",
        400,
        "Wrong parameter",
        "`?wait=abc`, `?limit=-1`, or a parameter that the call does not know.",
        "Each entry of `problems` names the parameter and what it takes.",
    ),
    Entry(
        "request.method", 405, "Method not allowed", "DELETE on a release.", "Use a method that the Allow header names."
    ),
    Entry(
        "request.not_acceptable",
        406,
        "Answer not acceptable",
        "`Accept: text/html` on a list.",
        "Accept application/json.",
    ),
    Entry(
        "request.media_type",
        415,
        "Unsupported media type",
        "A Compose file sent as a web form, which is curl's default.",
        "Send `Content-Type: application/yaml`.",
    ),
    Entry(
        "request.too_large",
        413,
        "Too large",
        "A Compose file of 80 KiB.",
        "Stay within the limit that `detail` names; files belong in the image.",
    ),
    Entry("request.forbidden", 403, "Forbidden", "An action that is not the caller's to take.", "Ask an operator."),
    Entry("request.refused", 400, "Refused", "A request that cannot be answered as it is.", "Do what `detail` says."),
    Entry("request.throttled", 429, "Too many requests", "A burst of calls.", "Wait as long as Retry-After says."),
    Entry(
        "idempotency.key_invalid", 400, "Idempotency-Key not usable", "A key with a space in it.", "Use a random UUID."
    ),
    Entry(
        "idempotency.mismatch",
        422,
        "Idempotency-Key used for another call",
        "The key of release 41 sent with the file of release 42.",
        "Use a new key for each new call.",
    ),
    Entry(
        "idempotency.in_flight",
        409,
        "The first call is still at work",
        "The same call sent twice at the same moment.",
        "Send it again after Retry-After for the first call's answer.",
    ),
    Entry("feature.later", 501, "Not built yet", "`POST /api/v1/sessions/`.", "The CHANGELOG says what comes when."),
    Entry(
        "server.error",
        500,
        "Server error",
        "A fault of the control plane itself.",
        "Give the reference in `detail` to the operator, who finds it in the log.",
    ),
    Entry(
        "database.unavailable",
        503,
        "Database unavailable",
        "PostgreSQL restarts.",
        "Try again after Retry-After; nothing was changed.",
    ),
    # Names and values
    Entry("name.invalid", 422, "Not a name", "`project create Shop_1`.", "Follow the rule in `detail`."),
    Entry("name.taken", 409, "Name taken", "A second project `shop`.", "Choose another name."),
    Entry(
        "value.invalid",
        422,
        "Value not usable",
        "A secret of three characters, or a value with a NUL in it.",
        "Do what `detail` says about this value.",
    ),
    Entry(
        "vault.seal_broken",
        500,
        "Stored value cannot be opened",
        "The control plane was started with another key-encryption key.",
        "Start it with the key that the value was sealed with, or set the value again.",
    ),
    # Environments
    Entry(
        "environment.not_active",
        409,
        "Environment not active",
        "A release for an environment that is stopped.",
        "An operator starts it with `manage.py environment start`.",
    ),
    Entry(
        "environment.wrong_state",
        409,
        "Not in this state",
        "Starting an environment that is still stopping.",
        "Wait for the state that `manage.py environment show` tells.",
    ),
    Entry(
        "gate.closed",
        403,
        "Agent gate closed",
        "Any release or push while the gate is closed, as it is on a new environment.",
        "An operator opens it with `manage.py environment gate PROJECT/ENVIRONMENT open`.",
    ),
    Entry(
        "gate.profile_not_admitted",
        403,
        "Profile not admitted",
        "A token of profile `codex` where only `reviewer` is admitted.",
        "An operator admits the profile with `manage.py environment gate ... open --profile`.",
    ),
    # Releases
    Entry(
        "submission.invalid",
        422,
        "Faults in what was submitted",
        "A Compose file with a bind mount and an unknown key.",
        "Apply each `fix` of `problems`, follow each `hint`, and send again.",
    ),
    Entry(
        "plan.stale",
        409,
        "Plan stale",
        "A secret was changed between the plan and the release.",
        "Make a new plan with `?dry_run=true`, and decide again.",
    ),
    Entry("release.settled", 409, "Release settled", "Cancelling a release that is live.", "Roll back instead."),
    Entry(
        "rollback.never_live",
        409,
        "Never was live",
        "Rolling back to a release that failed.",
        "Choose a release whose `live_at` is set.",
    ),
    Entry(
        "reference.unset",
        422,
        "Reference to a name that is not set",
        "`${API_KEY}` before an operator has set API_KEY.",
        "An operator sets it with `manage.py secret set` or `variable set`; or give it a default.",
    ),
    Entry(
        "payload.too_large",
        422,
        "Payload too large",
        "Values that are together larger than a node takes.",
        "Keep files in the image or in a volume.",
    ),
    Entry(
        "volume.not_attached",
        409,
        "Volume not attached yet",
        "A release whose volume the provider is still attaching.",
        "Wait: the release goes on by itself.",
    ),
    Entry(
        "release.in_progress",
        None,
        "Waits for the release before",
        "Two releases in a row.",
        "Wait, or cancel the one before.",
    ),
    Entry(
        "image.unresolved",
        422,
        "Image without a digest",
        "`manage.py render` of a tag that `--digests` does not name.",
        "Name the image in the file of digests.",
    ),
    Entry(
        "manifest.error",
        422,
        "Not a manifest",
        "A manifest that was edited by hand.",
        "Submit the Compose file instead.",
    ),
    # Registry
    Entry(
        "quota.exceeded",
        429,
        "Quota used up",
        "An eleventh credential within 300 seconds.",
        "Use the credentials that you have, or wait as long as Retry-After says.",
    ),
    Entry("image.not_found", 422, "Image not found", "A tag that was never pushed.", "Push it, or correct its name."),
    Entry(
        "registry.mint_failed",
        503,
        "No credential made",
        "The registry's backend did not answer.",
        "Try again later; the attempt counts towards the quota.",
    ),
    Entry(
        "registry.unavailable",
        503,
        "Registry unavailable",
        "The registry restarts.",
        "Try again after Retry-After; what runs is not touched.",
    ),
    Entry(
        "registry.refused",
        422,
        "Registry refused",
        "A private image of an allowed registry.",
        "Push the image to the project's own namespace.",
    ),
    Entry(
        "registry.credential_unknown",
        404,
        "No such credential",
        "Revoking a jti that was never minted.",
        "Take the jti from the audit.",
    ),
    Entry(
        "registry.namespace_invalid",
        500,
        "Namespace not usable",
        "A namespace with a capital letter.",
        "Use lower-case letters, digits and single separators.",
    ),
    Entry(
        "registry.repository_invalid",
        500,
        "Repository not usable",
        "A repository name with a capital letter.",
        "Use lower-case letters, digits and single separators.",
    ),
    Entry(
        "registry.key_unusable",
        500,
        "Token key not usable",
        "The key file of the registry's token service is missing.",
        "Run `manage.py registry_setup`.",
    ),
    # Nodes
    Entry(
        "node.unavailable",
        503,
        "Node unavailable",
        "Logs of an environment that nothing runs of.",
        "Ask again when the environment's `observed.node` says ready.",
    ),
    Entry(
        "node.silent",
        None,
        "Node silent",
        "A node that was cut off while it applied a release.",
        "Look at the node; its own receipt settles the release whenever it comes.",
    ),
    Entry(
        "node.enrolling",
        None,
        "Waits for its node",
        "The first release of an environment.",
        "Wait: the release goes on as soon as the node has enrolled.",
    ),
    Entry(
        "node.quarantined",
        None,
        "Node quarantined",
        "A node that enrolled twice with different keys.",
        "An operator finds out who did, and replaces the node.",
    ),
    Entry(
        "node.failed",
        None,
        "Node could not be made",
        "A provider that refuses the request for good.",
        "Read the provider's words in `evidence`, mend the account, and release again.",
    ),
    Entry("node.none", None, "No node", "A new environment.", "The first release makes one."),
    Entry(
        "node.unreachable",
        None,
        "Node unreachable",
        "A node without network.",
        "Look at the machine; its apps may run all the same.",
    ),
    Entry(
        "observation.none", None, "Nothing observed yet", "A new environment.", "Wait for the first report of its node."
    ),
    Entry(
        "logs.failed",
        502,
        "Logs could not be read",
        "A cursor of a container that is gone.",
        "Ask again without the cursor, and check the service's name.",
    ),
    Entry(
        "keyset.missing",
        503,
        "No deploy keys",
        "A control plane that was never set up.",
        "An operator runs `manage.py keyset init`.",
    ),
    Entry(
        "keyset.root_unusable",
        503,
        "Root key not usable",
        "The file of the root key is not readable.",
        "An operator restores the key file.",
    ),
)
_BY_CODE = {entry.code: entry for entry in _ENTRIES}
