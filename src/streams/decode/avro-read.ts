// Compiles a writer's schema and a reader's schema into one function that reads the writer's bytes as the reader's value:
// schema resolution by the Avro specification. A mismatch in a branch of the writer's union is an error only of records
// that take the branch.

import type { Fields, Value } from "../compare.ts";
import { setField } from "../path.ts";
import {
  type AvroEnum,
  type AvroField,
  type AvroRecord,
  type AvroType,
  type AvroUnion,
  SchemaError,
  shortName,
} from "./avro-schema.ts";
import { Tap, TapWriter } from "./avro-tap.ts";
import { bytesReader, floatReader, integerReader } from "./avro-values.ts";
import { writeAvro } from "./avro-write.ts";
import { DecodeError } from "./decoder.ts";
import { floatValue } from "./floats.ts";

/** Reads one value. */
export type AvroRead = (tap: Tap) => Value;

/** Compiles the reading of `writer`'s bytes as `reader`. @throws SchemaError when the two do not go together. */
export const compileAvro = (writer: AvroType, reader: AvroType): AvroRead =>
  new Compiler().read(writer, reader, "$");

/** Steps of one resolution: unions of unions multiply. */
const STEPS_MAX = 200_000;

class Compiler {
  /** Records that are compiled or being compiled, so that schemas may go in circles. */
  readonly #records = new Map<AvroRecord, Map<AvroRecord, { read: AvroRead }>>();

  #steps = 0;

  read(writer: AvroType, reader: AvroType, place: string): AvroRead {
    this.#step(place);
    if (writer.kind === "union") return this.#fromUnion(writer, reader, place);
    if (!doMatch(writer, reader)) throw mismatch(writer, reader, place);
    switch (reader.kind) {
      case "null":
        return () => null;
      case "boolean":
        return (tap) => tap.boolean();
      case "int":
        return integerReader((tap) => tap.int(), reader.logical);
      case "long":
        return integerReader(
          writer.kind === "int" ? (tap) => tap.int() : (tap) => tap.long(),
          reader.logical,
        );
      case "float":
      case "double":
        return numberReader(writer, reader.kind === "float");
      case "string":
        return (tap) => tap.text();
      case "bytes":
        return bytesReader((tap) => tap.bytesField(), reader.logical);
      case "fixed": {
        const { size } = reader;
        return bytesReader((tap) => tap.raw(size), reader.logical);
      }
      case "enum":
        return enumReader(writer as AvroEnum, reader);
      case "array":
        return this.#array((writer as typeof reader).items, reader.items, place);
      case "map":
        return this.#map((writer as typeof reader).values, reader.values, place);
      case "record":
        return this.#record(writer as AvroRecord, reader, place);
      case "union": {
        const branch = reader.branches.find((candidate) => {
          this.#step(place, 1 + ("aliases" in candidate ? candidate.aliases.length : 0));
          return doMatch(writer, candidate);
        });
        if (branch === undefined) throw mismatch(writer, reader, place);
        return this.read(writer, branch, place);
      }
    }
  }

  #step(place: string, cost = 1): void {
    this.#steps += cost;
    // No SchemaError: that may be one branch's own trouble.
    if (this.#steps > STEPS_MAX) throw new RangeError(`Too many types to resolve at ${place}`);
  }

