"""The catalogue: every code that the domain answers, with what it means, an example that shows it, and the cure.

Codes of refused and dropped keys come from the rows of the table; the others are written here. Tests run the examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from deployments.domain.compose import dependencies, health, mounts, ports, table
from deployments.domain.compose.rules import Row
from deployments.domain.problems import DOCS_PREFIX, Severity


@dataclass(frozen=True, slots=True)
class Entry:
    """One code. `example` is a document that shows it where `form` is compose or manifest, else a sentence."""

    code: str
    severity: Severity
    title: str
    example: str
    cure: str
    form: str = "compose"

    @property
    def docs(self) -> str:
        """Where the entry stands."""
        return DOCS_PREFIX + self.code

    def as_json(self) -> dict[str, Any]:
        """The entry as `GET /api/v1/problems/` lists it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "title": self.title,
            "example": self.example,
            "cure": self.cure,
            "docs": self.docs,
        }


def entries() -> tuple[Entry, ...]:
    """Every code once, sorted."""
    found = {entry.code: entry for entry in (*_of_rows(), *_WRITTEN)}
    return tuple(found[code] for code in sorted(found))


MAPPINGS: Final[tuple[tuple[str, tuple[Row, ...], str], ...]] = (
    ("the document", table.TOP, "{}"),
    ("a service", table.SERVICE, "services: {{web: {{{}}}}}"),
    ("deploy", table.DEPLOY, "services: {{web: {{deploy: {{{}}}}}}}"),
    ("deploy.update_config", table.UPDATE, "services: {{web: {{deploy: {{update_config: {{{}}}}}}}}}"),
    ("deploy.resources", table.RESOURCES, "services: {{web: {{deploy: {{resources: {{{}}}}}}}}}"),
    ("deploy.resources.limits", table.LIMITS, "services: {{web: {{deploy: {{resources: {{limits: {{{}}}}}}}}}}}"),
    ("depends_on.NAME", dependencies.DEPENDENCY, "services: {{web: {{depends_on: {{db: {{{}}}}}}}}}"),
    ("healthcheck", health.ROWS, "services: {{web: {{healthcheck: {{{}}}}}}}"),
    ("healthcheck.x-sam-http", health.HTTP_ROWS, "services: {{web: {{healthcheck: {{x-sam-http: {{{}}}}}}}}}"),
    ("a mount (volumes, long form)", mounts.LONG_ROWS, "services: {{web: {{volumes: [{{target: /data, {}}}]}}}}"),
    ("a port (ports, long form)", ports.LONG_ROWS, "services: {{web: {{ports: [{{target: 3000, {}}}]}}}}"),
    ("volumes.NAME", table.VOLUME, "volumes: {{data: {{{}}}}}"),
    ("x-sam-routes, each", table.ROUTE, "x-sam-routes: [{{{}}}]"),
    ("x-sam-pre-flight", table.PRE_FLIGHT, "x-sam-pre-flight: {{{}}}"),
)


def _of_rows() -> Iterator[Entry]:
    for what, rows, place in MAPPINGS:
        for row in rows:
            if row.decision != "accepted":
                yield Entry(
                    row.code,
                    "error" if row.decision == "rejected" else "warning",
                    f"`{row.key}` in {what}: {row.says}",
                    place.format(row.example),
                    row.hint or "Remove it.",
                )


def _in_service(member: str, rest: str = "") -> str:
    return f"services:\n  web:\n    image: registry.example/shop/web:1\n    ports: ['3000']\n    {member}\n{rest}"


def _error(code: str, title: str, example: str, cure: str) -> Entry:
    return Entry(f"compose.{code}", "error", title, example, cure)


def _warning(code: str, title: str, example: str, cure: str) -> Entry:
    return Entry(f"compose.{code}", "warning", title, example, cure)


_DB = "  db:\n    image: registry.example/shop/db:1\n"

