// Lines are cut as a slow and simple cutter would cut them.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { splitLines } from "../../../src/http/ndjson.ts";

/** The rules in the plainest way, on strings of one character per byte. */
function simpleLines(body: string): string[] {
  const parts = body.split("\n");
  return parts.flatMap((part, i) => {
    const line = i < parts.length - 1 && part.endsWith("\r") ? part.slice(0, -1) : part;
    if (line === "") return [];
    if (line.length < 2 || !line.startsWith('"') || !line.endsWith('"')) return [line];
    const inner = line.slice(1, -1);
    // Without an escape the content is what stands between the quotes, also when it is not UTF-8.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings may not have them.
    if (!/["\\\u0000-\u001f]/.test(inner)) return [inner];
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(line, "latin1"));
      return [Buffer.from(JSON.parse(text) as string).toString("latin1")];
    } catch {
      return [line];
    }
  });
}

const line = fc.oneof(
  fc.string({ unit: "binary-ascii", maxLength: 12 }),
  fc.string({ unit: "binary", maxLength: 8 }).map((text) => JSON.stringify(text)),
  fc.constantFrom(
    '""',
    '"',
    '"a" "b"',
    '"\\u0041"',
    '"\\ud800"',
    '"\\',
    '"\\"',
    '"\xff\\n"',
    "\r",
    "",
    "\xff",
  ),
);

test("records are those of the simple cutter", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(line, fc.constantFrom("\n", "\r\n", ""))), (lines) => {
      const text = lines.map(([content, end]) => content + end).join("");
      const body = new Uint8Array(Buffer.from(text, "latin1"));
      const expected = simpleLines(Buffer.from(text, "latin1").toString("latin1"));

      const split = splitLines(body, 1000);

      if (!split.ok) {
        expect(split.error.code).toBe("no_valid_messages");
        expect(expected).toEqual([]);
        return;
      }
      const { ranges, count } = split.value;
      const seen = Array.from({ length: count }, (_, i) =>
        Buffer.from(body.subarray(ranges[i * 2], ranges[i * 2 + 1])).toString("latin1"),
      );
      expect(seen).toEqual(expected);
    }),
    { numRuns: 5000 },
  );
});
