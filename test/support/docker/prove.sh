#!/usr/bin/env bash
# Proves the Docker path of the tests for real, also where no registry can be reached: makes an image with Debian's own
# Postgres and Redis, and runs the test suite on containers of it. Needs root on Debian or Ubuntu, and some minutes.
#
# usage: test/support/docker/prove.sh [arguments for vitest]
#
# Takes docker.io and debootstrap from apt where they are missing, and leaves them installed. A Docker engine that
# answers is used; otherwise one is started under a temporary directory, on a socket of its own, and stopped at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

image=lora-store-test-servers:prove
work=$(mktemp -d "${TMPDIR:-/tmp}/lora-store-prove-XXXXXX")
engine=
had_bridge=$(ip -o link show docker0 2>/dev/null || true)

stop_what_we_started() {
  docker rmi --force "$image" >/dev/null 2>&1 || true
  if [ -n "$engine" ]; then
    kill "$engine" 2>/dev/null && wait "$engine" || true
    [ -n "$had_bridge" ] || ip link delete docker0 2>/dev/null || true
  fi
  rm -rf --one-file-system "$work"
}
trap stop_what_we_started EXIT
trap 'exit 130' INT TERM

require() {
  command -v "$1" >/dev/null || apt-get install -y --no-install-recommends "$2"
}

# Without rules of its own in the host's firewall: its proxy processes carry the published ports, and nothing is left.
start_engine() {
  export DOCKER_HOST=unix://$work/docker.sock
  dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" \
    --iptables=false --ip-forward=false --ip-masq=false >"$work/dockerd.log" 2>&1 &
  engine=$!
  for _ in $(seq 100); do
    docker info >/dev/null 2>&1 && return
    sleep 0.3
  done
  tail -n 20 "$work/dockerd.log"
  return 1
}

echo "── tools"
require debootstrap debootstrap
require dockerd docker.io
docker info >/dev/null 2>&1 || start_engine
docker version --format 'engine {{.Server.Version}} at '"${DOCKER_HOST:-the default socket}"

echo "── image"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
debootstrap --variant=minbase --include=postgresql,redis-server "$release" "$work/root" >"$work/debootstrap.log" ||
  { tail -n 20 "$work/debootstrap.log"; exit 1; }
tar --directory "$work/root" --create . | docker import - "$image"
rm -rf "$work/root"
docker run --rm "$image" sh -c '/usr/lib/postgresql/*/bin/postgres --version; redis-server --version'

echo "── tests"
status=0
LORA_STORE_TEST_SERVERS=docker LORA_STORE_TEST_POSTGRES_IMAGE=$image LORA_STORE_TEST_REDIS_IMAGE=$image \
  TESTCONTAINERS_RYUK_DISABLED=true npx vitest run "$@" || status=$?
left=$(docker ps --all --quiet)
echo "containers left: ${left:-none}"
exit "$status"
