// Avro records in their four encodings, read as the reader's schema. Only records and what comes out as an object count.

import { parseJson } from "../../lib/json.ts";
import { fail, type Result, succeed } from "../../lib/result.ts";
import { type Refusal, refuse } from "../../model/errors.ts";
import type { Fields, Value } from "../compare.ts";
import { type Inflate, readBlocks, readHeader } from "./avro-file.ts";
import { fingerprint } from "./avro-fingerprint.ts";
import { type AvroRead, compileAvro } from "./avro-read.ts";
import { type AvroType, parseAvroSchema, SchemaError } from "./avro-schema.ts";
import { Tap, TapWriter } from "./avro-tap.ts";
import { writeAvro } from "./avro-write.ts";
import { DecodeError, type Decoder } from "./decoder.ts";

/** How Avro values are written. */
export type AvroEncoding = "binary" | "json" | "single_object" | "ocf";

/** What a decoder of Avro is made of. */
export interface AvroSpec {
  /** Undefined: as the file says, of `ocf` alone. */
  readonly readerText: string | undefined;
  /** Undefined: the same. */
  readonly writerText: string | undefined;
  readonly encoding: AvroEncoding;
  readonly applyDefaults: boolean;
  readonly inflate: Inflate;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });
const SINGLE_OBJECT = [0xc3, 0x01];
const FINGERPRINT_BYTES = 8;

/** Makes a decoder. `invalid_schema` says which schema is wrong, and where. */
export function makeAvroDecoder(spec: AvroSpec): Result<Decoder, Refusal> {
  try {
    const reader = spec.readerText === undefined ? undefined : parse("", spec.readerText);
    const writer = spec.writerText === undefined ? reader : parse("writer ", spec.writerText);
    if (spec.encoding === "ocf") return succeed(fileDecoder(reader, spec.inflate));
    if (reader === undefined || writer === undefined) throw new SchemaError("There is none");
    const read = compileAvro(writer, reader);
    if (spec.encoding === "json") return succeed(jsonEncoded(writer, read, spec.applyDefaults));
    if (spec.encoding === "single_object") return succeed(singleObject(fingerprint(writer), read));
    return succeed(decoderOf((bytes) => [readWhole(new Tap(bytes), read)]));
  } catch (error) {
    if (error instanceof SchemaError)
      return fail(refuse("invalid_schema", `Avro schema is not valid: ${error.message}`));
    if (error instanceof RangeError)
      return fail(refuse("invalid_schema", `Avro schema is not valid: ${error.message}`));
    throw error;
  }
}

function parse(which: string, text: string): AvroType {
  try {
    return parseAvroSchema(text);
  } catch (error) {
    if (error instanceof SchemaError) throw new SchemaError(`${which}${error.message}`);
    throw error;
  }
}

/** Wraps a way to read: turns what it throws into a reason, and hands over objects when all of them were read. */
function decoderOf(read: (bytes: Uint8Array) => Iterable<Value>): Decoder {
  return {
    decode(bytes, take) {
      const objects: Fields[] = [];
      try {
        for (const value of read(bytes)) {
          if (typeof value !== "object" || value === null || Array.isArray(value))
            return "Not a record";
          objects.push(value as Fields);
        }
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
      for (const fields of objects) take(fields);
      return undefined;
    },
  };
}

function readWhole(tap: Tap, read: AvroRead): Value {
  const value = read(tap);
  if (!tap.isAtEnd) throw new DecodeError("Has bytes left over");
  return value;
}

function jsonEncoded(writer: AvroType, read: AvroRead, applyDefaults: boolean): Decoder {
  const form = { applyDefaults, isDefault: false };
  const binary = new TapWriter();
  return decoderOf((bytes) => {
    binary.reset();
    writeAvro(binary, writer, parseJson(utf8.decode(bytes)), form);
    return [readWhole(new Tap(binary.view()), read)];
  });
}

function singleObject(mark: Uint8Array, read: AvroRead): Decoder {
  return decoderOf((bytes) => {
    if (!SINGLE_OBJECT.every((byte, i) => bytes[i] === byte))
      throw new DecodeError("Not in single-object encoding");
    const start = SINGLE_OBJECT.length;
    if (!mark.every((byte, i) => bytes[start + i] === byte))
      throw new DecodeError("Written with another schema: its fingerprint differs");
    return [readWhole(new Tap(bytes, start + FINGERPRINT_BYTES), read)];
  });
}

/** Schemas of files that are kept: files of one topic mostly share one. */
const FILE_SCHEMAS_MAX = 16;

function fileDecoder(reader: AvroType | undefined, inflate: Inflate): Decoder {
  const reads = new Map<string, AvroRead>();
  const readOf = (schemaText: string): AvroRead => {
    const known = reads.get(schemaText);
    if (known !== undefined) return known;
    const writer = parseAvroSchema(schemaText);
    const made = compileAvro(writer, reader ?? writer);
    if (reads.size === FILE_SCHEMAS_MAX) reads.clear();
    reads.set(schemaText, made);
    return made;
  };
  return decoderOf((bytes) => {
    const header = readHeader(bytes);
    return readBlocks(bytes, header, readOf(header.schemaText), inflate);
  });
}
