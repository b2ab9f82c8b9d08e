#!/bin/sh
# Has on this machine what the plane is made of: says what it found, and installs by name what is missing, from the
# package sources that the machine is set up with. `--tests` adds what only tests need, `--machines` what builds and runs
# virtual machines. Nothing is started here.
set -u
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export DEBIAN_FRONTEND=noninteractive
wanted_besides=${1:-}
missing= packages=

# --- What is there. Each probe prints where it found its component, and is quick: this runs before every `make up`. ---

python() { scripts/find_python.sh; }
postgresql() {
    for home in /usr/lib/postgresql/*/bin; do
        [ -x "$home/initdb" ] && [ -x "$home/postgres" ] && found=$home
    done
    [ -n "${found:-}" ] && echo "$found" && return
    command -v initdb >/dev/null && command -v postgres
}
redis() { command -v redis-server; }
registry() { command -v docker-registry; }
haproxy_2_6() { at_least 2.6 "$(haproxy -v 2>/dev/null)" && command -v haproxy; }
network_tools() { command -v iptables >/dev/null && command -v ip; }
certificates() { [ -s /etc/ssl/certs/ca-certificates.crt ] && echo /etc/ssl/certs/ca-certificates.crt; }
static_busybox() {
    found=$(command -v busybox) || return
    # A dynamic program names its interpreter in its first page; in an image without a libc it would not start.
    head -c 4096 "$found" | grep -q ld-linux && return 1
    echo "$found"
}
docker_client() { command -v docker; }
docker_engine() {
    [ -n "${DOCKER_HOST:-}" ] && echo "$DOCKER_HOST, by DOCKER_HOST" && return
    command -v dockerd
}
docker_compose() {
    version=$(docker compose version --short 2>/dev/null) && at_least 2.24 "$version" && echo "version $version"
}
chromium_browser() { command -v chromium || command -v chromium-browser; }
cloud_init() { command -v cloud-init; }
shell_checker() { command -v shellcheck; }
emulator() { command -v qemu-img >/dev/null && command -v qemu-system-x86_64; }
seed_writer() { command -v genisoimage; }
bootstrapper() { command -v mmdebstrap; }

at_least() { # MAJOR.MINOR TEXT: whether the first version in the text is that or newer
    echo "$2" | head -n 1 | sed 's/[^0-9]*\([0-9][0-9]*\)\.\([0-9][0-9]*\).*/\1 \2/' | {
        read -r major minor || exit 1
        [ "$major" -gt "${1%.*}" ] || { [ "$major" -eq "${1%.*}" ] && [ "$minor" -ge "${1#*.}" ]; }
    } 2>/dev/null
}

# --- What it is called where. ---

. /etc/os-release
case ${ID:-} in
ubuntu) docker_packages="docker.io docker-compose-v2" ;;
*) docker_packages="docker.io docker-cli docker-buildx docker-compose" ;;
esac

components() { # PROBE PACKAGES: one per line
    echo "python python3 python3-venv"
    [ -n "${DATABASE_URL:-}" ] || echo "postgresql postgresql"
    [ -n "${REDIS_URL:-}" ] || echo "redis redis-server"
    echo "registry docker-registry"
    echo "haproxy_2_6 haproxy"
    echo "network_tools iproute2 iptables"
    echo "certificates ca-certificates"
    echo "static_busybox busybox-static"
    echo "docker_client $docker_packages"
    echo "docker_engine $docker_packages"
    echo "docker_compose $docker_packages"
    case $wanted_besides in
    --tests)
        echo "chromium_browser chromium"
        echo "cloud_init cloud-init"
        echo "shell_checker shellcheck"
        machines
        ;;
    --machines) machines ;;
    esac
}

machines() {
    echo "emulator qemu-system-x86 qemu-utils"
    echo "seed_writer genisoimage"
    [ "$wanted_besides" != --machines ] || echo "bootstrapper mmdebstrap e2fsprogs"
}

look() { # fills $missing (probes) and $packages; prints what was found, unless told `quietly`
    missing= packages=
    while read -r probe names; do
        if place=$($probe 2>/dev/null); then
            [ "${1:-}" = quietly ] || printf 'install: found %-17s %s\n' "$probe" "$place"
        else
            missing="$missing $probe" packages="$packages $names"
        fi
    done <<COMPONENTS
$(components)
COMPONENTS
}

# --- Debian 12 has no Compose v2 and an engine too old for it: these few packages come from Debian 13, and nothing else. ---

