// Compiles a list of fields into a function that makes a row of a record.

import { type Result, succeed } from "../lib/result.ts";
import type { Refusal } from "../model/errors.ts";
import type { Fields, Value } from "./compare.ts";
import { compilePaths, setField } from "./path.ts";

/** Fields of one projection. */
export const FIELDS_MAX = 256;

/** Makes a row of a record. */
export type Project = (record: Fields) => Fields;

/** Compiles a projection: without fields the whole record. A field that is missing stays missing, in the order asked. */
export function compileProjection(
  fields: readonly string[],
  parameter: string,
): Result<Project, Refusal> {
  const reads = compilePaths(fields, parameter);
  if (!reads.ok) return reads;
  if (fields.length === 0) return succeed((record) => record);
  const columns = fields.map((name, i) => ({ name, read: reads.value[i] }));
  return succeed((record) => {
    const row: Record<string, Value> = {};
    for (const { name, read } of columns) {
      const value = read?.(record);
      if (value !== undefined) setField(row, name, value);
    }
    return row;
  });
}
