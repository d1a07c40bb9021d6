// Reads the text of a `.proto` file (proto2 and proto3) into the descriptor that the Protobuf library works from.
// Options that do not change how bytes are read are skipped, extensions and services too. Type names stay as written:
// `proto-resolve.ts` finds what they name.

import { create } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  type EnumDescriptorProto,
  EnumDescriptorProtoSchema,
  EnumValueDescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  MessageOptionsSchema,
  OneofDescriptorProtoSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import type { SchemaError } from "./avro-schema.ts";
import { Tokens } from "./proto-tokens.ts";

const SCALARS: Readonly<Record<string, Type>> = {
  double: Type.DOUBLE,
  float: Type.FLOAT,
  int64: Type.INT64,
  uint64: Type.UINT64,
  int32: Type.INT32,
  fixed64: Type.FIXED64,
  fixed32: Type.FIXED32,
  bool: Type.BOOL,
  string: Type.STRING,
  bytes: Type.BYTES,
  uint32: Type.UINT32,
  sfixed32: Type.SFIXED32,
  sfixed64: Type.SFIXED64,
  sint32: Type.SINT32,
  sint64: Type.SINT64,
};
const LABELS: Readonly<Record<string, Label>> = {
  optional: Label.OPTIONAL,
  required: Label.REQUIRED,
  repeated: Label.REPEATED,
};
const NESTING_MAX = 32;
const NUMBER_MAX = 536_870_911;
const ENUM_MIN = -2_147_483_648;
const ENUM_MAX = 2_147_483_647;

/** A file as it was read. */
export interface ParsedProto {
  readonly file: FileDescriptorProto;
  /** Where the type of a field was named. */
  readonly places: ReadonlyMap<FieldDescriptorProto, number>;
  readonly imports: readonly { readonly path: string; readonly at: number }[];
  /** An error at a place. */
  readonly error: (message: string, at: number) => SchemaError;
}

/** Reads a file. @throws SchemaError that says where it is wrong. */
export const parseProto = (text: string): ParsedProto => new Parser(text).file();

/** The name of a field in JSON: what follows an underscore is a capital. */
const jsonName = (name: string): string =>
  name.replace(/_+(.?)/g, (_, letter: string) => letter.toUpperCase());

class Parser {
  readonly #tokens: Tokens;
  readonly #places = new Map<FieldDescriptorProto, number>();
  readonly #imports: { path: string; at: number }[] = [];
  #isProto3 = false;

  constructor(text: string) {
    this.#tokens = new Tokens(text);
  }

  file(): ParsedProto {
    const tokens = this.#tokens;
    const file = create(FileDescriptorProtoSchema, { name: "schema.proto", syntax: "proto2" });
    if (tokens.is("edition")) throw tokens.error("Only syntax proto2 and proto3 are known");
    if (tokens.skip("syntax")) {
      tokens.expect("=");
      const { at } = tokens.peek;
      const syntax = tokens.string();
      if (syntax !== "proto2" && syntax !== "proto3")
        throw tokens.error(`Syntax ${syntax.slice(0, 40)} is none of proto2, proto3`, at);
      tokens.expect(";");
      file.syntax = syntax;
      this.#isProto3 = syntax === "proto3";
    }
    while (tokens.peek.kind !== "end") this.#statement(file);
    return {
      file,
      places: this.#places,
      imports: this.#imports,
      error: (message, at) => tokens.error(message, at),
    };
  }

