// Cuts a body into lines: where each record starts and ends, without a string or an object per line.

import { limits } from "../config/mod.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import { tooLarge } from "./admission.ts";

const NEWLINE = 10;
const RETURN = 13;
const QUOTE = 34;
const BACKSLASH = 92;

/** Where the records of a body lie: `[start, end, start, end, …]`. */
export interface Lines {
  /** Valid until the next call. */
  readonly ranges: Int32Array;
  readonly count: number;
}

let ranges: Int32Array = new Int32Array(2048);

/**
 * Finds the records of an NDJSON body. Lines that are JSON strings are unwrapped in place: `body` changes.
 * @param recordBytesMax Bytes that one record may have.
 */
export function splitLines(body: Uint8Array, recordBytesMax: number): Result<Lines, Refusal> {
  let count = 0;
  let at = 0;
  while (at < body.length) {
    const newline = body.indexOf(NEWLINE, at);
    let end = newline < 0 ? body.length : newline;
    const next = end + 1;
    if (newline > at && body[end - 1] === RETURN) end -= 1;
    if (end > at) {
      let start = at;
      if (body[start] === QUOTE && end - start > 1 && body[end - 1] === QUOTE) {
        const unwrapped = unwrap(body, start, end);
        if (unwrapped >= 0) {
          start += 1;
          end = unwrapped;
        }
      }
      if (end - start > recordBytesMax) return fail(tooLarge("Line", end - start, recordBytesMax));
      if (count === limits.NDJSON_RECORDS_MAX) return fail(tooMany(count + countLines(body, at)));
      if (count * 2 === ranges.length) ranges = grown(ranges);
      ranges[count * 2] = start;
      ranges[count * 2 + 1] = end;
      count += 1;
    }
    at = next;
  }
  if (count === 0) return fail(refuse("no_valid_messages"));
  return succeed({ ranges, count });
}

const tooMany = (gotRecords: number): Refusal =>
  refuse(
    "payload_too_large",
    `Request body has ${gotRecords} records: the limit is ${limits.NDJSON_RECORDS_MAX}`,
    { max_records: limits.NDJSON_RECORDS_MAX, got_records: gotRecords },
  );

/** How many lines with content begin at `at` or later. */
function countLines(body: Uint8Array, at: number): number {
  let count = 0;
  for (let start = at; start < body.length; ) {
    const newline = body.indexOf(NEWLINE, start);
    const end = newline < 0 ? body.length : newline;
    const isEmpty =
      end === start || (end === newline && end - start === 1 && body[start] === RETURN);
    if (!isEmpty) count += 1;
    start = end + 1;
  }
  return count;
}

function grown(full: Int32Array): Int32Array {
  const larger = new Int32Array(full.length * 2);
  larger.set(full);
  return larger;
}

/**
 * Unwraps a JSON string that lies in `body[start, end)`, quotes included, to the byte after its first quote.
 * @returns where its content ends, or -1 when it is no JSON string and stays as it is.
 */
function unwrap(body: Uint8Array, start: number, end: number): number {
  for (let i = start + 1; i < end - 1; i++) {
    const byte = body[i] as number;
    if (byte === QUOTE || byte < 32) return -1;
    if (byte === BACKSLASH) return unescapeInPlace(body, start, end);
  }
  return end - 1;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** What an escape stands for is never longer than the escape, so the content fits where it was. */
function unescapeInPlace(body: Uint8Array, start: number, end: number): number {
  let content: unknown;
  try {
    content = JSON.parse(decoder.decode(body.subarray(start, end)));
  } catch {
    // Not a JSON string, or not UTF-8: such a line is kept byte for byte.
    return -1;
  }
  if (typeof content !== "string") return -1;
  return start + 1 + encoder.encodeInto(content, body.subarray(start + 1, end)).written;
}
