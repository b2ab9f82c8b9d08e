"""The whole subset, one row per key: what is accepted, dropped or rejected, and why."""

from __future__ import annotations

from typing import Final

from deployments.domain.compose import (
    capabilities,
    commands,
    dependencies,
    environments,
    health,
    labels,
    mounts,
    ports,
    scalars,
)
from deployments.domain.compose import quantities as q
from deployments.domain.compose import routes as route_rules
from deployments.domain.compose.rules import (
    Row,
    accepted,
    boolean,
    dropped,
    ignoring,
    integer,
    mapping,
    one_of,
    rejected,
    text,
)

_STRINGS = {"type": "array", "items": {"type": "string"}}
_LIST_OR_MAP = {"type": ["array", "object"]}
_COMMAND = {"type": ["string", "array", "null"], "items": {"type": "string"}}
_AMOUNT = {"type": ["string", "integer", "number"]}

memory = q.size(6 * q.MIB, q.TIB, "6M to 1T")
pids = integer(1, 1 << 22, "a number of processes from 1 to 4,194,304")

LIMITS: Final[tuple[Row, ...]] = (
    accepted("cpus", q.cpus, "Processors; no limit of its own if absent.", 'cpus: "0.5"', refused="cpus: 0",
             schema=_AMOUNT),
    accepted("memory", memory, "Bytes, or with a unit; 6 MiB to 1 TiB; 512 MiB if absent.", "memory: 256M",
             refused="memory: 1M", schema=_AMOUNT),
    accepted("pids", pids, "Processes; 512 if absent.", "pids: 100", refused="pids: -1",
             schema={"type": ["integer", "string"]}),
    rejected("devices", "A node's devices are nobody's.", "devices: []", hint="Remove it.",
             code="compose.deploy_devices"),
)  # fmt: skip
_limits = mapping(LIMITS, "deploy.resources.limits")

RESOURCES: Final[tuple[Row, ...]] = (
    accepted("limits", _limits, "What one container may use.", "limits: {memory: 256M}", schema={"type": "object"}),
    rejected("reservations", "A node serves one environment; nothing is reserved on it.",
             "reservations: {memory: 64M}", hint="Use `limits`.", code="compose.deploy_reservations"),
)  # fmt: skip

UPDATE: Final[tuple[Row, ...]] = (
    accepted("order", one_of("start-first", "stop-first"),
             "Stop-first with a writable volume, else start-first, if absent.", "order: stop-first",
             refused="order: random", schema={"enum": ["start-first", "stop-first"]}),
    *(
        rejected(key, "Compose ignores it in silence; releases here are all or nothing.", f"{key}: {example}",
                 hint="Remove it.", code=f"compose.update_{key}")
        for key, example in (
            ("parallelism", "1"), ("delay", "5s"), ("failure_action", "rollback"), ("monitor", "10s"),
            ("max_failure_ratio", "0.1"),
        )
    ),
)  # fmt: skip

DEPLOY: Final[tuple[Row, ...]] = (
    accepted("resources", mapping(RESOURCES, "deploy.resources"), "Limits of memory, processors and processes.",
             "resources: {limits: {memory: 256M}}", schema={"type": "object"}),
    accepted("replicas", dependencies.replicas, "Only 1: a service has one container.", "replicas: 1",
             refused="replicas: 3", schema={"const": 1}),
    accepted("update_config", mapping(UPDATE, "deploy.update_config"), "The order of an update.",
             "update_config: {order: stop-first}", schema={"type": "object"}),
    rejected("rollback_config", "Compose ignores it in silence; a failed release leaves the old one serving.",
             "rollback_config: {order: stop-first}", hint="Remove it.", code="compose.deploy_rollback_config"),
    rejected("mode", "Services here are neither replicated nor global: each has one container.", "mode: replicated",
             hint="Remove it.", code="compose.deploy_mode"),
    rejected("placement", "An environment has one node.", "placement: {constraints: []}", hint="Remove it.",
             code="compose.deploy_placement"),
    rejected("labels", "Labels of a swarm's service have no effect here.", "labels: {a: b}", hint="Remove it.",
             code="compose.deploy_labels"),
    rejected("restart_policy", "The node restarts what ends; only jobs end.",
             "restart_policy: {condition: on-failure}", hint="Use the service's `restart`.",
             code="compose.deploy_restart_policy"),
    rejected("endpoint_mode", "There is no swarm whose endpoints could be set.", "endpoint_mode: vip",
             hint="Remove it.", code="compose.deploy_endpoint_mode"),
)  # fmt: skip

