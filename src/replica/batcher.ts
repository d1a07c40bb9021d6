// Builds entries where they will be written from: in a slab of the tail buffer, behind room for their write frame.
// Records are encoded once, in the order in which they come; sealing puts the chunks of an entry together.
// Everything that arrives while a write is in flight shares the next one: the batch sizes itself, there is no linger.

import { assert } from "../lib/assert.ts";
import { ByteWriter } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import {
  type ChainEnd,
  chainOf,
  ENTRY_HEADER_BYTES,
  ENTRY_KIND,
  type EntryHeader,
  FRAME_BYTES,
  newEntryHeader,
  type SealedWrite,
  type Slab,
  sealEntry,
  type TailBuffer,
} from "../log/mod.ts";
import { CHUNK_COMMAND_BYTES, putChunk } from "../model/command-codec.ts";
import type { ProduceRequest } from "../model/produce.ts";
import { putRecord, recordSize } from "../model/record.ts";

/** An entry closes at 1 MiB or one request, whichever is larger. */
const ENTRY_DATA_BYTES_MAX = 1 << 20;
/** Room at the end of an entry for its padding. */
const PADDING_BYTES = 8;

/** An entry that is not applied yet, in memory. */
export interface SealedEntry {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Of its header. */
  readonly at: number;
  /** Where it is pinned; undefined for one that was found at start. */
  readonly slab: Slab | undefined;
}

/** Records of one partition in the open entry. */
interface OpenChunk {
  readonly topicId: number;
  readonly partition: number;
  readonly baseOffset: number;
  count: number;
  bytes: number;
}

/** The open entry, the open write, and the writes that wait for the disk. */
export class Batcher {
  /** Writes that are closed and wait for the disk. */
  readonly queue: SealedWrite[] = [];
  /** Requests taken so far: tells whether more are coming in. */
  added = 0;
  /** Called for each entry that is sealed; gives it its place in the log. */
  onSeal: (entry: SealedEntry) => void = () => undefined;
  readonly #tail: TailBuffer;
  readonly #writeBytesMax: number;
  readonly #nextIndex: () => { readonly index: number; readonly term: number };
  /** The last entry that was sealed. */
  #chain: ChainEnd;

  // The open write.
  #slab: Slab | undefined;
  #writeStart = 0;
  /** Where it ends at the latest: with its slab, or with the largest write. */
  #writeLimit = 0;
  #writeEntries = 0;
  #writeFirstIndex = 0;
  #writePreviousChecksum = 0;
  /** Where the next entry goes. */
  #entryStart = 0;

  // The open entry.
  #isOpen = false;
  #dataEnd = 0;
  #timestampMs = 0;
  #records = 0;
  #chunks: OpenChunk[] = [];
  readonly #chunkOf = new Map<number, number>();
  /** `[chunk, start, end, …]`: stretches of data in the order in which they came. */
  #runs: number[] = [];
  readonly #commands = new ByteWriter(4096);
  #commandCount = 0;
  readonly #header: EntryHeader = newEntryHeader();
  #scratch = new Uint8Array(0);

  /**
   * @param options.chain The last entry of the log.
   * @param options.writeBytesMax What a fresh segment takes: no write is larger.
   * @param options.nextIndex Proposes one entry to the consensus and tells its place.
   */
  constructor(options: {
    readonly tail: TailBuffer;
    readonly chain: ChainEnd;
    readonly writeBytesMax: number;
    readonly nextIndex: () => { readonly index: number; readonly term: number };
  }) {
    this.#tail = options.tail;
    this.#chain = options.chain;
    this.#writeBytesMax = options.writeBytesMax;
    this.#nextIndex = options.nextIndex;
  }

  /** The last entry that was sealed. */
  get chain(): ChainEnd {
    return this.#chain;
  }

  /** Whether there is an entry that something may be added to. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Whether there is anything that is not submitted. */
  get isEmpty(): boolean {
    return !this.#isOpen && this.#slab === undefined && this.queue.length === 0;
  }