source_of() { # SUITE: the address of this machine's own source of that suite
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        awk -v suite="$1" '$1 == "deb" { sub(/\[[^]]*\]/, ""); if ($3 == suite) { print $2; exit } }'
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null |
        awk -v suite="$1" 'BEGIN { RS = "" } {
            uri = ""; has = 0; lines = split($0, line, "\n")
            for (i = 1; i <= lines; i++) {
                words = split(line[i], word, " ")
                if (word[1] == "URIs:") uri = word[2]
                if (word[1] == "Suites:") for (j = 2; j <= words; j++) if (word[j] == suite) has = 1
            }
            if (has && uri) { print uri; exit } }'
}

add_docker_source() {
    [ "${ID:-}/${VERSION_CODENAME:-}" = debian/bookworm ] || return 0
    case $packages in *docker.io*) ;; *) return 0 ;; esac
    [ -z "$(source_of trixie)" ] || return 0
    uri=$(source_of bookworm | head -n 1)
    [ -n "$uri" ] || { echo "install: this machine has no source of Debian 12's packages to derive Debian 13's from" >&2; return 1; }
    cat >/etc/apt/sources.list.d/docker-from-trixie.sources <<SOURCE
Types: deb
URIs: $uri
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCE
    cat >/etc/apt/preferences.d/docker-from-trixie <<PINS
Package: *
Pin: release n=trixie
Pin-Priority: -1

Package: $docker_packages
Pin: release n=trixie
Pin-Priority: 990
PINS
}

# --- Installing, with every service kept from starting: the plane runs its own, and the machine's choice stays its own. ---

keep_services_down() {
    [ -e /usr/sbin/policy-rc.d ] || {
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        ours="${ours:-} /usr/sbin/policy-rc.d"
    }
    clusters=/etc/postgresql-common/createcluster.d/no-cluster-for-sam.conf
    [ -d /etc/postgresql-common ] || {
        mkdir -p "${clusters%/*}" && echo "create_main_cluster = false" >"$clusters"
        ours="${ours:-} $clusters"
    }
    trap 'rm -f $ours' EXIT
    trap 'exit 130' INT TERM HUP
}

apt() { apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Languages=none -o Acquire::Retries=3 "$@" </dev/null; }

install() {
    log=$(mktemp)
    keep_services_down
    add_docker_source || return
    echo "install: apt-get update"
    apt update >"$log" 2>&1 || sed 's/^/install: apt-get: /' "$log" >&2   # one dead source need not be the one we need
    # shellcheck disable=SC2086 # a list of names
    set -- $(printf '%s\n' $packages | sort -u)
    echo "install: apt-get install $*"
    apt install --no-install-recommends "$@" >"$log" 2>&1 || { # then one by one, to have what can be had and to know what cannot
        for package in "$@"; do
            apt install --no-install-recommends "$package" >"$log" 2>&1 || sed "s/^/install: $package: /" "$log" | tail -n 5 >&2
        done
    }
    rm -f "$log"
}

cure() { # PROBE: what a person can do about it
    case $1 in
    python) echo "Python 3.11 or newer with venv; Debian 12, Debian 13 and Ubuntu 24.04 have it as python3 and python3-venv" ;;
    postgresql) echo "install the package postgresql, or name a running server in DATABASE_URL" ;;
    redis) echo "install the package redis-server, or name a running server in REDIS_URL" ;;
    haproxy_2_6) echo "HAProxy 2.6 or newer; install the package haproxy" ;;
    docker_engine) echo "install the package docker.io, or name a running engine in DOCKER_HOST" ;;
    docker_compose) echo "Compose 2.24 or newer as docker's plugin; install the package docker-compose (Ubuntu: docker-compose-v2)" ;;
    *) echo "install $(components | sed -n "s/^$1 //p")" ;;
    esac
}

look
[ -n "$missing" ] || exit 0
echo "install: missing:$missing"
if [ "$(id -u)" != 0 ]; then
    why="only root can install packages: run \`make install\` as root once"
elif ! command -v apt-get >/dev/null; then
    why="this machine has no apt-get, and no other way of installing is known here"
else
    install
    why="the machine's package sources did not give it (apt-get's words are above)"
    before=$missing
    look quietly
    for probe in $before; do
        case " $missing " in *" $probe "*) ;; *) printf 'install: installed %-13s %s\n' "$probe" "$($probe)" ;; esac
    done
fi
[ -n "$missing" ] || exit 0
for probe in $missing; do
    echo "install: cannot have $probe: $why. Cure: $(cure "$probe")." >&2
done
echo "install: nothing was started." >&2
exit 1
