// Writes records as JSON straight from their bytes into one growing buffer: no string and no object per record.

import { isUtf8 } from "node:buffer";
import { decodeHeaders, type RecordCursor } from "../model/record.ts";

const BYTES_FIRST = 65_536;
/** A buffer that grew beyond this is let go after its reply. */
const BYTES_KEPT_MAX = 4_194_304;
/** Room for everything of a record but key, value and headers. */
const FRAME_BYTES = 256;

const encoder = new TextEncoder();
const repairer = new TextDecoder("utf-8", { ignoreBOM: true });

const ascii = (text: string): Uint8Array => encoder.encode(text);

const OFFSET = ascii('{"offset":');
const KEY = ascii(',"key":"');
const KEY_B64 = ascii(',"key_b64":"');
const QUOTE_BYTE = 34;
const EVENT_ID = ascii("id: ");
const EVENT_DATA = ascii("\ndata: ");
const NEWLINE = 10;
const COMMA = 44;
const CLOSE = 125;

/** Two base64 characters for every 12 bits. */
const PAIRS = (() => {
  const alphabet = ascii("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
  const pairs = new Uint16Array(4096);
  for (let i = 0; i < 4096; i++) {
    // Both characters are written at once, the first in the low byte where the machine is little-endian.
    pairs[i] = (alphabet[i >> 6] as number) | ((alphabet[i & 63] as number) << 8);
  }
  return pairs;
})();
const PAD = 61;

/** What follows a backslash for each byte that needs one; `u` stands for a longer escape; 0: written as it is. */
const ESCAPES = (() => {
  const letters = new Uint8Array(256).fill(117, 0, 32);
  for (const [byte, letter] of [
    [8, "b"],
    [9, "t"],
    [10, "n"],
    [12, "f"],
    [13, "r"],
    [34, '"'],
    [92, "\\"],
  ] as const) {
    letters[byte] = letter.charCodeAt(0);
  }
  return letters;
})();
const HEX = ascii("0123456789abcdef");

/** How values and keys are shown. */
export type Encoding = "text" | "b64";

/** A growing buffer that writes records. */
export class RecordWriter {
  bytes: Uint8Array = new Uint8Array(BYTES_FIRST);
  length = 0;
  #partition = -1;
  #timestampMs = -1;
  #isBase64 = false;
  /** What stands between an offset and a value: the same for most records of a reply. */
  #middle: Uint8Array = new Uint8Array(0);

  /** Starts over. */
  reset(partition: number, encoding: Encoding): this {
    this.length = 0;
    if (this.bytes.length > BYTES_KEPT_MAX) this.bytes = new Uint8Array(BYTES_FIRST);
    this.#partition = partition;
    this.#isBase64 = encoding === "b64";
    this.#timestampMs = -1;
    return this;
  }

  /** Writes plain ASCII. */
  text(text: string): void {
    this.#ensure(text.length);
    for (let i = 0; i < text.length; i++) this.bytes[this.length++] = text.charCodeAt(i);
  }

  /** Writes the record under the cursor as a JSON object. */
  record(offset: number, timestampMs: number, cursor: RecordCursor): void {
    const keyBytes = cursor.keyStart < 0 ? 0 : cursor.keyEnd - cursor.keyStart;
    // An escape takes 6 bytes at most, a repaired byte 3, base64 4 for 3.
    const growth = this.#isBase64 ? 1.5 : 6;
    this.#ensure(FRAME_BYTES + (cursor.valueEnd - cursor.valueStart + keyBytes) * growth);
    this.#copy(OFFSET);
    this.#decimal(offset);
    if (timestampMs !== this.#timestampMs) this.#prepareMiddle(timestampMs);
    this.#copy(this.#middle);
    this.#content(cursor.bytes, cursor.valueStart, cursor.valueEnd);
    if (cursor.keyStart >= 0) {
      this.#copy(this.#isBase64 ? KEY_B64 : KEY);
      this.#content(cursor.bytes, cursor.keyStart, cursor.keyEnd);
    }
    if (cursor.headersStart >= 0) this.#headers(cursor);
    this.bytes[this.length++] = CLOSE;
  }

  /** Writes a comma. */
  comma(): void {
    this.#ensure(1);
    this.bytes[this.length++] = COMMA;
  }

  /** Writes the bare value and a newline. */
  rawLine(cursor: RecordCursor): void {
    const { bytes: source, valueStart, valueEnd } = cursor;
    this.#ensure(valueEnd - valueStart + 1);
    // Short values: a loop beats the call; long ones: the call beats the loop.
    if (valueEnd - valueStart <= 64) {
      const target = this.bytes;
      let at = this.length;
      for (let i = valueStart; i < valueEnd; i++) target[at++] = source[i] as number;
      this.length = at;
    } else {
      this.bytes.set(source.subarray(valueStart, valueEnd), this.length);
      this.length += valueEnd - valueStart;
    }
    this.bytes[this.length++] = NEWLINE;
  }

  /** Writes the record under the cursor as a server-sent event whose id is its offset. */
  event(offset: number, timestampMs: number, cursor: RecordCursor): void {
    this.#ensure(FRAME_BYTES);
    this.#copy(EVENT_ID);
    this.#decimal(offset);
    this.#copy(EVENT_DATA);
    this.record(offset, timestampMs, cursor);
    this.text("\n\n");
  }

  /** Writes the record under the cursor as one line of JSON. */
  line(offset: number, timestampMs: number, cursor: RecordCursor): void {
    this.record(offset, timestampMs, cursor);
    this.#ensure(1);
    this.bytes[this.length++] = NEWLINE;
  }

  /** A copy of what was written. */
  copy(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  /** What was written, valid until more is. */
  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  #ensure(more: number): void {
    const needed = this.length + more;
    if (needed <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(Math.ceil(needed), this.bytes.length * 2));
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
  }

  #prepareMiddle(timestampMs: number): void {
    this.#timestampMs = timestampMs;
    const name = this.#isBase64 ? "value_b64" : "value";
    this.#middle = ascii(
      `,"partition":${this.#partition},"timestamp_ms":${timestampMs},"${name}":"`,
    );
  }

  #copy(source: Uint8Array): void {
    const target = this.bytes;
    let at = this.length;
    for (let i = 0; i < source.length; i++) target[at++] = source[i] as number;
    this.length = at;
  }

  #decimal(value: number): void {
    let digits = 1;
    for (let bound = 10; value >= bound; bound *= 10) digits += 1;
    let at = this.length + digits;
    this.length = at;
    let rest = value;
    // Integer division is far cheaper below 2^31.
    while (rest > 0x7f_ff_ff_ff) {
      const tenth = Math.floor(rest / 10);
      this.bytes[--at] = 48 + (rest - tenth * 10);
      rest = tenth;
    }
    let small = rest | 0;
    do {
      const tenth = (small / 10) | 0;
      this.bytes[--at] = 48 + (small - tenth * 10);
      small = tenth;
    } while (small > 0);
  }

  /** Writes bytes and the closing quote. Room was made. */
  #content(source: Uint8Array, start: number, end: number): void {
    if (this.#isBase64) this.#base64(source, start, end);
    else this.#string(source, start, end);
    this.bytes[this.length++] = QUOTE_BYTE;
  }

  #base64(source: Uint8Array, start: number, end: number): void {
    const target = this.bytes;
    let at = this.length;
    let i = start;
    for (; i + 2 < end; i += 3) {
      const bits =
        ((source[i] as number) << 16) |
        ((source[i + 1] as number) << 8) |
        (source[i + 2] as number);
      const first = PAIRS[bits >> 12] as number;
      const second = PAIRS[bits & 4095] as number;
      target[at++] = first;
      target[at++] = first >> 8;
      target[at++] = second;
      target[at++] = second >> 8;
    }
    if (end - i === 1) {
      const pair = PAIRS[(source[i] as number) << 4] as number;
      target[at++] = pair;
      target[at++] = pair >> 8;
      target[at++] = PAD;
      target[at++] = PAD;
    } else if (end - i === 2) {
      const bits = (((source[i] as number) << 8) | (source[i + 1] as number)) << 2;
      const pair = PAIRS[bits >> 6] as number;
      target[at++] = pair;
      target[at++] = pair >> 8;
      target[at++] = PAIRS[(bits & 63) << 6] as number;
      target[at++] = PAD;
    }
    this.length = at;
  }

  #string(source: Uint8Array, start: number, end: number): void {
    const target = this.bytes;
    let at = this.length;
    for (let i = start; i < end; i++) {
      const byte = source[i] as number;
      if (byte >= 128) {
        // The first byte beyond ASCII decides: good UTF-8 is copied as it is, anything else is repaired.
        const value = source.subarray(start, end);
        const good = isUtf8(value) ? value : encoder.encode(repairer.decode(value));
        this.#utf8(good);
        return;
      }
      const letter = ESCAPES[byte] as number;
      if (letter === 0) target[at++] = byte;
      else at = this.#escape(at, byte, letter);
    }
    this.length = at;
  }

  #utf8(source: Uint8Array): void {
    // A repaired value may be three times as long as it was; that is within the room for escapes.
    const target = this.bytes;
    let at = this.length;
    for (let i = 0; i < source.length; i++) {
      const byte = source[i] as number;
      const letter = ESCAPES[byte] as number;
      if (letter === 0) target[at++] = byte;
      else at = this.#escape(at, byte, letter);
    }
    this.length = at;
  }

  #escape(start: number, byte: number, letter: number): number {
    const target = this.bytes;
    let at = start;
    target[at++] = 92;
    target[at++] = letter;
    if (letter !== 117) return at;
    target[at++] = 48;
    target[at++] = 48;
    target[at++] = HEX[byte >> 4] as number;
    target[at++] = HEX[byte & 15] as number;
    return at;
  }

  /** Headers are rare: they take the long way over objects. */
  #headers(cursor: RecordCursor): void {
    const pairs = decodeHeaders(cursor.bytes, cursor.headersStart, cursor.headersEnd);
    const written = encoder.encode(`,"headers":${JSON.stringify(Object.fromEntries(pairs))}`);
    this.#ensure(written.length + FRAME_BYTES);
    this.bytes.set(written, this.length);
    this.length += written.length;
  }
}

const spare: RecordWriter[] = [];
const SPARE_MAX = 8;

/** Lends a writer; give it back when its bytes are handed on. */
export const borrowWriter = (): RecordWriter => spare.pop() ?? new RecordWriter();

/** Takes a writer back. */
export const returnWriter = (writer: RecordWriter): void => {
  if (spare.length < SPARE_MAX) spare.push(writer);
};