  /** Time of the open entry. */
  get timestampMs(): number {
    assert(this.#isOpen, "An entry is open");
    return this.#timestampMs;
  }

  /** Makes sure that an entry is open and takes `bytes` more of data and commands. @param now Time for a new entry. */
  open(bytes: number, now: () => number): void {
    if (this.#isOpen && this.#dataEnd - this.#entryStart - ENTRY_HEADER_BYTES > 0) {
      const data = this.#dataEnd - this.#entryStart - ENTRY_HEADER_BYTES + bytes;
      if (data > ENTRY_DATA_BYTES_MAX) this.seal();
    }
    const trailer = this.#isOpen
      ? this.#commands.length + this.#chunks.length * CHUNK_COMMAND_BYTES
      : 0;
    const needed = bytes + trailer + CHUNK_COMMAND_BYTES + PADDING_BYTES;
    if (this.#isOpen && this.#slab !== undefined && this.#dataEnd + needed <= this.#writeLimit)
      return;
    if (this.#isOpen) this.seal();
    const fresh = ENTRY_HEADER_BYTES + bytes + CHUNK_COMMAND_BYTES + PADDING_BYTES;
    if (this.#slab !== undefined && this.#entryStart + fresh > this.#writeLimit) this.#closeWrite();
    if (this.#slab === undefined) this.#openWrite(FRAME_BYTES + fresh);
    this.#isOpen = true;
    this.#timestampMs = now();
    this.#dataEnd = this.#entryStart + ENTRY_HEADER_BYTES;
    this.#records = 0;
  }

  #openWrite(bytes: number): void {
    const slab = this.#tail.slabFor(bytes);
    slab.pins += 1;
    this.#slab = slab;
    this.#writeStart = slab.used;
    this.#writeLimit = Math.min(slab.bytes.length, slab.used + this.#writeBytesMax);
    this.#entryStart = slab.used + FRAME_BYTES;
    this.#writeEntries = 0;
    this.#writePreviousChecksum = this.#chain.checksum;
  }

  /** Bytes that the records of a request take. */
  static dataBytes(request: ProduceRequest): number {
    const keyBytes = request.key === undefined ? -1 : request.key.length;
    const headersBytes = request.headers === undefined ? -1 : request.headers.length;
    const { ranges } = request;
    if (ranges === undefined) return recordSize(keyBytes, headersBytes, request.body.length);
    let bytes = 0;
    for (let i = 0; i < request.count; i++) {
      bytes += recordSize(
        keyBytes,
        headersBytes,
        (ranges[2 * i + 1] as number) - (ranges[2 * i] as number),
      );
    }
    return bytes;
  }

  /** Adds a request's records to the open entry, which has room for them. */
  addRecords(
    topicId: number,
    partition: number,
    baseOffset: number,
    request: ProduceRequest,
  ): void {
    const slab = this.#slab;
    assert(this.#isOpen && slab !== undefined, "An entry is open");
    const { key, headers, body, ranges, count } = request;
    const start = this.#dataEnd;
    let at = start;
    if (ranges === undefined) at = putRecord(slab.bytes, at, key, headers, body, 0, body.length);
    else {
      for (let i = 0; i < count; i++) {
        at = putRecord(
          slab.bytes,
          at,
          key,
          headers,
          body,
          ranges[2 * i] as number,
          ranges[2 * i + 1] as number,
        );
      }
    }
    this.#dataEnd = at;
    this.#records += count;
    this.added += 1;
    this.#addRun(topicId, partition, baseOffset, count, start, at);
  }

  #addRun(
    topicId: number,
    partition: number,
    baseOffset: number,
    count: number,
    start: number,
    end: number,
  ): void {
    const last = this.#chunks.length - 1;
    let at = this.#runs.length > 0 ? (this.#runs[this.#runs.length - 3] as number) : -1;
    let chunk = at < 0 ? undefined : this.#chunks[at];
    if (chunk === undefined || chunk.topicId !== topicId || chunk.partition !== partition) {
      const key = topicId * 0x1_00_00 + partition;
      // The first chunk enters the map only when there is a second one: most entries have one.
      const first = this.#chunks[0];
      if (last === 0 && first !== undefined)
        this.#chunkOf.set(first.topicId * 0x1_00_00 + first.partition, 0);
      at = last < 0 ? -1 : (this.#chunkOf.get(key) ?? -1);
      chunk = this.#chunks[at];
      if (chunk === undefined) {
        at = this.#chunks.length;
        chunk = { topicId, partition, baseOffset, count: 0, bytes: 0 };
        this.#chunks.push(chunk);
        if (at > 0) this.#chunkOf.set(key, at);
      }
    }
    assert(chunk.baseOffset + chunk.count === baseOffset, "Offsets of a chunk are dense");
    chunk.count += count;
    chunk.bytes += end - start;
    const runs = this.#runs.length;
    if (runs > 0 && this.#runs[runs - 3] === at && this.#runs[runs - 1] === start)
      this.#runs[runs - 1] = end;
    else this.#runs.push(at, start, end);
  }

  /** Appends a command to the open entry; `bytes` were asked for in `open`. */
  addCommand(write: (writer: ByteWriter) => void): void {
    assert(this.#isOpen, "An entry is open");
    write(this.#commands);
    this.#commandCount += 1;
    this.added += 1;
  }

  /** Appends an entry of its own that opens a term. */
  addNoOp(now: () => number): void {
    if (this.#isOpen) this.seal();
    this.open(0, now);
    this.#sealAs(ENTRY_KIND.noOp);
  }

  /** Ends the open entry and gives it its place in the log. */
  seal(): void {
    this.#sealAs(ENTRY_KIND.commands);
  }

  #sealAs(kind: number): void {
    const slab = this.#slab;
    assert(this.#isOpen && slab !== undefined, "An entry is open");
    const dataStart = this.#entryStart + ENTRY_HEADER_BYTES;
    if (this.#runs.length > 3 * this.#chunks.length) this.#gather(slab, dataStart);
    let at = this.#dataEnd;
    let data = dataStart;
    for (const chunk of this.#chunks) {
      const checksum = crc32(slab.bytes.subarray(data, data + chunk.bytes));
      putChunk(
        slab.view,
        at,
        chunk.topicId,
        chunk.partition,
        chunk.baseOffset,
        chunk.count,
        chunk.bytes,
        checksum,
      );
      at += CHUNK_COMMAND_BYTES;
      data += chunk.bytes;
    }
    slab.bytes.set(this.#commands.written(), at);
    at += this.#commands.length;
    const { index, term } = this.#nextIndex();
    const header = this.#header;
    header.previousChecksum = this.#chain.checksum;
    header.kind = kind;
    header.term = term;
    header.index = index;
    header.timestampMs = this.#timestampMs;
    header.dataBytes = this.#dataEnd - dataStart;
    header.commandBytes = at - this.#dataEnd;
    header.recordCount = this.#records;
    header.commandCount = this.#commandCount + this.#chunks.length;
    sealEntry(slab.bytes, slab.view, this.#entryStart, header);
    if (this.#writeEntries === 0) this.#writeFirstIndex = index;
    this.#writeEntries += 1;
    this.#chain = chainOf(header);
    this.#placed(slab, index);
    this.#entryStart += header.bytes;
    this.#forgetOpen();
  }

  #placed(slab: Slab, index: number): void {
    slab.pins += 1;
    this.onSeal({ index, bytes: slab.bytes, view: slab.view, at: this.#entryStart, slab });
  }

  #forgetOpen(): void {
    this.#isOpen = false;
    this.#chunks = [];
    this.#runs = [];
    this.#chunkOf.clear();
    this.#commands.clear();
    this.#commandCount = 0;
  }

  /** Forgets the open entry: it never got a place in the log. */
  dropOpen(): void {
    if (!this.#isOpen) return;
    this.#forgetOpen();
    if (this.#writeEntries === 0) this.#closeWrite();
  }

  /** Appends an entry that another node sealed, as it is; it follows the last one. */
  addEntry(bytes: Uint8Array, at: number, header: EntryHeader): void {
    assert(!this.#isOpen, "A node that takes entries opens none");
    assert(
      header.previousChecksum === this.#chain.checksum && header.index === this.#chain.index + 1,
      `Entry ${header.index} follows ${this.#chain.index} in the chain of checksums`,
    );
    if (this.#slab !== undefined && this.#entryStart + header.bytes > this.#writeLimit)
      this.#closeWrite();
    if (this.#slab === undefined) this.#openWrite(FRAME_BYTES + header.bytes);
    const slab = this.#slab;
    assert(slab !== undefined, "A write is open");
    slab.bytes.set(bytes.subarray(at, at + header.bytes), this.#entryStart);
    if (this.#writeEntries === 0) this.#writeFirstIndex = header.index;
    this.#writeEntries += 1;
    this.#chain = chainOf(header);
    this.#placed(slab, header.index);
    this.#entryStart += header.bytes;
  }

  /**
   * Drops every entry behind `end` that is not with the disk yet. `first` is the first of those that go; the caller lets go
   * of their pins.
   */
  cut(end: ChainEnd, first: SealedEntry): void {
    assert(!this.#isOpen, "Nothing is cut off while an entry is open");
    this.#chain = end;
    const isIn = (slab: Slab, from: number, to: number): boolean =>
      first.slab === slab && first.at >= from && first.at < to;
    if (this.#slab !== undefined && isIn(this.#slab, this.#writeStart, this.#entryStart)) {
      this.#writeEntries = first.index - this.#writeFirstIndex;
      this.#entryStart = first.at;
      if (this.#writeEntries === 0) this.#closeWrite();
      return;
    }
    this.#writeEntries = 0;
    if (this.#slab !== undefined) this.#closeWrite();
    const at = this.queue.findIndex((write) => isIn(write.slab, write.start, write.end));
    const cut = this.queue[at];
    this.queue.length = Math.max(at, 0);
    if (cut === undefined || first.index === cut.firstIndex) return;
    const entryCount = first.index - cut.firstIndex;
    this.queue.push({ ...cut, end: first.at, entryCount, chain: end });
  }

  /** Puts the stretches of each chunk side by side. */
  #gather(slab: Slab, dataStart: number): void {
    const bytes = this.#dataEnd - dataStart;
    if (this.#scratch.length < bytes)
      this.#scratch = new Uint8Array(Math.max(bytes, ENTRY_DATA_BYTES_MAX));
    this.#scratch.set(slab.bytes.subarray(dataStart, this.#dataEnd));
    const next: number[] = [];
    let at = dataStart;
    for (const chunk of this.#chunks) {
      next.push(at);
      at += chunk.bytes;
    }
    for (let i = 0; i < this.#runs.length; i += 3) {
      const chunk = this.#runs[i] as number;
      const start = (this.#runs[i + 1] as number) - dataStart;
      const end = (this.#runs[i + 2] as number) - dataStart;
      const to = next[chunk] as number;
      slab.bytes.set(this.#scratch.subarray(start, end), to);
      next[chunk] = to + end - start;
    }
  }

  /** Takes the next write for the disk, sealing what is open if there is nothing else. */
  take(): SealedWrite | undefined {
    if (this.queue.length === 0) {
      if (this.#isOpen) this.seal();
      if (this.#slab !== undefined) this.#closeWrite();
    }
    return this.queue[0];
  }

  #closeWrite(): void {
    const slab = this.#slab;
    assert(slab !== undefined && !this.#isOpen, "A write is closed behind its last entry");
    this.#slab = undefined;
    slab.pins -= 1;
    if (this.#writeEntries === 0) return;
    slab.used = this.#entryStart;
    this.queue.push({
      slab,
      start: this.#writeStart,
      end: this.#entryStart,
      entryCount: this.#writeEntries,
      firstIndex: this.#writeFirstIndex,
      previousChecksum: this.#writePreviousChecksum,
      chain: this.#chain,
    });
  }
}