# Keys that are refused for a reason and go when their fix is applied: key, reason, hint, example.
_REFUSED: Final = (
    # privilege and kernel
    ("privileged", "A privileged container owns the host.", "Remove it.", "privileged: true"),
    ("devices", "Devices of the node are not handed to containers.", "Remove it.", 'devices: ["/dev/fuse"]'),
    ("device_cgroup_rules", "Devices of the node are not handed to containers.", "Remove it.",
     'device_cgroup_rules: ["c 1:3 mr"]'),
    ("security_opt", "Security options are set by the node: no-new-privileges, the default profiles.", "Remove it.",
     'security_opt: ["seccomp:unconfined"]'),
    ("sysctls", "Kernel settings are the node's.", "Remove it.", "sysctls: {net.core.somaxconn: 1024}"),
    ("ulimits", "Limits of the kernel are the node's.", "Use deploy.resources.limits for memory, cpus and pids.",
     "ulimits: {nofile: 1024}"),
    ("group_add", "Groups of the host mean nothing to an app.", "Set `user: uid:group`.", "group_add: [docker]"),
    ("cgroup", "A container keeps to its own control group.", "Remove it.", "cgroup: host"),
    ("cgroup_parent", "A container keeps to its own control group.", "Remove it.", "cgroup_parent: /system.slice"),
    ("userns_mode", "The namespace of users is the node's choice.", "Remove it.", "userns_mode: host"),
    ("uts", "The host's name is not an app's to change.", "Remove it.", "uts: host"),
    ("pid", "A container sees its own processes only.", "Remove it.", "pid: host"),
    ("ipc", "A container shares memory with nobody.", "Set `shm_size` if it needs more of its own.", "ipc: host"),
    ("isolation", "Isolation technologies exist on Windows only.", "Remove it.", "isolation: hyperv"),
    ("runtime", "The runtime is the node's choice.", "Remove it.", "runtime: nvidia"),
    ("gpus", "Nodes have no graphics processors to hand out.", "Remove it.", "gpus: all"),
    ("oom_kill_disable", "A container that uses up its memory is ended, so that the node lives.",
     "Raise deploy.resources.limits.memory.", "oom_kill_disable: true"),
    ("oom_score_adj", "Who is ended first is the node's choice.", "Remove it.", "oom_score_adj: -500"),
    ("mem_swappiness", "There is no swap to tune: its limit equals that of memory.", "Remove it.",
     "mem_swappiness: 10"),
    ("mem_reservation", "A node serves one environment; nothing is reserved on it.",
     "Use deploy.resources.limits.memory.", "mem_reservation: 64M"),
    ("memswap_limit", "The limit of swap equals that of memory.", "Use deploy.resources.limits.memory.",
     "memswap_limit: 1G"),
    ("cpuset", "Which processors run a container is the node's choice.", "Use deploy.resources.limits.cpus.",
     'cpuset: "0"'),
    ("cpu_shares", "Shares mean nothing without neighbours.", "Use deploy.resources.limits.cpus.", "cpu_shares: 512"),
    ("cpu_quota", "Processors are limited in one way only.", "Use deploy.resources.limits.cpus.", "cpu_quota: 50000"),
    ("cpu_period", "Processors are limited in one way only.", "Use deploy.resources.limits.cpus.",
     "cpu_period: 100000"),
    ("cpu_count", "It works on Windows only.", "Use deploy.resources.limits.cpus.", "cpu_count: 2"),
    ("cpu_percent", "It works on Windows only.", "Use deploy.resources.limits.cpus.", "cpu_percent: 50"),
    ("cpu_rt_runtime", "Real-time scheduling could stop the node.", "Remove it.", "cpu_rt_runtime: 1000"),
    ("cpu_rt_period", "Real-time scheduling could stop the node.", "Remove it.", "cpu_rt_period: 1000"),
    ("blkio_config", "The node's disks are not tuned by an app.", "Remove it.", "blkio_config: {weight: 300}"),
    ("storage_opt", "Where a container's layers lie is the node's choice.", "Use a volume for data.",
     "storage_opt: {size: 1G}"),
    # network
    ("networks", "All services of an environment share one private network and find each other by name.",
     "Remove it; services reach each other by their names already.", "networks: [front]"),
    ("links", "Services find each other by name without links.", "Use the other service's name as its host.",
     "links: [db]"),
    ("external_links", "Containers outside this file cannot be reached.", "Remove it.", "external_links: [other]"),
    ("extra_hosts", "Names that lead elsewhere could lead to the node or to its neighbours.",
     "Use real names, or variables for addresses.", 'extra_hosts: ["host.docker.internal:host-gateway"]'),
    ("dns", "Names are resolved by the node.", "Remove it.", "dns: 1.1.1.1"),
    ("dns_opt", "Names are resolved by the node.", "Remove it.", "dns_opt: [use-vc]"),
    ("dns_search", "Names are resolved by the node.", "Remove it.", "dns_search: example.com"),
    ("mac_address", "Addresses are the node's choice.", "Remove it.", "mac_address: 02:42:ac:11:65:43"),
    ("hostname", "The host name is always the service's name.", "Rename the service if the name matters.",
     "hostname: web1"),
    ("domainname", "Containers have no domain of their own.", "Remove it.", "domainname: example.com"),
    # host files and code
    ("develop", "Development happens elsewhere; a release runs an image.", "Remove it.", "develop: {watch: []}"),
    ("label_file", "Files beside the Compose file do not come along.", "Remove it.", "label_file: ./labels"),
    ("configs", "Files beside the Compose file do not come along.", "Put the file into the image.",
     "configs: [app_config]"),
    ("credential_spec", "It works on Windows only.", "Remove it.", "credential_spec: {file: spec.json}"),
    ("use_api_socket", "The engine's socket owns the host.", "Remove it.", "use_api_socket: true"),
    ("provider", "Programs of the host are not run for a service.", "Remove it.", "provider: {type: cloud}"),
    ("models", "Models are not served by nodes.", "Call a model over the network.", "models: [small]"),
    ("volumes_from", "Mounts are declared where they are used.", "List the volumes under `volumes`.",
     "volumes_from: [db]"),
    ("volume_driver", "Volumes come from the environment's provider.", "Remove it.", "volume_driver: local"),
    # hooks
    ("post_start", "Commands beside the service's own are not run.", "Use x-sam-pre-flight, or a job.",
     "post_start: [{command: [true]}]"),
    ("pre_stop", "Commands beside the service's own are not run.", "Let the app end on `stop_signal`.",
     "pre_stop: [{command: [true]}]"),
    ("pre_start", "Commands beside the service's own are not run.", "Use x-sam-pre-flight, or a job.",
     "pre_start: [{command: [true]}]"),
    # hiding
    ("attach", "It steers a terminal that nobody sits at.", "Remove it.", "attach: false"),
    ("platform", "An image runs as the platform that it was built for.", "Build the image for the node's platform.",
     "platform: linux/arm64"),
    ("pull_policy", "A release names images by digest; they are pulled once.", "Remove it.", "pull_policy: always"),
    ("pull_refresh_after", "A release names images by digest; they are pulled once.", "Remove it.",
     "pull_refresh_after: 24h"),
    # exfiltration
    ("logging", "Logs stay on the node and are read through this control plane.", "Write to standard output.",
     "logging: {driver: syslog}"),
    ("annotations", "Annotations speak to runtimes; the runtime is the node's.", "Remove it.",
     "annotations: {a: b}"),
    # interactive
    ("tty", "Nobody sits at a terminal.", "Remove it.", "tty: true"),
    ("stdin_open", "Nobody types.", "Remove it.", "stdin_open: true"),
)  # fmt: skip