  #statement(file: FileDescriptorProto): void {
    const tokens = this.#tokens;
    if (tokens.skip(";")) return;
    const { at } = tokens.peek;
    const word = tokens.word("a statement");
    switch (word) {
      case "package":
        file.package = this.#dotted();
        tokens.expect(";");
        return;
      case "import":
        if (!tokens.skip("public")) tokens.skip("weak");
        this.#imports.push({ at: tokens.peek.at, path: tokens.string() });
        tokens.expect(";");
        return;
      case "option":
        this.#skipStatement();
        return;
      case "message":
        file.messageType.push(this.#message(0));
        return;
      case "enum":
        file.enumType.push(this.#enum());
        return;
      case "extend":
        this.#extend(0);
        return;
      case "service":
        tokens.word("a name");
        this.#skipBlock();
        return;
      default:
        throw tokens.error(`Expected a statement, found ${word.slice(0, 40)}`, at);
    }
  }

  #message(depth: number): DescriptorProto {
    const message = create(DescriptorProtoSchema, { name: this.#tokens.word("a name") });
    this.#body(message, depth);
    return message;
  }

  #body(message: DescriptorProto, depth: number): void {
    const tokens = this.#tokens;
    if (depth > NESTING_MAX) throw tokens.error(`Nested deeper than ${NESTING_MAX}`);
    tokens.expect("{");
    const optionals: FieldDescriptorProto[] = [];
    while (!tokens.skip("}")) this.#member(message, depth, optionals);
    // Proto3 `optional` is a oneof of one; these come behind the real ones.
    for (const field of optionals) {
      field.oneofIndex = message.oneofDecl.length;
      message.oneofDecl.push(create(OneofDescriptorProtoSchema, { name: `_${field.name}` }));
    }
    this.#checkFields(message);
  }

  #member(message: DescriptorProto, depth: number, optionals: FieldDescriptorProto[]): void {
    const tokens = this.#tokens;
    if (tokens.skip(";")) return;
    const { at, text } = tokens.peek;
    switch (text) {
      case "message":
        tokens.take();
        message.nestedType.push(this.#message(depth + 1));
        return;
      case "enum":
        tokens.take();
        message.enumType.push(this.#enum());
        return;
      case "extend":
        tokens.take();
        this.#extend(depth);
        return;
      case "option":
      case "extensions":
      case "reserved":
        tokens.take();
        this.#skipStatement();
        return;
      case "oneof":
        tokens.take();
        this.#oneof(message, depth);
        return;
      case "map":
        tokens.take();
        // A type may be called map as well.
        if (tokens.is("<")) this.#map(message);
        else this.#field(message, depth, Label.OPTIONAL, "map", at);
        return;
      default: {
        const label = LABELS[text];
        if (label === undefined) {
          if (!this.#isProto3) throw tokens.error(`Expected a label, found ${tokens.shown()}`);
          this.#field(message, depth, Label.OPTIONAL, undefined, at);
          return;
        }
        tokens.take();
        if (this.#isProto3 && label === Label.REQUIRED)
          throw tokens.error("A field of proto3 cannot be required", at);
        const field = this.#field(message, depth, label, undefined, tokens.peek.at);
        if (this.#isProto3 && label === Label.OPTIONAL) {
          field.proto3Optional = true;
          optionals.push(field);
        }
      }
    }
  }

  #field(
    message: DescriptorProto,
    depth: number,
    label: Label,
    started: string | undefined,
    at: number,
  ): FieldDescriptorProto {
    const tokens = this.#tokens;
    const typeName = started ?? this.#typeName();
    if (typeName === "group") return this.#group(message, depth, label, at);
    const field = create(FieldDescriptorProtoSchema, { name: tokens.word("a name"), label });
    this.#setType(field, typeName, at);
    field.jsonName = jsonName(field.name);
    tokens.expect("=");
    field.number = this.#number();
    this.#fieldOptions(field);
    tokens.expect(";");
    message.field.push(field);
    return field;
  }

  #group(message: DescriptorProto, depth: number, label: Label, at: number): FieldDescriptorProto {
    const tokens = this.#tokens;
    const name = tokens.word("a name");
    tokens.expect("=");
    const field = create(FieldDescriptorProtoSchema, {
      name: name.toLowerCase(),
      jsonName: jsonName(name.toLowerCase()),
      number: this.#number(),
      label,
      type: Type.GROUP,
      typeName: name,
    });
    this.#fieldOptions(field);
    const group = create(DescriptorProtoSchema, { name });
    this.#body(group, depth + 1);
    message.nestedType.push(group);
    this.#places.set(field, at);
    message.field.push(field);
    return field;
  }

  #map(message: DescriptorProto): void {
    const tokens = this.#tokens;
    tokens.expect("<");
    const { at } = tokens.peek;
    const keyType = tokens.word("a type of keys");
    const keyScalar = SCALARS[keyType];
    if (keyScalar === undefined || ["double", "float", "bytes"].includes(keyType))
      throw tokens.error(`A map cannot have keys of ${keyType.slice(0, 40)}`, at);
    tokens.expect(",");
    const valueAt = tokens.peek.at;
    const valueType = this.#typeName();
    tokens.expect(">");
    const name = tokens.word("a name");
    tokens.expect("=");
    const entry = create(DescriptorProtoSchema, {
      name: `${jsonName(`_${name}`)}Entry`,
      options: create(MessageOptionsSchema, { mapEntry: true }),
    });
    const key = create(FieldDescriptorProtoSchema, {
      name: "key",
      jsonName: "key",
      number: 1,
      label: Label.OPTIONAL,
      type: keyScalar,
    });
    const value = create(FieldDescriptorProtoSchema, {
      name: "value",
      jsonName: "value",
      number: 2,
      label: Label.OPTIONAL,
    });
    this.#setType(value, valueType, valueAt);
    entry.field.push(key, value);
    message.nestedType.push(entry);
    const field = create(FieldDescriptorProtoSchema, {
      name,
      jsonName: jsonName(name),
      number: this.#number(),
      label: Label.REPEATED,
      type: Type.MESSAGE,
      typeName: entry.name,
    });
    this.#places.set(field, at);
    this.#fieldOptions(field);
    tokens.expect(";");
    message.field.push(field);
  }

  #oneof(message: DescriptorProto, depth: number): void {
    const tokens = this.#tokens;
    const index = message.oneofDecl.length;
    message.oneofDecl.push(create(OneofDescriptorProtoSchema, { name: tokens.word("a name") }));
    tokens.expect("{");
    while (!tokens.skip("}")) {
      if (tokens.skip(";")) continue;
      if (tokens.skip("option")) {
        this.#skipStatement();
        continue;
      }
      if (LABELS[tokens.peek.text] !== undefined || tokens.is("map"))
        throw tokens.error("A field of a oneof has no label and is no map");
      const { at } = tokens.peek;
      this.#field(message, depth, Label.OPTIONAL, undefined, at).oneofIndex = index;
    }
  }

