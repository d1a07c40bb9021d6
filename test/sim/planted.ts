// Bugs that a test plants to see that the world finds them. None is a flag in the node: each is a disk that lies, a medium
// that is mended where it should be refused, or a hand laid on the node's own parts.

import type { Prng } from "../../src/lib/prng.ts";
import { fileName, SEGMENT_DATA_START } from "../../src/log/format.ts";
import { decodeChecked, MANIFEST_FILE, type Manifest, readWhole } from "../../src/log/metadata.ts";
import { SimDirectory } from "../support/sim-directory.ts";
import type { SimDisk } from "../support/sim-disk.ts";
import type { SimFile } from "../support/sim-file.ts";
import type { Node } from "./node.ts";
import { endOfWholeWrites, mendChecksums } from "./planted-log.ts";

/** What can be planted. */
export const BUGS = [
  "ack_before_sync",
  "accept_torn_entry",
  "forget_directory_sync",
  "reuse_slab_early",
  "truncation_in_place",
  "unlink_before_manifest",
  "archive_not_synced",
  "archive_forgets_records",
  "reclaim_above_base",
] as const;

/** One planted bug. */
export type BugName = (typeof BUGS)[number];

/** The medium that goes with a bug; undefined: an honest one. */
export function plantedDirectory(
  bug: BugName | undefined,
  prng: Prng,
  freeBytesLimit: number,
): SimDirectory | undefined {
  const sectorBytes = prng.fork("sector").chance(0.5) ? 512 : 4096;
  const crash = prng.fork("crash");
  switch (bug) {
    case "ack_before_sync":
      return new LateSyncs(crash, sectorBytes, freeBytesLimit);
    case "accept_torn_entry":
      return new MendedEntries(crash, sectorBytes, freeBytesLimit);
    case "truncation_in_place":
      return new HiddenTails(crash, sectorBytes, freeBytesLimit);
    case "unlink_before_manifest":
      return new EarlyUnlinks(crash, sectorBytes, freeBytesLimit);
    case "archive_not_synced":
      return new UnsyncedArchives(crash, sectorBytes, freeBytesLimit);
    case "forget_directory_sync": {
      const directory = new SimDirectory(crash, sectorBytes, freeBytesLimit);
      directory.planted.ignoresDirectorySyncs = true;
      return directory;
    }
    case "reuse_slab_early": {
      const directory = new SimDirectory(crash, sectorBytes, freeBytesLimit);
      directory.planted.ignoresBufferChanges = true;
      return directory;
    }
    default:
      return undefined;
  }
}

/** Lays hands on a node that has just started. */
export function plantBug(bug: BugName | undefined, node: Node): void {
  if (bug === "archive_forgets_records") forgetRecords(node.disk);
  if (bug === "reclaim_above_base") overstateBase(node.disk);
  if (bug !== "reuse_slab_early") return;
  const { batcher } = node.replica;
  const { onSeal } = batcher;
  batcher.onSeal = (entry) => {
    onSeal(entry);
    // Nothing holds a slab any more, whatever is under way in it.
    Object.defineProperty(entry.slab, "pins", { get: () => 0, set: () => undefined });
  };
}

/** Some records that are alive are not moved. */
function forgetRecords(disk: SimDisk): void {
  const run = disk.run.bind(disk);
  disk.run = (job, token) => {
    if (job.kind !== "plan_archive") return run(job, token);
    const floors = job.floors.map((value, i) => (i % 2 === 1 ? value + 3 : value));
    return run({ ...job, floors }, token);
  };
}

/** A base is taken to tell of more than it does. */
function overstateBase(disk: SimDisk): void {
  const poll = disk.poll.bind(disk);
  disk.poll = () =>
    poll().map((completion) => {
      const base = completion.result?.base;
      if (base === undefined) return completion;
      return { ...completion, result: { base: { ...base, lastIndex: base.lastIndex + 1000 } } };
    });
}

/** What a manifest is about to give up is unlinked before it says so. */
class EarlyUnlinks extends SimDirectory {
  override write(name: string, position: number, bytes: Uint8Array): void {
    super.write(name, position, bytes);
    if (name !== `${MANIFEST_FILE}.tmp`) return;
    const before = readWhole(this, MANIFEST_FILE);
    if (before === undefined) return;
    const { segments, archives } = decodeChecked(before) as Manifest;
    const { incoming } = decodeChecked(bytes) as Manifest;
    for (const { sequence } of [...segments, ...archives])
      for (const kind of ["log", "archive"] as const)
        if (incoming.includes(sequence) && this.size(fileName(sequence, kind)) !== undefined) {
          super.remove(fileName(sequence, kind));
          // There is no better moment for the power to fail than the next act.
          this.crashAfterPrimitives(2);
        }
    super.syncDirectory();
  }
}

/** Archives are not synced before the manifest names them. */
class UnsyncedArchives extends SimDirectory {
  override sync(name: string): void {
    if (!name.endsWith(".archive")) super.sync(name);
  }
}

/** An append is told to be durable before its sync, which comes with the next one. */
class LateSyncs extends SimDirectory {
  #owed: { readonly file: SimFile; readonly name: string } | undefined;
  #isAsked = false;

  override sync(name: string): void {
    this.#isAsked = true;
    try {
      super.sync(name);
    } finally {
      this.#isAsked = false;
    }
  }

  override syncFile(file: SimFile, name: string): void {
    if (this.#isAsked) super.syncFile(file, name);
    else this.#owed = { file, name };
  }

  override writeTo(file: SimFile, name: string, position: number, bytes: Uint8Array): void {
    const owed = this.#owed;
    this.#owed = undefined;
    if (owed !== undefined) super.syncFile(owed.file, owed.name);
    super.writeTo(file, name, position, bytes);
  }
}

/** Every entry that survives a crash in part has checksums that hold: as if the start did not look at them. */
class MendedEntries extends SimDirectory {
  override crash(): void {
    super.crash();
    for (const [file, bytes] of segments(this)) {
      if (!mendChecksums(bytes)) continue;
      file.write(0, bytes);
      file.sync();
    }
  }
}

/** A start does not see a torn tail, and writes over it in the same file. */
class HiddenTails extends SimDirectory {
  readonly #ends = new Map<string, number>();

  override restart(): void {
    super.restart();
    this.#ends.clear();
    for (const [, bytes, name] of segments(this)) this.#ends.set(name, endOfWholeWrites(bytes));
  }

  override read(name: string, position: number, into: Uint8Array): number {
    const count = super.read(name, position, into);
    const end = this.#ends.get(name);
    if (end !== undefined && position + count > end)
      into.fill(0, Math.max(0, end - position), count);
    return count;
  }

  override writeTo(file: SimFile, name: string, position: number, bytes: Uint8Array): void {
    this.#ends.delete(name);
    super.writeTo(file, name, position, bytes);
  }
}

/** Every file that has entries. */
function segments(directory: SimDirectory): [file: SimFile, bytes: Uint8Array, name: string][] {
  return directory
    .list()
    .filter((name) => name.endsWith(".log"))
    .flatMap((name): [SimFile, Uint8Array, string][] => {
      const file = directory.file(name);
      const bytes = new Uint8Array(file.size);
      file.read(0, bytes, bytes.length);
      return bytes.length > SEGMENT_DATA_START ? [[file, bytes, name]] : [];
    });
}
