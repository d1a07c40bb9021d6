// A disk in memory for the simulated world: nothing completes until the world says `step`, and a crash loses what a
// real one may lose. Everything follows from the seed. See `sim-directory.ts` and `sim-file.ts` for what survives.

import {
  type MeasuredDisk,
  SYNC_LATENCY_BOUNDS_US,
  slabBytes,
} from "../../src/io/measured-disk.ts";
import { assert } from "../../src/lib/assert.ts";
import { isZero } from "../../src/lib/bytes.ts";
import { Histogram } from "../../src/lib/histogram.ts";
import type { Prng } from "../../src/lib/prng.ts";
import {
  type DiskCompletion,
  type DiskFile,
  FileError,
  type FileErrorKind,
} from "../../src/log/disk.ts";
import { type DiskJob, runJob } from "../../src/log/jobs.ts";
import { SimCrash, SimDirectory } from "./sim-directory.ts";
import type { SimFile } from "./sim-file.ts";

export { SimCrash } from "./sim-directory.ts";

/** What a world chooses about a disk. */
export interface SimDiskOptions {
  readonly prng: Prng;
  /** The unit that survives or does not; drawn when absent. */
  readonly sectorBytes?: 512 | 4096;
  /** Room on the medium; 1 TiB when absent. */
  readonly freeBytesLimit?: number;
  /** When a read resolves: by itself, or at a step of its own. */
  readonly reads?: "microtask" | "step";
  /** Appends may go only where there are zeros: no byte of a segment is written twice. */
  readonly writesOnce?: boolean;
  /** Planted: appends that may be in flight at once. 1 when absent, and in any honest use. */
  readonly appendsMax?: number;
}

interface AppendUnderWay {
  readonly file: SimFile;
  readonly name: string;
  readonly slab: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly position: number;
  readonly token: number;
  /** The bytes as they were handed over. */
  readonly submitted: Uint8Array;
}

class SimHandle implements DiskFile {
  readonly name: string;
  readonly file: SimFile;
  isOpen = true;

  constructor(name: string, file: SimFile) {
    this.name = name;
    this.file = file;
  }

  close(): void {
    this.isOpen = false;
  }
}

/** `Disk` over memory. */
export class SimDisk implements MeasuredDisk {
  readonly kind = "simulated";
  readonly files: SimDirectory;
  readonly syncLatencyUs = new Histogram(SYNC_LATENCY_BOUNDS_US);
  appends = 0;
  appendBytes = 0;
  syncs = 0;
  reads = 0;
  submits = 0;
  onWake: () => void = () => undefined;
  /** While true, no append completes. */
  isStalled = false;

  readonly #options: SimDiskOptions;
  readonly #prng: Prng;
  readonly #generation: number;
  readonly #slabs = new WeakSet<Uint8Array>();
  #appends: AppendUnderWay[] = [];
  #jobs: { readonly job: DiskJob; readonly token: number }[] = [];
  #readSteps: (() => void)[] = [];
  #completions: DiskCompletion[] = [];
  #nextAppendFailure: FileErrorKind | undefined;
  #nextReadFailure: FileErrorKind | undefined;
  #isClosed = false;

  /** @param files For `reopened`: what an earlier disk left. */
  constructor(options: SimDiskOptions, files?: SimDirectory) {
    this.#options = options;
    this.#prng = options.prng;
    const drawn = this.#prng.chance(0.5) ? 512 : 4096;
    this.files =
      files ??
      new SimDirectory(
        this.#prng.fork("crash"),
        options.sectorBytes ?? drawn,
        options.freeBytesLimit ?? 2 ** 40,
      );
    this.#generation = this.files.generation;
  }

  /** Operations that a step could complete, stalled appends included. */
  get pending(): number {
    return this.#appends.length + this.#jobs.length + this.#readSteps.length;
  }

  open(name: string): DiskFile {
    this.#checkAlive();
    return new SimHandle(name, this.files.file(name));
  }

  allocate(bytes: number): Uint8Array {
    const slab = new Uint8Array(slabBytes(bytes));
    this.#slabs.add(slab);
    return slab;
  }

