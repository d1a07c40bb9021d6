// Reads and writes the pieces of Avro's binary encoding. Every length is checked before it is believed: a count of items
// that the bytes cannot hold ends the record instead of the memory.

import type { Numeric } from "../compare.ts";
import { DecodeError } from "./decoder.ts";

/** Records inside records: types may refer to themselves. */
const DEPTH_MAX = 200;
/** Items that take no bytes, such as nulls, beside one for every byte of the record. */
const EMPTY_ITEMS_MAX = 65_536;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** A reader of bytes. */
export class Tap {
  bytes: Uint8Array;
  view: DataView;
  at: number;
  depth = 0;
  #items = 0;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  get isAtEnd(): boolean {
    return this.at === this.bytes.length;
  }

  /** Enters a record. */
  enter(): void {
    this.depth += 1;
    if (this.depth > DEPTH_MAX) throw new DecodeError(`Nested deeper than ${DEPTH_MAX}`);
  }

  leave(): void {
    this.depth -= 1;
  }

  byte(): number {
    const byte = this.bytes[this.at];
    if (byte === undefined) throw new DecodeError("Ends too early");
    this.at += 1;
    return byte;
  }

  boolean(): boolean {
    const byte = this.byte();
    if (byte > 1) throw new DecodeError(`A boolean is ${byte}`);
    return byte === 1;
  }

  int(): number {
    const value = this.long();
    if (typeof value === "bigint" || value > 2_147_483_647 || value < -2_147_483_648)
      throw new DecodeError("An int has more than 32 bits");
    return value;
  }

  /** A zigzag varint of up to 64 bits; a bigint beyond 2^53. */
  long(): Numeric {
    let byte = this.byte();
    if (byte < 128) return (byte & 1) === 0 ? byte >> 1 : -((byte + 1) >> 1);
    let value = byte & 127;
    let scale = 128;
    // Seven bytes are 49 bits, which a double holds.
    for (let i = 1; i < 7; i++) {
      byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      scale *= 128;
    }
    let wide = BigInt(value);
    for (let shift = 49n; shift < 70n; shift += 7n) {
      byte = this.byte();
      if (shift === 63n && byte > 1) break;
      wide |= BigInt(byte & 127) << shift;
      if (byte >= 128) continue;
      const signed = (wide & 1n) === 0n ? wide >> 1n : -((wide + 1n) >> 1n);
      const number = Number(signed);
      return Number.isSafeInteger(number) ? number : signed;
    }
    throw new DecodeError("A long has more than 64 bits");
  }

  float(): number {
    this.#need(4);
    const value = this.view.getFloat32(this.at, true);
    this.at += 4;
    return value;
  }

  double(): number {
    this.#need(8);
    const value = this.view.getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  /** The bytes of a length that was checked; the memory is the record's. */
  raw(length: number): Uint8Array {
    this.#need(length);
    const bytes = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return bytes;
  }

  bytesField(): Uint8Array {
    return this.raw(this.length());
  }

  text(): string {
    const length = this.length();
    this.#need(length);
    const start = this.at;
    this.at += length;
    // Short plain texts are faster by hand than through the decoder.
    if (length <= 16) {
      let text = "";
      let i = start;
      for (; i < this.at; i++) {
        const byte = this.bytes[i] as number;
        if (byte >= 128) break;
        text += String.fromCharCode(byte);
      }
      if (i === this.at) return text;
    }
    try {
      return utf8.decode(this.bytes.subarray(start, this.at));
    } catch {
      throw new DecodeError("A string is not UTF-8");
    }
  }

  length(): number {
    const length = this.long();
    if (typeof length === "bigint" || length < 0) throw new DecodeError("A length is negative");
    return length;
  }

  /** Items of the next block of an array or a map; 0 ends it. */
  count(): number {
    let count = this.long();
    if (count === 0) return 0;
    if (count < 0) {
      count = -count;
      this.length();
    }
    this.#items += Number(count);
    if (this.#items > this.bytes.length + EMPTY_ITEMS_MAX)
      throw new DecodeError("An array or a map has more items than the record has bytes");
    return Number(count);
  }

  #need(length: number): void {
    if (length > this.bytes.length - this.at) throw new DecodeError("Ends too early");
  }
}

const encoder = new TextEncoder();

/** A writer of bytes. */
export class TapWriter {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** What was written, valid until the next `reset`. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  reset(): void {
    this.#length = 0;
  }

  byte(byte: number): void {
    this.#room(1);
    this.#bytes[this.#length++] = byte;
  }

  long(value: Numeric): void {
    this.#room(10);
    let rest = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
    while (rest >= 128n) {
      this.#bytes[this.#length++] = Number(rest & 127n) | 128;
      rest >>= 7n;
    }
    this.#bytes[this.#length++] = Number(rest);
  }

  float(value: number): void {
    this.#room(4);
    this.#view.setFloat32(this.#length, value, true);
    this.#length += 4;
  }

  double(value: number): void {
    this.#room(8);
    this.#view.setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  text(text: string): void {
    const bytes = encoder.encode(text);
    this.long(bytes.length);
    this.raw(bytes);
  }

  #room(length: number): void {
    if (this.#length + length <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + length));
    grown.set(this.view());
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
