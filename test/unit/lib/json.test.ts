// JSON that keeps integers, and where a text stops being JSON.

import { describe, expect, test } from "bun:test";
import { JSON_DEPTH_MAX, jsonErrorAt, parseJson, writeJson } from "../../../src/lib/json.ts";

describe("parseJson()", () => {
  const cases: [string, unknown][] = [
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    ["9007199254740993", 9007199254740993n],
    ["-9007199254740993", -9007199254740993n],
    ['{"a":[12345678901234567890]}', { a: [12345678901234567890n] }],
    ["0.12345678901234567890", 0.123_456_789_012_345_68],
    ["1e20", 1e20],
    ["1.0", 1],
    ['"1234567890123456789e999"', "1234567890123456789e999"],
    ['{"__proto__":1,"b":9007199254740993}', JSON.parse('{"__proto__":1,"b":0}')],
  ];
  for (const [text, value] of cases) {
    test(`reads ${text}`, () => {
      const parsed = parseJson(text);
      if (!text.includes("__proto__")) expect(parsed).toEqual(value as never);
      else expect(Object.keys(parsed as object)).toEqual(["__proto__", "b"]);
      expect(writeJson(parsed)).toBe(
        text.includes("e20") || text.includes(".") ? writeJson(parsed) : text,
      );
    });
  }

  test.each(["1e999", "-1e400", '{"a":1e309}', "{", '{"a":}', "9".repeat(2000)])(
    "refuses %s",
    (text) => {
      expect(() => parseJson(text)).toThrow();
    },
  );

  test("refuses what is nested too deeply, and reads what is not", () => {
    const nested = (depth: number): string =>
      "[".repeat(depth) + '"]["'.repeat(1) + "]".repeat(depth);

    expect(() => parseJson(nested(1_000_000))).toThrow("Nested");
    expect(() => parseJson(nested(JSON_DEPTH_MAX + 1) + " ".repeat(400))).toThrow("Nested");
    expect(parseJson(nested(JSON_DEPTH_MAX))).toBeArray();
    expect(parseJson(`["${"[".repeat(5000)}\\"${"[".repeat(500)}"]`)).toBeArray();
  });
});

describe("jsonErrorAt()", () => {
  const cases: [string, number | undefined][] = [
    ['{"a":[1,2,{"b":null}],"c":"x\\n"}', undefined],
    [" [] ", undefined],
    ["", 0],
    ["{", 1],
    ['{"a" 1}', 5],
    ['{"a":1,}', 7],
    ["[1,]", 3],
    ["[1 2]", 3],
    ["[1]]", 3],
    ["{]", 1],
    ["[}", 1],
    ['{"a":"\n"}', 5],
    ["nul", 0],
    ["01", 0],
    ["truely", 0],
    ["[".repeat(100_000), 100_000],
    [`{"a":"${"x".repeat(1_000_000)}",}`, 1_000_008],
    [`{"a":"${"x".repeat(1_000_000)}`, 5],
  ];
  for (const [text, at] of cases) {
    test(`finds ${at} in ${text.slice(0, 40)}`, () => {
      expect(jsonErrorAt(text)).toBe(at as never);
    });
  }
});
