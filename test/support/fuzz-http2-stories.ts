// What a connection of HTTP/2 may say that nobody should: floods, header blocks that never end or grow, windows that overflow,
// frames that mean nothing. Each story is drawn from a seed, and some are spoiled or cut off on top.

import type { Prng } from "../../src/lib/prng.ts";
import { FLAG, FRAME, frame, SETTING, WINDOW_MAX } from "../../src/load/http2-frames.ts";
import { oneOf, spoilBytes } from "./fuzz-values.ts";

/** What one connection sends. */
export interface Http2Story {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const PRIORITY = 2;
const PUSH_PROMISE = 5;
const CONTINUATION = 9;
const CANCEL = [0, 0, 0, 8];
const NOTHING = new Uint8Array(0);
const FRAME_BYTES = 16_384;
const ID_MAX = 2 ** 31 - 1;
const PATHS = [
  "/health",
  "/metrics",
  "/docs",
  "/openapi.json",
  "/broker/topics",
  "/broker/consume/fuzz.http2/g/0?wait_ms=500",
  "/broker/tail/fuzz.http2/0?offset=0",
  "/kv/fuzz.http2?watch=1",
  "/nothing",
];

type Field = readonly [name: string, value: string];
/** Draws the frames that stand behind preface and settings. */
type Teller = (draw: Http2Stories) => readonly Uint8Array[];

/** HPACK's integer behind a prefix of so many bits, RFC 7541 section 5.1. */
function integer(value: number, prefixBits: number, above = 0): number[] {
  const full = 2 ** prefixBits - 1;
  if (value < full) return [above | value];
  const bytes = [above | full];
  let rest = value - full;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

const text = (value: string): Uint8Array =>
  Buffer.concat([Buffer.from(integer(value.length, 7)), Buffer.from(value, "latin1")]);

/** A literal: without indexing, or one that the other side adds to its table. */
const literal = ([name, value]: Field, isAdded = false): Uint8Array =>
  Buffer.concat([Buffer.from([isAdded ? 0x40 : 0]), text(name), text(value)]);

const block = (fields: readonly Field[]): Uint8Array =>
  Buffer.concat(fields.map((field) => literal(field)));

const request = (method: string, path: string, ...more: readonly Field[]): readonly Field[] => [
  [":method", method],
  [":scheme", "http"],
  [":authority", "node"],
  [":path", path],
  ["authorization", "Bearer fuzz"],
  ...more,
];

const headers = (stream: number, fields: readonly Field[], flags: number): Uint8Array =>
  frame(FRAME.headers, flags, stream, block(fields));

const u32 = (value: number): Uint8Array => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

const settings = (...pairs: readonly (readonly [id: number, value: number])[]): Uint8Array =>
  Buffer.concat(pairs.map(([id, value]) => Buffer.concat([Buffer.from([0, id]), u32(value)])));

const times = (count: number, make: (i: number) => Uint8Array): readonly Uint8Array[] =>
  Array.from({ length: count }, (_, i) => make(i));

const PRODUCE = "/broker/topics/fuzz.http2/produce?partition=0";
const ALL = FLAG.endHeaders | FLAG.endStream;
/** A produce whose body is still to come. */
const opened = (stream: number, ...more: readonly Field[]): Uint8Array =>
  headers(stream, request("POST", PRODUCE, ...more), FLAG.endHeaders);

const TELLERS: Readonly<Record<string, Teller>> = {
  requests: (draw) => times(1 + draw.below(30), (i) => draw.request(2 * i + 1)),
  "rapid resets": (draw) =>
    times(50 + draw.below(350), (i) => {
      const stream = 2 * i + 1;
      const reset = frame(FRAME.resetStream, 0, stream, Uint8Array.from(CANCEL));
      return Buffer.concat([draw.request(stream), reset]);
    }),
  pings: (draw) => times(3000, () => frame(FRAME.ping, 0, 0, draw.bytes(8))),
  "settings flood": (draw) =>
    times(3000, () =>
      frame(FRAME.settings, 0, 0, settings([SETTING.initialWindow, draw.below(ID_MAX)])),
    ),
  "settings of any kind": (draw) =>
    times(20, () => {
      const pairs = times(draw.below(40), () => settings([draw.below(9), draw.u32()]));
      return frame(FRAME.settings, draw.below(2), 0, Buffer.concat(pairs));
    }),
  "priority flood": (draw) =>
    times(3000, (i) =>
      frame(PRIORITY, 0, 2 * i + 1, Buffer.concat([u32(draw.u32()), draw.bytes(1)])),
    ),
  "empty frames": () => [
    opened(1),
    ...times(3000, () => frame(FRAME.data, 0, 1, NOTHING)),
    frame(FRAME.data, FLAG.endStream, 1, NOTHING),
  ],
  "continuations without end": (draw) => {
    const more = Buffer.concat(times(40, (i) => literal([`x-${i}`, "y".repeat(100)])));
    return [
      headers(1, request("GET", "/health"), draw.chance(0.5) ? 0 : FLAG.endStream),
      ...times(300, () => frame(CONTINUATION, 0, 1, more)),
    ];
  },
  "empty continuations": () => [
    headers(1, request("GET", "/health"), FLAG.endStream),
    ...times(5000, () => frame(CONTINUATION, 0, 1, NOTHING)),
    frame(CONTINUATION, FLAG.endHeaders, 1, NOTHING),
  ],
  "continuation of another": (draw) => [
    headers(1, request("GET", "/health"), FLAG.endStream),
    frame(CONTINUATION, FLAG.endHeaders, draw.below(8), NOTHING),
  ],
  "header table bomb": () => {
    const large = literal(["x-large", "z".repeat(3900)], true);
    const refer = Buffer.alloc(12_000, 0x80 | 62);
    const first = Buffer.concat([block(request("GET", "/health")), large]);
    return [
      frame(FRAME.headers, ALL, 1, first),
      ...times(20, (i) =>
        frame(
          FRAME.headers,
          ALL,
          2 * i + 3,
          Buffer.concat([block(request("GET", "/health")), refer]),
        ),
      ),
    ];
  },
  "header table of any size": (draw) =>
    times(10, (i) => {
      const size = Buffer.from(integer(draw.u32(), 5, 0x20));
      return frame(
        FRAME.headers,
        ALL,
        2 * i + 1,
        Buffer.concat([size, block(request("GET", "/"))]),
      );
    }),
  "header lengths beyond everything": (draw) => {
    const length = Buffer.from(
      integer(oneOf(draw.random, [2 ** 20, 2 ** 31, 2 ** 32, 2 ** 50]), 7),
    );
    return [
      frame(FRAME.headers, ALL, 1, Buffer.concat([Buffer.from([0]), length, draw.bytes(50)])),
    ];
  },
  "header indexes that are not there": (draw) =>
    times(10, (i) =>
      frame(FRAME.headers, ALL, 2 * i + 1, Buffer.from(integer(draw.u32(), 7, 0x80))),
    ),
  "fields that may not be": (draw) =>
    times(20, (i) => {
      const odd: readonly Field[] = [
        ["Upper", "x"],
        ["connection", "close"],
        ["transfer-encoding", "chunked"],
        ["te", "gzip"],
        [":method", "GET"],
        [":unknown", "x"],
        ["x", "a\r\nPOST /broker/topics HTTP/1.1"],
        ["x", "a\0b"],
        ["", "x"],
        ["a b", "x"],
        ["content-length", oneOf(draw.random, ["-1", "x", "1, 1", "99999999999999999999"])],
        ["host", "other"],
      ];
      const fields = [...request("GET", oneOf(draw.random, [...PATHS, "", "x", "*", "/\0"]))];
      fields.splice(draw.below(fields.length), draw.below(3), oneOf(draw.random, odd));
      return headers(2 * i + 1, fields, ALL);
    }),
  "a body of another length": (draw) =>
    times(20, (i) =>
      Buffer.concat([
        opened(2 * i + 1, ["content-length", String(draw.below(20))]),
        frame(FRAME.data, FLAG.endStream, 2 * i + 1, draw.bytes(draw.below(20))),
      ]),
    ),
  "bodies without end": (draw) => [
    ...times(60, (i) => opened(2 * i + 1)),
    ...times(60, (i) => frame(FRAME.data, 0, 2 * i + 1, draw.bytes(1000))),
  ],
  "a body beyond its window": () => [
    opened(1),
    ...times(100, () => frame(FRAME.data, 0, 1, new Uint8Array(FRAME_BYTES))),
  ],
  padding: (draw) => [
    opened(1),
    ...times(500, () => {
      const padded = Buffer.concat([Buffer.from([draw.below(256)]), draw.bytes(draw.below(300))]);
      return frame(FRAME.data, FLAG.padded, 1, padded);
    }),
  ],
  "windows that overflow": (draw) => [
    ...times(20, (i) => draw.request(2 * i + 1)),
    ...times(4, (i) => frame(FRAME.windowUpdate, 0, i % 2, u32(WINDOW_MAX))),
  ],
  "window updates of nothing": (draw) =>
    times(500, () => frame(FRAME.windowUpdate, 0, draw.below(9), u32(0))),
  "no window": (draw) => [
    frame(FRAME.settings, 0, 0, settings([SETTING.initialWindow, 0])),
    ...times(120, (i) => draw.request(2 * i + 1)),
  ],
  "more streams than there may be": (draw) => times(600, (i) => draw.waiting(2 * i + 1)),
  "stream numbers that may not be": (draw) =>
    times(10, () => draw.request(oneOf(draw.random, [0, 1, 2, 3, 4, 99, ID_MAX, ID_MAX - 1]))),
  "frames of streams that are not there": (draw) =>
    times(20, () =>
      frame(oneOf(draw.random, [0, 2, 3, 8, 9]), draw.below(256), draw.below(50), draw.bytes(4)),
    ),
  "frames of any kind": (draw) =>
    times(60, () => {
      const stream = draw.chance(0.5) ? draw.below(8) : draw.u32();
      return frame(draw.below(16), draw.below(256), stream, draw.bytes(draw.below(200)));
    }),
  "a frame beyond its size": (draw) => {
    const large = frame(draw.below(10), 0, draw.below(2), NOTHING);
    large.set([255, 255, 255]);
    return [draw.request(1), large, draw.bytes(40_000)];
  },
  "a promise": (draw) => [
    frame(PUSH_PROMISE, FLAG.endHeaders, 1, Buffer.concat([u32(2), block(request("GET", "/"))])),
    draw.request(3),
  ],
  "goodbye, and on": (draw) => [
    draw.request(1),
    frame(FRAME.goAway, 0, 0, Buffer.concat([u32(0), u32(draw.below(14))])),
    ...times(10, (i) => draw.request(2 * i + 3)),
  ],
  "the preface again": (draw) => [draw.request(1), PREFACE, draw.request(3)],
  noise: (draw) => [draw.bytes(draw.below(4000))],
};

/** Names of all stories. */
export const STORY_NAMES: readonly string[] = Object.keys(TELLERS);

/** Draws stories. */
export class Http2Stories {
  readonly random: Prng;
  /** Bodies of produces, none of them twice. */
  readonly markers = new Set<string>();

  constructor(random: Prng) {
    this.random = random;
  }

  below(limit: number): number {
    return this.random.below(limit);
  }

  u32(): number {
    return this.random.u32();
  }

  chance(probability: number): boolean {
    return this.random.chance(probability);
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256));
  }

