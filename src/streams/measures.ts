// Measures of a group: count, sum, avg, min, max. Integers are summed exactly whatever their size, decimals with the
// rounding errors carried along (Neumaier), so that a sum does not depend much on the order and never on the pages' size.

import { fail, type Result, succeed } from "../lib/result.ts";
import type { Refusal } from "../model/errors.ts";
import {
  compareNumbers,
  compareTexts,
  type Fields,
  type Numeric,
  numberOf,
  type Value,
} from "./compare.ts";
import { compilePath, invalid, type Read } from "./path.ts";

/** What can be measured. */
export const MEASURES = ["count", "sum", "avg", "min", "max"] as const;

/** One kind of measure. */
export type MeasureOp = (typeof MEASURES)[number];

/** A measure as a request says it. */
export interface MeasureSpec {
  readonly op: MeasureOp;
  readonly field?: string | undefined;
  readonly as?: string | undefined;
}

/** A compiled measure: a name in the reply and a maker of accumulators. */
export interface Measure {
  readonly name: string;
  readonly read: Read | undefined;
  readonly make: () => Accumulator;
}

/** Collects the values of one measure of one group. */
export interface Accumulator {
  /** Takes the value of a record; undefined when the field is missing. False: it is nothing that can be measured. */
  take(value: Value | undefined): boolean;
  /** Takes what another one of the same measure has collected; this one came first. */
  merge(other: Accumulator): void;
  result(): Value;
  /** Characters of text that it holds. */
  readonly held: number;
}

/** Measures of one query. */
export const MEASURES_MAX = 64;
const RESERVED = new Set(["key", "group", "window_start_ms", "window_end_ms"]);

/** Compiles measures; without any, it is a count. */
export function compileMeasures(
  specs: readonly MeasureSpec[],
): Result<readonly Measure[], Refusal> {
  if (specs.length > MEASURES_MAX)
    return fail(invalid("aggregate.measures", `must have at most ${MEASURES_MAX} items`));
  const measures: Measure[] = [];
  const names = new Set<string>();
  const wanted: readonly MeasureSpec[] = specs.length === 0 ? [{ op: "count" }] : specs;
  for (const [i, { op, field, as }] of wanted.entries()) {
    const place = `aggregate.measures.${i}`;
    if (field === undefined && op !== "count")
      return fail(invalid(`${place}.field`, `must be there for ${op}`));
    const read = field === undefined ? undefined : compilePath(field, `${place}.field`);
    if (read?.ok === false) return read;
    const name = as ?? (field === undefined || op === "count" ? op : `${op}_${field}`);
    if (RESERVED.has(name) || names.has(name))
      return fail(invalid(`${place}.as`, `must be a name of its own, which ${name} is not`));
    names.add(name);
    measures.push({ name, read: read?.value, make: makerOf(op, field !== undefined) });
  }
  return succeed(measures);
}

function makerOf(op: MeasureOp, hasField: boolean): () => Accumulator {
  switch (op) {
    case "count":
      return () => new Count(hasField);
    case "sum":
      return () => new Sum(false);
    case "avg":
      return () => new Sum(true);
    case "min":
      return () => new Extreme(-1);
    case "max":
      return () => new Extreme(1);
  }
}

/** Counts records, or those in which a field is there and not null. */
class Count implements Accumulator {
  readonly held = 0;
  readonly #hasField: boolean;
  #count = 0;

  constructor(hasField: boolean) {
    this.#hasField = hasField;
  }

  take(value: Value | undefined): boolean {
    if (!this.#hasField || (value !== undefined && value !== null)) this.#count += 1;
    return true;
  }

  merge(other: this): void {
    this.#count += other.#count;
  }

  result(): Value {
    return this.#count;
  }
}

/** Sums numbers and texts that spell numbers; the average is the sum by their count. */
class Sum implements Accumulator {
  readonly held = 0;
  readonly #isAverage: boolean;
  #count = 0;
  /** Sum of integers while it is exact as a number, and what no longer was. */
  #small = 0;
  #large = 0n;
  /** Sum of decimals, and the rounding errors so far. */
  #decimals = 0;
  #errors = 0;
  #hasDecimals = false;

