// Checksums chain by their seed, and fingerprints tell requests apart by every part and its place.

import { expect, test } from "bun:test";
import { encodeText } from "../../../src/lib/bytes.ts";
import { crc32, Fingerprint, hash32 } from "../../../src/lib/checksum.ts";

test("crc32 is the IEEE one, and goes on from its seed", () => {
  const text = encodeText("123456789");

  expect(crc32(text)).toBe(0xcb_f4_39_26);
  expect(crc32(text.subarray(4), crc32(text.subarray(0, 4)))).toBe(0xcb_f4_39_26);
  expect(crc32(new Uint8Array(0), 77)).toBe(77);
});

test("hash32 is xxHash32, frozen by the partitions of keys", () => {
  expect(hash32(encodeText(""))).toBe(0x02_cc_5d_05);
  expect(hash32(encodeText("abc"))).toBe(0x32_d1_53_ff);
});

test("fingerprints differ in every part, in its place and in whether it is there", () => {
  const print = (...parts: readonly (string | number | undefined)[]): string => {
    const fingerprint = new Fingerprint().reset();
    for (const part of parts) {
      if (typeof part === "number") fingerprint.number(part);
      else fingerprint.bytes(part === undefined ? undefined : encodeText(part));
    }
    return `${fingerprint.low} ${fingerprint.high}`;
  };
  const all = [
    print(),
    print(1),
    print(-1),
    print(1, 2),
    print(2, 1),
    print("ab", "c"),
    print("a", "bc"),
    print("abc"),
    print(undefined, "abc"),
    print("abc", undefined),
    print("", "abc"),
    print("abc", ""),
  ];

  expect(new Set(all).size).toBe(all.length);
  expect(print(1, "a")).toBe(print(1, "a"));
  for (const word of all[4]?.split(" ") ?? []) expect(Number(word)).toBeGreaterThanOrEqual(0);
});
