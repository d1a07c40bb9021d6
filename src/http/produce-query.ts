// Reads the query of a produce in one pass over the URL, allocating nothing for what is not there.
// It answers for the plain form only; anything unusual, and every refusal, is left to the schema,
// so that the two cannot differ: a property test holds them together.

import { type Result, succeed } from "../lib/result.ts";
import type { Refusal } from "../model/errors.ts";
import type { Ack } from "../model/produce.ts";
import { checkQuery } from "./schemas/check.ts";
import { ProduceQuerySchema } from "./schemas/requests.ts";

/** What the query of a produce says. */
export class ProduceQuery {
  /** -1: not said. */
  partition = -1;
  key: Uint8Array | undefined = undefined;
  idempotencyKey: Uint8Array | undefined = undefined;
  /** -1: not said. */
  expectedOffset = -1;
  ack: Ack = "configured";
  /** -1: not said. */
  timeoutMs = -1;
  hasTiming = false;

  /** Forgets everything. */
  reset(): void {
    this.partition = -1;
    this.key = undefined;
    this.idempotencyKey = undefined;
    this.expectedOffset = -1;
    this.ack = "configured";
    this.timeoutMs = -1;
    this.hasTiming = false;
  }
}

/** Fills `query` from `url`; on refusal its content means nothing. */
export function readProduceQuery(url: string, query: ProduceQuery): Result<undefined, Refusal> {
  query.reset();
  const start = url.indexOf("?");
  if (start < 0 || readPlain(url, start + 1, query)) return succeed(undefined);
  return readBySchema(url, query);
}

function readBySchema(url: string, query: ProduceQuery): Result<undefined, Refusal> {
  query.reset();
  const checked = checkQuery(ProduceQuerySchema, url);
  if (!checked.ok) return checked;
  const said = checked.value;
  query.partition = said.partition ?? -1;
  query.key = said.key;
  query.idempotencyKey = said.idempotency_key;
  query.expectedOffset = said.expected_offset ?? -1;
  query.ack = said.ack ?? "configured";
  query.timeoutMs = said.timeout_ms ?? -1;
  query.hasTiming = said.timing ?? false;
  return succeed(undefined);
}

// 15 digits are a safe integer whatever they are; longer numbers are the schema's.
const PLAIN_DIGITS_MAX = 15;

/** A number of plain digits, or -1. */
function plainNumber(url: string, from: number, to: number): number {
  if (from === to || to - from > PLAIN_DIGITS_MAX) return -1;
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = url.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

// `timeout_ms` within this is always in range; the schema judges the rest.
const PLAIN_TIMEOUT_MS_MAX = 100_000;

/** False: ask the schema. */
function readPlain(url: string, start: number, query: ProduceQuery): boolean {
  let at = start;
  while (at < url.length) {
    let end = url.indexOf("&", at);
    if (end < 0) end = url.length;
    const equals = url.indexOf("=", at);
    if (equals < 0 || equals > end) return false;
    if (url.startsWith("partition=", at)) {
      if (query.partition >= 0) return false;
      query.partition = plainNumber(url, equals + 1, end);
      if (query.partition < 0) return false;
    } else if (url.startsWith("timeout_ms=", at)) {
      if (query.timeoutMs >= 0) return false;
      query.timeoutMs = plainNumber(url, equals + 1, end);
      if (query.timeoutMs < 1 || query.timeoutMs > PLAIN_TIMEOUT_MS_MAX) return false;
    } else if (url.startsWith("idempotency_key=", at)) {
      if (query.idempotencyKey !== undefined) return false;
      query.idempotencyKey = plainBytes(url, equals + 1, end);
      if (query.idempotencyKey === undefined || query.idempotencyKey.length === 0) return false;
    } else if (url.startsWith("key=", at)) {
      if (query.key !== undefined) return false;
      query.key = plainBytes(url, equals + 1, end);
      if (query.key === undefined) return false;
    } else {
      // `ack`, `timing`, `expected_offset` are rare, and an unknown name may be a known one in disguise.
      return false;
    }
    at = end + 1;
  }
  return true;
}

const PLAIN_BYTES_MAX = 256;

/** Bytes of a value that means itself; undefined when a character of it does not. */
function plainBytes(url: string, from: number, to: number): Uint8Array | undefined {
  if (to - from > PLAIN_BYTES_MAX) return undefined;
  const bytes = new Uint8Array(to - from);
  for (let i = from; i < to; i++) {
    const code = url.charCodeAt(i);
    if (code === 37 || code === 43 || code > 126) return undefined;
    bytes[i - from] = code;
  }
  return bytes;
}
