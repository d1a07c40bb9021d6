// Reads Avro schemas (specification 1.12): types with full names, aliases, defaults and logical types, names resolved.
// Bounded in nesting and in size, whatever a schema refers to.

import { jsonErrorAt, parseJson } from "../../lib/json.ts";
import type { Value } from "../compare.ts";

/** Types without parts. */
export type Primitive =
  | "null"
  | "boolean"
  | "int"
  | "long"
  | "float"
  | "double"
  | "bytes"
  | "string";

/** A logical type that stands on a type that may carry it. */
export type Logical =
  | { readonly kind: "decimal"; readonly scale: number }
  | {
      readonly kind:
        | "uuid"
        | "date"
        | "timestamp-micros"
        | "timestamp-nanos"
        | "local-timestamp-micros"
        | "local-timestamp-nanos"
        | "duration";
    };

/** A type. Records, enums and fixed are shared by all who name them, so types may go in circles. */
export type AvroType =
  | { readonly kind: Primitive; readonly logical?: Logical | undefined }
  | { readonly kind: "array"; readonly items: AvroType }
  | { readonly kind: "map"; readonly values: AvroType }
  | AvroUnion
  | AvroFixed
  | AvroEnum
  | AvroRecord;

/** One of several. */
export interface AvroUnion {
  readonly kind: "union";
  readonly branches: readonly AvroType[];
}

/** Fixed bytes. */
export interface AvroFixed {
  readonly kind: "fixed";
  readonly name: string;
  readonly aliases: readonly string[];
  readonly size: number;
  readonly logical: Logical | undefined;
}

/** A word of a list. */
export interface AvroEnum {
  readonly kind: "enum";
  readonly name: string;
  readonly aliases: readonly string[];
  readonly symbols: readonly string[];
  readonly fallback: string | undefined;
}

/** Fields in their order. */
export interface AvroRecord {
  readonly kind: "record";
  readonly name: string;
  readonly aliases: readonly string[];
  /** Filled once the record's name is known, for records that refer to themselves. */
  readonly fields: AvroField[];
}

/** One field. */
export interface AvroField {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly type: AvroType;
  /** Undefined: it has none. */
  readonly fallback: Value | undefined;
}

/** Why a schema is none, and where. */
export class SchemaError extends Error {
  override readonly name = "SchemaError";
}

const PRIMITIVES: ReadonlySet<string> = new Set([
  "null",
  "boolean",
  "int",
  "long",
  "float",
  "double",
  "bytes",
  "string",
]);
const NESTING_MAX = 64;
const TYPES_MAX = 20_000;
const FIXED_BYTES_MAX = 1_048_576;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

type Source = { readonly [key: string]: Value };

/** Line and column of a position, both from 1. */
export function placeIn(text: string, at: number): string {
  const before = text.slice(0, at);
  const line = before.split("\n").length;
  return `line ${line}, column ${at - before.lastIndexOf("\n")}`;
}

/** Reads a schema. @throws SchemaError that says where it is wrong. */
export function parseAvroSchema(text: string): AvroType {
  let source: Value;
  try {
    source = parseJson(text);
  } catch (error) {
    const name = text.trim();
    // A bare name of a type is what some registries keep.
    if (PRIMITIVES.has(name)) return new Parser().type(name, "", "$", 0);
    const at = jsonErrorAt(text);
    const reason = error instanceof Error ? error.message : String(error);
    throw new SchemaError(at === undefined ? reason : `Not JSON at ${placeIn(text, at)}`);
  }
  return new Parser().type(source, "", "$", 0);
}

/** The name without its namespace. */
export const shortName = (name: string): string => name.slice(name.lastIndexOf(".") + 1);

class Parser {
  readonly #named = new Map<string, AvroType>();
  #types = 0;

