// The disk on io_uring, all on the serving thread: no thread of ours, no polling, one system call per append.
//
// An append is one chain of hard-linked entries: WRITE, FSYNC of the data, SEND of one byte into a socket pair.
// The other end is a socket of Bun's event loop, so that the loop wakes when the sync is done. A read is READ, SEND.
// Hard links, because the wake must also come when the write fails; hence every single result is checked.

import { closeSync } from "node:fs";
import { assert } from "../lib/assert.ts";
import { Histogram } from "../lib/histogram.ts";
import {
  type DiskCompletion,
  type DiskFile,
  type DiskJob,
  FileError,
  type Files,
} from "../log/mod.ts";
import type { Libc } from "./ffi-libc.ts";
import {
  addressOf,
  ENTRY_HARD_LINK,
  FSYNC_DATA_ONLY,
  OPERATION,
  Ring,
  SETUP_COOP_TASKRUN,
  SETUP_SINGLE_ISSUER,
  type UringLibrary,
} from "./ffi-uring.ts";
import { errnoName, fileError } from "./file-errors.ts";
import { NodeFiles } from "./files.ts";
import { type MeasuredDisk, SYNC_LATENCY_BOUNDS_US, slabBytes } from "./measured-disk.ts";
import { OpenFile } from "./open-file.ts";
import { type ReadUnderWay, UringReads } from "./uring-reads.ts";
import { WorkerClient } from "./worker-client.ts";

/**
 * Chains whose wake has not been received. Unread bytes hold about 768 B of socket buffer each: 128 of them are
 * 96 KiB of the usual 208 KiB, so that a SEND always finds room and no wake is refused.
 */
const WAKES_MAX = 128;
/** Three entries per chain at most: 384. A submit always takes them all. */
const RING_ENTRIES = 512;

/** How long the first wake may take, which needs some microseconds. */
const WAKE_MS_MAX = 2000;

// Tags of the entries of an append. Those of a read are `FIRST_READ + 2 * slot`, and one more for its wake.
const APPEND_WRITE = 1;
const APPEND_SYNC = 2;
const APPEND_WAKE = 3;
const FIRST_READ = 4;

interface AppendUnderWay {
  readonly token: number;
  readonly name: string;
  readonly bytes: number;
  readonly position: number;
  readonly started: number;
  /** Held so that the memory lives for as long as the kernel may look at it. */
  readonly slab: Uint8Array;
  error: FileError | undefined;
}

/** `Disk` on one io_uring. */
export class UringDisk implements MeasuredDisk {
  readonly kind = "uring";
  readonly files: Files;
  readonly syncLatencyUs = new Histogram(SYNC_LATENCY_BOUNDS_US);
  appends = 0;
  appendBytes = 0;
  syncs = 0;
  reads = 0;
  submits = 0;
  onWake: () => void = () => undefined;
  /** True when the kernel knew the flags that spare interrupts. */
  readonly isCooperative: boolean;

  readonly #directory: string;
  readonly #ring: Ring;
  readonly #jobs: WorkerClient;
  readonly #wakeDescriptor: number;
  #socket: Bun.Socket | undefined;
  /** Addresses, looked up once per slab. */
  readonly #addresses = new WeakMap<Uint8Array, number>();
  readonly #wakeByte = new Uint8Array(new ArrayBuffer(1024));
  readonly #wakeAddress = addressOf(this.#wakeByte);

  #append: AppendUnderWay | undefined;
  readonly #reads = new UringReads(WAKES_MAX, (read) => this.#startRead(read));
  #completions: DiskCompletion[] = [];
  /** SENDs handed over whose completion has not been taken, and whose byte has not been received. */
  #wakesToReap = 0;
  #wakesToReceive = 0;
  /** Why the ring takes no more work. */
  #breakage: FileError | undefined;
  #isClosed = false;
  #whenIdle: (() => void) | undefined;
  readonly #take = (tag: number, result: number): void => this.#taken(tag, result);