# Keys whose removal would change what the author meant: no fix, but a hint.
_NOT_REMOVABLE: Final = (
    ("build", "Nothing is built on a node.",
     "Build the image, push it to the project's registry, and name it in `image`.",
     "build: ."),
    ("extends", "Other files do not come along.", "Write the service out in this file.",
     "extends: {service: base, file: base.yaml}"),
    ("env_file", "Files beside the Compose file do not come along.",
     "Write the variables under `environment`; set secrets in the environment and refer to them as ${NAME}.",
     "env_file: .env"),
)  # fmt: skip

SERVICE: Final[tuple[Row, ...]] = (
    accepted("image", scalars.image, "What runs: [HOST/]PATH[:TAG][@DIGEST].", "image: registry.example/app:1",
             refused="image: https://registry.example/app", schema={"type": "string"}, required=True),
    accepted("command", commands.command, "A list, or a string split as Compose does; `[]` clears the image's.",
             "command: [serve, --port, '3000']", refused='command: "a && b"', schema=_COMMAND),
    accepted("entrypoint", commands.command, "As `command`; it clears the image's command.",
             "entrypoint: /app/start --fast", refused='entrypoint: "a | b"', schema=_COMMAND),
    accepted("environment", environments.environment,
             "Texts, integers, booleans; `${NAME}`, `${NAME:-default}`, `${NAME:?message}`, `{x-sam-secret: NAME}`.",
             "environment: {MODE: production, URL: 'postgres://app:${DB_PASSWORD}@db/app'}",
             refused="environment: {A: $HOME}", schema=_LIST_OR_MAP),
    accepted("volumes", mounts.mounts, "`NAME:/path[:ro]`, or the long form of type `volume`.",
             "volumes: ['data:/var/lib/app:ro']", refused="volumes: ['./data:/var/lib/app']",
             schema={"type": "array", "items": {"type": ["string", "object"]}}),
    accepted("ports", ports.ports, "Container ports, each a public route; 127.0.0.1 or `mode: host` make it private.",
             'ports: ["3000"]', refused='ports: ["53:53/udp"]',
             schema={"type": "array", "items": {"type": ["string", "integer", "object"]}}),
    accepted("expose", ports.expose, "Container ports, each a private route.", 'expose: ["5432"]',
             refused='expose: ["0"]', schema={"type": "array", "items": {"type": ["string", "integer"]}}),
    accepted("depends_on", dependencies.depends_on,
             "A list, or a mapping with conditions; the node starts services in this order.",
             "depends_on: {db: {condition: service_healthy}}", refused="depends_on: [nobody]", schema=_LIST_OR_MAP),
    accepted("healthcheck", health.healthcheck, "Docker's check, or a probe of the node's own.",
             "healthcheck: {test: [CMD, wget, -q, localhost], interval: 10s}", refused="healthcheck: {interval: 10}",
             schema={"type": "object"}),
    accepted("deploy", mapping(DEPLOY, "deploy", nullable=True), "Limits and the order of updates.",
             "deploy: {resources: {limits: {memory: 256M}}}", refused="deploy: {mode: global}",
             schema={"type": ["object", "null"]}),
    accepted("restart", dependencies.restart,
             "`no` makes a job; so do an absent one and `on-failure` while another service awaits its completion.",
             "restart: unless-stopped", refused="restart: sometimes", schema={"type": "string"}),
    accepted("user", scalars.user, "A name or number, with `:group`, as a string.", 'user: "1000:1000"',
             refused="user: 1000", schema={"type": "string"}),
    accepted("working_dir", scalars.working_dir, "An absolute path.", "working_dir: /app", refused="working_dir: app",
             schema={"type": "string", "pattern": "^/"}),
    accepted("read_only", boolean, "Make the container's own file system read-only.", "read_only: true",
             refused='read_only: "yes"', schema={"type": "boolean"}),
    accepted("init", boolean, "Run a small init as the first process.", "init: true", refused="init: 1",
             schema={"type": "boolean"}),
    accepted("tmpfs", mounts.tmpfs, "Paths in memory, without options.", "tmpfs: [/tmp]",
             refused="tmpfs: ['/tmp:size=1g']", schema={"type": ["string", "array"], "items": {"type": "string"}}),
    accepted("stop_grace_period", q.duration(0, 120_000, "at most 120 seconds"), "At most 120 s.",
             "stop_grace_period: 30s", refused="stop_grace_period: 5m", schema={"type": "string"}),
    accepted("stop_signal", scalars.stop_signal, "The signal that ends the app.", "stop_signal: SIGINT",
             refused="stop_signal: SIGNOW", schema={"type": "string"}),
    accepted("shm_size", q.size(1, 256 * q.MIB, "at most 256M"), "At most 256 MiB.", "shm_size: 128M",
             refused="shm_size: 1G", schema=_AMOUNT),
    accepted("cap_drop", capabilities.drop, "Names with or without CAP_.", "cap_drop: [ALL]",
             refused="cap_drop: [CAP_EVERYTHING]", schema=_STRINGS),
    accepted("cap_add", capabilities.add, "Only what containers keep anyway.", "cap_add: [CHOWN]",
             refused="cap_add: [SYS_ADMIN]", schema=_STRINGS),
    dropped("container_name", labels.container_name, "Dropped: containers are named by the node.",
            "container_name: web1", code="compose.container_name"),
    dropped("labels", labels.labels, "Dropped, unless they would steer a proxy or an updater: then refused.",
            "labels: {org.example.team: blue}", code="compose.labels", refused="labels: {traefik.enable: 'true'}"),
    rejected("mem_limit", "Limits have one place.", "mem_limit: 256M",
             hint="Move it to deploy.resources.limits.memory."),
    rejected("cpus", "Limits have one place.", "cpus: 0.5", hint="Move it to deploy.resources.limits.cpus."),
    rejected("pids_limit", "Limits have one place.", "pids_limit: 100",
             hint="Move it to deploy.resources.limits.pids."),
    rejected("profiles", "A service runs in every release, or it does not belong in the file.", "profiles: [debug]",
             hint="Take the service out, or the profiles.", rule=dependencies.profiles),
    rejected("scale", "A service has one container.", "scale: 2", hint="Remove it.", rule=dependencies.scale),
    rejected("network_mode", "All services of an environment share one private network.", "network_mode: host",
             hint="Remove it; declare in `ports` what the world may reach.", rule=scalars.network_mode),
    rejected("secrets", "Files beside the Compose file do not come along.", "secrets: [db_password]",
             hint="Refer to the secrets of the environment under `environment`, as ${NAME} or {x-sam-secret: NAME}."),
    *(rejected(key, reason, example, hint=hint) for key, reason, hint, example in _REFUSED),
    *(
        rejected(key, reason, example, hint=hint, rule=scalars.kept_refusal(f"compose.{key}", reason, hint))
        for key, reason, hint, example in _NOT_REMOVABLE
    ),
)  # fmt: skip

