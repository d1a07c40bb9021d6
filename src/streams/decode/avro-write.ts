// Turns Avro's JSON encoding, and the defaults of schemas, into the binary encoding: from there on there is one way to read.

import { type Fields, type Numeric, numberOf, type Value } from "../compare.ts";
import { type AvroType, shortName } from "./avro-schema.ts";
import { TapWriter } from "./avro-tap.ts";
import { DecodeError } from "./decoder.ts";
import { floatOfWord } from "./floats.ts";

/** How JSON stands for a value. */
export interface JsonForm {
  /** Fields that are missing take the default of the schema, if it has one. */
  readonly applyDefaults: boolean;
  /** In defaults a union is not wrapped, its branch is found. */
  readonly isDefault: boolean;
}

const LONG_MIN = -(2n ** 63n);
const LONG_MAX = 2n ** 63n - 1n;
const DEPTH_MAX = 200;

const wrong = (what: string, place: string): DecodeError =>
  new DecodeError(`Not ${what} at ${place}`);

function integerOf(value: Value, min: bigint, max: bigint, place: string): Numeric {
  const number = typeof value === "string" ? undefined : numberOf(value);
  const isWhole = typeof number === "bigint" || (number !== undefined && Number.isInteger(number));
  if (number === undefined || !isWhole || number < min || number > max)
    throw wrong("a whole number in range", place);
  return number;
}

function floatOf(value: Value, place: string): number {
  if (typeof value === "number" || typeof value === "bigint") return Number(value);
  const special = floatOfWord(value);
  if (special === undefined) throw wrong("a number", place);
  return special;
}

/** Bytes are written as a text in which each character is one byte. */
function bytesOf(value: Value, place: string): Uint8Array {
  if (typeof value !== "string") throw wrong("a text of bytes", place);
  const bytes = new Uint8Array(value.length);
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code > 255) throw wrong("a text of bytes", place);
    bytes[i] = code;
  }
  return bytes;
}

/** Writes a JSON value as a value of `type`. @throws DecodeError when it is none. */
export function writeAvro(
  into: TapWriter,
  type: AvroType,
  value: Value | undefined,
  form: JsonForm,
  place = "$",
  depth = 0,
): void {
  if (depth > DEPTH_MAX) throw new DecodeError(`Nested deeper than ${DEPTH_MAX}`);
  if (value === undefined) throw new DecodeError(`Nothing at ${place}`);
  switch (type.kind) {
    case "null":
      if (value !== null) throw wrong("null", place);
      return;
    case "boolean":
      if (typeof value !== "boolean") throw wrong("true or false", place);
      into.byte(value ? 1 : 0);
      return;
    case "int":
      into.long(integerOf(value, -2_147_483_648n, 2_147_483_647n, place));
      return;
    case "long":
      into.long(integerOf(value, LONG_MIN, LONG_MAX, place));
      return;
    case "float":
      into.float(floatOf(value, place));
      return;
    case "double":
      into.double(floatOf(value, place));
      return;
    case "string":
      if (typeof value !== "string") throw wrong("a text", place);
      into.text(value);
      return;
    case "bytes": {
      const bytes = bytesOf(value, place);
      into.long(bytes.length);
      into.raw(bytes);
      return;
    }
    case "fixed": {
      const bytes = bytesOf(value, place);
      if (bytes.length !== type.size) throw wrong(`${type.size} bytes`, place);
      into.raw(bytes);
      return;
    }
    case "enum": {
      const index = typeof value === "string" ? type.symbols.indexOf(value) : -1;
      if (index < 0) throw wrong(`a symbol of ${type.name}`, place);
      into.long(index);
      return;
    }
    case "array": {
      if (!Array.isArray(value)) throw wrong("a list", place);
      if (value.length > 0) into.long(value.length);
      for (const [i, item] of value.entries())
        writeAvro(into, type.items, item, form, `${place}[${i}]`, depth + 1);
      into.long(0);
      return;
    }
    case "map": {
      const fields = fieldsOf(value, place);
      const entries = Object.entries(fields);
      if (entries.length > 0) into.long(entries.length);
      for (const [key, item] of entries) {
        into.text(key);
        writeAvro(into, type.values, item, form, `${place}.${key}`, depth + 1);
      }
      into.long(0);
      return;
    }
    case "record": {
      const fields = fieldsOf(value, place);
      for (const { name, type: fieldType, fallback } of type.fields) {
        const there = `${place}.${name}`;
        if (Object.hasOwn(fields, name)) {
          writeAvro(into, fieldType, fields[name], form, there, depth + 1);
        } else if (fallback !== undefined && (form.applyDefaults || form.isDefault)) {
          writeAvro(into, fieldType, fallback, DEFAULT_FORM, there, depth + 1);
        } else {
          throw new DecodeError(`Nothing at ${there}`);
        }
      }
      return;
    }
    case "union":
      writeUnion(into, type.branches, value, form, place, depth);
      return;
  }
}

const DEFAULT_FORM: JsonForm = { applyDefaults: true, isDefault: true };

function fieldsOf(value: Value, place: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong("an object", place);
  return value as Fields;
}

const labelOf = (type: AvroType): string => ("name" in type ? type.name : type.kind);

/** In the JSON encoding a value of a union is null, or an object whose one name is that of its branch. */
function writeUnion(
  into: TapWriter,
  branches: readonly AvroType[],
  value: Value,
  form: JsonForm,
  place: string,
  depth: number,
): void {
  if (form.isDefault) {
    writeDefaultUnion(into, branches, value, place, depth);
    return;
  }
  let index = -1;
  let inner = value;
  if (value === null) {
    index = branches.findIndex(({ kind }) => kind === "null");
  } else if (typeof value === "object" && !Array.isArray(value)) {
    const [[label, item] = ["", null], ...others] = Object.entries(value);
    if (others.length === 0) {
      index = branches.findIndex((branch) => labelOf(branch) === label);
      if (index < 0) index = branches.findIndex((branch) => shortName(labelOf(branch)) === label);
      inner = item;
    }
  }
  const branch = branches[index];
  if (branch === undefined) throw wrong("a value of the union", place);
  into.long(index);
  writeAvro(into, branch, inner, form, place, depth + 1);
}

/** The default of a union is a value of its first branch; since Avro 1.12 of any. */
function writeDefaultUnion(
  into: TapWriter,
  branches: readonly AvroType[],
  value: Value,
  place: string,
  depth: number,
): void {
  for (const [index, branch] of branches.entries()) {
    const trial = new TapWriter();
    try {
      writeAvro(trial, branch, value, DEFAULT_FORM, place, depth + 1);
    } catch {
      continue;
    }
    into.long(index);
    into.raw(trial.view());
    return;
  }
  throw wrong("a value of the union", place);
}
