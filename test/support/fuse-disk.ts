// A process that is a disk: a file system in user space with one file, `disk`, for a loop device to lie on, and one, `control`,
// through which its power is cut. Whatever a file system above does, down to its journal, ends in a `VolatileDisk`.
// The layouts are those of <linux/fuse.h>, protocol 7.
// Usage: bun fuse-disk.ts MOUNTPOINT MEBIBYTES

import { dlopen, ptr } from "bun:ffi";
import { openSync, readSync, writeSync } from "node:fs";
import { viewOf } from "../../src/lib/bytes.ts";
import { Prng } from "../../src/lib/prng.ts";
import { type Cut, VolatileDisk } from "./volatile-disk.ts";

const [, , mountPoint = "", mebibytes = "256"] = process.argv;

const OPERATION = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  flush: 25,
  init: 26,
  opendir: 27,
  releasedir: 29,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
} as const;
const ERROR = { noEntry: 2, io: 5, noSystemCall: 38 } as const;
const ROOT_ID = 1n;
const DISK_ID = 2n;
const CONTROL_ID = 3n;
const IN_HEADER_BYTES = 40;
const OUT_HEADER_BYTES = 16;
/** Of a request to read or write, before the data. */
const TRANSFER_BYTES = 40;
const WRITE_BYTES_MAX = 1 << 20;
const BIG_WRITES = 1 << 5;
const MAX_PAGES = 1 << 22;
/** No page of the file is kept above this process: after a cut the old ones would still be there. */
const DIRECT_IO = 1;

const disk = new VolatileDisk(Number(mebibytes) * 2 ** 20);
let isDead = false;
/** What the next flush is to be instead of one: the moment in which the most is in the cache. */
let armed: (() => void) | undefined;

const device = openSync("/dev/fuse", "r+");
const libc = dlopen("libc.so.6", {
  mount: { args: ["cstring", "cstring", "cstring", "u64", "cstring"], returns: "i32" },
});
const text = (value: string): ReturnType<typeof ptr> => ptr(Buffer.from(`${value}\0`));
const settings = `fd=${device},rootmode=40000,user_id=0,group_id=0,allow_other`;
if (libc.symbols.mount(text("disk"), text(mountPoint), text("fuse"), 0n, text(settings)) !== 0) {
  console.error(`Cannot mount ${mountPoint}`);
  process.exit(1);
}

const request = new Uint8Array(WRITE_BYTES_MAX + 4096 + TRANSFER_BYTES + IN_HEADER_BYTES);
const view = viewOf(request);
const reply = new Uint8Array(WRITE_BYTES_MAX + OUT_HEADER_BYTES);
const out = viewOf(reply);

function answer(unique: bigint, error: number, bytes = 0): void {
  const length = OUT_HEADER_BYTES + (error === 0 ? bytes : 0);
  out.setUint32(0, length, true);
  out.setInt32(4, -error, true);
  out.setBigUint64(8, unique, true);
  writeSync(device, reply, 0, length);
}

function putAttributes(at: number, node: bigint): void {
  const isFolder = node === ROOT_ID;
  const size = node === DISK_ID ? disk.bytes : 0;
  reply.fill(0, at, at + 88);
  out.setBigUint64(at, node, true);
  out.setBigUint64(at + 8, BigInt(size), true);
  out.setBigUint64(at + 16, BigInt(size / 512), true);
  out.setUint32(at + 60, isFolder ? 0o04_0700 : 0o10_0600, true);
  out.setUint32(at + 64, 1, true);
  out.setUint32(at + 80, 4096, true);
}

/** What fails, and how long a flush takes. */
const faults = { read: false, write: false, flush: false };
let flushMs = 0;

/**
 * What is written to `control`: `now SEED KIND` cuts the power, `flush SEED KIND` in place of the next flush; `fail WHAT` lets
 * every read, write or flush fail, `slow MS` lets flushes take so long; `on` ends all of it.
 */
function control(line: string): void {
  const [word = "", seed = "0", ...kind] = line.trim().split(" ");
  faults.read = word === "fail" && seed === "read";
  faults.write = word === "fail" && seed === "write";
  faults.flush = word === "fail" && seed === "flush";
  flushMs = word === "slow" ? Number(seed) : 0;
  const cut = (): void => {
    isDead = true;
    armed = undefined;
    disk.cut(kind.join(" ") as Cut, new Prng(Number(seed)));
  };
  isDead = false;
  armed = undefined;
  if (word === "now") cut();
  if (word === "flush") armed = cut;
}