_WRITTEN: Final = (
    # The form of the document
    _error("too_long", "The document has more than 65,536 bytes.", "# " + "x" * 65_535,
           "Move long texts into the image."),
    _error("byte_order_mark", "The document begins with a byte order mark.", "\ufeffservices: {}",
           "Save it as UTF-8 without a byte order mark."),
    Entry("compose.encoding", "error", "The document is not UTF-8.", "A file saved as UTF-16 or Latin-1.",
          "Save it as UTF-8.", "sentence"),
    _error("character", "A control, format, surrogate or private-use character.", _in_service("user: 'a\u202eb'"),
           "Remove it."),
    _error("syntax", "The document is not YAML.", "services: [", "Check indentation and quotes at the place named."),
    _error("empty", "The document is empty.", "# nothing\n", "Write `services`, with at least one service."),
    _error("second_document", "A second document follows.", _in_service("") + "---\na: b\n", "Send one document."),
    _error("directive", "A line begins with %.", "%YAML 1.2\n---\n" + _in_service(""), "Remove the line."),
    _error("anchor", "An anchor (`&name`).", _in_service("user: &who app"), "Write the value out where it is needed."),
    _error("alias", "An alias (`*name`).", _in_service("user: *who"), "Write the value out where it is needed."),
    _error("tag", "An explicit tag (`!name`).", _in_service("user: !!str app"), "Remove the tag; quote strings."),
    _error("merge_key", "A merge key (`<<`).", _in_service("<<: {user: app}"), "Write the merged keys out."),
    _error("key_type", "A key that is no string in every version of YAML.", _in_service("on: x"), "Quote the key."),
    _error("duplicate_key", "A key stands twice in one mapping.", _in_service("user: a\n    user: b"),
           "Keep one of them."),
    _error("ambiguous", "YAML 1.1 and 1.2 read a plain value differently.", _in_service("environment: {DEBUG: yes}"),
           "Quote it."),
    _error("too_deep", "Something lies more than 16 levels deep.",
           "x-a: " + "[" * 20 + "]" * 20 + "\n" + _in_service(""),
           "Check the indentation."),
    _error("too_many_nodes", "More than 5,000 keys and values.", "x-a: [" + "a, " * 5000 + "a]\n" + _in_service(""),
           "Move tables into the image."),
    _error("scalar_too_long", "A value of more than 16,384 bytes.", _in_service("x-a: " + "a" * 16_385),
           "Move long texts into the image."),
    _error("more", "More than 200 errors; the rest is counted.",
           "\n".join(f"zzz{number}: 1" for number in range(250)) + "\n" + _in_service(""),
           "Cure those shown and send the document again."),
    # Values of any key
    _error("unknown_key", "A key that is not part of Compose, or misspelt.", _in_service("comand: serve"),
           "Write the nearest name, or remove it."),
    _error("missing", "A required key is missing.", "services: {web: {ports: ['3000']}}", "Add it."),
    _error("null", "A key without a value.", _in_service("user:"), "Remove it, or give it a value."),
    _error("type", "A value of another kind than its place takes.", _in_service("user: 1000"),
           "Quote it, or correct it."),
    _error("value", "A word that is none of those accepted.",
           _in_service("deploy: {update_config: {order: random}}"), "Write one of the words in the message."),
    _error("range", "A number or amount out of bounds.", _in_service("shm_size: 1G"), "Stay within the bounds named."),
    _error("variable", "A variable outside of `environment`.", _in_service("command: [echo, $HOME]"),
           "Double the dollar, or pass the value through `environment`."),
    _error("duration", "A time without a unit.", _in_service("stop_grace_period: '30'"), "Write 30s."),
    _error("size", "An amount of bytes that is none.", _in_service("shm_size: lots"),
           "Write a number with a unit: 64M."),
    _error("cpus", "A number of processors that is none.", _in_service("deploy: {resources: {limits: {cpus: two}}}"),
           "Write a number such as 0.5."),
    # Services and names
    _error("services", "No service, or more than twenty.", "services: {}", "Write one to twenty services."),
    _error("service_name", "A name that no service can have.", "services: {-web: {image: a, ports: ['1']}}",
           "Use letters, digits, dots, dashes and underscores."),
    _error("names_differ_in_case", "Two names differ in case only.",
           _in_service("", "  Web: {image: registry.example/shop/web:1}"), "Rename one."),
    _error("image_grammar", "The image is no reference.", _in_service("").replace("shop/web:1", "Shop/Web:1"),
           "Write [HOST/]PATH[:TAG][@sha256:HEX] in lower case."),
    _error("image_empty", "The image is empty.", "services: {web: {image: '', ports: ['1']}}", "Name an image."),
    _error("image_long", "The image is longer than any reference.",
           f"services: {{web: {{image: {'a' * 1100}, ports: ['1']}}}}", "Name an image."),
    _error("image_variable", "The image contains a variable.", _in_service("").replace("web:1", "web:${TAG}"),
           "Write the tag out."),
    _error("image_scheme", "The image has a scheme.", _in_service("").replace("registry.", "https://registry."),
           "Remove the scheme."),
    _error("image_userinfo", "The image carries a user or password.", _in_service("").replace("registry.",
           "me:pw@registry."),
           "Remove them; the node has its own credentials."),
    _error("image_bare_digest", "A digest alone.", f"services: {{web: {{image: {'a' * 64}, ports: ['1']}}}}",
           "Write HOST/PATH@sha256:HEX."),
    _error("image_digest", "A digest that is not sha256.",
           f"services: {{web: {{image: 'a@sha512:{'a' * 128}', ports: ['1']}}}}", "Use the sha256 digest."),
    _error("shell_syntax", "An unquoted `;`, `&`, `|`, `<` or `>` in a command.", _in_service("command: a && b"),
           "Call the shell: [sh, -c, TEXT]."),
    _error("command_quotes", "Quotes or parentheses that do not match.", _in_service("command: a 'b"), "Close them."),
    _error("user", "No user name or number.", _in_service("user: a b"), "Write NAME, UID, or either with :GROUP."),
    _error("working_dir", "A path that is not absolute.", _in_service("working_dir: app"), "Begin with a slash."),
    _error("stop_signal", "No signal.", _in_service("stop_signal: SIGNOW"), "Write SIGTERM, SIGINT or another signal."),
    _error("restart", "No restart policy.", _in_service("restart: sometimes"), "Remove it."),
    _error("capability", "No capability.", _in_service("cap_drop: [FLY]"), "Correct its name."),
    _error("cap_add", "A capability that reaches beyond the container.", _in_service("cap_add: [SYS_ADMIN]"),
           "Remove it."),
    # Environment
    _error("environment_name", "No name for a variable.", _in_service("environment: {1A: x}"),
           "Begin with a letter or an underscore."),
    _error("environment_reserved", "A reserved name.", _in_service("environment: {SAM_X: x}"), "Choose another name."),
    _error("environment_bare", "A name without a value.", _in_service("environment: [HOME]"),
           "Write NAME=value or NAME=${NAME}."),
    _error("environment_item", "A mapping in a list of variables.", _in_service("environment: [{A: b}]"), "Write A=b."),
    _error("environment_twice", "A variable is set twice.", _in_service("environment: [A=1, A=2]"), "Keep one."),
    _error("environment_number", "A number that readers write differently.", _in_service("environment: {A: 1.50}"),
           "Quote it."),
    _error("environment_value", "A mapping that is not x-sam-secret.", _in_service("environment: {A: {b: c}}"),
           "Write a string, or {x-sam-secret: NAME}."),
    _error("reference_bare", "A reference without braces.", _in_service("environment: {A: $HOME}"),
           "Write ${NAME} or $$."),
    _error("reference_syntax", "A reference of another form.", _in_service("environment: {A: '${B-c}'}"),
           "Use ${NAME}, ${NAME:-default} or ${NAME:?message}."),
    _error("reference_nested", "A reference inside a default or message.",
           _in_service("environment: {A: '${B:-${C}}'}"),
           "Write a plain default."),
    _error("reference_reserved", "A reference to a name of the node.", _in_service("environment: {A: '${SAM_X}'}"),
           "Use another name."),
    _error("secret_name", "No name of a secret.", _in_service("environment: {A: {x-sam-secret: a b}}"),
           "Use letters, digits, underscores and dashes."),
    # Volumes
    _error("bind_mount", "A path of the host.", _in_service("volumes: ['./data:/data']"), "Use a named volume."),
    _error("mount", "No mount.", _in_service("volumes: ['ab:/b:ro:x']", "volumes: {ab: }"), "Write NAME:/path[:ro]."),
    _error("mount_anonymous", "A mount without a name.", _in_service("volumes: [/data]"), "Name a volume."),
    _error("mount_drive", "A name of one letter, which Compose reads as a drive.", _in_service("volumes: ['d:/data']"),
           "Use the long form."),
    _error("mount_options", "Options other than ro and rw.", _in_service("volumes: ['data:/data:z']",
           "volumes: {data: }"),
           "Remove them."),
    _error("mount_target", "A target where nothing may be mounted.",
           _in_service("volumes: ['data:/proc/x']", "volumes: {data: }"), "Choose a path of the app's own."),
    _error("mount_target_twice", "Two mounts at one target.",
           _in_service("volumes: ['data:/data', 'data:/data']", "volumes: {data: }"), "Keep one."),
    _error("mount_type", "A mount of a type that is not accepted.",
           _in_service("volumes: [{type: npipe, source: a, target: /b}]"), "Use a named volume."),
    _error("tmpfs_options", "A tmpfs with options.", _in_service("tmpfs: ['/tmp:size=1g']"), "Write the path alone."),
    _error("volume_name", "No name of a volume.", _in_service("volumes: ['a b:/data']"),
           "Use letters, digits, . - and _."),
    _error("volume_undeclared", "A volume that is not declared.", _in_service("volumes: ['data:/data']"),
           "Declare it under the top level's `volumes`."),
    _error("volume_size", "A size that is given twice.",
           _in_service("", "volumes: {data: {x-sam-size-gb: 1, x-sam-size-hint-mb: 1000}}"), "Keep one."),
    _error("start_first_with_volume", "Start-first beside a writable volume.",
           _in_service("volumes: ['data:/data']\n    deploy: {update_config: {order: start-first}}",
           "volumes: {data: }"),
           "Write stop-first."),
    # Ports and routes
    _error("port", "No port.", _in_service("expose: ['0']"), "Write a number from 1 to 65535."),
    _error("port_range", "A range of ports.", _in_service("expose: ['3000-3005']"), "Write each port by itself."),
    _error("port_protocol", "A protocol that is not TCP.", _in_service("expose: ['53/udp']"), "Remove the port."),
    _error("port_address", "An address of the host.", _in_service("").replace("'3000'", "'10.0.0.1:80:3000'"),
           "Remove the address, or write 127.0.0.1."),
    _error("route_host", "No host name.",
           _in_service("", "x-sam-routes: [{service: web, port: 3000, mode: public, host: '*.example.com'}]"),
           "Write a name such as app.example.com."),
    _error("route_taken", "Two public routes with one host and path.",
           _in_service("", "x-sam-routes: [&a {service: web, port: 3000, mode: public, host: a.example}, "
                       "{service: web, port: 3001, mode: public, host: A.example}]").replace("&a ", ""),
           "Give one of them another host or path."),
    _error("url_path", "No path of a URL.",
           _in_service("", "x-sam-routes: [{service: web, port: 3000, mode: public, path: 'a?b'}]"),
           "Begin with a slash."),
    _error("service_unknown", "A service that is not in the file.",
           _in_service("", "x-sam-routes: [{service: shop, port: 3000, mode: public}]"), "Name a service of the file."),
    _error("no_public_route", "Nothing can be reached.", "services: {web: {image: registry.example/shop/web:1}}",
           "Add `ports`, or `x-sam-worker: true`."),
    _warning("private_port", "The port of a database stays private.", _in_service("", f"{_DB}    ports: ['5432']"),
             "Use `expose`."),
    _warning("private_route", "A host or path on a private route has no effect.",
             _in_service("", "x-sam-routes: [{service: web, port: 1, mode: private, host: a.example},"
                         " {service: web, port: 3000, mode: public}]"), "Remove it."),
    # Dependencies, health, jobs
    _error("dependency_unknown", "A dependency on nobody.", _in_service("depends_on: [shop]"), "Remove it."),
    _error("dependency_twice", "A dependency listed twice.", _in_service("depends_on: [db, db]", _DB), "Keep one."),
    _error("dependency_cycle", "Services wait for each other.", _in_service("depends_on: [web]"),
           "Remove one dependency."),
    _error("dependency_restart", "A restart that follows another's.",
           _in_service("depends_on: {db: {condition: service_started, restart: true}}", _DB), "Remove it."),
    _error("dependency_never_completes", "Awaiting the completion of a service that is no job.",
           _in_service("depends_on: {db: {condition: service_completed_successfully}}", f"{_DB}    restart: always"),
           'Give it restart: "no", or await another condition.'),
    _error("dependency_without_check", "Awaiting the health of a service without a check.",
           _in_service("depends_on: {db: {condition: service_healthy}}", f"{_DB}    healthcheck: {{disable: true}}"),
           "Give it a healthcheck."),
    _error("healthcheck_test", "A test of another form.", _in_service("healthcheck: {test: [curl, localhost]}"),
           "Begin with CMD, CMD-SHELL or NONE."),
    _error("healthcheck_conflict", "Two checks that exclude each other.",
           _in_service("healthcheck: {test: [CMD, a], x-sam-http: {path: /, port: 3000}}"), "Keep one."),
    _error("http_status", "No range of statuses.",
           _in_service("healthcheck: {x-sam-http: {path: /, port: 3000, status: 99}}"), "Write 200 or 200-399."),
    _error("pre_flight_command", "A pre-flight without a command.",
           _in_service("", "x-sam-pre-flight: {service: web, command: []}"), "Say what is to run."),
    _error("replicas", "More than one container.", _in_service("deploy: {replicas: 3}"), "Remove it."),
    _error("replicas_zero", "No container at all.", _in_service("deploy: {replicas: 0}"), "Take the service out."),
    _error("steering_label", "A label that steers a proxy or an updater.",
           _in_service("labels: {traefik.enable: 'true'}"),
           "Declare the route in `ports` or `x-sam-routes`."),
    _warning("extension", "An extension of somebody else.", _in_service("x-other: 1"), "Remove it, or leave it."),
    _warning("restart_with_port", "restart: no on a service with a port.", _in_service("restart: 'no'"), "Remove it."),
    _warning("job_runs_once", "A job is not tried again.",
             _in_service("depends_on: {db: {condition: service_completed_successfully}}",
             f"{_DB}    restart: on-failure"),
             "Let the job itself try again."),
    # Manifests
    Entry("manifest.syntax", "error", "Not JSON.", '{"v": 1', "Send one JSON document.", "manifest"),
    Entry("manifest.too_long", "error", "More bytes or values than a manifest can have.",
          "A manifest of more than 262,144 bytes.", "Submit a smaller one.", "sentence"),
    Entry("manifest.too_deep", "error", "Something lies too deep.", "[" * 20, "Send a manifest as it was answered.",
          "manifest"),
    Entry("manifest.shape", "error", "A member that a manifest does not have.", '{"v": 1, "services": [], "more": 1}',
          "Send a manifest as it was answered.", "manifest"),
    Entry("manifest.not_normal", "error", "Not what the same release would say as a Compose file.",
          '{"v": 1, "services": {"a": {"image": "a:1", "resources": {"memory_bytes": 536870912, "pids": 512},'
          ' "restart": "always", "update_order": "start-first"}}, "volumes": {}, "routes": [], "worker": true}',
          "Send a manifest as it was answered.", "manifest"),
    # What the environment adds
    Entry("image.outside_namespace", "error", "An image from elsewhere.",
          "An image of another project, or of Docker Hub.",
          "Push it to the project's namespace, or ask an operator to allow its repository.", "sentence"),
    Entry("image.unresolved", "error", "An image without a digest.", "`manage.py render` of a tag without `--digests`.",
          "Give its digest.", "sentence"),
    Entry("reference.unset", "error", "A reference to a name without a value.",
          "${API_KEY} before an operator has set API_KEY.", "Ask an operator to set it, or give it a default.",
          "sentence"),
    *(
        Entry(f"policy.{name}", "error", f"More {what} than the environment allows.", example,
              "Ask for less, or ask an operator to raise the limit.", "sentence")
        for name, what, example in (
            ("services", "services", "Twelve services where the environment allows ten."),
            ("volumes", "volumes", "Three volumes where the environment allows two."),
            ("memory", "memory for one service", "8 GiB for one service where the environment allows 4."),
            ("total_memory", "memory in all", "Ten services with 4 GiB each where the environment allows 16 GiB."),
            ("cpus", "processors", "8 processors where the environment allows 4."),
            ("pids", "processes", "100,000 processes where the environment allows 4,096."),
            ("volume_size", "space", "A volume of 2,000 GB where the environment allows 1,024."),
        )
    ),
)  # fmt: skip