  #enum(): EnumDescriptorProto {
    const tokens = this.#tokens;
    const { at } = tokens.peek;
    const result = create(EnumDescriptorProtoSchema, { name: tokens.word("a name") });
    tokens.expect("{");
    while (!tokens.skip("}")) {
      if (tokens.skip(";")) continue;
      if (tokens.is("option") || tokens.is("reserved")) {
        this.#skipStatement();
        continue;
      }
      const name = tokens.word("a name");
      tokens.expect("=");
      const place = tokens.peek.at;
      const number = tokens.integer();
      if (number < ENUM_MIN || number > ENUM_MAX)
        throw tokens.error("A value of an enum must fit 32 bits", place);
      if (tokens.is("[")) this.#skipBrackets();
      tokens.expect(";");
      result.value.push(create(EnumValueDescriptorProtoSchema, { name, number }));
    }
    const [first] = result.value;
    if (first === undefined) throw tokens.error(`Enum ${result.name} has no value`, at);
    if (this.#isProto3 && first.number !== 0)
      throw tokens.error(`First value of the enum ${result.name} must be 0`, at);
    return result;
  }

  /** Extensions are read and forgotten: their fields are unknown ones. */
  #extend(depth: number): void {
    const tokens = this.#tokens;
    this.#typeName();
    tokens.expect("{");
    const forgotten = create(DescriptorProtoSchema, { name: "Extension" });
    while (!tokens.skip("}")) {
      this.#member(forgotten, depth + 1, []);
    }
    for (const field of forgotten.field) this.#places.delete(field);
  }

  #setType(field: FieldDescriptorProto, typeName: string, at: number): void {
    const scalar = SCALARS[typeName];
    if (scalar !== undefined) {
      field.type = scalar;
      return;
    }
    field.typeName = typeName;
    this.#places.set(field, at);
  }

  #number(): number {
    const { at } = this.#tokens.peek;
    const number = this.#tokens.integer();
    if (number < 1 || number > NUMBER_MAX || (number >= 19_000 && number <= 19_999))
      throw this.#tokens.error(
        `A field number must be 1 to ${NUMBER_MAX} and not 19000 to 19999`,
        at,
      );
    return number;
  }

  #checkFields(message: DescriptorProto): void {
    const numbers = new Set<number>();
    const names = new Set<string>();
    for (const { name, number } of message.field) {
      if (numbers.has(number))
        throw this.#tokens.error(`Message ${message.name} has the field number ${number} twice`);
      if (names.has(name))
        throw this.#tokens.error(`Message ${message.name} has the field ${name} twice`);
      numbers.add(number);
      names.add(name);
    }
  }

  #typeName(): string {
    const dot = this.#tokens.skip(".") ? "." : "";
    return dot + this.#dotted();
  }

  #dotted(): string {
    let name = this.#tokens.word("a name");
    while (this.#tokens.skip(".")) name += `.${this.#tokens.word("a name")}`;
    return name;
  }

  /** Only what changes bytes or names is kept: `packed` and `json_name`. */
  #fieldOptions(field: FieldDescriptorProto): void {
    const tokens = this.#tokens;
    if (!tokens.is("[")) return;
    tokens.take();
    while (!tokens.skip("]")) {
      const name = tokens.peek.kind === "word" ? tokens.take().text : "";
      if (name === "packed" && tokens.skip("=")) {
        field.options = create(FieldOptionsSchema, {
          packed: tokens.word("true or false") === "true",
        });
      } else if (name === "json_name" && tokens.skip("=")) {
        field.jsonName = tokens.string();
      } else {
        while (!tokens.is(",") && !tokens.is("]")) this.#skipOne();
      }
      tokens.skip(",");
    }
  }

  #skipStatement(): void {
    while (!this.#tokens.skip(";")) this.#skipOne();
  }

  #skipOne(): void {
    const tokens = this.#tokens;
    if (tokens.peek.kind === "end") throw tokens.error("Unexpected end");
    if (tokens.is("{")) this.#skipBlock();
    else if (tokens.is("[")) this.#skipBrackets();
    else tokens.take();
  }

  #skipBlock(): void {
    this.#skipTo("{", "}");
  }

  #skipBrackets(): void {
    this.#skipTo("[", "]");
  }

  /** Skips what lies between two marks, without recursion: such blocks may be nested as deeply as the text is long. */
  #skipTo(open: string, close: string): void {
    const tokens = this.#tokens;
    tokens.expect(open);
    for (let depth = 1; depth > 0; ) {
      if (tokens.peek.kind === "end") throw tokens.error("Unexpected end");
      if (tokens.is(open)) depth += 1;
      if (tokens.is(close)) depth -= 1;
      tokens.take();
    }
  }
}