/** @returns whether there is another request to come. */
function serve(length: number): boolean {
  const operation = view.getUint32(4, true);
  const unique = view.getBigUint64(8, true);
  const node = view.getBigUint64(16, true);
  const body = IN_HEADER_BYTES;
  switch (operation) {
    case OPERATION.init:
      reply.fill(0, OUT_HEADER_BYTES, OUT_HEADER_BYTES + 64);
      out.setUint32(16, 7, true);
      out.setUint32(20, Math.min(31, view.getUint32(body + 4, true)), true);
      out.setUint32(24, 0, true);
      out.setUint32(28, (view.getUint32(body + 12, true) & (BIG_WRITES | MAX_PAGES)) >>> 0, true);
      out.setUint32(36, WRITE_BYTES_MAX, true);
      out.setUint32(40, 1, true);
      out.setUint16(44, WRITE_BYTES_MAX / 4096, true);
      answer(unique, 0, 64);
      break;
    case OPERATION.lookup: {
      const name = new TextDecoder().decode(request.subarray(body, length - 1));
      const found = name === "disk" ? DISK_ID : name === "control" ? CONTROL_ID : undefined;
      if (found === undefined) {
        answer(unique, ERROR.noEntry);
        break;
      }
      reply.fill(0, OUT_HEADER_BYTES, OUT_HEADER_BYTES + 40);
      out.setBigUint64(OUT_HEADER_BYTES, found, true);
      putAttributes(OUT_HEADER_BYTES + 40, found);
      answer(unique, 0, 128);
      break;
    }
    case OPERATION.getattr:
    case OPERATION.setattr:
      reply.fill(0, OUT_HEADER_BYTES, OUT_HEADER_BYTES + 16);
      putAttributes(OUT_HEADER_BYTES + 16, node);
      answer(unique, 0, 104);
      break;
    case OPERATION.open:
    case OPERATION.opendir:
      reply.fill(0, OUT_HEADER_BYTES, OUT_HEADER_BYTES + 16);
      out.setUint32(OUT_HEADER_BYTES + 8, DIRECT_IO, true);
      answer(unique, 0, 16);
      break;
    case OPERATION.read: {
      const position = Number(view.getBigUint64(body + 8, true));
      const bytes = node === DISK_ID ? disk.read(position, view.getUint32(body + 16, true)) : [];
      reply.set(bytes, OUT_HEADER_BYTES);
      answer(unique, isDead || faults.read ? ERROR.io : 0, bytes.length);
      break;
    }
    case OPERATION.write: {
      const position = Number(view.getBigUint64(body + 8, true));
      const count = view.getUint32(body + 16, true);
      const start = body + TRANSFER_BYTES;
      const bytes = request.subarray(start, start + count);
      const isRefused = node === DISK_ID && (isDead || faults.write);
      if (node === CONTROL_ID) control(new TextDecoder().decode(bytes));
      else if (!isRefused) disk.write(position, bytes);
      out.setUint32(OUT_HEADER_BYTES, count, true);
      out.setUint32(OUT_HEADER_BYTES + 4, 0, true);
      answer(unique, isRefused ? ERROR.io : 0, 8);
      break;
    }
    case OPERATION.fsync:
      if (disk.cachedWrites > 0) armed?.();
      if (flushMs > 0) Bun.sleepSync(flushMs);
      if (!isDead && !faults.flush) disk.flush();
      answer(unique, isDead || faults.flush ? ERROR.io : 0);
      break;
    case OPERATION.statfs:
      reply.fill(0, OUT_HEADER_BYTES, OUT_HEADER_BYTES + 80);
      out.setUint32(OUT_HEADER_BYTES + 40, 4096, true);
      out.setUint32(OUT_HEADER_BYTES + 44, 255, true);
      answer(unique, 0, 80);
      break;
    case OPERATION.release:
    case OPERATION.releasedir:
    case OPERATION.flush:
      answer(unique, 0);
      break;
    case OPERATION.forget:
    case OPERATION.batchForget:
    case OPERATION.interrupt:
      break;
    case OPERATION.destroy:
      answer(unique, 0);
      return false;
    default:
      answer(unique, ERROR.noSystemCall);
  }
  return true;
}

console.log("mounted");
for (;;) {
  let length: number;
  try {
    length = readSync(device, request, 0, request.length, null);
  } catch (error) {
    const { code } = error as { readonly code?: string };
    if (code === "EINTR" || code === "ENOENT" || code === "EAGAIN") continue;
    // Unmounted.
    break;
  }
  if (length === 0 || !serve(length)) break;
}
const { lost, flushes } = disk;
console.log(JSON.stringify({ flushes, lostWrites: lost.writes, lostBytes: lost.bytes }));
process.exit(0);