VOLUME: Final[tuple[Row, ...]] = (
    accepted("driver", one_of("local"), "Only `local`, without options.", "driver: local", refused="driver: nfs",
             schema={"const": "local"}),
    accepted("x-sam-size-gb", integer(1, 10_240, "a size from 1 to 10,240 GB"), "Its size in units of 10^9 bytes.",
             "x-sam-size-gb: 20", refused="x-sam-size-gb: 0", schema={"type": ["integer", "string"]}),
    accepted("x-sam-size-hint-mb", integer(1, 10_240_000, "a size from 1 to 10,240,000 MB"),
             "Its size in units of 10^6 bytes, rounded up to GB.", "x-sam-size-hint-mb: 1500",
             refused="x-sam-size-hint-mb: -1", schema={"type": ["integer", "string"]}),
    rejected("driver_opts", "Options of the local driver could mount any device or path of the host.",
             "driver_opts: {type: none, o: bind, device: /}", hint="Remove it.", code="compose.volume_driver_opts"),
    rejected("external", "Volumes belong to their environment; there are none outside.", "external: true",
             hint="Remove it; a volume of this name is made or kept.", code="compose.volume_external"),
    rejected("name", "A volume is known by its key.", "name: other", hint="Rename the key instead.",
             code="compose.volume_other_name"),
    rejected("labels", "Labels of volumes have no effect.", "labels: {a: b}", hint="Remove it.",
             code="compose.volume_labels"),
)  # fmt: skip