  type(source: Value | undefined, namespace: string, place: string, depth: number): AvroType {
    this.#types += 1;
    if (depth > NESTING_MAX) throw new SchemaError(`Nested deeper than ${NESTING_MAX} at ${place}`);
    if (this.#types > TYPES_MAX) throw new SchemaError(`More than ${TYPES_MAX} types at ${place}`);
    if (typeof source === "string") return this.#byName(source, namespace, place);
    if (Array.isArray(source)) return this.#union(source, namespace, place, depth);
    if (typeof source !== "object" || source === null)
      throw new SchemaError(`A type must be a name, a list or an object at ${place}`);
    return this.#complex(source as Source, namespace, place, depth);
  }

  #byName(name: string, namespace: string, place: string): AvroType {
    if (PRIMITIVES.has(name)) return { kind: name as Primitive };
    const full = name.includes(".") || namespace === "" ? name : `${namespace}.${name}`;
    const known = this.#named.get(full) ?? this.#named.get(name);
    if (known === undefined) throw new SchemaError(`Unknown type ${name} at ${place}`);
    return known;
  }

  #union(sources: readonly Value[], namespace: string, place: string, depth: number): AvroType {
    const branches = sources.map((source, i) =>
      this.type(source, namespace, `${place}[${i}]`, depth + 1),
    );
    const seen = new Set<string>();
    for (const branch of branches) {
      const label = "name" in branch ? branch.name : branch.kind;
      if (branch.kind === "union")
        throw new SchemaError(`A union must not hold another union directly at ${place}`);
      if (seen.has(label)) throw new SchemaError(`A union has ${label} twice at ${place}`);
      seen.add(label);
    }
    return { kind: "union", branches };
  }

  #complex(source: Source, namespace: string, place: string, depth: number): AvroType {
    const { type, items, values } = source;
    switch (type) {
      case "array":
        return {
          kind: "array",
          items: this.type(items, namespace, `${place}.items`, depth + 1),
        };
      case "map":
        return {
          kind: "map",
          values: this.type(values, namespace, `${place}.values`, depth + 1),
        };
      case "record":
      case "error":
        return this.#record(source, namespace, place, depth);
      case "enum":
        return this.#enum(source, namespace, place);
      case "fixed":
        return this.#fixed(source, namespace, place);
      default: {
        if (typeof type !== "string" || !PRIMITIVES.has(type))
          return this.type(type, namespace, `${place}.type`, depth + 1);
        const kind = type as Primitive;
        return { kind, logical: logicalOf(source, kind, undefined) };
      }
    }
  }

  #record(source: Source, namespace: string, place: string, depth: number): AvroType {
    const { name, inner } = nameOf(source, namespace, place);
    const { fields } = source;
    if (!Array.isArray(fields))
      throw new SchemaError(`A record needs a list of fields at ${place}`);
    const record: AvroRecord = {
      kind: "record",
      name,
      aliases: aliasesOf(source, inner),
      fields: [],
    };
    this.#define(record, place);
    const seen = new Set<string>();
    for (const [i, field] of fields.entries()) {
      const there = `${place}.fields[${i}]`;
      if (typeof field !== "object" || field === null || Array.isArray(field))
        throw new SchemaError(`A field must be an object at ${there}`);
      const { name: fieldName, type, aliases, default: fallback } = field as Source;
      if (typeof fieldName !== "string" || !NAME.test(fieldName))
        throw new SchemaError(`A field needs a name of letters, digits and _ at ${there}.name`);
      if (seen.has(fieldName))
        throw new SchemaError(`Field ${fieldName} is there twice at ${there}`);
      seen.add(fieldName);
      record.fields.push({
        name: fieldName,
        aliases: listOfTexts(aliases),
        type: this.type(type, inner, `${there}.type`, depth + 1),
        fallback,
      });
    }
    return record;
  }

  #enum(source: Source, namespace: string, place: string): AvroType {
    const { name, inner } = nameOf(source, namespace, place);
    const { symbols: words, default: fallback } = source;
    const symbols = listOfTexts(words);
    if (symbols.length === 0 || !symbols.every((symbol) => NAME.test(symbol)))
      throw new SchemaError(`An enum needs a list of symbols at ${place}.symbols`);
    if (new Set(symbols).size < symbols.length)
      throw new SchemaError(`A symbol is there twice at ${place}.symbols`);
    if (fallback !== undefined && !(typeof fallback === "string" && symbols.includes(fallback)))
      throw new SchemaError(`A default must be one of the symbols at ${place}.default`);
    return this.#define(
      { kind: "enum", name, aliases: aliasesOf(source, inner), symbols, fallback },
      place,
    );
  }

  #fixed(source: Source, namespace: string, place: string): AvroType {
    const { name, inner } = nameOf(source, namespace, place);
    const { size } = source;
    if (typeof size !== "number" || !Number.isInteger(size) || size < 0 || size > FIXED_BYTES_MAX)
      throw new SchemaError(`A fixed needs a size of 0 to ${FIXED_BYTES_MAX} at ${place}.size`);
    return this.#define(
      {
        kind: "fixed",
        name,
        aliases: aliasesOf(source, inner),
        size,
        logical: logicalOf(source, "fixed", size),
      },
      place,
    );
  }

  #define(type: AvroRecord | AvroEnum | AvroFixed, place: string): AvroType {
    if (this.#named.has(type.name))
      throw new SchemaError(`Type ${type.name} is defined twice at ${place}`);
    this.#named.set(type.name, type);
    return type;
  }
}

