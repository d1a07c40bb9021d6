// What one connection still has to send: two queues of frames, and the run of frames that the kernel is taking just now.
// A message is copied once, when it is taken, with room for its headers; sequence, checksum and tag are put in when its
// turn comes, since an urgent one may still overtake it.

import { assert } from "../lib/assert.ts";
import { viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import {
  FLAG_FIRST,
  FLAG_LAST,
  FLAG_URGENT,
  FRAME_HEADER_BYTES,
  type FrameKey,
  KIND_ALIVE,
  KIND_PIECE,
  MESSAGE_BYTES_MAX,
  PIECE_BYTES_MAX,
  type Priority,
  piecesOf,
  SEQUENCE_MAX,
  TAG_BYTES,
} from "./frame.ts";

/** Bytes of one priority that wait for the kernel: beyond it, `urgent` is refused, and `bulk` after one more message. */
export const UNSENT_BYTES_MAX = 1_048_576;
/** Bytes handed to the kernel at once: a piece, or many small messages together. */
const RUN_BYTES = PIECE_BYTES_MAX;
/** Bytes of the memory for small messages. */
const CHUNK_BYTES = 65_536;
/** Memory up to this size is kept for the next message. */
const SPARE_BYTES_MAX = 2 * UNSENT_BYTES_MAX;

/** Frames side by side in one piece of memory. */
interface Chunk {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The first frame that has no sequence yet. */
  start: number;
  end: number;
}

/** The frames of one priority, in order. */
class FrameQueue {
  /** Bytes, headers and tags included, that the kernel does not have. */
  unsent = 0;
  readonly chunks: Chunk[] = [];
  readonly #flag: number;
  readonly #tagBytes: number;
  #spare: Chunk | undefined;
  #message = 0;

  constructor(priority: Priority, tagBytes: number) {
    this.#flag = priority === "urgent" ? FLAG_URGENT : 0;
    this.#tagBytes = tagBytes;
  }

  wireBytes(total: number): number {
    return total + piecesOf(total) * (FRAME_HEADER_BYTES + this.#tagBytes);
  }

  /** Lays a message out as frames. */
  push(parts: readonly Uint8Array[], total: number): void {
    const wire = this.wireBytes(total);
    const chunk = this.#chunkFor(wire);
    const pieces = piecesOf(total);
    let part = 0;
    let partAt = 0;
    for (let piece = 0; piece < pieces; piece++) {
      const length = Math.min(PIECE_BYTES_MAX, total - piece * PIECE_BYTES_MAX);
      const first = piece === 0 ? FLAG_FIRST : 0;
      const last = piece === pieces - 1 ? FLAG_LAST : 0;
      putHeader(chunk.view, chunk.end, {
        length,
        kind: KIND_PIECE,
        flags: first | last | this.#flag,
        message: this.#message,
        total,
      });
      let at = chunk.end + FRAME_HEADER_BYTES;
      const end = at + length;
      while (at < end) {
        const source = parts[part] ?? assertMissing();
        const count = Math.min(source.length - partAt, end - at);
        chunk.bytes.set(
          count === source.length ? source : source.subarray(partAt, partAt + count),
          at,
        );
        at += count;
        partAt += count;
        if (partAt === source.length) {
          part += 1;
          partAt = 0;
        }
      }
      chunk.end = end + this.#tagBytes;
    }
    this.#message = (this.#message + 1) >>> 0;
    this.unsent += wire;
  }

  /** Appends a frame that says nothing but that this side is there. */
  pushAlive(): void {
    const chunk = this.#chunkFor(FRAME_HEADER_BYTES + this.#tagBytes);
    putHeader(chunk.view, chunk.end, {
      length: 0,
      kind: KIND_ALIVE,
      flags: 0,
      message: 0,
      total: 0,
    });
    chunk.end += FRAME_HEADER_BYTES + this.#tagBytes;
    this.unsent += FRAME_HEADER_BYTES + this.#tagBytes;
  }

  /** Gives back memory of which everything is with the kernel. */
  release(chunk: Chunk): void {
    if (chunk.start < chunk.end || this.chunks[0] !== chunk) return;
    chunk.start = 0;
    chunk.end = 0;
    // Small memory stays where it is and is filled again.
    if (chunk.bytes.length === CHUNK_BYTES && this.chunks.length === 1) return;
    this.chunks.shift();
    if (chunk.bytes.length <= SPARE_BYTES_MAX) this.#spare = chunk;
  }

  #chunkFor(wire: number): Chunk {
    const last = this.chunks.at(-1);
    if (last !== undefined && last.bytes.length - last.end >= wire) return last;
    let chunk = this.#spare;
    if (chunk !== undefined && chunk.bytes.length >= wire) {
      this.#spare = undefined;
    } else {
      const bytes = new Uint8Array(Math.max(CHUNK_BYTES, wire));
      chunk = { bytes, view: viewOf(bytes), start: 0, end: 0 };
    }
    this.chunks.push(chunk);
    return chunk;
  }
}

/** The kernel's side of a connection: takes some of `bytes[at, at + length)` and says how much. */
export type WriteToKernel = (bytes: Uint8Array, at: number, length: number) => number;

/** Everything unsent of one connection. */
export class Outbox {
  /** Bytes that the kernel took, headers and tags included. */
  bytesSent = 0;
  readonly #key: FrameKey | undefined;
  readonly #tagBytes: number;
  readonly #urgent: FrameQueue;
  readonly #bulk: FrameQueue;
  #sequence = 0;
  /** The frames that are being taken: finished before anything else, since half a frame is none. */
  #run: { queue: FrameQueue; chunk: Chunk; at: number; end: number } | undefined;

  /** @param key Makes the tags; undefined where TLS protects the connection. */
  constructor(key: FrameKey | undefined) {
    this.#key = key;
    this.#tagBytes = key === undefined ? 0 : TAG_BYTES;
    this.#urgent = new FrameQueue("urgent", this.#tagBytes);
    this.#bulk = new FrameQueue("bulk", this.#tagBytes);
  }

  /** Bytes taken here that the kernel does not have yet. */
  get unsentBytes(): number {
    return this.#urgent.unsent + this.#bulk.unsent;
  }

  /** Whether every number of this connection is used up: it must be made anew. */
  get isExhausted(): boolean {
    return this.#sequence >= SEQUENCE_MAX;
  }

  /** Takes one message, or refuses it because too much is unsent. */
  push(priority: Priority, parts: readonly Uint8Array[]): boolean {
    let total = 0;
    for (const part of parts) total += part.length;
    assert(
      total <= MESSAGE_BYTES_MAX,
      `Cannot send ${total} bytes: the limit is ${MESSAGE_BYTES_MAX}`,
    );
    const queue = priority === "urgent" ? this.#urgent : this.#bulk;
    const ahead = queue.unsent + (priority === "urgent" ? queue.wireBytes(total) : 0);
    if (ahead > UNSENT_BYTES_MAX) return false;
    queue.push(parts, total);
    return true;
  }

  /** Appends a sign of life. */
  pushAlive(): void {
    if (this.#urgent.unsent === 0) this.#urgent.pushAlive();
  }

  /** Gives the kernel what it takes. False: some is left, and the kernel will say when it takes more. */
  flush(write: WriteToKernel): boolean {
    for (;;) {
      const run = this.#run ?? this.#nextRun();
      if (run === undefined) return true;
      this.#run = run;
      const taken = write(run.chunk.bytes, run.at, run.end - run.at);
      if (taken <= 0) return false;
      run.at += taken;
      run.queue.unsent -= taken;
      this.bytesSent += taken;
      if (run.at < run.end) return false;
      this.#run = undefined;
      run.queue.release(run.chunk);
    }
  }

  /** Seals the frames that go next: urgent ones before bulk ones, side by side, about one piece's worth. */
  #nextRun(): { queue: FrameQueue; chunk: Chunk; at: number; end: number } | undefined {
    const queue = this.#urgent.unsent > 0 ? this.#urgent : this.#bulk;
    if (queue.unsent === 0 || this.isExhausted) return undefined;
    let chunk = queue.chunks[0];
    if (chunk !== undefined && chunk.start === chunk.end) {
      // Reused memory that was too small for the next message.
      queue.chunks.shift();
      chunk = queue.chunks[0];
    }
    assert(chunk !== undefined && chunk.start < chunk.end, "What is unsent lies in a chunk");
    const at = chunk.start;
    while (chunk.start < chunk.end && !this.isExhausted) {
      const end = chunk.start + FRAME_HEADER_BYTES + chunk.view.getUint32(chunk.start, true);
      if (chunk.start > at && end + this.#tagBytes - at > RUN_BYTES) break;
      this.#seal(chunk, chunk.start, end);
      chunk.start = end + this.#tagBytes;
    }
    return { queue, chunk, at, end: chunk.start };
  }

  /** Puts in what a frame gets when its turn has come. */
  #seal(chunk: Chunk, at: number, end: number): void {
    chunk.view.setUint32(at + 8, this.#sequence, true);
    chunk.view.setUint32(at + 4, crc32(chunk.bytes.subarray(at + 8, end)), true);
    this.#sequence += 1;
    if (this.#key !== undefined)
      chunk.bytes.set(this.#key.tagOf(chunk.bytes.subarray(at, end)), end);
  }
}

function putHeader(
  view: DataView,
  at: number,
  header: {
    readonly length: number;
    readonly kind: number;
    readonly flags: number;
    readonly message: number;
    readonly total: number;
  },
): void {
  view.setUint32(at, header.length, true);
  view.setUint8(at + 12, header.kind);
  view.setUint8(at + 13, header.flags);
  view.setUint16(at + 14, 0, true);
  view.setUint32(at + 16, header.message, true);
  view.setUint32(at + 20, header.total, true);
}

function assertMissing(): never {
  assert(false, "The parts of a message hold as many bytes as were counted");
}