PRE_FLIGHT: Final[tuple[Row, ...]] = (
    accepted("service", text, "Whose image and settings it runs with.", "service: web", schema={"type": "string"},
             required=True),
    accepted("command", commands.command, "What runs, through the image's entrypoint.",
             "command: [manage, migrate]", schema=_COMMAND, required=True),
    accepted("timeout_seconds", integer(1, 1800, "1 to 1,800 seconds"), "1 to 1,800; 300 if absent.",
             "timeout_seconds: 600", refused="timeout_seconds: 0", schema={"type": ["integer", "string"]}),
)  # fmt: skip

ROUTE: Final[tuple[Row, ...]] = (
    accepted("service", text, "A service of this file.", "service: web", schema={"type": "string"}, required=True),
    accepted("port", integer(1, 65535, "a port from 1 to 65535"), "The container's port.", "port: 3000",
             refused="port: 0", schema={"type": ["integer", "string"]}, required=True),
    accepted("mode", one_of("public", "private"), "Whether the world may reach it.", "mode: public",
             refused="mode: open", schema={"enum": ["public", "private"]}, required=True),
    accepted("host", route_rules.host, "A host name; without it the route gets one of its own.",
             "host: app.example.com", refused="host: '*.example.com'", schema={"type": "string"}),
    accepted("path", health.url_path, "A path; `/` if absent.", "path: /api", refused="path: api",
             schema={"type": "string", "pattern": "^/"}),
    accepted("health_path", health.url_path, "What the node asks for before it switches the route.",
             "health_path: /healthz", refused="health_path: healthz", schema={"type": "string", "pattern": "^/"}),
)  # fmt: skip