  append(
    file: DiskFile,
    slab: Uint8Array,
    start: number,
    end: number,
    position: number,
    token: number,
  ): void {
    this.#checkAlive();
    assert(!this.#isClosed, "Cannot append: the disk is closed");
    const appendsMax = this.#options.appendsMax ?? 1;
    assert(this.#appends.length < appendsMax, "Cannot append: another append is in flight");
    assert(start >= 0 && start < end, `Cannot append from ${start} to ${end}`);
    assert(end <= slab.length, `Cannot append up to ${end}: the slab has ${slab.length} bytes`);
    assert(this.#slabs.has(slab), "Cannot use memory that this disk did not allocate");
    this.appends += 1;
    this.appendBytes += end - start;
    this.submits += 1;
    const target = fileOf(file);
    const submitted = slab.slice(start, end);
    const { name } = file;
    if (this.#options.writesOnce === true) {
      const there = new Uint8Array(end - start);
      target.read(position, there, there.length);
      assert(isZero(there), `The bytes at ${position} of ${name} are written twice`);
    }
    this.#appends.push({ file: target, name, slab, start, end, position, token, submitted });
  }

  read(file: DiskFile, position: number, into: Uint8Array, length: number): Promise<number> {
    const act = `read ${length} bytes at ${position} of ${file.name}`;
    this.#checkAlive();
    if (this.#isClosed) {
      return Promise.reject(new FileError("io", `Cannot ${act}: the disk is closed`));
    }
    assert(length >= 0 && length <= into.length, `Cannot ${act} into ${into.length} bytes`);
    assert(this.#slabs.has(into), "Cannot use memory that this disk did not allocate");
    const target = fileOf(file);
    this.reads += 1;
    this.submits += 1;
    const failure = this.#nextReadFailure;
    this.#nextReadFailure = undefined;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const complete = (): void => {
      if (failure === undefined) resolve(target.read(position, into, length));
      else reject(new FileError(failure, `Cannot ${act}`));
    };
    if (this.#options.reads === "step") this.#readSteps.push(complete);
    else complete();
    return promise;
  }

  run(job: DiskJob, token: number): void {
    this.#checkAlive();
    assert(!this.#isClosed, "Cannot run a job: the disk is closed");
    // As handed over: a real worker gets a copy.
    this.#jobs.push({ job: structuredClone(job), token });
  }

  poll(): DiskCompletion[] {
    this.#checkAlive();
    const completions = this.#completions;
    this.#completions = [];
    return completions;
  }

  /** Completes what is under way, also what is stalled, and refuses what comes later. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // Later: `onWake` is not called from inside a method.
    await Promise.resolve();
    this.isStalled = false;
    this.completeAll();
  }

  /**
   * Completes one operation, drawn from those that may be next: the append, the oldest job, any read.
   * @returns False when there was none.
   * @throws SimCrash when the power fails in it; what follows is `crash` and `reopened`.
   */
  step(): boolean {
    this.#checkAlive();
    const choices: (() => void)[] = [];
    for (const append of this.isStalled ? [] : this.#appends)
      choices.push(() => this.#completeAppend(append));
    if (this.#jobs.length > 0) choices.push(() => this.#completeJob());
    this.#readSteps.forEach((complete, i) => {
      choices.push(() => {
        this.#readSteps.splice(i, 1);
        complete();
      });
    });
    const chosen = choices[choices.length < 2 ? 0 : this.#prng.below(choices.length)];
    if (chosen === undefined) return false;
    chosen();
    if (this.#completions.length > 0) this.onWake();
    return true;
  }

  /** Steps until nothing moves. A stalled append stays. */
  completeAll(): void {
    while (this.step());
  }

  /** The next append fails so; its bytes get there whole, in part, or not. */
  failNextAppend(kind: FileErrorKind): void {
    this.#nextAppendFailure = kind;
  }

  /** The next read fails so. */
  failNextRead(kind: FileErrorKind): void {
    this.#nextReadFailure = kind;
  }

  /** The next sync fails, of an append or in a job, and what it should have taken may be lost without a word. */
  failNextSync(): void {
    this.files.failNextSync();
  }

  /** The nth mutating file primitive from now throws `SimCrash`. */
  crashAfterPrimitives(count: number): void {
    this.files.crashAfterPrimitives(count);
  }

  /** Bit rot in the sector of a synced byte: readers see it at once. */
  corruptSyncedSector(name: string, position: number): void {
    const file = this.files.file(name);
    assert(file.isSynced(position), `The byte ${position} of ${name} is not synced`);
    const first = Math.floor(position / this.files.sectorBytes) * this.files.sectorBytes;
    const bytes = Math.min(this.files.sectorBytes, file.size - first);
    file.flipBit(position);
    if (bytes > 1)
      file.flipBit(first + ((position - first + 1 + this.#prng.below(bytes - 1)) % bytes));
  }

  /** The power fails now. This disk is dead; `reopened` gives the next one. */
  crash(): void {
    this.#checkAlive();
    this.#writeInFlight();
    this.files.crash();
  }

  /** A disk over what is left: after `crash`, what survived; else, as after `kill -9`, what was written so far. */
  reopened(): SimDisk {
    if (this.files.generation === this.#generation) {
      if (this.#prng.chance(0.5)) this.#writeInFlight();
      this.files.restart();
    }
    const prng = this.#prng.fork(`life ${this.files.generation}`);
    return new SimDisk({ ...this.#options, prng }, this.files);
  }

  #completeAppend(append: AppendUnderWay): void {
    const { file, name, slab, start, end, position, token, submitted } = append;
    const now = slab.slice(start, end);
    const isUnchanged = Buffer.compare(now, submitted) === 0;
    assert(
      isUnchanged || this.files.planted.ignoresBufferChanges,
      `The buffer of the append ${token} to ${name} changed before its completion`,
    );
    this.#appends = this.#appends.filter((other) => other !== append);
    const failure = this.#nextAppendFailure;
    this.#nextAppendFailure = undefined;
    try {
      if (failure !== undefined) {
        this.#writeInPart(append);
        throw new FileError(failure, `Cannot write ${now.length} bytes at ${position} of ${name}`);
      }
      this.files.writeTo(file, name, position, this.#torn(submitted, now));
      this.files.syncFile(file, name);
      this.syncs += 1;
      this.#completions.push({ token, error: undefined });
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      this.#completions.push({ token, error });
    }
  }

  #completeJob(): void {
    const next = this.#jobs.shift();
    if (next === undefined) return;
    const { job, token } = next;
    try {
      this.#completions.push({ token, error: undefined, result: runJob(this.files, job) });
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      this.#completions.push({ token, error });
    }
  }

  /** A kernel copies a buffer when it likes: half of the sectors have the bytes of the submission, half those of now. */
  #torn(submitted: Uint8Array, now: Uint8Array): Uint8Array {
    const mixed = submitted.slice();
    for (let at = 0; at < mixed.length; at += this.files.sectorBytes) {
      const end = at + this.files.sectorBytes;
      if (this.#prng.chance(0.5)) mixed.set(now.subarray(at, end), at);
    }
    return mixed;
  }

  /** Sector by sector, or not. */
  #writeInPart({ file, name, position, submitted }: AppendUnderWay): void {
    for (let at = 0; at < submitted.length; at += this.files.sectorBytes) {
      if (this.#prng.chance(0.5)) continue;
      const piece = submitted.subarray(at, at + this.files.sectorBytes);
      if (position + at + piece.length > file.size) continue;
      this.files.writeTo(file, name, position + at, piece);
    }
  }

  /** An append that is under way when the end comes is like one that was written and not synced. */
  #writeInFlight(): void {
    for (const { file, name, position, submitted } of this.#appends) {
      const fits =
        Math.max(0, position + submitted.length - file.size) <= this.files.freeBytesLimit;
      if (fits) this.files.writeTo(file, name, position, submitted);
    }
    this.#appends = [];
  }

  #checkAlive(): void {
    if (this.files.generation !== this.#generation) throw new SimCrash("This disk has crashed");
  }
}

function fileOf(handle: DiskFile): SimFile {
  assert(handle instanceof SimHandle, `The file ${handle.name} belongs to another disk`);
  assert(handle.isOpen, `The file ${handle.name} is closed`);
  return handle.file;
}
