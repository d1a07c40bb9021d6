// Protobuf records, binary or as JSON. Unknown fields are skipped.

import { type DescMessage, fromBinary, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { type Json, parseJson } from "../../lib/json.ts";
import { fail, type Result, succeed } from "../../lib/result.ts";
import { type Refusal, refuse } from "../../model/errors.ts";
import { setField } from "../path.ts";
import { SchemaError } from "./avro-schema.ts";
import { DecodeError, type Decoder } from "./decoder.ts";
import { parseProto } from "./proto-parse.ts";
import { resolveProto } from "./proto-resolve.ts";
import { MessageViewer } from "./proto-values.ts";

/** What a decoder of Protobuf is made of. */
export interface ProtoSpec {
  readonly text: string;
  /** Full or short name; undefined when the file has one message. */
  readonly message: string | undefined;
  readonly encoding: "binary" | "json";
  /** Other names under which JSON has a field, by the name that the file gives it. */
  readonly aliases: Readonly<Record<string, readonly string[]>>;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });
const NAMES_SHOWN_MAX = 10;

/** Makes a decoder. `invalid_schema` says where the schema is wrong, or which messages there are to choose from. */
export function makeProtoDecoder(spec: ProtoSpec): Result<Decoder, Refusal> {
  try {
    const parsed = parseProto(spec.text);
    const registry = resolveProto(parsed);
    const messages = [...registry.files]
      .filter(({ proto }) => proto === parsed.file)
      .flatMap((file) => file.messages);
    const type = choose(messages, spec.message);
    const viewer = new MessageViewer(registry);
    const json = { ignoreUnknownFields: true, registry };
    const renames = renamesOf(type, spec.aliases);
    const read =
      spec.encoding === "binary"
        ? (bytes: Uint8Array) => fromBinary(type, bytes, { readUnknownFields: false })
        : (bytes: Uint8Array) => fromJson(type, jsonOf(bytes, renames), json);
    return succeed({
      decode(bytes, take) {
        try {
          take(viewer.fields(type, read(bytes)));
        } catch (error) {
          return error instanceof Error ? error.message : String(error);
        }
        return undefined;
      },
    });
  } catch (error) {
    if (error instanceof SchemaError || error instanceof RangeError)
      return fail(refuse("invalid_schema", `Protobuf schema is not valid: ${error.message}`));
    throw error;
  }
}

/** Every message of a file, those inside others behind these. */
const withNested = (messages: readonly DescMessage[]): DescMessage[] =>
  messages.flatMap((message) => [message, ...withNested(message.nestedMessages)]);

function choose(messages: readonly DescMessage[], name: string | undefined): DescMessage {
  const shown = (some: readonly DescMessage[]): string =>
    some
      .slice(0, NAMES_SHOWN_MAX)
      .map(({ typeName }) => typeName)
      .join(", ");
  if (name === undefined) {
    const [only, ...others] = messages;
    if (only === undefined) throw new SchemaError("It has no message");
    if (others.length > 0)
      throw new SchemaError(`"message" must name one of its messages: ${shown(messages)}`);
    return only;
  }
  const all = withNested(messages);
  const wanted = name.replace(/^\./, "");
  const exact = all.find(({ typeName }) => typeName === wanted);
  if (exact !== undefined) return exact;
  const short = all.filter((message) => message.name === wanted);
  if (short.length > 1) throw new SchemaError(`Message ${wanted} may be ${shown(short)}`);
  const [found] = short;
  if (found === undefined)
    throw new SchemaError(`It has no message ${wanted.slice(0, 80)}, only ${shown(messages)}`);
  return found;
}

/** By other name: the name of the file. */
function renamesOf(type: DescMessage, aliases: ProtoSpec["aliases"]): ReadonlyMap<string, string> {
  const renames = new Map<string, string>();
  for (const [name, others] of Object.entries(aliases)) {
    if (!type.fields.some((field) => field.name === name))
      throw new SchemaError(`"field_aliases" names ${name.slice(0, 80)}, which ${type.name} lacks`);
    for (const other of others) renames.set(other, name);
  }
  return renames;
}

function jsonOf(bytes: Uint8Array, renames: ReadonlyMap<string, string>): JsonValue {
  const value = parseJson(utf8.decode(bytes));
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new DecodeError("Not a JSON object");
  if (renames.size === 0) return plain(value);
  const renamed: Record<string, Json> = {};
  for (const [key, item] of Object.entries(value)) {
    const name = renames.get(key) ?? key;
    // A field's own name comes before its other names.
    if (name !== key && Object.hasOwn(value, name)) continue;
    setField(renamed, name, item);
  }
  return plain(renamed);
}

/** The library takes large integers as texts. */
function plain(value: Json): JsonValue {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(plain);
  const fields: Record<string, JsonValue> = {};
  for (const [key, item] of Object.entries(value)) {
    if (key === "__proto__") continue;
    fields[key] = plain(item);
  }
  return fields;
}
