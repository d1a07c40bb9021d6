// A record as bytes: the same on disk, on the wire to peers and in memory. Drawn in docs/format.md.
//
//   flags u8 | [timestamp delta, varint] | [key length, varint | key] | [headers length, varint | headers]
//   | value length, varint | value
//
// flags: 1 has a timestamp delta, 2 has a key, 4 has headers. Other bits are 0.

/** The record carries milliseconds to add to its chunk's time. */
export const RECORD_HAS_DELTA = 1;
/** The record carries a key. */
export const RECORD_HAS_KEY = 2;
/** The record carries headers. */
export const RECORD_HAS_HEADERS = 4;

/** Most bytes a varint of this format takes: lengths stay below 2^31, time deltas below 2^42. */
export const VARINT_BYTES_MAX = 6;

/** Bytes that `value` takes as a varint. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size += 1;
  return size;
}

/** Writes `value` (0 to 2^42) at `at`; returns the position after it. */
export function putVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value;
  let position = at;
  while (rest >= 128) {
    bytes[position++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  bytes[position++] = rest;
  return position;
}

/** Bytes that one record takes, without a timestamp delta. */
export function recordSize(keyBytes: number, headersBytes: number, valueBytes: number): number {
  return (
    1 +
    (keyBytes < 0 ? 0 : varintSize(keyBytes) + keyBytes) +
    (headersBytes < 0 ? 0 : varintSize(headersBytes) + headersBytes) +
    varintSize(valueBytes) +
    valueBytes
  );
}

/**
 * Writes one record at `at`; returns the position after it. The caller has made room: `recordSize`.
 * The value is `source[start, end)`.
 */
export function putRecord(
  into: Uint8Array,
  at: number,
  key: Uint8Array | undefined,
  headers: Uint8Array | undefined,
  source: Uint8Array,
  start: number,
  end: number,
): number {
  into[at] =
    (key === undefined ? 0 : RECORD_HAS_KEY) | (headers === undefined ? 0 : RECORD_HAS_HEADERS);
  let position = at + 1;
  if (key !== undefined) {
    position = putVarint(into, position, key.length);
    into.set(key, position);
    position += key.length;
  }
  if (headers !== undefined) {
    position = putVarint(into, position, headers.length);
    into.set(headers, position);
    position += headers.length;
  }
  position = putVarint(into, position, end - start);
  into.set(start === 0 && end === source.length ? source : source.subarray(start, end), position);
  return position + end - start;
}

/** A piece of one partition: whole records, back to back, as `RecordCursor` walks them. */
export interface RecordSlice {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Offset of the first record in the slice; it may lie before the one that was asked for. */
  readonly baseOffset: number;
  readonly count: number;
  /** Append time that record deltas add to. */
  readonly timestampMs: number;
}

/**
 * Walks records in place, making no object per record. Bytes come from a chunk whose checksum held, yet every
 * length is checked: `next` answers false at the end and when the bytes are no record (`isBroken`).
 */
export class RecordCursor {
  bytes: Uint8Array = new Uint8Array(0);
  end = 0;
  position = 0;
  /** Milliseconds to add to the chunk's time. */
  timestampDelta = 0;
  /** -1 when there is no key. */
  keyStart = -1;
  keyEnd = -1;
  /** -1 when there are no headers. */
  headersStart = -1;
  headersEnd = -1;
  valueStart = 0;
  valueEnd = 0;
  isBroken = false;

  /** Starts over on `bytes[start, end)`. */
  reset(bytes: Uint8Array, start: number, end: number): this {
    this.bytes = bytes;
    this.position = start;
    this.end = end;
    this.isBroken = false;
    return this;
  }

  /** Steps to the next record. */
  next(): boolean {
    if (this.position >= this.end) return false;
    const flags = this.bytes[this.position++] as number;
    if (flags > (RECORD_HAS_DELTA | RECORD_HAS_KEY | RECORD_HAS_HEADERS)) return this.#broken();
    this.timestampDelta = (flags & RECORD_HAS_DELTA) === 0 ? 0 : this.#varint();
    this.keyStart = -1;
    this.keyEnd = -1;
    if ((flags & RECORD_HAS_KEY) !== 0) {
      const length = this.#varint();
      this.keyStart = this.position;
      this.position += length;
      this.keyEnd = this.position;
    }
    this.headersStart = -1;
    this.headersEnd = -1;
    if ((flags & RECORD_HAS_HEADERS) !== 0) {
      const length = this.#varint();
      this.headersStart = this.position;
      this.position += length;
      this.headersEnd = this.position;
    }
    const length = this.#varint();
    this.valueStart = this.position;
    this.position += length;
    this.valueEnd = this.position;
    return this.position <= this.end ? !this.isBroken : this.#broken();
  }

  #broken(): false {
    this.isBroken = true;
    this.position = this.end;
    return false;
  }

  #varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      // Past the end this reads undefined, which `& 127` makes 0; `next` sees the position and says so.
      const byte = this.bytes[this.position++] as number;
      value += (byte & 127) * scale;
      if ((byte & 128) === 0) return value;
      scale *= 128;
    }
    this.isBroken = true;
    return value;
  }
}

/** Packs header pairs: `[name length, varint | name | value length, varint | value]…`, UTF-8. */
export function encodeHeaders(pairs: readonly (readonly [string, string])[]): Uint8Array {
  const encoder = new TextEncoder();
  const parts = pairs.flat().map((text) => encoder.encode(text));
  const bytes = new Uint8Array(
    parts.reduce((sum, part) => sum + varintSize(part.length) + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    at = putVarint(bytes, at, part.length);
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Unpacks what `encodeHeaders` packed. Stops at the first pair that is not whole. */
export function decodeHeaders(bytes: Uint8Array, start: number, end: number): [string, string][] {
  const decoder = new TextDecoder();
  const pairs: [string, string][] = [];
  let at = start;
  const text = (): string | undefined => {
    let length = 0;
    let scale = 1;
    for (;;) {
      if (at >= end) return undefined;
      const byte = bytes[at++] as number;
      length += (byte & 127) * scale;
      if ((byte & 128) === 0) break;
      scale *= 128;
    }
    if (at + length > end) return undefined;
    at += length;
    return decoder.decode(bytes.subarray(at - length, at));
  };
  for (;;) {
    const name = text();
    const value = name === undefined ? undefined : text();
    if (name === undefined || value === undefined) return pairs;
    pairs.push([name, value]);
  }
}