/** The full name of a type, and the namespace of what is inside it. */
function nameOf(
  source: Source,
  namespace: string,
  place: string,
): { readonly name: string; readonly inner: string } {
  const { name, namespace: own } = source;
  if (typeof name !== "string" || !name.split(".").every((part) => NAME.test(part)))
    throw new SchemaError(`A type needs a name of letters, digits and _ at ${place}.name`);
  if (PRIMITIVES.has(name)) throw new SchemaError(`Type ${name} is taken at ${place}.name`);
  const dot = name.lastIndexOf(".");
  if (dot >= 0) return { name, inner: name.slice(0, dot) };
  const inner = typeof own === "string" ? own : namespace;
  if (inner !== "" && !inner.split(".").every((part) => NAME.test(part)))
    throw new SchemaError(`A namespace must be names joined by dots at ${place}.namespace`);
  return { name: inner === "" ? name : `${inner}.${name}`, inner };
}

const listOfTexts = (value: Value | undefined): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];

const aliasesOf = ({ aliases }: Source, namespace: string): string[] =>
  listOfTexts(aliases).map((alias) =>
    alias.includes(".") || namespace === "" ? alias : `${namespace}.${alias}`,
  );

/** The logical type of a type. One that is unknown or does not fit is ignored, as the specification asks. */
function logicalOf(
  source: Source,
  kind: Primitive | "fixed",
  size: number | undefined,
): Logical | undefined {
  const { logicalType, precision, scale = 0 } = source;
  switch (logicalType) {
    case "decimal": {
      const fits =
        (kind === "bytes" || kind === "fixed") &&
        typeof precision === "number" &&
        typeof scale === "number" &&
        Number.isInteger(precision) &&
        Number.isInteger(scale) &&
        scale >= 0 &&
        scale <= precision &&
        precision <= 1000;
      return fits ? { kind: "decimal", scale } : undefined;
    }
    case "uuid":
      return kind === "fixed" && size === 16 ? { kind: "uuid" } : undefined;
    case "date":
      return kind === "int" ? { kind: "date" } : undefined;
    case "duration":
      return kind === "fixed" && size === 12 ? { kind: "duration" } : undefined;
    case "timestamp-micros":
    case "timestamp-nanos":
    case "local-timestamp-micros":
    case "local-timestamp-nanos":
      return kind === "long" ? { kind: logicalType } : undefined;
    default:
      return undefined;
  }
}
