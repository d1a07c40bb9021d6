// Makes the decoder that a request asks for. Schemas are parsed once and kept by their text, the latest used ones.

import { type Json, writeJson } from "../../lib/json.ts";
import { fail, type Result, succeed } from "../../lib/result.ts";
import { type Refusal, refuse } from "../../model/errors.ts";
import { invalid } from "../path.ts";
import { type AvroEncoding, makeAvroDecoder } from "./avro.ts";
import type { Inflate } from "./avro-file.ts";
import type { Decoder } from "./decoder.ts";
import { jsonDecoder } from "./json.ts";
import { makeProtoDecoder } from "./proto.ts";

/** How records are decoded, as a request says it. */
export interface DecodeSpec {
  readonly type: "json" | "avro" | "proto" | "protobuf";
  readonly encoding?: AvroEncoding | undefined;
  readonly schema_text?: string | undefined;
  readonly schema?: unknown;
  readonly writer_schema_text?: string | undefined;
  readonly writer_schema?: unknown;
  readonly apply_defaults?: boolean | undefined;
  readonly message?: string | undefined;
  readonly field_aliases?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** Characters of one schema. */
export const SCHEMA_CHARS_MAX = 262_144;
/** Decoders that are kept, and the characters of their schemas together. */
const KEPT_MAX = 64;
const KEPT_CHARS_MAX = 4_194_304;

/** Makes decoders, and keeps the latest used ones. */
export class Decoders {
  readonly #inflate: Inflate;
  /** By what was asked, the latest used ones last. */
  readonly #kept = new Map<string, Decoder>();
  #chars = 0;

  /** @param inflate Undoes the compression of Avro files. */
  constructor(inflate: Inflate) {
    this.#inflate = inflate;
  }

  /** How many are kept. */
  get size(): number {
    return this.#kept.size;
  }

  /** The decoder of a request; `invalid_schema` says where its schema is wrong. */
  get(spec: DecodeSpec, parameter: string): Result<Decoder, Refusal> {
    if (spec.type === "json") return succeed(jsonDecoder);
    const asked = writeJson(spec as unknown as Json);
    const known = this.#kept.get(asked);
    if (known !== undefined) {
      this.#kept.delete(asked);
      this.#kept.set(asked, known);
      return succeed(known);
    }
    const made = this.#make(spec, parameter);
    if (made.ok) this.#keep(asked, made.value);
    return made;
  }

  #make(spec: DecodeSpec, parameter: string): Result<Decoder, Refusal> {
    const { encoding = "binary" } = spec;
    const schema = schemaText(spec.schema_text, spec.schema, `${parameter}.schema_text`);
    if (!schema.ok) return schema;
    if (spec.type !== "avro") {
      if (schema.value === undefined) return fail(missing(`${parameter}.schema_text`));
      if (encoding !== "binary" && encoding !== "json")
        return fail(invalid(`${parameter}.encoding`, "must be binary or json for proto"));
      return makeProtoDecoder({
        text: schema.value,
        message: spec.message,
        encoding,
        aliases: spec.field_aliases ?? {},
      });
    }
    const writer = schemaText(
      spec.writer_schema_text,
      spec.writer_schema,
      `${parameter}.writer_schema_text`,
    );
    if (!writer.ok) return writer;
    if (schema.value === undefined && encoding !== "ocf")
      return fail(missing(`${parameter}.schema_text`));
    return makeAvroDecoder({
      readerText: schema.value,
      writerText: writer.value,
      encoding,
      applyDefaults: spec.apply_defaults ?? false,
      inflate: this.#inflate,
    });
  }

  #keep(asked: string, decoder: Decoder): void {
    this.#kept.set(asked, decoder);
    this.#chars += asked.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= KEPT_MAX && this.#chars <= KEPT_CHARS_MAX) return;
      this.#kept.delete(oldest);
      this.#chars -= oldest.length;
    }
  }
}

const missing = (parameter: string): Refusal =>
  refuse("missing_fields", `Required fields are missing: ${parameter}`, { missing: parameter });

/** A schema comes as text or as JSON inside the request. */
function schemaText(
  text: string | undefined,
  schema: unknown,
  parameter: string,
): Result<string | undefined, Refusal> {
  const given = text ?? (schema === undefined ? undefined : writeJson(schema as Json));
  if (given !== undefined && given.length > SCHEMA_CHARS_MAX)
    return fail(
      refuse(
        "invalid_schema",
        `Schema in ${parameter} has ${given.length} characters: the limit is ${SCHEMA_CHARS_MAX}`,
      ),
    );
  return succeed(given);
}