  /** A request that is as it should be. */
  request(stream: number): Uint8Array {
    if (this.chance(0.6)) return headers(stream, request("GET", oneOf(this.random, PATHS)), ALL);
    const marker = `${this.u32().toString(16)}.${this.u32().toString(16)}`;
    this.markers.add(marker);
    const length: Field = ["content-length", String(marker.length)];
    const body = frame(FRAME.data, FLAG.endStream, stream, Buffer.from(marker));
    return Buffer.concat([opened(stream, ...(this.chance(0.5) ? [length] : [])), body]);
  }

  /** A request that is answered late, or never. */
  waiting(stream: number): Uint8Array {
    const paths = PATHS.filter((path) => path.includes("http2"));
    return headers(stream, request("GET", oneOf(this.random, paths)), ALL);
  }

  /** The next one. */
  next(): Http2Story {
    const name = oneOf(this.random, STORY_NAMES);
    const frames = TELLERS[name]?.(this) ?? [];
    const told = Buffer.concat([frame(FRAME.settings, 0, 0, NOTHING), ...frames]);
    const spoiled = this.chance(0.25) ? spoilBytes(this.random, told) : told;
    const cut = this.chance(0.15) ? spoiled.subarray(0, this.below(spoiled.length + 1)) : spoiled;
    return { name, bytes: Buffer.concat([this.#preface(), cut]) };
  }

  #preface(): Uint8Array {
    if (!this.chance(0.05)) return PREFACE;
    return this.chance(0.5)
      ? PREFACE.subarray(0, this.below(PREFACE.length))
      : spoilBytes(this.random, PREFACE);
  }
}
