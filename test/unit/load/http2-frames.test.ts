// The few bytes of HPACK that the generator reads and writes itself.

import { expect, test } from "bun:test";
import { decodeStatus, encodeHeaderBlock } from "../../../src/load/http2-frames.ts";

const statuses: [string, number[], number][] = [
  ["indexed 200", [0x88], 200],
  ["indexed 404", [0x8d], 404],
  ["after a table size update", [0x20, 0x8e], 500],
  ["a plain literal without indexing", [0x08, 0x03, 0x32, 0x30, 0x31], 201],
  ["a plain literal with indexing", [0x48, 0x03, 0x35, 0x30, 0x33], 503],
  // RFC 7541 C.6.1: `:status: 302` in Huffman code.
  ["a Huffman literal of two bytes", [0x48, 0x82, 0x64, 0x02], 302],
  // RFC 7541 C.6.2: `:status: 307`.
  ["a Huffman literal of three bytes", [0x48, 0x83, 0x64, 0x0e, 0xff], 307],
  ["another field", [0x82], 0],
];

for (const [name, bytes, status] of statuses) {
  test(`decodeStatus() reads ${name}`, () => {
    expect(decodeStatus(Uint8Array.from([0, ...bytes]), 1)).toBe(status);
  });
}

test("encodeHeaderBlock() writes the method, the scheme and literals by static name", () => {
  const block = encodeHeaderBlock({ method: "GET", path: "/a", headers: { "x-b": "c" } }, "h:1");

  const want = ["\x82\x86", "\x01\x03h:1", "\x04\x02/a", "\x00\x03x-b\x01c"].join("");
  expect(Buffer.from(block).toString("latin1")).toBe(want);
});

test("encodeHeaderBlock() spells lengths of 127 and more in several bytes", () => {
  const block = encodeHeaderBlock({ method: "GET", path: `/${"a".repeat(199)}`, headers: {} }, "h");

  // RFC 7541 section 5.1: 200 = 127 + 73.
  expect([...block.subarray(5, 9)]).toEqual([0x04, 0x7f, 73, 0x2f]);
});
