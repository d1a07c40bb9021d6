// The two loops of the HTTP room that run once per record: writing consume replies, and splitting NDJSON bodies.

import { splitLines } from "../../src/http/ndjson.ts";
import { RecordWriter } from "../../src/http/record-writer.ts";
import { putRecord, RecordCursor, recordSize } from "../../src/model/record.ts";
import { type MicroResult, type MicroSize, nanosecondsPerCall } from "./micro.ts";

const RECORDS = 1000;

/** Encodes a thousand records of 64 bytes in each form, and splits a thousand lines of 100. */
export async function run({ size }: { readonly size: MicroSize }): Promise<MicroResult> {
  const calls = size === "tiny" ? 2 : 2000;
  const value = new TextEncoder().encode("x".repeat(64));
  const records = new Uint8Array(RECORDS * recordSize(-1, -1, value.length));
  let at = 0;
  for (let i = 0; i < RECORDS; i++)
    at = putRecord(records, at, undefined, undefined, value, 0, value.length);
  const cursor = new RecordCursor();
  const writer = new RecordWriter();
  const encode = (encoding: "text" | "b64"): number =>
    nanosecondsPerCall(calls, () => {
      writer.reset(0, encoding);
      cursor.reset(records, 0, at);
      for (let offset = 0; cursor.next(); offset++) {
        writer.comma();
        writer.record(offset, 1_795_395_386_539, cursor);
      }
    }) / RECORDS;
  const lines = new TextEncoder().encode(`${"y".repeat(99)}\n`.repeat(RECORDS));
  const split = nanosecondsPerCall(calls, () => {
    const found = splitLines(lines, 1 << 20);
    if (!found.ok || found.value.count !== RECORDS) throw new Error("Lines were lost");
  });
  return {
    name: "http-records",
    figures: { text_ns: encode("text"), b64_ns: encode("b64"), split_line_ns: split / RECORDS },
  };
}
