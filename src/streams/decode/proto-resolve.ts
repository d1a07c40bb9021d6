// Finds what the type names of a `.proto` file name: in the file itself, or in the well-known files that it imports.

import { createFileRegistry, type DescFile, type FileRegistry } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type FieldDescriptorProto,
  file_google_protobuf_any,
  file_google_protobuf_api,
  file_google_protobuf_descriptor,
  file_google_protobuf_duration,
  file_google_protobuf_empty,
  file_google_protobuf_field_mask,
  file_google_protobuf_source_context,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_type,
  file_google_protobuf_wrappers,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import type { ParsedProto } from "./proto-parse.ts";

const WELL_KNOWN: ReadonlyMap<string, DescFile> = new Map(
  [
    file_google_protobuf_any,
    file_google_protobuf_api,
    file_google_protobuf_descriptor,
    file_google_protobuf_duration,
    file_google_protobuf_empty,
    file_google_protobuf_field_mask,
    file_google_protobuf_source_context,
    file_google_protobuf_struct,
    file_google_protobuf_timestamp,
    file_google_protobuf_type,
    file_google_protobuf_wrappers,
  ].map((file) => [`${file.name}.proto`, file]),
);

type Kind = "message" | "enum";

/** Resolves a file and hands it to the library. @throws SchemaError for a name that names nothing. */
export function resolveProto(parsed: ParsedProto): FileRegistry {
  const { file, imports, error } = parsed;
  const symbols = new Map<string, Kind>();
  for (const { path, at } of imports) {
    const known = WELL_KNOWN.get(path);
    if (known === undefined)
      throw error(`Import ${path.slice(0, 80)} is none of google/protobuf/*.proto`, at);
    file.dependency.push(path);
    for (const message of known.messages) symbols.set(`.${message.typeName}`, "message");
    for (const { typeName } of known.enums) symbols.set(`.${typeName}`, "enum");
  }
  const root = file.package === "" ? "" : `.${file.package}`;
  const define = (name: string, kind: Kind): void => {
    if (symbols.has(name)) throw error(`Type ${name.slice(1)} is defined twice`, 0);
    symbols.set(name, kind);
  };
  const collect = (message: DescriptorProto, scope: string): void => {
    const name = `${scope}.${message.name}`;
    define(name, "message");
    for (const { name: inner } of message.enumType) define(`${name}.${inner}`, "enum");
    for (const nested of message.nestedType) collect(nested, name);
  };
  for (const { name } of file.enumType) define(`${root}.${name}`, "enum");
  for (const message of file.messageType) collect(message, root);

  const resolve = (message: DescriptorProto, scope: string): void => {
    const name = `${scope}.${message.name}`;
    for (const field of message.field) resolveField(field, name, symbols, parsed);
    for (const nested of message.nestedType) resolve(nested, name);
  };
  for (const message of file.messageType) resolve(message, root);
  try {
    return createFileRegistry(file, (path) => WELL_KNOWN.get(path));
  } catch (cause) {
    // The library checks some rules more.
    throw error(cause instanceof Error ? cause.message : String(cause), 0);
  }
}

/** A name is looked for in the message itself, then in what is around it, outwards. */
function resolveField(
  field: FieldDescriptorProto,
  scope: string,
  symbols: ReadonlyMap<string, Kind>,
  { places, error }: ParsedProto,
): void {
  const { typeName } = field;
  if (typeName === "") return;
  const found = typeName.startsWith(".") ? typeName : find(typeName, scope, symbols);
  const kind = found === undefined ? undefined : symbols.get(found);
  if (found === undefined || kind === undefined)
    throw error(`Unknown type ${typeName.slice(0, 80)}`, places.get(field) ?? 0);
  field.typeName = found;
  if (field.type !== Type.GROUP) field.type = kind === "enum" ? Type.ENUM : Type.MESSAGE;
}

function find(name: string, scope: string, symbols: ReadonlyMap<string, Kind>): string | undefined {
  for (let around = scope; ; around = around.slice(0, around.lastIndexOf("."))) {
    const candidate = `${around}.${name}`;
    if (symbols.has(candidate)) return candidate;
    if (around === "") return undefined;
  }
}
