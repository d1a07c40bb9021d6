// Numbers in bytes: safe integers both ways, refused or told apart where they are not.

import { expect, test } from "bun:test";
import {
  align8,
  ByteWriter,
  getU64,
  isZero,
  putU64,
  sameBytes,
  viewOf,
} from "../../../src/lib/bytes.ts";

test.each([0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1])("%d survives as 64 bits", (value) => {
  const view = viewOf(new Uint8Array(8));
  putU64(view, 0, value);

  expect(getU64(view, 0)).toBe(value);
  expect(view.getBigUint64(0, true)).toBe(BigInt(value));
});

test.each([-1, 0.5, 2 ** 53, Number.NaN])("%d is not written", (value) => {
  expect(() => putU64(viewOf(new Uint8Array(8)), 0, value)).toThrow("unsigned 64-bit");
});

test("64 bits beyond the safe integers are told, not rounded", () => {
  const view = viewOf(new Uint8Array(8).fill(255));
  expect(getU64(view, 0)).toBe(-1);
  view.setBigUint64(0, 2n ** 53n, true);
  expect(getU64(view, 0)).toBe(-1);
});

test("isZero() sees a bit anywhere, also past its piece", () => {
  const bytes = new Uint8Array(200_000);
  expect(isZero(bytes)).toBe(true);
  for (const at of [0, 65_535, 65_536, 199_999]) {
    bytes[at] = 1;
    expect(isZero(bytes)).toBe(false);
    bytes[at] = 0;
  }
  expect(isZero(new Uint8Array(0))).toBe(true);
});

test("sameBytes() compares length and content", () => {
  const bytes = Uint8Array.of(9, 1, 2, 3, 9);

  expect(sameBytes(bytes, 1, 4, Uint8Array.of(1, 2, 3))).toBe(true);
  expect(sameBytes(bytes, 1, 4, Uint8Array.of(1, 2))).toBe(false);
  expect(sameBytes(bytes, 1, 4, Uint8Array.of(1, 2, 4))).toBe(false);
});

test("a writer keeps what it wrote while it grows", () => {
  const writer = new ByteWriter(1);
  for (let i = 0; i < 1000; i++) writer.u8(i & 255).u32(i);
  writer.patchU32(1, 77);
  const view = viewOf(writer.written());

  expect(writer.length).toBe(5000);
  expect(view.getUint32(1, true)).toBe(77);
  expect(view.getUint32(4996, true)).toBe(999);
  expect(writer.clear().written()).toHaveLength(0);
  expect([align8(0), align8(1), align8(8), align8(9)]).toEqual([0, 8, 8, 16]);
});
