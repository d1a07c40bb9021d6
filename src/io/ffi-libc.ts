// The calls of libc that Bun has no function for: locks, memory files, socket pairs, socket options. Works on glibc and musl.
// Only the `ffi-` files of this room import bun:ffi.

import { dlopen, type Pointer, ptr, read } from "bun:ffi";

/** musl's loader answers for the first name too; the second is its own, for a loader that would not. */
const LIBRARY_NAMES = [
  "libc.so.6",
  `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`,
];

const SYMBOLS = {
  flock: { args: ["i32", "i32"], returns: "i32" },
  memfd_create: { args: ["ptr", "u32"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  socketpair: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

// Linux has the same values on x64 and arm64.
const LOCK_EX_NB = 2 | 4;
const MFD_CLOEXEC = 1;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM_CLOEXEC_NONBLOCK = 1 | 0o200_0000 | 0o4000;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SO_DETACH_FILTER = 27;
const SO_ACCEPTCONN = 30;
/** A classic BPF program of one instruction, `ret 0`: keep no byte of any packet (socket(7), bpf/README of the kernel). */
const DROP_ALL = [0x06, 0, 0, 0, 0, 0, 0, 0];

/** libc, as far as this room needs it. Each call gives a descriptor or 0, or the negated error number. */
export interface Libc {
  /** Locks an open file for this process alone, without waiting; the kernel unlocks when the process ends. */
  lockExclusive(descriptor: number): number;
  /** Makes a file that lives in memory only. */
  createMemoryFile(name: string): number;
  /** Makes two connected, non-blocking sockets; their descriptors are written into `pair`. */
  connectPair(pair: Int32Array): number;
  /** The port on which a descriptor listens for connections; 0 when it is something else. */
  listeningPort(descriptor: number): number;
  /**
   * Makes the kernel drop whatever is sent to a listening socket, or hear it again. Who wants to connect tries again by
   * itself; what is connected has a socket of its own and is not concerned.
   */
  dropIncoming(descriptor: number, isDropped: boolean): number;
}

/**
 * Loads libc.
 * @throws Error when this process cannot call C at all.
 */
export function loadLibc(): Libc {
  const { flock, memfd_create, socketpair, getsockopt, getsockname, setsockopt, __errno_location } =
    openFirst();
  // Asked for at once after the failing call, before anything else can overwrite it.
  const outcome = (result: number): number =>
    result >= 0 ? result : -read.i32(__errno_location() as Pointer);
  return {
    lockExclusive: (descriptor) => outcome(flock(descriptor, LOCK_EX_NB)),
    createMemoryFile: (name) => {
      const bytes = new Uint8Array(new ArrayBuffer(1024));
      new TextEncoder().encodeInto(name, bytes.subarray(0, 200));
      return outcome(memfd_create(ptr(bytes), MFD_CLOEXEC));
    },
    connectPair: (pair) => {
      // Through memory of our own: a small array lies within the garbage collector's heap and may move.
      const pinned = new Int32Array(new ArrayBuffer(1024));
      const result = outcome(socketpair(AF_UNIX, SOCK_STREAM_CLOEXEC_NONBLOCK, 0, ptr(pinned)));
      pair.set(pinned.subarray(0, 2));
      return result;
    },
    listeningPort: (descriptor) => {
      const pinned = new DataView(new ArrayBuffer(1024));
      const [value, length] = [ptr(pinned), ptr(pinned, 512)];
      pinned.setUint32(512, 4, true);
      const asked = getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, value, length);
      if (asked !== 0 || pinned.getInt32(0, true) !== 1) return 0;
      pinned.setUint32(512, 512, true);
      if (getsockname(descriptor, value, length) !== 0) return 0;
      const family = pinned.getUint16(0, true);
      return family === AF_INET || family === AF_INET6 ? pinned.getUint16(2) : 0;
    },
    dropIncoming: (descriptor, isDropped) => {
      // struct sock_fprog: how many instructions, and where they are.
      const pinned = new DataView(new ArrayBuffer(1024));
      for (const [at, byte] of DROP_ALL.entries()) pinned.setUint8(512 + at, byte);
      pinned.setUint16(0, 1, true);
      pinned.setBigUint64(8, BigInt(ptr(pinned, 512)), true);
      const option = isDropped ? SO_ATTACH_FILTER : SO_DETACH_FILTER;
      return outcome(setsockopt(descriptor, SOL_SOCKET, option, ptr(pinned), 16));
    },
  };
}

function openFirst() {
  const reasons: string[] = [];
  for (const name of LIBRARY_NAMES) {
    try {
      return dlopen(name, SYMBOLS).symbols;
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(`Cannot load libc: ${reasons.join("; ")}`);
}
