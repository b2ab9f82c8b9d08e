#!/bin/bash
# Proves `make up EXIT=1` from nothing: a minimal Debian root with git, make and python3, made from this machine's own
# package source, with a network namespace and a Docker Engine of its own. Clones the checkout's HEAD into it, walks the
# path twice, and tells the times. Leaves nothing behind.
#   scripts/clean_root.sh [COMMAND...]     instead of the two walks, run COMMAND in the clone
#   PLAIN=1 scripts/clean_root.sh          in a bare chroot: its root is no mount point, and no control groups are mounted
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "clean_root: needs root, for debootstrap and namespaces" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -qq -y --no-install-recommends debootstrap >/dev/null

. /etc/os-release
suite=${SUITE:-$VERSION_CODENAME}
work=$(mktemp -d /var/tmp/sam-clean-root-XXXXXX)
root=$work/root
name=clean-$$ number=$(($$ % 200 + 20))

leave() {
    [ -z "${shell:-}" ] || kill -9 "$shell" 2>/dev/null || :
    [ -z "${shell:-}" ] || wait "$shell" 2>/dev/null || :
    ip link del "v$number" 2>/dev/null || :
    ip netns del "$name" 2>/dev/null || :
    iptables -t nat -D POSTROUTING -s "10.78.$number.0/24" -j MASQUERADE 2>/dev/null || :
    iptables -D FORWARD -i "v$number" -j ACCEPT 2>/dev/null || :
    iptables -D FORWARD -o "v$number" -j ACCEPT 2>/dev/null || :
    # Mounts of the namespace went with it; what is left must be none before anything is removed.
    if grep -q " $work" /proc/self/mountinfo; then
        echo "clean_root: something is still mounted below $work; left as it is" >&2
    else
        rm -rf --one-file-system "$work"
    fi
}
trap leave EXIT
trap 'exit 130' INT TERM HUP

uri=$(sed -n '/^URIs:/{s/^URIs: *//;s/ .*//;p;q}' $(grep -ls "^Suites:.*\b$suite\b" /etc/apt/sources.list.d/*.sources) /dev/null)
[ -n "$uri" ] || uri=$(sed -n "s/^deb \(\[.*\] \)\?\([^ ]*\) $suite .*/\2/p" /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | head -n 1)
[ -n "$uri" ] || { echo "clean_root: this machine has no package source of $suite" >&2; exit 1; }

began=$(date +%s)
echo "clean_root: making a minimal $suite in $root"
debootstrap --variant=minbase --include=git,make,python3 "$suite" "$root" "$uri" >"$work/debootstrap.log" 2>&1 || {
    tail -n 5 "$work/debootstrap.log" >&2
    exit 1
}
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
echo "clean_root: made in $(($(date +%s) - began)) s"

# What makes the package sources reachable is this machine's business, and lent: addresses, names and certificates.
cp /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$root/usr/local/share/ca-certificates"
find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$root/usr/local/share/ca-certificates/" \;
git clone -q --no-hardlinks . "$root/root/sam"

ip netns add "$name"
ip link add "v$number" type veth peer name eth0 netns "$name"
ip addr add "10.78.$number.1/24" dev "v$number" && ip link set "v$number" up
ip -n "$name" addr add "10.78.$number.2/24" dev eth0
ip -n "$name" link set lo up && ip -n "$name" link set eth0 up
ip -n "$name" route add default via "10.78.$number.1"
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || echo 1 >/proc/sys/net/ipv4/ip_forward
iptables -t nat -I POSTROUTING -s "10.78.$number.0/24" -j MASQUERADE
iptables -I FORWARD -i "v$number" -j ACCEPT
iptables -I FORWARD -o "v$number" -j ACCEPT

cat >"$root/root/prove.sh" <<'PROVE'
set -u
cd /root/sam
if [ $# -gt 0 ]; then exec "$@"; fi
for run in first second; do
    began=$(date +%s.%N)
    make up EXIT=1
    status=$?
    awk -v began="$began" -v ended="$(date +%s.%N)" -v run="$run" -v status="$status" \
        'BEGIN { printf "clean_root: %s run: exit %d after %.1f s\n", run, status, ended - began }'
    [ "$status" = 0 ] || exit "$status"
done
PROVE

# nsenter, not `ip netns exec`: that one remounts /sys and so hides the cgroups from dockerd.
nsenter --net="/run/netns/$name" unshare --mount --pid --uts --ipc --fork --kill-child -- /bin/sh -c '
    set -e
    plain=$1 root=$2
    shift 2
    mount --make-rprivate /
    [ -n "$plain" ] || mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    if [ -n "$plain" ]; then mount -t sysfs sysfs "$root/sys"; else mount --rbind /sys "$root/sys"; fi
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    hostname clean
    cd "$root"
    if [ -z "$plain" ]; then
        mkdir outside
        pivot_root . outside
        umount -l /outside
        rmdir /outside
    fi
    exec env -u PIP_FIND_LINKS -u DOCKER_HOST -u DATABASE_URL -u REDIS_URL HOME=/root \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        chroot . /bin/sh /root/prove.sh "$@"
' sh "${PLAIN:-}" "$root" "$@" </dev/null &
shell=$!
status=0
wait "$shell" || status=$?
shell=
exit "$status"
