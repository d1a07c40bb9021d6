#!/bin/bash
# Carries out the steps of a Dockerfile without Docker: each stage in a root of its own (chroot), then the last one as a
# container would run it: its user, a read-only root, no capabilities, 64 KiB of /dev/shm, processes, mounts and network
# of its own.
#
#   test/docker-steps.sh [Dockerfile | Dockerfile.musl]      root on Debian, with debootstrap and curl; some minutes
#
# BASE=DIR keeps Debian's base system there for the next time. What is not exercised is said at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
file=${1:-Dockerfile}
repository=$PWD
work=$(mktemp -d)
leave() {
  # What is mounted in the roots must be gone before they are removed.
  mount | awk -v at="$work/" 'index($3, at) == 1 { print $3 }' | sort -r | while read -r place; do umount "$place"; done
  rm -rf --one-file-system "$work"
}
trap leave EXIT
for tool in debootstrap chroot unshare setpriv ip curl awk; do
  command -v "$tool" >/dev/null || { echo "SKIPPED: it needs $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "SKIPPED: it needs root" >&2; exit 2; }
missed=("pulling the base images: Debian's trixie and this project's Bun stand for them"
  "layers, caches and registries; docker compose; Docker's seccomp profile, which forbids io_uring")

base=${BASE:-$work/base}
[ -e "$base/etc/debian_version" ] || {
  echo "== debian:trixie-slim (debootstrap)"
  debootstrap --variant=minbase trixie "$base" >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; exit 1; }
}

# One instruction a line, without comments; lines that go on are joined.
steps=$(awk '/^[[:space:]]*#/ || /^[[:space:]]*$/ { next }
  { line = line $0; if (sub(/\\$/, "", line)) next; print line; line = "" }' "$file")
words_of() { tr -d '[]",' <<<"$1"; } # ["a", "b"] as words.

declare -A roots environment
stage='' root='' directory=/ user=root volume='' entry='' health='' signal=TERM is_alpine=no
mount_into() {
  mount -t proc proc "$1/proc"
  for device in null zero random urandom; do [ -e "$1/dev/$device" ] || cp -a "/dev/$device" "$1/dev/"; done
}
in_root() { # COMMAND, as a RUN line is run.
  local settings=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive)
  for name in "${!environment[@]}"; do settings+=("$name=${environment[$name]}"); done
  # The authorities that this machine trusts, where a network has one of its own.
  if [ -s "${NODE_EXTRA_CA_CERTS:-}" ] && [ "$is_alpine" = no ]; then
    cp "$NODE_EXTRA_CA_CERTS" "$root/tmp/authorities.pem"
    settings+=(NODE_EXTRA_CA_CERTS=/tmp/authorities.pem)
  fi
  env -i "${settings[@]}" chroot "$root" /bin/sh -c "cd '$directory' && $1"
}
alpine_root() { # Debian has no Alpine: a shell, musl's loader and a stand-in for its libstdc++.
  apt-get download -qq busybox-static >/dev/null && dpkg-deb -x busybox-static_*.deb "$1"
  mkdir -p "$1"/{proc,dev,tmp,etc,lib,usr/local/bin,usr/sbin,root}
  for tool in sh cat grep mkdir chown chmod; do ln -sf /bin/busybox "$1/bin/$tool"; done
  printf 'root:x:0:0:root:/root:/bin/sh\n' >"$1/etc/passwd"
  printf 'root:x:0:\n' >"$1/etc/group"
  : >"$1/etc/shadow"
  printf '#!/bin/sh\necho "apk $*: not exercised"\n' >"$1/bin/apk"
  # With the options that the file uses: addgroup -S -g ID NAME, adduser -S -D -H -h HOME -u ID -G GROUP NAME,
  # install -d -o USER -g GROUP -m MODE DIRECTORY.
  printf '#!/bin/sh\necho "$4:x:$3:" >>/etc/group\n' >"$1/bin/addgroup"
  printf '#!/bin/sh\necho "${10}:x:$7:$7::$5:/sbin/nologin" >>/etc/passwd\n' >"$1/bin/adduser"
  printf '#!/bin/sh\nmkdir -p "$8" && chown "$3:$5" "$8" && chmod "$7" "$8"\n' >"$1/bin/install"
  chmod +x "$1"/bin/{apk,addgroup,adduser,install}
}