  private constructor(directory: string, library: UringLibrary, wakeDescriptor: number) {
    this.#directory = directory;
    this.files = new NodeFiles(directory);
    this.#wakeDescriptor = wakeDescriptor;
    const { ring, isCooperative } = setUpRing(library);
    this.#ring = ring;
    this.isCooperative = isCooperative;
    this.#jobs = new WorkerClient(directory, "jobs", (completion) => {
      this.#completions.push(completion);
      this.onWake();
    });
  }

  /**
   * Sets up the ring and the socket that wakes the event loop.
   * @param directory The data directory, which must exist.
   * @throws RingError when the kernel refuses a ring; Error when there is no socket pair.
   */
  static async open(directory: string, library: UringLibrary, libc: Libc): Promise<UringDisk> {
    const pair = new Int32Array(2);
    const result = libc.connectPair(pair);
    if (result < 0) throw new Error(`Cannot make a socket pair: ${errnoName(-result)}`);
    const [receiver = -1, sender = -1] = pair;
    let disk: UringDisk;
    try {
      disk = new UringDisk(directory, library, sender);
    } catch (error) {
      closeSync(receiver);
      closeSync(sender);
      throw error;
    }
    const options: Bun.FdSocketOptions = {
      fd: receiver,
      socket: {
        // No `error` handler: it would swallow what `onWake` throws.
        data: (_socket, bytes) => disk.#woken(bytes.length),
        close: () => disk.#break("the socket that wakes it is closed"),
      },
    };
    // Bun takes a descriptor here; its types have forgotten to say so.
    disk.#socket = await Bun.connect(options as unknown as Bun.UnixSocketOptions);
    await disk.#proveWake();
    return disk;
  }

  /** Sends one wake and waits for it: a sandbox may offer io_uring and then not run it as the kernel does. */
  async #proveWake(): Promise<void> {
    let timer: Timer | undefined;
    const isWoken = new Promise<boolean>((resolve) => {
      this.#whenIdle = () => resolve(true);
      timer = setTimeout(() => resolve(false), WAKE_MS_MAX);
    });
    this.#prepareWake(APPEND_WAKE);
    this.#submit(1);
    const hasCome = await isWoken;
    clearTimeout(timer);
    this.#whenIdle = undefined;
    if (hasCome && this.#breakage === undefined) return;
    const error = this.#breakage ?? new Error(`Cannot wake the event loop in ${WAKE_MS_MAX} ms`);
    this.#break(error.message);
    await this.close();
    throw error;
  }

  open(name: string): DiskFile {
    return new OpenFile(this.#directory, name);
  }

  allocate(bytes: number): Uint8Array {
    const slab = new Uint8Array(new ArrayBuffer(slabBytes(bytes)));
    this.#addresses.set(slab, addressOf(slab));
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
    assert(this.#append === undefined, "Cannot append: another append is in flight");
    assert(start >= 0 && start < end, `Cannot append from ${start} to ${end}`);
    assert(end <= slab.length, `Cannot append up to ${end}: the slab has ${slab.length} bytes`);
    const descriptor = OpenFile.descriptorOf(file);
    const address = this.#addressOf(slab) + start;
    const bytes = end - start;
    this.appends += 1;
    this.appendBytes += bytes;
    const started = performance.now();
    this.#append = { token, name: file.name, bytes, position, started, slab, error: undefined };
    if (this.#breakage !== undefined) {
      setImmediate(() => this.#failAll());
      return;
    }
    const ring = this.#ring;
    ring.prepare(
      OPERATION.write,
      descriptor,
      address,
      bytes,
      position,
      0,
      ENTRY_HARD_LINK,
      APPEND_WRITE,
    );
    ring.prepare(
      OPERATION.fsync,
      descriptor,
      0,
      0,
      0,
      FSYNC_DATA_ONLY,
      ENTRY_HARD_LINK,
      APPEND_SYNC,
    );
    this.#prepareWake(APPEND_WAKE);
    this.#submit(3);
  }

  read(file: DiskFile, position: number, into: Uint8Array, length: number): Promise<number> {
    const act = `read ${length} bytes at ${position} of ${file.name}`;
    if (this.#isClosed) {
      return Promise.reject(new FileError("io", `Cannot ${act}: the disk is closed`));
    }
    if (this.#breakage !== undefined) return Promise.reject(this.#breakage);
    assert(length >= 0 && length <= into.length, `Cannot ${act} into ${into.length} bytes`);
    const descriptor = OpenFile.descriptorOf(file);
    const address = this.#addressOf(into);
    this.reads += 1;
    return new Promise((resolve, reject) => {
      const { name } = file;
      this.#reads.add({ name, descriptor, position, into, address, length, resolve, reject });
      this.#startReads();
      // What lies in the page cache is there already: no need to wait for the socket.
      this.#ring.reap(this.#take);
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
    if (!this.#isIdle()) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    await this.#jobs.close();
    this.#ring.close();
    this.#socket?.end();
    closeSync(this.#wakeDescriptor);
  }

  #addressOf(slab: Uint8Array): number {
    const address = this.#addresses.get(slab);
    assert(address !== undefined, "Cannot use memory that this disk did not allocate");
    return address;
  }

  #prepareWake(tag: number): void {
    this.#wakesToReap += 1;
    this.#wakesToReceive += 1;
    this.#ring.prepare(OPERATION.send, this.#wakeDescriptor, this.#wakeAddress, 1, 0, 0, 0, tag);
  }

  #submit(entries: number): void {
    this.submits += 1;
    const taken = this.#ring.submit();
    if (taken === entries) return;
    // A chain cut in two is no chain: the sync might run before its write. Nothing after this can be trusted.
    const why = taken < 0 ? errnoName(-taken) : `it took ${taken} of ${entries} entries`;
    this.#break(`the kernel refused entries: ${why}`);
  }

  /** Hands over as many waiting reads as wakes are free. */
  #startReads(): void {
    this.#reads.startWhile(() => this.#wakesToReceive < WAKES_MAX && this.#breakage === undefined);
  }

  #startRead(read: ReadUnderWay): void {
    const { descriptor, address, length, position, done, slot } = read;
    const tag = FIRST_READ + 2 * slot;
    const rest = length - done;
    const ring = this.#ring;
    ring.prepare(
      OPERATION.read,
      descriptor,
      address + done,
      rest,
      position + done,
      0,
      ENTRY_HARD_LINK,
      tag,
    );
    read.wakesOwed += 1;
    this.#prepareWake(tag + 1);
    this.#submit(2);
  }

  /** The socket has bytes: some chains have ended. */
  #woken(bytes: number): void {
    this.#wakesToReceive -= bytes;
    this.#ring.reap(this.#take);
    // A byte whose completion is not to be seen yet has not been observed; a lost wake would be, so look again.
    if (this.#wakesToReap > this.#wakesToReceive) setImmediate(() => this.#woken(0));
    this.#startReads();
    if (this.#completions.length > 0) this.onWake();
    this.#checkIdle();
  }

  #taken(tag: number, result: number): void {
    // Everything under way has been answered, or is about to be.
    if (this.#breakage !== undefined) return;
    if (tag >= FIRST_READ) {
      const slot = (tag - FIRST_READ) >> 1;
      if ((tag & 1) === 0) this.#reads.taken(slot, result);
      else {
        this.#wakeTaken(result);
        this.#reads.wakeTaken(slot);
      }
      return;
    }
    const append = this.#append;
    if (tag === APPEND_WAKE) {
      this.#wakeTaken(result);
      return;
    }
    assert(append !== undefined, `A completion came for the append tag ${tag}, which is free`);
    if (tag === APPEND_WRITE) this.#writeTaken(append, result);
    else this.#syncTaken(append, result);
  }

  #writeTaken(append: AppendUnderWay, result: number): void {
    const { name, bytes, position } = append;
    if (result === bytes) return;
    const act = `write ${bytes} bytes at ${position} of ${name}`;
    append.error =
      result < 0
        ? fileError(errnoName(-result), act)
        : new FileError("io", `Cannot ${act}: the disk took ${result}`);
  }

  #syncTaken(append: AppendUnderWay, result: number): void {
    // The first thing that went wrong says more than what followed from it.
    if (result < 0) append.error ??= fileError(errnoName(-result), `sync ${append.name}`);
    this.#finishAppend(append);
  }

  #finishAppend({ token, error, started }: AppendUnderWay): void {
    this.#append = undefined;
    this.syncLatencyUs.record((performance.now() - started) * 1000);
    if (error === undefined) this.syncs += 1;
    this.#completions.push({ token, error });
  }

  #wakeTaken(result: number): void {
    this.#wakesToReap -= 1;
    if (result !== 1) this.#break(`a wake failed: ${errnoName(-result)}`);
  }

  /** Ends the use of the ring. What is under way is answered with the cause; its memory stays with the kernel. */
  #break(why: string): void {
    if (this.#breakage !== undefined || (this.#isClosed && this.#isIdle())) return;
    this.#breakage = new FileError("io", `Cannot use the ring: ${why}`);
    setImmediate(() => this.#failAll());
  }

  #failAll(): void {
    const error = this.#breakage as FileError;
    if (this.#append !== undefined) {
      this.#append.error ??= error;
      this.#finishAppend(this.#append);
    }
    this.#reads.failAll(error);
    if (this.#completions.length > 0) this.onWake();
    this.#checkIdle();
  }

  #isIdle(): boolean {
    if (this.#breakage !== undefined) return this.#append === undefined;
    const isQuiet = this.#wakesToReap === 0 && this.#reads.waiting === 0;
    return isQuiet && this.#append === undefined;
  }

  #checkIdle(): void {
    if (this.#isIdle()) this.#whenIdle?.();
  }
}

/** Asks for the quiet flags first; kernels before 6.0 know neither and say EINVAL. */
function setUpRing(library: UringLibrary): { ring: Ring; isCooperative: boolean } {
  const EINVAL = 22;
  try {
    const flags = SETUP_COOP_TASKRUN | SETUP_SINGLE_ISSUER;
    return { ring: new Ring(library, RING_ENTRIES, flags), isCooperative: true };
  } catch (error) {
    if ((error as { readonly errno?: number }).errno !== EINVAL) throw error;
    return { ring: new Ring(library, RING_ENTRIES, 0), isCooperative: false };
  }
}
