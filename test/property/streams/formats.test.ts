// Decoders against two independent implementations each: random schemas and values, there and back, and random bytes.

import { expect, test } from "bun:test";
// Its front door asks for a package that it does not list.
import avroJs from "avro-js/lib/schemas.js";
import avsc from "avsc";
import fc from "fast-check";
import protobuf from "protobufjs";
import type { Value } from "../../../src/streams/compare.ts";
import { decodeOne } from "../../support/inflate.ts";

const RUNS = 1500;

interface Typed {
  readonly schema: unknown;
  /** A value as avsc and avro-js take it. */
  readonly value: fc.Arbitrary<unknown>;
}

let names = 0;
const typed = (schema: unknown, value: fc.Arbitrary<unknown>): Typed => ({ schema, value });
// One zero is as good as another: JSON has one.
const real = fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0);
const small = fc.float({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0);
const safeLong = fc.maxSafeInteger();
const leaf: fc.Arbitrary<Typed> = fc.constantFrom(
  typed("null", fc.constant(null)),
  typed("boolean", fc.boolean()),
  typed("int", fc.integer()),
  typed(
    "long",
    safeLong.filter((n) => Math.abs(n) < 2 ** 52),
  ),
  typed("float", small),
  typed("double", real),
  typed("string", fc.string({ unit: "grapheme" })),
  typed(
    "bytes",
    fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
  ),
);

const type: fc.Arbitrary<Typed> = fc.letrec<{ any: Typed }>((tie) => ({
  any: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    tie("any").map(({ schema, value }) =>
      typed({ type: "array", items: schema }, fc.array(value, { maxLength: 3 })),
    ),
    tie("any").map(({ schema, value }) =>
      typed(
        { type: "map", values: schema },
        fc.dictionary(
          fc.string({ minLength: 1 }).filter((key) => key !== "__proto__"),
          value,
          { maxKeys: 3 },
        ),
      ),
    ),
    fc.array(tie("any"), { maxLength: 4 }).map((fields) => {
      names += 1;
      return typed(
        {
          type: "record",
          name: `R${names}`,
          namespace: "x.y",
          fields: fields.map(({ schema }, i) => ({ name: `f${i}`, type: schema })),
        },
        fc
          .tuple(...fields.map(({ value }) => value))
          .map((values) => Object.fromEntries(values.map((value, i) => [`f${i}`, value]))),
      );
    }),
    fc.constantFrom(2, 5).map((size) => {
      names += 1;
      return typed(
        { type: "fixed", name: `F${names}`, namespace: "x.y", size },
        fc.uint8Array({ minLength: size, maxLength: size }).map((bytes) => Buffer.from(bytes)),
      );
    }),
    fc.subarray(["A", "B", "C"], { minLength: 1 }).map((symbols) => {
      names += 1;
      return typed(
        { type: "enum", name: `E${names}`, namespace: "x.y", symbols },
        fc.constantFrom(...symbols),
      );
    }),
    tie("any")
      .filter(({ schema }) => schema !== "null" && !Array.isArray(schema))
      .map(({ schema, value }) => {
        const label = labelOf(schema);
        return typed(
          ["null", schema],
          fc.option(
            value.map((inner) => ({ [label]: inner })),
            { nil: null },
          ),
        );
      }),
  ),
})).any;

const labelOf = (schema: unknown): string => {
  if (typeof schema === "string") return schema;
  const { type: kind, name, namespace } = schema as Record<string, string>;
  if (name === undefined) return kind!;
  return namespace === undefined ? name : `${namespace}.${name}`;
};

/** A value of a schema as our decoder shows it. */
function shown(schema: unknown, value: unknown): unknown {
  if (Array.isArray(schema)) {
    if (value === null) return null;
    const [, branch] = schema;
    return shown(branch, Object.values(value as object)[0]);
  }
  const kind = typeof schema === "string" ? schema : (schema as { type: string }).type;
  const { items, values, fields } = Object(schema);
  if (kind === "bytes" || kind === "fixed")
    return Buffer.from(value as Uint8Array).toString("base64");
  if (kind === "float") return Math.fround(value as number) + 0;
  if (kind === "double") return value;
  if (kind === "array") return (value as unknown[]).map((item) => shown(items, item));
  if (kind === "map")
    return Object.fromEntries(
      Object.entries(value as object).map(([key, item]) => [key, shown(values, item)]),
    );
  if (kind === "record")
    return Object.fromEntries(
      (fields as { name: string; type: unknown }[]).map((field) => [
        field.name,
        shown(field.type, (value as Record<string, unknown>)[field.name]),
      ]),
    );
  return value;
}

const rootOf = ({ schema, value }: Typed): Typed => ({
  schema: { type: "record", name: "Root", namespace: "x.y", fields: [{ name: "v", type: schema }] },
  value: value.map((v) => ({ v })),
});

