// The one place that says how values compare: filters, joins, minima and maxima all ask here. The table of cases is in
// docs/concepts/streams.md, and test/unit/streams/compare.test.ts runs it.

import { INTEGER_DIGITS_MAX, type Json } from "../lib/json.ts";

/** What a record holds. Numbers are finite, integers beyond 2^53 are bigints. */
export type Value = Json;

/** A record as fields. */
export type Fields = { readonly [field: string]: Value };

/** A number as it is compared. Bigints and numbers compare exactly with each other. */
export type Numeric = number | bigint;

const NUMBER = /^-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/** The number that a text spells in JSON's own way; undefined when it spells none, or one that no double holds. */
export function numberInText(text: string): Numeric | undefined {
  const code = text.charCodeAt(0);
  // Most texts are words.
  if (code !== 45 && !(code >= 48 && code <= 57)) return undefined;
  const match = NUMBER.exec(text);
  if (match === null || text.length > INTEGER_DIGITS_MAX) return undefined;
  const number = Number(text) + 0;
  if (match[1] === undefined && match[2] === undefined && !Number.isSafeInteger(number))
    return BigInt(text);
  return Number.isFinite(number) ? number : undefined;
}

/** The number that a value is or spells; undefined for everything else. */
export function numberOf(value: Value): Numeric | undefined {
  if (typeof value === "number" || typeof value === "bigint") return value;
  return typeof value === "string" ? numberInText(value) : undefined;
}

const isNumber = (value: Value): value is Numeric =>
  typeof value === "number" || typeof value === "bigint";

const sign = <T extends Numeric | string>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);

/** Orders two numbers, exactly. */
export const compareNumbers = (a: Numeric, b: Numeric): number => sign(a, b);

/** Orders two texts by code point. JavaScript's own order is by UTF-16 unit, which puts U+FFFD behind U+1F600. */
export function compareTexts(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left === right) continue;
    // Units of pairs stand for code points above every single unit.
    const isLeftPair = left >= 0xd8_00 && left <= 0xdf_ff;
    const isRightPair = right >= 0xd8_00 && right <= 0xdf_ff;
    if (isLeftPair !== isRightPair) return isLeftPair ? 1 : -1;
    return left - right;
  }
  return a.length - b.length;
}

/**
 * Orders two values: numbers as numbers, also when one side is a text that spells a number; two texts by code point.
 * Undefined when they have no order.
 */
export function compare(a: Value, b: Value): number | undefined {
  if (typeof a === "string" && typeof b === "string") return compareTexts(a, b);
  if (!isNumber(a) && !isNumber(b)) return undefined;
  const left = numberOf(a);
  const right = numberOf(b);
  return left === undefined || right === undefined ? undefined : compareNumbers(left, right);
}

/** Whether two values are equal: as `compare` sees numbers and texts, by JSON equality otherwise. */
export function equals(a: Value, b: Value): boolean {
  if (typeof a === "string" && typeof b === "string") return a === b;
  if (isNumber(a) || isNumber(b)) return compare(a, b) === 0;
  return isSameJson(a, b);
}

/** JSON equality: types must agree, numbers by value, members in any order. */
export function isSameJson(a: Value, b: Value): boolean {
  if (isNumber(a)) return isNumber(b) && compareNumbers(a, b) === 0;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  if (Array.isArray(a) || Array.isArray(b)) {
    return (
      Array.isArray(a) &&
      Array.isArray(b) &&
      a.length === b.length &&
      a.every((item, i) => isSameJson(item, b[i]))
    );
  }
  const left = a as Fields;
  const right = b as Fields;
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every(
      (key) => Object.hasOwn(right, key) && isSameJson(left[key] as Value, right[key] as Value),
    )
  );
}

/** A text that two values share exactly when they are the same JSON. */
export function identityOf(value: Value): string {
  if (typeof value === "string") return `s${value.length}:${value}`;
  if (typeof value === "bigint") return `n${value};`;
  if (typeof value === "boolean") return value ? "t" : "f";
  if (typeof value === "number") {
    const isLarge = Number.isInteger(value) && !Number.isSafeInteger(value);
    return isLarge ? `n${BigInt(value)};` : `n${value};`;
  }
  if (value === null) return "z";
  if (Array.isArray(value)) return `[${value.map(identityOf).join("")}]`;
  const fields = value as Fields;
  const keys = Object.keys(fields).sort();
  return `{${keys.map((key) => identityOf(key) + identityOf(fields[key] as Value)).join("")}}`;
}
