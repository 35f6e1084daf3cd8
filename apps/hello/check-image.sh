#!/bin/sh
# check-image.sh PROGRAM: builds the container's image without a Docker daemon and runs what is in it. To be run as root in the
# repository's root; needs mmdebstrap, buildah and curl. PROGRAM is a built `hello` that runs on Debian 13.
#
# The base image is made by mmdebstrap, with a `cargo` in it that hands out PROGRAM instead of building it; everything else is the
# Dockerfile as it stands. What runs in the end is the image's root file system, as the image's user, by the image's command.
set -eu
program=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
buildah="buildah --root $work/storage --runroot $work/run"

echo "== base: Debian 13 and a cargo that hands out $program"
mmdebstrap --quiet --variant=essential --include=ca-certificates trixie "$work/base"
install -m 755 "$program" "$work/base/opt/hello"
cat > "$work/base/usr/bin/cargo" <<'CARGO'
#!/bin/sh
mkdir -p target/release && cp /opt/hello target/release/hello
CARGO
chmod 755 "$work/base/usr/bin/cargo"
base=$($buildah from scratch)
$buildah add --quiet "$base" "$work/base" / > /dev/null
$buildah commit --quiet "$base" docker.io/library/rust:1.95-slim-trixie > /dev/null

echo "== image: apps/hello/Dockerfile"
$buildah bud --quiet --pull-never --format docker --ignorefile apps/hello/Dockerfile.dockerignore \
    -f apps/hello/Dockerfile -t hello . > /dev/null
$buildah inspect --type image hello > "$work/image.json"
grep -q '"/hello",' "$work/image.json" || { echo "the image has no entry point"; exit 1; }
container=$($buildah from --pull-never hello)
root=$($buildah mount "$container")
echo "size: $(du -sh --apparent-size "$root" | cut -f1), files: $(find "$root" -type f | wc -l)"
find "$root" -type f -printf '  %m %U %P\n'
[ -z "$(find "$root" -perm /6000)" ] || { echo "a file is setuid"; exit 1; }

echo "== run, as user 65532 on port 80"
before=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
mkdir -p "$root/dev"
touch "$root/dev/null" "$root/dev/urandom"
mount --bind /dev/null "$root/dev/null"
mount --bind /dev/urandom "$root/dev/urandom"
start() {
    # The image has no `env`: what it sets is set out here.
    (cd / && EVERSTEP_DATA=/data ENV=local-docker WEBSITE_HOSTNAME=${1:-} exec chroot --userspec=65532:65532 "$root" \
        /hello --script-root /app --address 0.0.0.0 --port 80 --drain 8 > "$work/out" 2> "$work/err") &
    pid=$!
    until curl -sf http://127.0.0.1/health/ready > /dev/null; do
        kill -0 "$pid" || { cat "$work/out" "$work/err"; exit 1; }
    done
}
stop() {
    kill -TERM "$pid"
    wait "$pid"
    echo "ended by SIGTERM with $?"
}
finish() {
    kill "$pid" 2> /dev/null || true
    umount "$root/dev/null" "$root/dev/urandom"
    echo "$before" > /proc/sys/net/ipv4/ip_unprivileged_port_start
    $buildah umount "$container" > /dev/null
    rm -rf "$work"
}
trap finish EXIT
url=http://127.0.0.1/api/orchestrators/hello_orchestrator

start host.docker.internal:8080
echo "user: $(grep '^Uid' "/proc/$pid/status")"
echo "health: $(chroot --userspec=65532:65532 "$root" /hello --health http://127.0.0.1 2>&1)"
answer=$(curl -s "$url")
echo "$answer" | grep -q '"statusQueryGetUri":"http://host.docker.internal:8080/runtime' || { echo "links: $answer"; exit 1; }
stop

start
answer=$(curl -s -H 'Host: hello.example:8081' "$url")
echo "$answer" | grep -q '"statusQueryGetUri":"http://hello.example:8081/runtime' || { echo "links: $answer"; exit 1; }
answer=$(curl -s "$url")
status=$(echo "$answer" | sed 's/.*"statusQueryGetUri":"\([^"]*\)".*/\1/')
curl -s "$status&wait=30s"
echo
kill -KILL "$pid"
wait "$pid" || true

start
echo "after a kill: $(curl -s "$status")"
stop
if chroot --userspec=65532:65532 "$root" /hello --health http://127.0.0.1; then echo "well without a host"; exit 1; fi
echo "== all is well"