/** A schema and one value of it. */
const written = type
  .map(rootOf)
  .chain(({ schema, value }) => value.map((one) => ({ schema, value: one })));

test("what avsc and avro-js write in binary and in JSON is read as what was written", () => {
  fc.assert(
    fc.property(written, ({ schema, value }) => {
      const expected = shown(schema, value) as Value;
      const one = avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: true });
      const other = avroJs.createType(JSON.parse(JSON.stringify(schema)));

      for (const bytes of [one.toBuffer(value), other.toBuffer(value)])
        expect(
          decodeOne({ type: "avro", encoding: "binary", schema }, new Uint8Array(bytes)),
        ).toEqual(expected as never);
      for (const text of [one.toString(value), other.toString(value)])
        expect(
          decodeOne({ type: "avro", encoding: "json", schema }, new TextEncoder().encode(text)),
        ).toEqual(expected as never);
    }),
    { numRuns: RUNS },
  );
}, 120_000);

test("what a reader's schema makes of a writer's bytes is what avsc makes of them", () => {
  const promotions = fc.constantFrom(
    ["int", "long"],
    ["int", "double"],
    ["int", "float"],
    ["long", "double"],
    ["float", "double"],
    ["string", "bytes"],
    ["bytes", "string"],
    ["int", ["null", "int"]],
    ["string", ["null", "string"]],
    ["int", ["string", "double"]],
    ["long", "int"],
    ["string", "int"],
    [
      ["null", "int"],
      ["int", "null"],
    ],
    [
      { type: "array", items: "int" },
      { type: "array", items: "long" },
    ],
    [
      { type: "map", values: "int" },
      { type: "map", values: ["null", "double"] },
    ],
  ) as fc.Arbitrary<[unknown, unknown]>;
  const values = {
    int: 5,
    long: 6,
    float: 0.5,
    string: "text",
    bytes: Buffer.from("text"),
    array: [1, 2],
    map: { k: 1 },
    union: { int: 7 },
  } as const;
  const fields = fc.array(
    fc.record({
      pair: promotions,
      isDropped: fc.boolean(),
      isNew: fc.boolean(),
      isRenamed: fc.boolean(),
    }),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(fields, (list) => {
      const writer = {
        type: "record",
        name: "R",
        fields: list.flatMap(({ pair, isNew }, i) =>
          isNew ? [] : [{ name: `f${i}`, type: pair[0] }],
        ),
      };
      const reader = {
        type: "record",
        name: "R",
        fields: list
          .flatMap(({ pair, isDropped, isNew, isRenamed }, i) =>
            isDropped
              ? []
              : [
                  {
                    name: isRenamed ? `g${i}` : `f${i}`,
                    ...(isRenamed && { aliases: [`f${i}`] }),
                    type: isNew ? ["null", "string"] : pair[1],
                    ...(isNew && { default: null }),
                  },
                ],
          )
          .reverse(),
      };
      const value = Object.fromEntries(
        list.flatMap(({ pair: [from], isNew }, i) => {
          const kind = Array.isArray(from)
            ? "union"
            : ((from as { type?: string }).type ?? (from as string));
          return isNew ? [] : [[`f${i}`, values[kind as keyof typeof values]]];
        }),
      );
      const from = avsc.Type.forSchema(writer as avsc.Schema, { wrapUnions: true });
      const to = avsc.Type.forSchema(reader as avsc.Schema, { wrapUnions: false });
      const bytes = from.toBuffer(value);
      const decode = () =>
        decodeOne(
          { type: "avro", encoding: "binary", schema: reader, writer_schema: writer },
          new Uint8Array(bytes),
        );
      let resolver: unknown;
      try {
        resolver = to.createResolver(from);
      } catch {
        expect(decode).toThrow(expect.objectContaining({ code: "invalid_schema" }));
        return;
      }

      const theirs = to.fromBuffer(bytes, resolver as never) as Record<string, unknown>;
      const plain = Object.fromEntries(
        Object.entries(theirs).map(([key, item]) => [
          key,
          Buffer.isBuffer(item) ? item.toString("base64") : item,
        ]),
      );
      expect(decode()).toEqual(JSON.parse(JSON.stringify(plain)));
    }),
    { numRuns: RUNS },
  );
}, 120_000);

test("random bytes and cut records never do more than not decode", () => {
  fc.assert(
    fc.property(
      written,
      fc.uint8Array({ maxLength: 60 }),
      fc.nat(),
      ({ schema, value }, noise, cut) => {
        const bytes = new Uint8Array(
          avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: true }).toBuffer(value),
        );
        const part = bytes.subarray(0, cut % (bytes.length + 1));

        for (const encoding of ["binary", "json", "single_object", "ocf"] as const)
          for (const some of [noise, part]) {
            const found = decodeOne({ type: "avro", encoding, schema }, some);
            if (part.length < bytes.length && encoding === "binary" && some === part)
              expect(typeof found).toBe("string");
          }
      },
    ),
    { numRuns: RUNS },
  );
}, 120_000);

