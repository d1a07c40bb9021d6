// Reading and writing numbers in byte arrays. Little-endian everywhere; 64-bit fields hold safe integers only.

import { assert } from "./assert.ts";

const TWO_32 = 0x1_00_00_00_00;

/** The next multiple of eight. */
export const align8 = (bytes: number): number => Math.ceil(bytes / 8) * 8;

/** A view of the same memory. */
export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Writes a safe, non-negative integer as 64 bits. */
export function putU64(view: DataView, at: number, value: number): void {
  assert(
    Number.isSafeInteger(value) && value >= 0,
    `Cannot write ${value} as an unsigned 64-bit integer`,
  );
  view.setUint32(at, value % TWO_32, true);
  view.setUint32(at + 4, Math.floor(value / TWO_32), true);
}

/** Reads 64 bits; -1 when the value is no safe integer, so that damaged bytes are refused and not rounded. */
export function getU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  return high > 0x1f_ff_ff ? -1 : high * TWO_32 + view.getUint32(at, true);
}

/** Whether `left[leftStart, leftEnd)` holds the bytes of `right`. */
export function sameBytes(
  left: Uint8Array,
  leftStart: number,
  leftEnd: number,
  right: Uint8Array,
): boolean {
  if (leftEnd - leftStart !== right.length) return false;
  for (let i = 0; i < right.length; i++) if (left[leftStart + i] !== right[i]) return false;
  return true;
}

const ZEROS = new Uint8Array(1 << 16);

/** Whether all of `bytes` is zero, at the speed of a memory comparison. */
export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const piece = bytes.subarray(at, at + ZEROS.length);
    if (
      Buffer.compare(
        piece,
        piece.length === ZEROS.length ? ZEROS : ZEROS.subarray(0, piece.length),
      ) !== 0
    )
      return false;
  }
  return true;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** UTF-8 bytes of a text. */
export const encodeText = (text: string): Uint8Array => encoder.encode(text);

/** Text of UTF-8 bytes; what is not UTF-8 is replaced. */
export const decodeText = (bytes: Uint8Array): string => decoder.decode(bytes);

/** One character per byte: a text that tells any two byte strings apart. */
export const decodeLatin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");

/** A byte array that grows as it is written, for what is built rarely: commands, derived files. */
export class ByteWriter {
  bytes: Uint8Array;
  length = 0;
  #view: DataView;

  /** @param capacity Bytes to begin with. */
  constructor(capacity = 256) {
    this.bytes = new Uint8Array(new ArrayBuffer(capacity));
    this.#view = viewOf(this.bytes);
  }

  /** Forgets what was written and keeps the memory. */
  clear(): this {
    this.length = 0;
    return this;
  }

  /** The bytes written so far, not copied. */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  /**
   * Makes room for `count` more bytes and steps over them; returns where they begin. `bytes` may be another array
   * afterwards: call it before `bytes` or the view is named, never among the arguments of one of their methods.
   */
  reserve(count: number): number {
    const at = this.length;
    if (at + count > this.bytes.length) {
      const grown = new Uint8Array(new ArrayBuffer(Math.max(this.bytes.length * 2, at + count)));
      grown.set(this.bytes.subarray(0, at));
      this.bytes = grown;
      this.#view = viewOf(grown);
    }
    this.length = at + count;
    return at;
  }

  u8(value: number): this {
    const at = this.reserve(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.reserve(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.reserve(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  u64(value: number): this {
    const at = this.reserve(8);
    putU64(this.#view, at, value);
    return this;
  }

  raw(piece: Uint8Array): this {
    const at = this.reserve(piece.length);
    this.bytes.set(piece, at);
    return this;
  }

  /** Overwrites a 32-bit field that was reserved before. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }
}