while read -r step rest; do
  echo "== $step $rest"
  case $step in
  FROM)
    stage=$(awk '{ print tolower($2) == "as" ? $3 : "last" }' <<<"$rest")
    root=$work/$stage directory=/ user=root environment=()
    roots[$stage]=$root
    mkdir "$root"
    case $rest in
    alpine:*)
      is_alpine=yes
      (cd "$work" && alpine_root "$root" 2>/dev/null)
      missed+=("Alpine: apk, addgroup, adduser and install have stand-ins here, and so has its libstdc++")
      ;;
    oven/bun:*-debian*) cp -a "$base/." "$root"; cp -L node_modules/bun/bin/bun.exe "$root/usr/local/bin/bun"; cp /etc/resolv.conf "$root/etc/" ;;
    debian:trixie*) cp -a "$base/." "$root" ;;
    *) echo "No root stands for $rest"; exit 1 ;;
    esac
    mount_into "$root"
    ;;
  WORKDIR) directory=$rest; mkdir -p "$root$rest" ;;
  ARG) [ "$rest" != AYDER_COMMIT ] || environment[AYDER_COMMIT]=$(git rev-parse --short=12 HEAD) ;;
  ENV) for pair in $rest; do environment[${pair%%=*}]=${pair#*=}; done ;;
  LABEL) ;;
  COPY)
    from=$repository words=($rest)
    case ${words[0]} in --from=*) from=${roots[${words[0]#--from=}]}; words=("${words[@]:1}") ;; esac
    to=${words[-1]}
    case $to in /*) to=$root$to ;; *) to=$root$directory/$to ;; esac
    for word in "${words[@]:0:${#words[@]}-1}"; do
      # What .dockerignore keeps out cannot be copied either.
      if [ "$from" = "$repository" ] && ! grep -qxF "!$word" .dockerignore; then echo "$word is kept out by .dockerignore"; exit 1; fi
      # A folder's content, not the folder, as Docker has it; nothing that is not in the repository.
      if [ -d "$from/$word" ]; then mkdir -p "$to" && git ls-files -z "$word" | (cd "$from/$word" && sed -z "s#^$word/##" | xargs -0 cp --parents -t "$to")
      else cp "$from/${word#/}" "$to"; fi
    done
    ;;
  RUN) in_root "$rest" >"$work/run.log" 2>&1 || { tail -n 20 "$work/run.log"; exit 1; } ;;
  USER) user=$rest ;;
  VOLUME) volume=$rest ;;
  EXPOSE) port=$rest ;;
  STOPSIGNAL) signal=${rest#SIG} ;;
  HEALTHCHECK) health=$(words_of "${rest#*CMD }") ;;
  ENTRYPOINT) entry=$(words_of "$rest") ;;
  *) echo "This script does not know $step"; exit 1 ;;
  esac
done <<<"$steps"
if [ $is_alpine = yes ]; then
  sh test/support/musl-root.sh x64 "$root/usr/local/bin/ayder" "$work/musl" && cp "$work"/musl/lib/* "$root/lib/"
fi

echo "== as a container"
owner=$(chroot "$root" /bin/sh -c "grep '^$user:' /etc/passwd" | cut -d: -f3-4)
[ -n "$owner" ] && [ "${owner%%:*}" != 0 ] || { echo "USER $user is root, or nobody"; exit 1; }
[ "$(stat -c '%u:%g %a' "$root$volume")" = "$owner 700" ] || { echo "$volume is not $user's alone"; exit 1; }
mkdir -p "$work/volume" "$root/dev/shm"
umount "$root/proc"
settings=(PATH=/usr/local/bin:/usr/bin:/bin)
for name in "${!environment[@]}"; do settings+=("$name=${environment[$name]}"); done
# A process as the image says that it is started.
contained() {
  exec setpriv --no-new-privs env -i "${settings[@]}" /usr/sbin/chroot --groups= --userspec="$owner" "$root" "$@"
}
ask() { curl -fsS --max-time 10 -H 'Authorization: Bearer dev' "$@"; }
start() { (contained $entry) >>"$work/node.log" 2>&1 & node=$!; healthy; }
healthy() {
  for _ in $(seq 100); do
    if (contained $health) >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  tail -n 3 "$work/node.log"
  exit 1
}
wrong() { echo "$1"; exit 1; }
container() {
  ip link set lo up
  mount --bind "$root$volume" "$work/volume"
  mount --bind "$root" "$root"
  mount -o remount,ro,bind "$root"
  mount --bind "$work/volume" "$root$volume"
  mount -t proc proc "$root/proc"
  mount -t tmpfs -o size=64k tmpfs "$root/dev/shm"
  local url=http://127.0.0.1:$port

  start
  if (contained /bin/sh -c 'echo x >/written') 2>/dev/null; then wrong "the root can be written to"; fi
  grep -q '^CapEff:[[:space:]]*0*$' "/proc/$node/status" || wrong "it has capabilities"
  [ "$(awk '/^Uid:/ { print $2 }' "/proc/$node/status")" = "${owner%%:*}" ] || wrong "it is not $user"
  ask "$url/broker/topics" -d '{"name":"t","partitions":1}' >/dev/null
  ask "$url/broker/topics/t/produce" -d kept
  echo
  kill -KILL "$node"
  wait "$node" || true
  start
  ask "$url/broker/consume/t/g/0?offset=0" | grep -q '"value":"kept"' || wrong "the record is gone"
  kill "-$signal" "$node"
  wait "$node" || wrong "SIG$signal: status $?"
  if (contained $health) >/dev/null 2>&1; then wrong "healthy without a node"; fi
  (contained $entry version --verbose)
}
export -f contained ask start healthy wrong container
export work root volume entry health signal user owner port
declare -p settings >"$work/settings"
unshare --mount --pid --net --ipc --fork --mount-proc bash -euo pipefail -c 'source "$work/settings"; container'

for what in "${missed[@]}"; do echo "not exercised: $what"; done
echo "$file: ALL STEPS GOOD"