  #fromUnion(writer: AvroUnion, reader: AvroType, place: string): AvroRead {
    const reads = writer.branches.map((branch): AvroRead => {
      try {
        // Of one and the same union every branch is its own reader.
        return this.read(branch, writer === reader ? branch : reader, place);
      } catch (error) {
        if (!(error instanceof SchemaError)) throw error;
        const { message } = error;
        return () => {
          throw new DecodeError(message);
        };
      }
    });
    return (tap) => {
      const index = tap.long();
      const read = reads[Number(index)];
      if (read === undefined) throw new DecodeError(`A union has no branch ${index}`);
      return read(tap);
    };
  }

  #array(writer: AvroType, reader: AvroType, place: string): AvroRead {
    const read = this.read(writer, reader, `${place}.items`);
    return (tap) => {
      const items: Value[] = [];
      for (let count = tap.count(); count > 0; count = tap.count())
        for (let i = 0; i < count; i++) items.push(read(tap));
      return items;
    };
  }

  #map(writer: AvroType, reader: AvroType, place: string): AvroRead {
    const read = this.read(writer, reader, `${place}.values`);
    return (tap) => {
      const values: Record<string, Value> = {};
      for (let count = tap.count(); count > 0; count = tap.count())
        for (let i = 0; i < count; i++) setField(values, tap.text(), read(tap));
      return values;
    };
  }

  #record(writer: AvroRecord, reader: AvroRecord, place: string): AvroRead {
    const byReader = this.#records.get(writer) ?? new Map<AvroRecord, { read: AvroRead }>();
    this.#records.set(writer, byReader);
    const known = byReader.get(reader);
    if (known !== undefined) return (tap) => known.read(tap);
    const slot: { read: AvroRead } = {
      read: () => {
        throw new DecodeError("A schema does not resolve");
      },
    };
    byReader.set(reader, slot);
    try {
      slot.read = this.#fields(writer, reader, place);
    } catch (error) {
      byReader.delete(reader);
      throw error;
    }
    return slot.read;
  }

  #fields(writer: AvroRecord, reader: AvroRecord, place: string): AvroRead {
    const taken = new Set<AvroField>();
    const byName = new Map(reader.fields.map((field) => [field.name, field]));
    // A field that was written under its own name needs no other.
    const written = new Set(writer.fields.map(({ name }) => name));
    const byAlias = new Map(
      reader.fields
        .filter(({ name }) => !written.has(name))
        .flatMap((field) => field.aliases.map((alias) => [alias, field] as const)),
    );
    const steps = writer.fields.map((field) => {
      const there = `${place}.${field.name}`;
      const target = byName.get(field.name) ?? byAlias.get(field.name);
      // The first one that may have it does.
      if (target === undefined || taken.has(target)) {
        // Skipping is reading and forgetting: the bytes are checked all the same.
        return { name: undefined, read: this.read(field.type, field.type, there) };
      }
      taken.add(target);
      return { name: target.name, read: this.read(field.type, target.type, there) };
    });
    const defaults = reader.fields
      .filter((field) => !taken.has(field))
      .map((field) => ({ name: field.name, read: this.#default(field, place) }));
    // In the order of the reader's schema, so that rows look alike whoever wrote them.
    const isInOrder =
      defaults.length === 0 &&
      steps
        .filter(({ name }) => name !== undefined)
        .every(({ name }, i) => name === reader.fields[i]?.name);
    const names = reader.fields.map(({ name }) => name);
    const all = [...steps, ...defaults];
    return (tap) => {
      tap.enter();
      const fields: Record<string, Value> = {};
      for (const { name, read } of all) {
        const value = read(tap);
        if (name !== undefined) setField(fields, name, value);
      }
      tap.leave();
      return isInOrder ? fields : inOrder(fields, names);
    };
  }

  #default({ name, type, fallback }: AvroField, place: string): AvroRead {
    if (fallback === undefined)
      throw new SchemaError(`Field ${name} is not written and has no default at ${place}`);
    const writer = new TapWriter();
    try {
      writeAvro(
        writer,
        type,
        fallback,
        { applyDefaults: true, isDefault: true },
        `${place}.${name}`,
      );
    } catch (error) {
      if (error instanceof DecodeError)
        throw new SchemaError(`Default of ${name}: ${error.message}`);
      throw error;
    }
    const bytes = writer.view().slice();
    const read = this.read(type, type, `${place}.${name}`);
    return () => read(new Tap(bytes));
  }
}

function inOrder(fields: Fields, names: readonly string[]): Fields {
  const ordered: Record<string, Value> = {};
  for (const name of names) {
    const value = fields[name];
    if (value !== undefined) setField(ordered, name, value);
  }
  return ordered;
}

function mismatch(writer: AvroType, reader: AvroType, place: string): SchemaError {
  const shown = (type: AvroType): string =>
    "name" in type ? `${type.kind} ${type.name}` : type.kind;
  return new SchemaError(`Cannot read ${shown(writer)} as ${shown(reader)} at ${place}`);
}

const PROMOTIONS: Readonly<Record<string, readonly string[]>> = {
  int: ["long", "float", "double"],
  long: ["float", "double"],
  float: ["double"],
  string: ["bytes"],
  bytes: ["string"],
};

/** Whether a writer's type can be read as a reader's, as far as it shows without looking into records. */
function doMatch(writer: AvroType, reader: AvroType): boolean {
  if (writer.kind === "union" || reader.kind === "union") return true;
  if (writer.kind === "array" && reader.kind === "array")
    return doMatch(writer.items, reader.items);
  if (writer.kind === "map" && reader.kind === "map") return doMatch(writer.values, reader.values);
  if ("name" in writer && "name" in reader) {
    if (writer.kind !== reader.kind) return false;
    if (writer.kind === "fixed" && reader.kind === "fixed" && writer.size !== reader.size)
      return false;
    // By the name without its namespace, as the specification allows, or by an alias of the reader.
    return (
      shortName(writer.name) === shortName(reader.name) ||
      reader.aliases.some((alias) => shortName(alias) === shortName(writer.name))
    );
  }
  return writer.kind === reader.kind || (PROMOTIONS[writer.kind]?.includes(reader.kind) ?? false);
}

function numberReader(writer: AvroType, isFloat: boolean): AvroRead {
  switch (writer.kind) {
    case "float":
      return floatReader((tap) => tap.float());
    case "double":
      return floatReader((tap) => tap.double());
    default: {
      // A promoted integer becomes the nearest number of the reader's type.
      const isInt = writer.kind === "int";
      return (tap) => {
        const value = Number(isInt ? tap.int() : tap.long());
        return floatValue(isFloat ? Math.fround(value) : value);
      };
    }
  }
}

function enumReader(writer: AvroEnum, reader: AvroEnum): AvroRead {
  const known = new Set(reader.symbols);
  const symbols = writer.symbols.map((symbol) => (known.has(symbol) ? symbol : reader.fallback));
  return (tap) => {
    const index = tap.int();
    const symbol = symbols[index];
    if (symbol !== undefined) return symbol;
    throw new DecodeError(
      `Enum ${reader.name} has no ${writer.symbols[index] ?? `symbol ${index}`}`,
    );
  };
}
