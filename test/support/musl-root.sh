#!/bin/sh
# Makes a root in which a musl binary runs on Debian, which has no libstdc++ for musl: the loader of Debian's package `musl`,
# and a stand-in library linked from the archive of the compiler. For tests only: nothing can be caught in it.
#
#   test/support/musl-root.sh x64|arm64 BINARY DIRECTORY
#
# Needs nm and a g++ of that architecture. For arm64 it downloads Debian's musl through an apt of its own.
set -eu
architecture=$1 binary=$2 root=$3
here=$(dirname "$(readlink -f "$0")")
mkdir -p "$root/lib"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $architecture in
x64)
  compiler=gcc
  cp /lib/ld-musl-x86_64.so.1 "$root/lib/"
  libc=$root/lib/ld-musl-x86_64.so.1
  ;;
arm64)
  compiler=aarch64-linux-gnu-gcc
  apt="-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State=$work/state -o Dir::State::status=$work/status -o Dir::Cache=$work/cache -o APT::Sandbox::User=root"
  mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
  : >"$work/status"
  # shellcheck disable=SC2086
  (cd "$work" && apt-get -qq $apt update && apt-get -qq $apt download musl) >/dev/null
  dpkg-deb -x "$work"/musl_*.deb "$work/musl"
  libc=$root/lib/ld-musl-aarch64.so.1
  cp -L "$(find "$work/musl" -name 'libc.so' | head -n 1)" "$libc"
  ;;
*)
  echo "Cannot make a root for $architecture: there are x64 and arm64" >&2
  exit 2
  ;;
esac

# Whole archives would ask for far more of glibc than the binary asks of them.
nm -D --undefined-only "$binary" | awk '{ print $2 }' | sort -u >"$work/wanted"
nm -D --defined-only "$libc" | awk '{ print $3 }' | sort -u >"$work/present"
names=$(comm -23 "$work/wanted" "$work/present" | grep -E '^_ZN?K?S|^__cxa|^__once|^__dynamic' | grep -v thread_atexit_impl)
for name in $names _ZTVN10__cxxabiv121__vmi_class_type_infoE _ZTVN10__cxxabiv120__si_class_type_infoE _ZTVN10__cxxabiv117__class_type_infoE; do
  set -- "$@" "-Wl,-u,$name"
done
shift 3
place=$(dirname "$($compiler -print-file-name=libstdc++.a)")
gcc_place=$(dirname "$($compiler -print-file-name=libgcc.a)")
outline=''
[ "$architecture" = x64 ] || outline=-mno-outline-atomics
# shellcheck disable=SC2086
$compiler -O2 -fPIC -fno-builtin -fno-stack-protector -w $outline -c "$here/musl-cxx.c" -o "$work/cxx.o"
$compiler -shared -nostdlib -Wl,-soname,libstdc++.so.6 -o "$root/lib/libstdc++.so.6" \
  "$gcc_place/crtbeginS.o" "$work/cxx.o" "$@" \
  -Wl,--start-group "$place/libstdc++.a" "$gcc_place/libgcc.a" "$gcc_place/libgcc_eh.a" -Wl,--end-group "$gcc_place/crtendS.o"
