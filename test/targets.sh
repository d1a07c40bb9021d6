#!/bin/sh
# Starts each binary of dist/ as its own kind of machine would, and holds it to a short end-to-end check over HTTP: start,
# write, read, SIGKILL, start again, read again; then test/smoke.sh.
#
#   test/targets.sh [TARGET...]      linux-x64 linux-x64-musl linux-arm64 linux-arm64-musl; left out: those in dist/
#
# On Debian, x64. The musl binary runs under Debian's musl loader, arm64 ones under qemu-user, which has no io_uring: there
# the node must say so and write through its worker. What this machine lacks is said, and that target skipped.
# SMOKE=0 leaves test/smoke.sh out; SECONDS_MAX (120) bounds it.
set -u
cd "$(dirname "$0")/.." || exit 1
SMOKE=${SMOKE:-1} SECONDS_MAX=${SECONDS_MAX:-120}
CROSS=/usr/aarch64-linux-gnu
work=$(mktemp -d)
node=''
leave() {
  [ -z "$node" ] || { kill -KILL "$node" 2>/dev/null; wait "$node" 2>/dev/null; }
  rm -rf "$work"
}
trap leave EXIT
trap 'exit 130' INT TERM
command -v curl >/dev/null || { echo "Cannot run without curl" >&2; exit 2; }

# How a target is run here: sets $run, or says in $lacking what is missing.
way_of() {
  lacking='' run=$PWD/dist/ayder-$1
  [ -x "$run" ] || { lacking="it is not built: bun build.ts --target $1"; return; }
  case $1 in
  *musl*)
    architecture=${1#linux-} architecture=${architecture%-musl}
    case $architecture in
    x64) needs='gcc nm'; [ -e /lib/ld-musl-x86_64.so.1 ] || lacking='the package musl' ;;
    *) needs='aarch64-linux-gnu-gcc nm apt-get dpkg-deb' ;;
    esac
    for tool in $needs; do command -v "$tool" >/dev/null || lacking="$lacking $tool"; done
    [ -z "$lacking" ] || return
    root=$work/root-$architecture
    sh test/support/musl-root.sh "$architecture" "$run" "$root" >"$work/root.log" 2>&1 ||
      { lacking="a root for musl: $(tail -n 1 "$work/root.log")"; return; }
    case $architecture in
    x64) run="LD_LIBRARY_PATH=$root/lib $run" ;;
    *) run="qemu-aarch64-static -L $root $run" ;;
    esac
    ;;
  *arm64) run="qemu-aarch64-static -L $CROSS $run"; [ -e $CROSS/lib/ld-linux-aarch64.so.1 ] || lacking='libc6-arm64-cross' ;;
  esac
  case $run in qemu*) command -v qemu-aarch64-static >/dev/null || lacking="$lacking qemu-user-static" ;; esac
}

free_port() { # One that nobody listens on, from the number of this process on.
  port=$((20000 + $$ % 9000))
  while curl -s -o /dev/null --max-time 1 "http://127.0.0.1:$port/"; do port=$((port + 1)); done
}
milliseconds() { date +%s%3N; }
start() { # Sets $started_ms.
  from=$(milliseconds)
  sh -c "exec env $run --port $port --data '$data'" >>"$work/log" 2>&1 &
  node=$!
  until curl -fs -o /dev/null "$url/ready"; do
    kill -0 "$node" 2>/dev/null || { tail -n 3 "$work/log"; return 1; }
    [ $(($(milliseconds) - from)) -lt 30000 ] || { echo "not ready in 30 s"; return 1; }
    sleep 0.01
  done
  started_ms=$(($(milliseconds) - from))
}
ask() { curl -fsS --max-time 20 -H 'Authorization: Bearer dev' "$@"; }

check() { # TARGET
  data=$work/data-$1 url=http://127.0.0.1:$port
  : >"$work/log"
  facts=$(sh -c "exec env $run version --verbose --json") || return 1
  echo "  $facts"
  case $facts in *"\"target\":\"$1\""*) ;; *) echo "it calls itself another target"; return 1 ;; esac
  start || return 1
  first_ms=$started_ms
  case $run in qemu*) wanted='"kind":"worker"' ;; *) wanted='"kind":"' ;; esac
  grep -q "\"event\":\"disk\",$wanted" "$work/log" || { echo "no line says $wanted"; return 1; }
  ask "$url/broker/topics" -d '{"name":"t","partitions":1}' >/dev/null || return 1
  for i in 1 2 3 4 5 6 7 8 9 10; do
    ask "$url/broker/topics/t/produce?partition=0" -d "record $i" >"$work/reply" || return 1
    grep -q '"synced":true' "$work/reply" || { cat "$work/reply"; return 1; }
  done
  ask "$url/broker/consume/t/g/0?offset=0" >"$work/before" || return 1
  kill -KILL "$node"
  wait "$node" 2>/dev/null
  start || return 1
  ask "$url/broker/consume/t/g/0?offset=0" >"$work/after" || return 1
  cmp "$work/before" "$work/after" || return 1
  grep -q '"value":"record 10"' "$work/after" || { cat "$work/after"; return 1; }
  sh -c "exec env $run healthcheck --port $port" >/dev/null || { echo "it calls itself ill"; return 1; }
  kill -TERM "$node"
  wait "$node" || { echo "SIGTERM: status $?"; return 1; }
  node=''
  echo "  ready in $first_ms ms, again in $started_ms ms after SIGKILL; $(du -L "dist/ayder-$1" --block-size=1MB | cut -f 1) MB"
  [ "$SMOKE" = 1 ] || return 0
  [ -f test/smoke.sh ] && command -v jq >/dev/null || { echo "  no smoke test: it needs test/smoke.sh and jq"; return 0; }
  from=$(milliseconds)
  START="$run --port $port --data '$data-smoke'" ROUNDS=${ROUNDS:-1} RECORDS=${RECORDS:-100} \
    timeout "$SECONDS_MAX" sh test/smoke.sh "$url" >"$work/smoke" 2>&1 ||
    { grep -v '^ok ' "$work/smoke"; return 1; }
  echo "  $(tail -n 1 "$work/smoke"), $(grep -c '^ok ' "$work/smoke") checks in $((($(milliseconds) - from) / 1000)) s"
}

targets=$*
if [ -z "$targets" ]; then
  for path in dist/ayder-linux-*; do [ -x "$path" ] && targets="$targets ${path#dist/ayder-}"; done
fi
failed=0
for target in $targets; do
  echo "$target"
  way_of "$target"
  if [ -n "$lacking" ]; then
    echo "  SKIPPED: $lacking"
    continue
  fi
  free_port
  if check "$target"; then echo "  good"; else
    failed=$((failed + 1))
    [ -z "$node" ] || { kill -KILL "$node" 2>/dev/null; wait "$node" 2>/dev/null; }
    echo "  FAILED"
  fi
  node=''
done
if [ $failed -eq 0 ]; then echo "TARGETS: ALL GOOD"; else
  echo "TARGETS: $failed FAILED"
  exit 1
fi
