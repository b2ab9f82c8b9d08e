#!/bin/sh
# Makes this machine a node, in named phases, each told to the control plane: until the last there is no agent to do so.
# sam-boot.service runs it until it has succeeded once. Every phase may be run again after any interruption.
set -eu
umask 077
HERE=${SAM_BOOT_DIR:-/var/lib/sam-boot}
STATE=${SAM_STATE_DIR:-/var/lib/sam}
AGENT=/opt/sam-agent
LOG=$HERE/log
PHASES="network packages agent metadata units enrol"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
# shellcheck source=/dev/null
. "$HERE/settings"

# --- Telling. The token is in a header file: arguments are for everybody on the machine to read. ---

call() { # PATH [CURL OPTIONS]
    path=$1
    shift
    if [ -f "$HERE/control-ca.pem" ]; then set -- --cacert "$HERE/control-ca.pem" "$@"; fi
    curl --silent --show-error --fail --max-time 60 --header "@$HERE/authorization" "$@" "$CONTROL_URL/api/node/v1/$path"
}

report() { # N REPORTS (JSON objects, with commas between them)
    printf '{"reports": [%s]}' "$2" >"$HERE/report-$1"
    call boot --retry 5 --retry-connrefused --retry-max-time 60 --output /dev/null \
        --header 'Content-Type: application/json' --data-binary "@$HERE/report-$1"
}

state() { # PHASE STATE [LOG TAIL AS JSON TEXT]
    printf '{"at": %s, "phase": "%s", "state": "%s", "log_tail": "%s"}' "$(date +%s%3N)" "$1" "$2" "${3:-}"
}

tail_as_json() {
    tail -c 4000 "$LOG" | sed -e 's/\t/ /g' -e 's/[^[:print:]]/?/g' -e 's/\\/\\\\/g' -e 's/"/\\"/g' | awk '{ printf "%s\\n", $0 }'
}

# --- The phases. Each is a process of its own (`boot.sh PHASE`), in which the first command that fails ends it. ---

network() { # the first report is the question whether the control plane can be reached
    has curl || { apt-get -qq update && apt-get -qq -y install --no-install-recommends curl ca-certificates; }
    tries=0
    until report 1 "$(state network begin)"; do
        tries=$((tries + 1))
        [ "$tries" -lt 24 ] || { echo "$CONTROL_URL does not answer this machine" && return 1; }
        sleep 5
    done
}

has() { command -v "$1" >/dev/null 2>&1; }
has_compose() { # asking Docker itself starts a program of 40 MB
    for home in /usr/libexec /usr/lib /usr/local/libexec /usr/local/lib; do
        [ ! -x "$home/docker/cli-plugins/docker-compose" ] || return 0
    done
    return 1
}
has_module() { [ -d "/usr/lib/python3/dist-packages/$1" ]; }
lacks_apparmor() { # where the kernel has it on, no container starts without its parser
    grep -q Y /sys/module/apparmor/parameters/enabled 2>/dev/null && ! has apparmor_parser
}

missing_packages() {
    case $ID in ubuntu) docker="docker.io docker-compose-v2" ;; *) docker="docker.io docker-cli docker-buildx docker-compose" ;; esac
    if ! has dockerd || ! has docker || ! has_compose; then printf ' %s' "$docker"; fi
    has haproxy || printf ' haproxy'
    has_module nacl || printf ' python3-nacl'
    has_module yaml || printf ' python3-yaml'
    has iptables || printf ' iptables'
    { has mkfs.ext4 && has resize2fs; } || printf ' e2fsprogs'
    ! lacks_apparmor || printf ' apparmor'
}

source_of_bookworm() { # the address of this machine's own source of Debian 12; its code name is known after an update
    # shellcheck disable=SC2016 # apt-get's own names
    apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(RELEASE) $(CODENAME)' 'Created-By: Packages' |
        awk '$2 == "main" && ($3 == "bookworm" || $4 == "bookworm") { print $1; exit }'
}

add_docker_source() { # Debian 12 has no Compose v2 of its own: these few packages come from Debian 13, and nothing else
    [ "$ID/${VERSION_CODENAME:-}" = debian/bookworm ] || return 0
    case $packages in *docker.io*) ;; *) return 0 ;; esac
    address=$(source_of_bookworm)
    [ -n "$address" ] || { $apt update && address=$(source_of_bookworm); }
    [ -n "$address" ] || { echo "this machine has no source of Debian 12 to derive that of Debian 13 from" && return 1; }
    cat >/etc/apt/sources.list.d/docker-from-trixie.sources <<SOURCE
