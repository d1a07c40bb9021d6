// Compiles conditions into one function. All conditions must hold; of an `any` list one must. A field that is not there
// matches nothing, `ne` included; only `exists: false` looks for what is missing.

import { fail, type Result, succeed } from "../lib/result.ts";
import type { Refusal } from "../model/errors.ts";
import { compare, equals, type Fields, type Value } from "./compare.ts";
import { compilePath, invalid } from "./path.ts";

/** Operators. */
export const OPERATORS = ["eq", "ne", "lt", "le", "gt", "ge", "in", "contains", "exists"] as const;

/** One operator. */
export type Operator = (typeof OPERATORS)[number];

/** A condition as a request says it. */
export type Condition =
  | { readonly field: string; readonly op: Operator; readonly value?: Value | undefined }
  | { readonly any: readonly Condition[] };

/** Conditions of one request, those in `any` lists included. */
export const CONDITIONS_MAX = 256;
/** Values of one `in`. */
export const IN_VALUES_MAX = 10_000;
const NESTING_MAX = 16;

/** Whether a record is wanted. */
export type Predicate = (record: Fields) => boolean;

/** Compiles conditions. */
export function compileFilter(conditions: readonly Condition[]): Result<Predicate, Refusal> {
  const budget = { left: CONDITIONS_MAX };
  const compiled = compileAll(conditions, "filter", budget, 0);
  if (!compiled.ok) return compiled;
  const [first, ...others] = compiled.value;
  if (first === undefined) return succeed(() => true);
  if (others.length === 0) return succeed(first);
  return succeed((record) => first(record) && others.every((holds) => holds(record)));
}

function compileAll(
  conditions: readonly Condition[],
  place: string,
  budget: { left: number },
  depth: number,
): Result<Predicate[], Refusal> {
  const all: Predicate[] = [];
  for (const [i, condition] of conditions.entries()) {
    budget.left -= 1;
    if (budget.left < 0)
      return fail(invalid("filter", `must have at most ${CONDITIONS_MAX} conditions`));
    const compiled = compileOne(condition, `${place}.${i}`, budget, depth);
    if (!compiled.ok) return compiled;
    all.push(compiled.value);
  }
  return succeed(all);
}

function compileOne(
  condition: Condition,
  place: string,
  budget: { left: number },
  depth: number,
): Result<Predicate, Refusal> {
  if (!("any" in condition)) return compileTest(condition, place);
  if (depth === NESTING_MAX)
    return fail(invalid(place, `must not be nested deeper than ${NESTING_MAX}`));
  const some = compileAll(condition.any, `${place}.any`, budget, depth + 1);
  if (!some.ok) return some;
  return succeed((record) => some.value.some((holds) => holds(record)));
}

function compileTest(
  { field, op, value }: Extract<Condition, { readonly field: string }>,
  place: string,
): Result<Predicate, Refusal> {
  const read = compilePath(field, `${place}.field`);
  if (!read.ok) return read;
  const get = read.value;
  if (op === "exists") {
    if (value !== undefined && typeof value !== "boolean")
      return fail(invalid(`${place}.value`, "must be true or false, or be left out"));
    const isWanted = value !== false;
    return succeed((record) => (get(record) !== undefined) === isWanted);
  }
  if (value === undefined) return fail(invalid(`${place}.value`, "must be there"));
  const test = compileOperator(op, value, place);
  if (!test.ok) return test;
  const holds = test.value;
  return succeed((record) => {
    const found = get(record);
    return found !== undefined && holds(found);
  });
}

type Test = (found: Value) => boolean;

function compileOperator(
  op: Exclude<Operator, "exists">,
  value: Value,
  place: string,
): Result<Test, Refusal> {
  if (op === "eq") return succeed((found) => equals(found, value));
  if (op === "ne") return succeed((found) => !equals(found, value));
  if (op === "contains") return succeed((found) => contains(found, value));
  if (op === "in") {
    if (!Array.isArray(value) || value.length > IN_VALUES_MAX)
      return fail(invalid(`${place}.value`, `must be a list of at most ${IN_VALUES_MAX} values`));
    return succeed(compileIn(value));
  }
  if (typeof value !== "number" && typeof value !== "bigint" && typeof value !== "string")
    return fail(invalid(`${place}.value`, `must be a number or a text for ${op}`));
  const accepts = ORDERS[op];
  return succeed((found) => {
    const order = compare(found, value);
    return order !== undefined && accepts(order);
  });
}

const ORDERS = {
  lt: (order: number) => order < 0,
  le: (order: number) => order <= 0,
  gt: (order: number) => order > 0,
  ge: (order: number) => order >= 0,
} as const;

/** A long list of texts is looked up, not walked; the rest keeps to the rules one by one. */
function compileIn(values: readonly Value[]): Test {
  const texts = new Set(values.filter((value) => typeof value === "string"));
  const others = values.filter((value) => typeof value !== "string");
  return (found) => {
    if (typeof found === "string")
      return texts.has(found) || others.some((value) => equals(found, value));
    return values.some((value) => equals(found, value));
  };
}

/** Whether a text has another in it, or a list has a member. */
function contains(found: Value, wanted: Value): boolean {
  if (typeof found === "string") return typeof wanted === "string" && found.includes(wanted);
  return Array.isArray(found) && found.some((member) => equals(member, wanted));
}
