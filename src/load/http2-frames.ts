// The bytes of HTTP/2 (RFC 9113) and HPACK (RFC 7541) that a client with prepared requests needs. It announces a
// header table of size 0, so that replies cannot refer to a table it would have to keep.

import type { RequestShape } from "./work.ts";

/** Frame types, RFC 9113 section 6. */
export const FRAME = {
  data: 0,
  headers: 1,
  resetStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
} as const;

/** Frame flags. */
export const FLAG = {
  endStream: 1,
  acknowledged: 1,
  endHeaders: 4,
  padded: 8,
  priority: 32,
} as const;

/** Bytes of a frame's header: length (3), type, flags, stream (4). */
export const FRAME_HEADER_BYTES = 9;

/** The largest flow-control window. */
export const WINDOW_MAX = 2 ** 31 - 1;

/** What both sides assume before the first SETTINGS. */
export const WINDOW_DEFAULT = 65_535;

/** Settings that the client reads or writes. */
export const SETTING = {
  tableSize: 1,
  enablePush: 2,
  streamsMax: 3,
  initialWindow: 4,
  frameSizeMax: 5,
} as const;

/** Makes one frame. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array,
): Uint8Array {
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, FRAME_HEADER_BYTES);
  return bytes;
}

/** What a client says first: preface, settings, and a connection window as large as they get. */
export function opening(): Uint8Array {
  const settings = Buffer.alloc(18);
  const pairs = [
    [SETTING.tableSize, 0],
    [SETTING.enablePush, 0],
    [SETTING.initialWindow, WINDOW_MAX],
  ] as const;
  pairs.forEach(([name, value], i) => {
    settings.writeUInt16BE(name, i * 6);
    settings.writeUInt32BE(value, i * 6 + 2);
  });
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1"),
    frame(FRAME.settings, 0, 0, settings),
    windowUpdate(0, WINDOW_MAX - WINDOW_DEFAULT),
  ]);
}

/** Lets the server send `increment` bytes more on `stream`, 0 for the connection. */
export function windowUpdate(stream: number, increment: number): Uint8Array {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(increment);
  return frame(FRAME.windowUpdate, 0, stream, payload);
}

// Names that the static table has, by index: RFC 7541 appendix A.
const STATIC_NAMES: Readonly<Record<string, number>> = {
  ":authority": 1,
  ":path": 4,
  accept: 19,
  authorization: 23,
  "content-length": 28,
};
const METHOD_INDEXED = { GET: 0x82, POST: 0x83 } as const;
const SCHEME_HTTP_INDEXED = 0x86;

/** The header block of a request: literals without indexing, no Huffman coding, the same bytes for every stream. */
export function encodeHeaderBlock(shape: RequestShape, authority: string): Uint8Array {
  const bytes: number[] = [METHOD_INDEXED[shape.method], SCHEME_HTTP_INDEXED];
  const literal = (name: string, value: string): void => {
    const index = STATIC_NAMES[name];
    if (index === undefined) {
      bytes.push(0);
      pushString(bytes, name);
    } else pushInteger(bytes, index, 4);
    pushString(bytes, value);
  };
  literal(":authority", authority);
  literal(":path", shape.path);
  for (const [name, value] of Object.entries(shape.headers)) literal(name, value);
  if (shape.body !== undefined) literal("content-length", String(shape.body.length));
  return Uint8Array.from(bytes);
}

function pushString(bytes: number[], text: string): void {
  const encoded = Buffer.from(text, "latin1");
  pushInteger(bytes, encoded.length, 7);
  for (const byte of encoded) bytes.push(byte);
}

/** RFC 7541 section 5.1, with the bits above the prefix zero. */
function pushInteger(bytes: number[], value: number, prefixBits: number): void {
  const full = 2 ** prefixBits - 1;
  if (value < full) {
    bytes.push(value);
    return;
  }
  bytes.push(full);
  let rest = value - full;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
}

const INDEXED_STATUSES = [200, 204, 206, 304, 400, 404, 500] as const;

/** Reads `:status`, which is always the first field of a reply's header block; 0 when it is not there. */
export function decodeStatus(bytes: Uint8Array, start: number): number {
  let at = start;
  while (((bytes[at] as number) & 0xe0) === 0x20) at += 1; // A table size update; ours is 0, one byte.
  const first = bytes[at] as number;
  if (first >= 0x88 && first <= 0x8e) return INDEXED_STATUSES[first - 0x88] ?? 0;
  // A literal of any of the three kinds whose name is entry 8 to 14 of the static table, all of them `:status`.
  const name = first & (first >= 0x40 ? 0x3f : 0x0f);
  if (first >= 0x80 || name < 8 || name > 14) return 0;
  const length = bytes[at + 1] as number;
  if (length === 3)
    return Number(Buffer.from(bytes.buffer, bytes.byteOffset + at + 2, 3).toString("latin1"));
  return length >= 0x80 ? decodeHuffmanDigits(bytes, at + 2, at + 2 + (length & 0x7f)) : 0;
}

/** Three digits in the code of RFC 7541 appendix B: `0` to `2` have 5 bits, 0 to 2; `3` to `9` have 6, from 25 on. */
function decodeHuffmanDigits(bytes: Uint8Array, start: number, end: number): number {
  let bits = 0;
  for (let at = start; at < end; at++) bits = (bits << 8) | (bytes[at] as number);
  let left = (end - start) * 8;
  let value = 0;
  for (let digit = 0; digit < 3; digit++) {
    const five = (bits >>> (left - 5)) & 31;
    if (five <= 2) left -= 5;
    else left -= 6;
    value = value * 10 + (five <= 2 ? five : ((bits >>> left) & 63) - 22);
  }
  return value;
}