const PROTO = `syntax = "proto3";
package p;
message Root {
  double d = 1; float f = 2; int32 i = 3; int64 l = 4; uint32 u = 5; uint64 ul = 6; sint32 s = 7; sint64 sl = 8;
  fixed32 x = 9; fixed64 xl = 10; sfixed32 sx = 11; sfixed64 sxl = 12; bool b = 13; string t = 14; bytes raw = 15;
  optional int32 maybe = 16; repeated int64 list = 17; repeated string words = 18; repeated int32 loose = 19 [packed = false];
  map<string, int64> counts = 20; map<int32, Inner> inners = 21; Inner inner = 22; repeated Inner many = 23;
  oneof choice { string one = 24; Inner two = 25; int64 three = 26; }
  Color color = 27; repeated Color colors = 28;
  message Inner { int32 a = 1; Root root = 2; Color color = 3; }
  enum Color { RED = 0; GREEN = 1; BLUE = -5; }
}`;
const text = fc.string({ unit: "grapheme", maxLength: 6 });
const signed = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const unsigned = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const color = fc.constantFrom("RED", "GREEN", "BLUE");
const bytesText = fc
  .uint8Array({ maxLength: 5 })
  .map((bytes) => Buffer.from(bytes).toString("base64"));
const inner = fc.record({ a: fc.integer(), color });
const choice = fc.oneof(
  fc.constant({}),
  fc.record({ one: text }),
  fc.record({ two: inner }),
  fc.record({ three: signed }),
);
const message = fc
  .tuple(
    fc.record({
      d: real,
      f: small,
      i: fc.integer(),
      l: signed,
      u: fc.nat(),
      ul: unsigned,
      s: fc.integer(),
      sl: signed,
      x: fc.nat(),
      xl: unsigned,
      sx: fc.integer(),
      sxl: signed,
      b: fc.boolean(),
      t: text,
      raw: bytesText,
      list: fc.array(signed, { maxLength: 3 }),
      words: fc.array(text, { maxLength: 3 }),
      loose: fc.array(fc.integer(), { maxLength: 3 }),
      counts: fc.dictionary(
        text.filter((key) => key !== "__proto__"),
        signed,
        { maxKeys: 3 },
      ),
      inners: fc.dictionary(fc.nat().map(String), inner, { maxKeys: 2 }),
      many: fc.array(inner, { maxLength: 2 }),
      color,
      colors: fc.array(color, { maxLength: 3 }),
    }),
    fc.record({ maybe: fc.integer(), inner }, { requiredKeys: [] }),
    choice,
  )
  .map((parts) => Object.assign({}, ...parts) as Record<string, unknown>);

/** 64-bit numbers as texts, as protobufjs takes them. */
const asTexts = (value: unknown): unknown =>
  typeof value === "bigint"
    ? value.toString()
    : Array.isArray(value)
      ? value.map(asTexts)
      : typeof value === "object" && value !== null
        ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asTexts(item)]))
        : value;
/** Integers as our decoder has them. */
const narrow = (value: unknown): unknown =>
  typeof value === "bigint" && value >= -(2n ** 53n) + 1n && value <= 2n ** 53n - 1n
    ? Number(value)
    : Array.isArray(value)
      ? value.map(narrow)
      : typeof value === "object" && value !== null
        ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, narrow(item)]))
        : value;

test("what protobufjs writes in binary and in JSON is read as what was written", () => {
  const root = protobuf.parse(PROTO, { keepCase: true }).root.lookupType("p.Root");
  fc.assert(
    fc.property(message, (value) => {
      const made = root.fromObject(asTexts(value) as object);
      const expected = narrow(value) as Value;
      const bytes = new Uint8Array(root.encode(made).finish());
      const json = JSON.stringify(asTexts(value));

      expect(decodeOne({ type: "proto", encoding: "binary", schema_text: PROTO }, bytes)).toEqual(
        expected as never,
      );
      expect(
        decodeOne(
          { type: "proto", encoding: "json", schema_text: PROTO },
          new TextEncoder().encode(json),
        ),
      ).toEqual(expected as never);
      for (let cut = 0; cut < bytes.length; cut += 1 + Math.floor(bytes.length / 20))
        decodeOne(
          { type: "proto", encoding: "binary", schema_text: PROTO },
          bytes.subarray(0, cut),
        );
    }),
    { numRuns: RUNS },
  );
}, 120_000);
