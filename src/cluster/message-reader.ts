// Takes bytes as they come from a socket and hands on whole messages. Each byte of a message is copied once, into memory of
// its own; a frame counts only when its sequence, checksum and tag are right, and the first that is not ends the connection.

import { assert } from "../lib/assert.ts";
import { viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import {
  FLAG_FIRST,
  FLAG_LAST,
  FLAG_URGENT,
  FRAME_HEADER_BYTES,
  type FrameFault,
  type FrameKey,
  KIND_ALIVE,
  KIND_PIECE,
  MESSAGE_BYTES_MAX,
  PIECE_BYTES_MAX,
  SEQUENCE_MAX,
  TAG_BYTES,
} from "./frame.ts";

const NOTHING = new Uint8Array(0);

/** The message of one priority that is being put together. */
interface Assembly {
  /** Undefined between messages. */
  bytes: Uint8Array | undefined;
  filled: number;
  nextMessage: number;
}

/** Reads one direction of one connection. */
export class MessageReader {
  /** Messages handed on so far. */
  messages = 0;
  readonly #key: FrameKey | undefined;
  readonly #onMessage: (bytes: Uint8Array) => void;
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  readonly #view = viewOf(this.#header);
  /** What the checksum covers of the header. */
  readonly #covered = this.#header.subarray(8);
  readonly #tag: Uint8Array;
  readonly #urgent: Assembly = { bytes: undefined, filled: 0, nextMessage: 0 };
  readonly #bulk: Assembly = { bytes: undefined, filled: 0, nextMessage: 0 };
  #sequence = 0;
  /** How far the present frame has come, part by part. */
  #headerFilled = 0;
  #payloadFilled = 0;
  #tagFilled = 0;
  #length = 0;
  /** Where the present frame's payload goes: memory of its message, which is the receiver's in the end. */
  #payload: Uint8Array = NOTHING;

  /**
   * @param key Checks the tags; undefined where TLS protects the connection.
   * @param onMessage Gets every whole message; the bytes are its own.
   */
  constructor(key: FrameKey | undefined, onMessage: (bytes: Uint8Array) => void) {
    this.#key = key;
    this.#onMessage = onMessage;
    this.#tag = new Uint8Array(key === undefined ? 0 : TAG_BYTES);
  }

  /** Takes the next bytes. After a fault nothing may be given any more. */
  receive(chunk: Uint8Array): FrameFault | undefined {
    let at = 0;
    for (;;) {
      if (this.#headerFilled < FRAME_HEADER_BYTES) {
        const taken = fill(this.#header, this.#headerFilled, chunk, at);
        this.#headerFilled += taken;
        at += taken;
        if (this.#headerFilled < FRAME_HEADER_BYTES) return undefined;
        const fault = this.#begin();
        if (fault !== undefined) return fault;
      }
      if (this.#payloadFilled < this.#length) {
        const taken = fill(this.#payload, this.#payloadFilled, chunk, at);
        this.#payloadFilled += taken;
        at += taken;
        if (this.#payloadFilled < this.#length) return undefined;
      }
      if (this.#tagFilled < this.#tag.length) {
        const taken = fill(this.#tag, this.#tagFilled, chunk, at);
        this.#tagFilled += taken;
        at += taken;
        if (this.#tagFilled < this.#tag.length) return undefined;
      }
      const fault = this.#finish();
      if (fault !== undefined) return fault;
    }
  }

  /** The header is there: is it one that may come now, and where does its payload go? */
  #begin(): FrameFault | undefined {
    const length = this.#view.getUint32(0, true);
    if (length > PIECE_BYTES_MAX) return "bad_length";
    if (this.#view.getUint32(8, true) !== this.#sequence || this.#sequence >= SEQUENCE_MAX)
      return "bad_sequence";
    if (this.#view.getUint16(14, true) !== 0) return "bad_kind";
    this.#length = length;
    this.#payloadFilled = 0;
    this.#tagFilled = 0;
    this.#payload = NOTHING;
    const kind = this.#view.getUint8(12);
    if (kind === KIND_ALIVE) return length === 0 ? undefined : "bad_length";
    return kind === KIND_PIECE ? this.#beginPiece(length) : "bad_kind";
  }

  #beginPiece(length: number): FrameFault | undefined {
    const flags = this.#view.getUint8(13);
    const total = this.#view.getUint32(20, true);
    const assembly = this.#assemblyOf(flags);
    const isFirst = (flags & FLAG_FIRST) !== 0;
    const isLast = (flags & FLAG_LAST) !== 0;
    if (total > MESSAGE_BYTES_MAX) return "bad_length";
    if (flags > (FLAG_FIRST | FLAG_LAST | FLAG_URGENT)) return "bad_piece";
    if (isFirst !== (assembly.bytes === undefined)) return "bad_piece";
    if (this.#view.getUint32(16, true) !== assembly.nextMessage) return "bad_piece";
    if (assembly.bytes !== undefined && assembly.bytes.length !== total) return "bad_piece";
    const end = (isFirst ? 0 : assembly.filled) + length;
    // A piece without bytes would come for ever; only a message without bytes has one.
    if (length === 0 && total > 0) return "bad_piece";
    if (end > total || isLast !== (end === total)) return "bad_piece";
    if (assembly.bytes === undefined) {
      // Memory for a length that is not verified yet: whoever could forge it has passed the handshake, and 64 MiB is the end.
      assembly.bytes = new Uint8Array(total);
      assembly.filled = 0;
    }
    this.#payload = assembly.bytes.subarray(assembly.filled, end);
    return undefined;
  }

  /** The frame is there: is it unaltered, and is its message whole? */
  #finish(): FrameFault | undefined {
    const crc = crc32(this.#payload, crc32(this.#covered));
    if (crc !== this.#view.getUint32(4, true)) return "bad_checksum";
    if (this.#key?.isTag(this.#tag, this.#header, this.#payload) === false) return "bad_tag";
    this.#sequence += 1;
    this.#headerFilled = 0;
    if (this.#view.getUint8(12) === KIND_ALIVE) return undefined;
    const flags = this.#view.getUint8(13);
    const assembly = this.#assemblyOf(flags);
    assembly.filled += this.#length;
    if ((flags & FLAG_LAST) === 0) return undefined;
    const { bytes } = assembly;
    assert(
      bytes !== undefined && bytes.length === assembly.filled,
      "A message ends when it is whole",
    );
    assembly.bytes = undefined;
    assembly.nextMessage = (assembly.nextMessage + 1) >>> 0;
    this.messages += 1;
    this.#onMessage(bytes);
    return undefined;
  }

  #assemblyOf(flags: number): Assembly {
    return (flags & FLAG_URGENT) === 0 ? this.#bulk : this.#urgent;
  }
}

/** Copies as much of `source` from `at` on as `target` still lacks; returns how much that was. */
function fill(target: Uint8Array, filled: number, source: Uint8Array, at: number): number {
  const count = Math.min(target.length - filled, source.length - at);
  if (count > 0) target.set(source.subarray(at, at + count), filled);
  return count;
}
