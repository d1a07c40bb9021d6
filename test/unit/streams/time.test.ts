// Times in fields, held against JavaScript's own dates.

import { describe, expect, test } from "bun:test";
import { isoDay, isoMoment, isoToMs, timeOf } from "../../../src/streams/time.ts";

describe("times", () => {
  test.each([
    ["1970-01-01", 0],
    ["1970-01-01T00:00Z", 0],
    ["1970-01-01T00:00:01Z", 1000],
    ["2024-02-29T12:34:56.789Z", Date.UTC(2024, 1, 29, 12, 34, 56, 789)],
    ["2024-02-29 12:34:56.7891234", Date.UTC(2024, 1, 29, 12, 34, 56, 789)],
    ["2024-02-29T12:34:56.7+02:00", Date.UTC(2024, 1, 29, 10, 34, 56, 700)],
    ["2024-02-29T12:34:56-0330", Date.UTC(2024, 1, 29, 16, 4, 56)],
    ["1969-12-31T23:59:59.999Z", -1],
  ])("%s is %d", (text, ms) => {
    expect(isoToMs(text)).toBe(ms);
  });

  test.each([
    "2023-02-29",
    "2024-13-01",
    "2024-00-01",
    "2024-01-32",
    "2024-01-01T24:00:00Z",
    "2024-01-01T00:60:00Z",
    "2024-01-01T00:00:00+24:00",
    "24-01-01",
    "yesterday",
    "",
  ])("%s is none", (text) => {
    expect(isoToMs(text)).toBeUndefined();
  });

  test("days and moments agree with Date over some thousand years", () => {
    for (
      let ms = -60_000_000_000_000;
      ms < 250_000_000_000_000;
      ms += 86_400_000 * 997 + 12_345_678
    ) {
      const iso = new Date(ms).toISOString();

      expect(isoDay(Math.floor(ms / 86_400_000))).toBe(iso.slice(0, -14));
      expect(`${isoMoment(BigInt(ms), 1000n, 3)}Z`).toBe(iso);
      if (/^\d/.test(iso)) expect(isoToMs(iso)).toBe(ms);
    }
  });

  test("fields hold milliseconds, texts of them, or ISO 8601", () => {
    expect(timeOf(1.9)).toBe(1);
    expect(timeOf(-1.1)).toBe(-2);
    expect(timeOf("12")).toBe(12);
    expect(timeOf("1970-01-01T00:00:01Z")).toBe(1000);
    for (const none of [undefined, null, true, [], {}, "soon", 1e300, 10n ** 30n])
      expect(timeOf(none)).toBeUndefined();
  });
});