TOP: Final[tuple[Row, ...]] = (
    accepted("services", route_rules.services_of(SERVICE), "One to twenty services.",
             "services: {web: {image: 'registry.example/app:1', ports: ['3000']}}", refused="services: {}",
             schema={"type": "object"}, required=True),
    accepted("volumes", route_rules.volumes_of(VOLUME), "The volumes that services mount.", "volumes: {data: }",
             refused="volumes: {data: {driver: nfs}}", schema={"type": ["object", "null"]}),
    accepted("x-sam-routes", route_rules.routes_of(ROUTE), "Decides the routes of the services that it names.",
             "x-sam-routes: [{service: web, port: 3000, mode: public, host: app.example.com}]",
             refused="x-sam-routes: [{service: web, port: 3000}]", schema={"type": "array"}),
    accepted("x-sam-pre-flight", mapping(PRE_FLIGHT, "x-sam-pre-flight"),
             "A command that runs to completion with the new image before the switch.",
             "x-sam-pre-flight: {service: web, command: [manage, migrate]}",
             refused="x-sam-pre-flight: {service: nobody, command: [x]}", schema={"type": "object"}),
    accepted("x-sam-worker", boolean, "`true` if nothing of this app is reached from outside.", "x-sam-worker: true",
             refused='x-sam-worker: "yes"', schema={"type": "boolean"}),
    dropped("name", ignoring("compose.name", "The project's name is the environment's, not the file's.", "Remove it."),
            "Dropped: the environment names the project.", "name: shop", code="compose.name"),
    dropped("version", ignoring("compose.version", "The version has had no meaning for years.", "Remove it."),
            "Dropped: it has had no meaning for years.", 'version: "3.8"', code="compose.version"),
    rejected("networks", "All services of an environment share one private network.", "networks: {front: {}}",
             hint="Remove it; services reach each other by their names already.", code="compose.top_networks"),
    rejected("configs", "Files beside the Compose file do not come along.", "configs: {a: {file: ./a}}",
             hint="Put the file into the image.", code="compose.top_configs"),
    rejected("secrets", "Files beside the Compose file do not come along.", "secrets: {a: {file: ./a}}",
             hint="Set secrets in the environment, and refer to them under `environment`.",
             code="compose.top_secrets"),
    rejected("include", "Other files do not come along.", "include: [other.yaml]", hint="Write it out in this file.",
             code="compose.include"),
    rejected("models", "Models are not served by nodes.", "models: {small: {model: x}}",
             hint="Call a model over the network.", code="compose.top_models"),
)  # fmt: skip

document = mapping(TOP, "the document")
