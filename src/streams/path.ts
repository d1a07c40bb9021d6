// Reads a field by its name, or by a dotted path into objects.

import { fail, type Result, succeed } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { Fields, Value } from "./compare.ts";

/** Reads one field of a record; undefined when it has none of this name. */
export type Read = (record: Fields) => Value | undefined;

/** Characters of a field's path. */
export const PATH_CHARS_MAX = 1024;
/** Steps of a path: a record is not nested much deeper. */
const PATH_STEPS_MAX = 64;

const own = (fields: Fields, name: string): Value | undefined =>
  Object.hasOwn(fields, name) ? fields[name] : undefined;

/**
 * Compiles the path of a field. A field whose own name has dots comes before the path that these dots spell.
 * Paths step into objects, not into arrays.
 */
export function compilePath(path: string, parameter: string): Result<Read, Refusal> {
  if (path === "" || path.length > PATH_CHARS_MAX)
    return fail(invalid(parameter, `must name a field in 1 to ${PATH_CHARS_MAX} characters`));
  // What every object inherits is no field of a record.
  if (!path.includes("."))
    return succeed(path in {} ? (record) => own(record, path) : (record) => record[path]);
  const steps = path.split(".");
  if (steps.length > PATH_STEPS_MAX)
    return fail(invalid(parameter, `must have at most ${PATH_STEPS_MAX} steps`));
  return succeed((record) => {
    if (Object.hasOwn(record, path)) return record[path];
    let place: Value | undefined = record;
    for (const step of steps) {
      if (typeof place !== "object" || place === null || Array.isArray(place)) return undefined;
      place = own(place as Fields, step);
    }
    return place;
  });
}

/** Compiles several. */
export function compilePaths(
  paths: readonly string[],
  parameter: string,
): Result<readonly Read[], Refusal> {
  const reads: Read[] = [];
  for (const [i, path] of paths.entries()) {
    const read = compilePath(path, `${parameter}.${i}`);
    if (!read.ok) return read;
    reads.push(read.value);
  }
  return succeed(reads);
}

/** The refusal of a part of a query. `rule` goes on after "it". */
export const invalid = (parameter: string, rule: string): Refusal =>
  refuse("invalid_parameter", `Parameter ${parameter} is not valid: it ${rule}`, { parameter });

/** Sets a field whatever its name is: `__proto__` is a name like any other. */
export function setField(fields: Record<string, Value>, name: string, value: Value): void {
  if (name === "__proto__") {
    Object.defineProperty(fields, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  } else fields[name] = value;
}
