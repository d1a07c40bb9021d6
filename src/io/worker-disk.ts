// The disk for machines without a usable io_uring: a worker thread writes and syncs out of shared memory.
// Jobs have a worker of their own, so that zeroing a segment never stands before an append.

import { read } from "node:fs";
import { assert } from "../lib/assert.ts";
import { Histogram } from "../lib/histogram.ts";
import {
  type DiskCompletion,
  type DiskFile,
  type DiskJob,
  FileError,
  type Files,
} from "../log/mod.ts";
import { asFileError } from "./file-errors.ts";
import { NodeFiles } from "./files.ts";
import { type MeasuredDisk, SYNC_LATENCY_BOUNDS_US, slabBytes } from "./measured-disk.ts";
import { OpenFile } from "./open-file.ts";
import { WorkerClient } from "./worker-client.ts";

/** `Disk` on blocking calls in worker threads. */
export class WorkerDisk implements MeasuredDisk {
  readonly kind = "worker";
  readonly files: Files;
  readonly syncLatencyUs = new Histogram(SYNC_LATENCY_BOUNDS_US);
  appends = 0;
  appendBytes = 0;
  syncs = 0;
  reads = 0;
  submits = 0;
  onWake: () => void = () => undefined;

  readonly #directory: string;
  readonly #appender: WorkerClient;
  readonly #jobs: WorkerClient;
  /** Numbers by which the appender knows the slabs that it has been told of; 0 until then. */
  readonly #slabs = new WeakMap<Uint8Array, number>();
  #slabsTold = 0;
  #completions: DiskCompletion[] = [];
  #appendStarted = 0;
  #isClosed = false;
  #readsUnderWay = 0;
  #whenRead: (() => void) | undefined;

  /** @param directory The data directory, which must exist. */
  constructor(directory: string) {
    this.#directory = directory;
    this.files = new NodeFiles(directory);
    this.#appender = new WorkerClient(directory, "appends", (completion) => {
      this.syncLatencyUs.record((performance.now() - this.#appendStarted) * 1000);
      if (completion.error === undefined) this.syncs += 1;
      this.#complete(completion);
    });
    this.#jobs = new WorkerClient(directory, "jobs", (completion) => this.#complete(completion));
  }

  open(name: string): DiskFile {
    return new OpenFile(this.#directory, name);
  }

  allocate(bytes: number): Uint8Array {
    const slab = new Uint8Array(new SharedArrayBuffer(slabBytes(bytes)));
    this.#slabs.set(slab, 0);
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
    assert(!this.#isClosed, "Cannot append: the disk is closed");
    assert(this.#appender.owed === 0, "Cannot append: another append is in flight");
    assert(start >= 0 && start < end, `Cannot append from ${start} to ${end}`);
    assert(end <= slab.length, `Cannot append up to ${end}: the slab has ${slab.length} bytes`);
    this.#appendStarted = performance.now();
    this.appends += 1;
    this.appendBytes += end - start;
    this.submits += 1;
    this.#appender.hand({
      kind: "append",
      token,
      name: file.name,
      descriptor: OpenFile.descriptorOf(file),
      slab: this.#slabNumber(slab),
      start,
      end,
      position,
    });
  }

  read(file: DiskFile, position: number, into: Uint8Array, length: number): Promise<number> {
    const act = `read ${length} bytes at ${position} of ${file.name}`;
    if (this.#isClosed) {
      return Promise.reject(new FileError("io", `Cannot ${act}: the disk is closed`));
    }
    assert(length <= into.length, `Cannot ${act} into ${into.length} bytes`);
    const descriptor = OpenFile.descriptorOf(file);
    this.reads += 1;
    this.submits += 1;
    this.#readsUnderWay += 1;
    return new Promise((resolve, reject) => {
      let done = 0;
      const next = (): void =>
        read(descriptor, into, done, length - done, position + done, (error, count) => {
          done += error === null ? count : 0;
          if (error === null && count > 0 && done < length) {
            next();
            return;
          }
          this.#readsUnderWay -= 1;
          if (error === null) resolve(done);
          else reject(asFileError(error, act));
          if (this.#readsUnderWay === 0) this.#whenRead?.();
        });
      next();
    });
  }

  run(job: DiskJob, token: number): void {
    assert(!this.#isClosed, "Cannot run a job: the disk is closed");
    this.#jobs.hand({ kind: "job", token, job });
  }

  poll(): DiskCompletion[] {
    const completions = this.#completions;
    if (completions.length > 0) this.#completions = [];
    return completions;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#readsUnderWay > 0) {
      await new Promise<void>((resolve) => {
        this.#whenRead = resolve;
      });
    }
    await Promise.all([this.#appender.close(), this.#jobs.close()]);
  }

  /** Tells the appender of a slab when it is first used for an append; slabs for reads stay here. */
  #slabNumber(slab: Uint8Array): number {
    const known = this.#slabs.get(slab);
    assert(known !== undefined, "Cannot append from memory that this disk did not allocate");
    if (known !== 0) return known;
    this.#slabsTold += 1;
    this.#slabs.set(slab, this.#slabsTold);
    this.#appender.tell({ kind: "slab", slab: this.#slabsTold, bytes: slab });
    return this.#slabsTold;
  }

  #complete(completion: DiskCompletion): void {
    this.#completions.push(completion);
    this.onWake();
  }
}