  constructor(isAverage: boolean) {
    this.#isAverage = isAverage;
  }

  take(value: Value | undefined): boolean {
    if (value === undefined || value === null) return true;
    const number = typeof value === "number" ? value : numberOf(value);
    if (number === undefined) return false;
    this.#count += 1;
    if (typeof number === "bigint") this.#large += number;
    else if (Number.isSafeInteger(number)) this.#addInteger(number);
    else this.#addDecimal(number);
    return true;
  }

  merge(other: this): void {
    this.#count += other.#count;
    this.#large += other.#large;
    this.#addInteger(other.#small);
    if (!other.#hasDecimals) return;
    this.#addDecimal(other.#decimals);
    this.#errors += other.#errors;
  }

  result(): Value {
    if (this.#count === 0) return null;
    const whole = BigInt(this.#small) + this.#large;
    if (!this.#hasDecimals) {
      if (this.#isAverage) return quotient(whole, this.#count);
      return isSafe(whole) ? Number(whole) : whole;
    }
    const sum = Number(whole) + (this.#decimals + this.#errors);
    const result = this.#isAverage ? sum / this.#count : sum;
    // Doubles near their end may overflow; JSON has no word for it.
    return Number.isFinite(result) ? result : null;
  }

  #addInteger(number: number): void {
    const sum = this.#small + number;
    if (Number.isSafeInteger(sum)) {
      this.#small = sum;
    } else {
      this.#large += BigInt(this.#small) + BigInt(number);
      this.#small = 0;
    }
  }

  #addDecimal(number: number): void {
    this.#hasDecimals = true;
    const sum = this.#decimals + number;
    this.#errors +=
      Math.abs(this.#decimals) >= Math.abs(number)
        ? this.#decimals - sum + number
        : number - sum + this.#decimals;
    this.#decimals = sum;
  }
}

const isSafe = (value: bigint): boolean =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER);

/** The quotient of an integer of any size as a double. */
function quotient(sum: bigint, count: number): number {
  if (isSafe(sum)) return Number(sum) / count;
  const whole = sum / BigInt(count);
  return Number(whole) + Number(sum - whole * BigInt(count)) / count;
}

/** The smallest or greatest number, and where there is no number, the first or last text by code point. */
class Extreme implements Accumulator {
  readonly #direction: number;
  #number: Numeric | undefined;
  #text: string | undefined;

  /** @param direction -1: the smallest, 1: the greatest. */
  constructor(direction: 1 | -1) {
    this.#direction = direction;
  }

  get held(): number {
    return this.#text?.length ?? 0;
  }

  take(value: Value | undefined): boolean {
    if (value === undefined || value === null) return true;
    const number = numberOf(value);
    if (number !== undefined) this.#takeNumber(number);
    else if (typeof value === "string") this.#takeText(value);
    else return false;
    return true;
  }

  merge(other: this): void {
    if (other.#number !== undefined) this.#takeNumber(other.#number);
    if (other.#text !== undefined) this.#takeText(other.#text);
  }

  result(): Value {
    return this.#number ?? this.#text ?? null;
  }

  #takeNumber(number: Numeric): void {
    if (this.#number === undefined || compareNumbers(number, this.#number) * this.#direction > 0)
      this.#number = number;
  }

  #takeText(text: string): void {
    if (this.#text === undefined || compareTexts(text, this.#text) * this.#direction > 0)
      this.#text = text;
  }
}

/** Lets every measure take a record. @returns how many of its values could not be measured. */
export function takeAll(
  measures: readonly Measure[],
  accumulators: readonly Accumulator[],
  record: Fields,
): number {
  let odd = 0;
  for (let i = 0; i < measures.length; i++) {
    const value = measures[i]?.read?.(record);
    if (accumulators[i]?.take(value) === false) odd += 1;
  }
  return odd;
}
