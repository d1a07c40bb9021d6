// Turns a decoded Protobuf message into fields. Names are those of the `.proto` file, 64-bit integers keep their value,
// enums are their names, bytes are base64, and the well-known types look as in Protobuf's own JSON.

import {
  type DescEnum,
  type DescField,
  type DescMessage,
  isFieldSet,
  type Message,
  type Registry,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import type { Fields, Value } from "../compare.ts";
import { setField } from "../path.ts";
import { DecodeError } from "./decoder.ts";
import { floatValue } from "./floats.ts";

/** Messages inside messages: what Protobuf's own libraries allow. */
const DEPTH_MAX = 100;

type Show = (value: unknown, depth: number) => Value;

/** Shows messages of one file; how is worked out once per type. */
export class MessageViewer {
  readonly #registry: Registry;
  readonly #shown = new Map<DescMessage, (message: Message, depth: number) => Fields>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** The fields of a message. @throws DecodeError when it is nested too deeply. */
  fields(type: DescMessage, message: Message): Fields {
    return this.#viewOf(type)(message, 0);
  }

  #viewOf(type: DescMessage): (message: Message, depth: number) => Fields {
    const known = this.#shown.get(type);
    if (known !== undefined) return known;
    const columns = type.fields.map((field) => ({
      field,
      name: field.name,
      key: field.localName,
      oneof: field.oneof?.localName,
      // Without presence of their own fields have a value always, if only the default one.
      isAlwaysThere: field.presence === Presence.IMPLICIT && field.oneof === undefined,
      show: undefined as Show | undefined,
    }));
    const view = (message: Message, depth: number): Fields => {
      if (depth > DEPTH_MAX) throw new DecodeError(`Nested deeper than ${DEPTH_MAX}`);
      const parts = message as unknown as Readonly<Record<string, unknown>>;
      const fields: Record<string, Value> = {};
      for (const column of columns) {
        const { field, key, oneof } = column;
        let value: unknown;
        if (oneof !== undefined) {
          const chosen = parts[oneof] as { readonly case?: string; readonly value?: unknown };
          if (chosen.case !== key) continue;
          value = chosen.value;
        } else {
          if (!column.isAlwaysThere && !isFieldSet(message, field)) continue;
          value = parts[key];
        }
        // Worked out at first use, because types may go in circles.
        column.show ??= this.#showField(field);
        setField(fields, column.name, column.show(value, depth));
      }
      return fields;
    };
    this.#shown.set(type, view);
    return view;
  }

  #showField(field: DescField): Show {
    switch (field.fieldKind) {
      case "scalar":
        return showScalar(field.scalar);
      case "enum":
        return showEnum(field.enum);
      case "message":
        return this.#showMessage(field.message, true);
      case "list": {
        const show =
          field.listKind === "scalar"
            ? showScalar(field.scalar)
            : field.listKind === "enum"
              ? showEnum(field.enum)
              : this.#showMessage(field.message, false);
        return (value, depth) => (value as readonly unknown[]).map((item) => show(item, depth));
      }
      case "map": {
        const show =
          field.mapKind === "scalar"
            ? showScalar(field.scalar)
            : field.mapKind === "enum"
              ? showEnum(field.enum)
              : this.#showMessage(field.message, false);
        return (value, depth) => {
          const entries: Record<string, Value> = {};
          for (const [key, item] of Object.entries(value as object))
            setField(entries, key, show(item, depth));
          return entries;
        };
      }
    }
  }

  /** @param isField A field of its own: there the library hands over what wrappers wrap and what a Struct says. */
  #showMessage(type: DescMessage, isField: boolean): Show {
    const { typeName } = type;
    if (WRAPPERS.has(typeName)) {
      const [inner] = type.fields;
      const show = inner?.fieldKind === "scalar" ? showScalar(inner.scalar) : () => null;
      return isField
        ? (value) => show(value, 0)
        : (value) => show((value as { readonly value: unknown }).value, 0);
    }
    if (isField && typeName === "google.protobuf.Struct") return (value) => value as Value;
    if (AS_JSON.has(typeName)) {
      const options = { registry: this.#registry, useProtoFieldName: true };
      return (value) => toJson(type, value as Message, options) as Value;
    }
    return (value, depth) => this.#viewOf(type)(value as Message, depth + 1);
  }
}

const named = (...names: readonly string[]): ReadonlySet<string> =>
  new Set(names.map((name) => `google.protobuf.${name}`));

const WRAPPERS = named(
  "DoubleValue",
  "FloatValue",
  "Int64Value",
  "UInt64Value",
  "Int32Value",
  "UInt32Value",
  "BoolValue",
  "StringValue",
  "BytesValue",
);
const AS_JSON = named("Timestamp", "Duration", "FieldMask", "Any", "Struct", "Value", "ListValue");

function showScalar(scalar: ScalarType): Show {
  switch (scalar) {
    case ScalarType.BYTES:
      return (value) => (value as Uint8Array).toBase64();
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return (value) => floatValue(value as number);
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return (value) => {
        const number = Number(value);
        return Number.isSafeInteger(number) ? number : BigInt(value as bigint);
      };
    default:
      return (value) => value as Value;
  }
}

/** The name of a value; the number of one that the file does not know. */
function showEnum(type: DescEnum): Show {
  if (type.typeName === "google.protobuf.NullValue") return () => null;
  return (value) => type.value[value as number]?.name ?? (value as number);
}