Types: deb
URIs: $address
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCE
    cat >/etc/apt/preferences.d/docker-from-trixie <<PINS
Package: *
Pin: release n=trixie
Pin-Priority: -1

Package: docker.io docker-cli docker-buildx docker-compose
Pin: release n=trixie
Pin-Priority: 990
PINS
    chmod 644 /etc/apt/sources.list.d/docker-from-trixie.sources /etc/apt/preferences.d/docker-from-trixie
}

packages() {
    # shellcheck source=/dev/null
    . /etc/os-release
    packages=$(missing_packages)
    [ -n "$packages" ] || { echo "nothing is missing" && return 0; }
    echo "missing:$packages"
    apt="apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Languages=none -o Acquire::Retries=3"
    add_docker_source
    $apt update
    # shellcheck disable=SC2086 # lists of words
    $apt install --no-install-recommends $packages
}

agent() {
    place=$AGENT/$AGENT_SHA256
    if [ ! -d "$place" ]; then
        call "agent/$AGENT_SHA256.tar.gz" --retry 5 --retry-connrefused --output "$HERE/agent.tar.gz"
        echo "$AGENT_SHA256  $HERE/agent.tar.gz" | sha256sum --check --quiet
        install -d -m 755 "$AGENT"
        rm -rf "$place.new"
        mkdir -m 755 "$place.new"
        tar -xzf "$HERE/agent.tar.gz" -C "$place.new" --no-same-owner
        mv "$place.new" "$place"
    fi
    ln -sfn "$place" "$AGENT/current"
    cat >/usr/local/bin/sam-node-agent <<'COMMAND'
#!/bin/sh
export PYTHONPATH=/opt/sam-agent/current
exec /usr/bin/python3 -m nodeagent "$@"
COMMAND
    chmod 755 /usr/local/bin/sam-node-agent
}

metadata() { # containers must not read the cloud's metadata service: this machine's user data, and more, is there
    cat >/usr/local/sbin/sam-metadata-guard <<'GUARD'
#!/bin/sh
# Refuses containers the link-local addresses: 169.254.169.254 and its like answer whoever asks from this machine.
# Names are resolved there by some clouds (port 53), which tells nothing. Docker keeps what stands in its chain.
set -eu
iptables -N DOCKER-USER 2>/dev/null || true
for rule in "-d 169.254.0.0/16 -j REJECT" "-d 169.254.0.0/16 -p tcp --dport 53 -j RETURN" \
    "-d 169.254.0.0/16 -p udp --dport 53 -j RETURN"; do
    # shellcheck disable=SC2086 # a list of words
    iptables -C DOCKER-USER $rule 2>/dev/null || iptables -I DOCKER-USER $rule
done
GUARD
    chmod 755 /usr/local/sbin/sam-metadata-guard
    cat >/etc/systemd/system/sam-metadata-guard.service <<'UNIT'
[Unit]
Description=Refuses containers the metadata service of the cloud
DefaultDependencies=no
After=local-fs.target
# Before the first container of a boot can ask.
Before=docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/sam-metadata-guard

[Install]
WantedBy=docker.service multi-user.target
UNIT
    chmod 644 /etc/systemd/system/sam-metadata-guard.service
    systemctl enable --no-reload sam-metadata-guard.service
    # Not by its unit: that comes before Docker, which runs already, and its chain with it.
    /usr/local/sbin/sam-metadata-guard
}

of_metadata() { # NAME: what the cloud's metadata says, as cloud-init has it
    sed -n "s/^ *\"$1\": \"\\([A-Za-z0-9.:-]*\\)\".*/\\1/p" /run/cloud-init/instance-data.json 2>/dev/null | head -n 1
}

units() {
    install -d -m 755 /etc/sam
    install -d -m 700 "$STATE"
    if [ -f "$HERE/registry-ca.pem" ]; then
        install -d -m 755 "/etc/docker/certs.d/$REGISTRY_HOST"
        install -m 644 "$HERE/registry-ca.pem" "/etc/docker/certs.d/$REGISTRY_HOST/ca.crt"
    fi
    # Behind a cloud's address translation the machine itself does not have the address that people use.
    address=$(of_metadata public-ipv4)
    [ -n "$address" ] || address=$(ip -4 route get 192.0.2.1 | sed -n 's/.* src \([0-9.]*\).*/\1/p')
    ports=$(of_metadata sam-proxy-ports)
    cat >/etc/sam/node.env <<SETTINGS
PYTHONPATH=$AGENT/current
SAM_NODE_ROLE=$NODE_ROLE
SAM_NODE_ENVIRONMENT=$NODE_ENVIRONMENT
SAM_AGENT_STATE_DIR=$STATE
SAM_AGENT_PROXY_DIR=$STATE/proxy
SAM_AGENT_PROXY_PORTS=${ports:-20000-20127}
SAM_AGENT_PUBLIC_ADDRESS=$address
SETTINGS
    cat >/etc/systemd/system/sam-proxy.service <<'UNIT'
[Unit]
Description=Route proxy of the apps on this node
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
EnvironmentFile=/etc/sam/node.env
ExecStartPre=/usr/bin/python3 -m nodeagent.routes init --proxy-dir ${SAM_AGENT_PROXY_DIR} --ports ${SAM_AGENT_PROXY_PORTS} --public ${SAM_AGENT_PUBLIC_ADDRESS}
ExecStart=/usr/bin/python3 -m nodeagent.routes serve --proxy-dir ${SAM_AGENT_PROXY_DIR}
Restart=always
RestartSec=1
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
UNIT
    cat >/etc/systemd/system/sam-agent.service <<'UNIT'
[Unit]
Description=SAM node agent
After=network-online.target docker.service sam-proxy.service
Wants=network-online.target docker.service sam-proxy.service
StartLimitIntervalSec=0

[Service]
EnvironmentFile=/etc/sam/node.env
ExecStart=/usr/local/bin/sam-node-agent run
Restart=always
RestartSec=1
# What it started for an apply ends by itself or is taken up again; containers are not its children.
KillMode=mixed
TimeoutStopSec=10

[Install]
WantedBy=multi-user.target
UNIT
    chmod 644 /etc/systemd/system/sam-proxy.service /etc/systemd/system/sam-agent.service
    # The distribution's own haproxy would serve nothing, on a configuration that nobody looks at.
    ! systemctl is-active --quiet haproxy.service || systemctl disable --now haproxy.service
    # New units need no reload, which takes seconds on a small machine.
    systemctl enable --no-reload sam-proxy.service sam-agent.service
    systemctl start --no-block docker.service sam-proxy.service
}

enrol() {
    if [ -f "$HERE/enrolment.json" ]; then
        mv "$HERE/enrolment.json" "$STATE/enrolment.json"
        sync -f "$STATE"
    fi
    # Quicker than the agent's own start, and what goes wrong is told.
    sam-node-agent enrol --state-dir "$STATE"
}

finish() { # cloud-init reads its own copies until its last stage is over: they go after that
    systemctl start --no-block sam-agent.service
    systemd-run --no-block --collect --unit=sam-tidy --property=Type=oneshot --property=After=cloud-final.service \
        /bin/sh "$HERE/boot.sh" tidy || true
}

tidy() { # nothing stays that was made for the boot alone, the copies that cloud-init keeps of it included
    for copy in user-data.txt user-data.txt.i cloud-config.txt scripts/runcmd obj.pkl; do
        rm -f "/var/lib/cloud/instance/$copy"
    done
    rm -f /run/cloud-init/instance-data-sensitive.json /etc/systemd/system/sam-boot.service
    mv "$LOG" /var/log/sam-boot.log
    rm -rf "$HERE"
}

boot() {
    exec >>"$LOG" 2>&1
    if [ -f "$STATE/identity/node.json" ]; then # a power cut came between enrolment and the end of this
        finish
        return
    fi
    n=1 before=
    for phase in $PHASES; do
        echo "--- $phase, $(date -u +%FT%TZ)"
        if [ "$phase" != network ]; then
            n=$((n + 1))
            report "$n" "$before$(state "$phase" begin)" &
        fi
        if sh -eu "$0" "$phase"; then
            before="$(state "$phase" end), "
        elif [ "$phase" = metadata ]; then # hardening: told, and no reason to have no node
            before="$(state "$phase" failed "$(tail_as_json)"), "
        else
            report $((n + 1)) "$(state "$phase" failed "$(tail_as_json)")" || true
            wait
            return 1
        fi
    done
    wait
    finish
}

"${1:-boot}"
