// Avro by hand: resolution, defaults, aliases, logical types, encodings, hostile bytes and schemas.

import { describe, expect, test } from "bun:test";
import { deflateRawSync, zstdCompressSync } from "node:zlib";
import avsc from "avsc";
import { crc32 } from "../../../src/lib/checksum.ts";
import { type DecodeSpec, decodeAll, decodeOne, makeDecoders } from "../../support/inflate.ts";

const avro = (schema: unknown, more: Partial<DecodeSpec> = {}): DecodeSpec => ({
  type: "avro",
  encoding: "binary",
  schema,
  ...more,
});
const record = (...fields: readonly object[]) => ({ type: "record", name: "R", fields });
const encode = (schema: unknown, value: unknown): Uint8Array =>
  new Uint8Array(avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: true }).toBuffer(value));
/** Writes with one schema and reads with another. */
const resolve = (writer: unknown, reader: unknown, value: unknown) =>
  decodeOne(avro(reader, { writer_schema: writer }), encode(writer, value));
const refusalOf = (schema: unknown, more: Partial<DecodeSpec> = {}) => {
  const made = makeDecoders().get(avro(schema, more), "decode");
  return made.ok ? undefined : made.error;
};

describe("resolution", () => {
  const promoted = (from: unknown, to: unknown, value: unknown) =>
    resolve(record({ name: "a", type: from }), record({ name: "a", type: to }), { a: value });

  test.each([
    ["int", "long", 7, 7],
    ["int", "float", 16_777_217, 16_777_216],
    ["int", "double", 7, 7],
    ["long", "float", 7, 7],
    ["long", "double", 2 ** 40, 2 ** 40],
    ["float", "double", 0.5, 0.5],
    ["string", "bytes", "hi", "aGk="],
    ["bytes", "string", Buffer.from("hi"), "hi"],
  ])("%s is read as %s", (from, to, value, seen) => {
    expect(promoted(from, to, value)).toEqual({ a: seen });
  });

  test.each([
    ["long", "int"],
    ["double", "float"],
    ["string", "int"],
    ["boolean", "int"],
    [
      { type: "array", items: "string" },
      { type: "array", items: "int" },
    ],
    [
      { type: "fixed", name: "F", size: 2 },
      { type: "fixed", name: "F", size: 3 },
    ],
    [
      { type: "enum", name: "E", symbols: ["A"] },
      { type: "enum", name: "G", symbols: ["A"] },
    ],
  ])("%p is not read as %p", (from, to) => {
    const refusal = refusalOf(record({ name: "a", type: to }), {
      writer_schema: record({ name: "a", type: from }),
    });

    expect(refusal).toMatchObject({
      code: "invalid_schema",
      message: expect.stringContaining("$.a"),
    });
  });

  test("fields are found by name and alias, missing ones take their default, others are dropped", () => {
    const writer = record(
      { name: "old", type: "int" },
      { name: "gone", type: "string" },
      { name: "b", type: "int" },
    );
    const reader = record(
      { name: "b", type: "long" },
      { name: "a", type: "long", aliases: ["old"] },
      { name: "c", type: ["null", "string"], default: null },
      { name: "d", type: { type: "map", values: "int" }, default: { x: 1 } },
      { name: "e", type: record2, default: { n: 5 } },
      { name: "f", type: "bytes", default: "\u00ff" },
      { name: "g", type: ["string", "null"], default: "s" },
    );

    const fields = resolve(writer, reader, { old: 1, gone: "x", b: 2 });

    expect(JSON.stringify(fields)).toBe(
      '{"b":2,"a":1,"c":null,"d":{"x":1},"e":{"n":5,"m":"z"},"f":"/w==","g":"s"}',
    );
  });
  const record2 = {
    type: "record",
    name: "Inner",
    fields: [
      { name: "n", type: "int" },
      { name: "m", type: "string", default: "z" },
    ],
  };

  test("a field's own name comes before its aliases", () => {
    const writer = record({ name: "f", type: "int" }, { name: "g", type: "int" });
    const reader = record({ name: "g", type: "int", aliases: ["f"] });

    expect(resolve(writer, reader, { f: 1, g: 2 })).toEqual({ g: 2 });
  });

  test("records are found by their name without its namespace, and by alias", () => {
    const writer = { type: "record", name: "a.b.Old", fields: [{ name: "x", type: "int" }] };
    const byAlias = {
      type: "record",
      name: "c.New",
      aliases: ["a.b.Old"],
      fields: [{ name: "x", type: "int" }],
    };
    const byName = { type: "record", name: "z.Old", fields: [{ name: "x", type: "int" }] };

    expect(resolve(writer, byAlias, { x: 1 })).toEqual({ x: 1 });
    expect(resolve(writer, byName, { x: 1 })).toEqual({ x: 1 });
  });

  test("a symbol that the reader lacks is its default, or does not decode", () => {
    const symbols = (list: readonly string[], more = {}) =>
      record({ name: "a", type: { type: "enum", name: "E", symbols: list, ...more } });

    expect(resolve(symbols(["A", "B"]), symbols(["B", "X"], { default: "X" }), { a: "A" })).toEqual(
      { a: "X" },
    );
    expect(resolve(symbols(["A", "B"]), symbols(["B"]), { a: "B" })).toEqual({ a: "B" });
    expect(resolve(symbols(["A", "B"]), symbols(["B"]), { a: "A" })).toBe("Enum E has no A");
  });

  test("only the branch that is taken must resolve", () => {
    const writer = record({ name: "a", type: ["null", "string", "int"] });
    const asString = record({ name: "a", type: "string" });

    expect(resolve(writer, asString, { a: { string: "x" } })).toEqual({ a: "x" });
    expect(resolve(writer, asString, { a: null })).toContain("Cannot read null as string");
    expect(
      resolve(record({ name: "a", type: "int" }), record({ name: "a", type: ["null", "double"] }), {
        a: 3,
      }),
    ).toEqual({ a: 3 });
  });

  test("schemas may go in circles", () => {
    const list = (value: string) => ({
      type: "record",
      name: "List",
      fields: [
        { name: "value", type: value },
        { name: "next", type: ["null", "List"] },
      ],
    });

    expect(
      resolve(list("int"), list("long"), { value: 1, next: { List: { value: 2, next: null } } }),
    ).toEqual({
      value: 1,
      next: { value: 2, next: null },
    });
  });

  test("longs keep all of their bits", () => {
    const long = avsc.types.LongType.__with({
      fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
      toBuffer: (value: bigint) => {
        const buffer = Buffer.alloc(8);
        buffer.writeBigInt64LE(value);
        return buffer;
      },
      fromJSON: BigInt,
      toJSON: String,
      isValid: (value: unknown) => typeof value === "bigint",
      compare: () => 0 as const,
    } as never);
    const schema = record({ name: "a", type: "long" });
    const type = avsc.Type.forSchema(schema as avsc.Schema, { registry: { long } });
    const values = [
      0n,
      -1n,
      63n,
      64n,
      -64n,
      -65n,
      2n ** 31n,
      2n ** 48n,
      -(2n ** 48n),
      2n ** 53n - 1n,
      2n ** 53n + 1n,
      -(2n ** 53n) - 1n,
      2n ** 63n - 1n,
      -(2n ** 63n),
    ];

    for (const value of values) {
      const seen = decodeOne(avro(schema), new Uint8Array(type.toBuffer({ a: value })));
      expect(BigInt((seen as { a: bigint }).a)).toBe(value);
      expect(typeof (seen as { a: bigint }).a).toBe(
        value > 2n ** 53n || value < -(2n ** 53n) ? "bigint" : "number",
      );
    }
  });
});

describe("logical types", () => {
  const shown = (type: object, value: unknown) =>
    decodeOne(
      avro(record({ name: "a", type })),
      encode(record({ name: "a", type: plainOf({ ...type }) }), { a: value }),
    );
  const plainOf = ({ logicalType: _, ...rest }: Record<string, unknown>) => rest;

  test.each([
    [
      { type: "bytes", logicalType: "decimal", precision: 9, scale: 2 },
      Buffer.from([0x04, 0xd2]),
      "12.34",
    ],
    [
      { type: "bytes", logicalType: "decimal", precision: 9, scale: 2 },
      Buffer.from([0xff]),
      "-0.01",
    ],
    [{ type: "bytes", logicalType: "decimal", precision: 9 }, Buffer.from([]), "0"],
    [
      { type: "fixed", name: "D", size: 4, logicalType: "decimal", precision: 9, scale: 3 },
      Buffer.from([0, 0, 0, 1]),
      "0.001",
    ],
    [
      { type: "fixed", name: "U", size: 16, logicalType: "uuid" },
      Buffer.from("00112233445566778899aabbccddeeff", "hex"),
      "00112233-4455-6677-8899-aabbccddeeff",
    ],
    [{ type: "string", logicalType: "uuid" }, "x", "x"],
    [{ type: "int", logicalType: "date" }, 19_782, "2024-02-29"],
    [{ type: "int", logicalType: "date" }, -1, "1969-12-31"],
    [{ type: "int", logicalType: "time-millis" }, 5, 5],
    [{ type: "long", logicalType: "timestamp-millis" }, 1_700_000_000_000, 1_700_000_000_000],
    [
      { type: "long", logicalType: "timestamp-micros" },
      1_700_000_000_000_001,
      "2023-11-14T22:13:20.000001Z",
    ],
    [{ type: "long", logicalType: "local-timestamp-micros" }, -1, "1969-12-31T23:59:59.999999"],
    [{ type: "long", logicalType: "timestamp-nanos" }, 1, "1970-01-01T00:00:00.000000001Z"],
    [
      { type: "fixed", name: "P", size: 12, logicalType: "duration" },
      Buffer.from([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]),
      { months: 1, days: 2, millis: 3 },
    ],
    [{ type: "int", logicalType: "unheard-of" }, 3, 3],
    [{ type: "double" }, Number.NaN, "NaN"],
    [{ type: "float" }, Number.NEGATIVE_INFINITY, "-Infinity"],
    [{ type: "bytes" }, Buffer.from([0, 255]), "AP8="],
  ] as const)("%p", (type, value, seen) => {
    expect(shown(type, value)).toEqual({ a: seen } as never);
  });
});

describe("encodings", () => {
  const schema = record(
    { name: "a", type: ["null", "long"] },
    { name: "b", type: { type: "array", items: "string" }, default: ["x"] },
    { name: "c", type: "bytes", default: "" },
  );
  const json = (text: string, more: Partial<DecodeSpec> = {}) =>
    decodeOne(avro(schema, { encoding: "json", ...more }), new TextEncoder().encode(text));

  test("JSON", () => {
    expect(json('{"a":{"long":9007199254740993},"b":["y"],"c":"\u00ff"}')).toEqual({
      a: 9007199254740993n,
      b: ["y"],
      c: "/w==",
    });
    expect(json('{"a":null,"b":[],"c":""}')).toEqual({ a: null, b: [], c: "" });
    expect(json('{"a":null}')).toBe("Nothing at $.b");
    expect(json('{"a":null}', { apply_defaults: true })).toEqual({ a: null, b: ["x"], c: "" });
    expect(json('{"a":5,"b":[],"c":""}')).toBe("Not a value of the union at $.a");
    expect(json('{"a":{"int":5},"b":[],"c":""}')).toBe("Not a value of the union at $.a");
    expect(json('{"a":{"long":1.5},"b":[],"c":""}')).toBe("Not a whole number in range at $.a");
    expect(json('{"a":null,"b":[],"c":"\u0100"}')).toBe("Not a text of bytes at $.c");
    expect(json("[]")).toBe("Not an object at $");
    expect(json("nothing")).toContain("JSON");
  });

  test("single object", () => {
    const type = avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: true });
    const body = type.toBuffer({ a: { long: 5 }, b: [], c: Buffer.alloc(0) });
    const mark = rabin(type);
    const spec = avro(schema, { encoding: "single_object" });

    expect(decodeOne(spec, new Uint8Array([0xc3, 1, ...mark, ...body]))).toEqual({
      a: 5,
      b: [],
      c: "",
    });
    expect(decodeOne(spec, new Uint8Array([0xc3, 1, ...mark.toReversed(), ...body]))).toContain(
      "another schema",
    );
    expect(decodeOne(spec, new Uint8Array(body))).toContain("single-object");
  });

  test.each(["null", "deflate", "snappy", "zstandard"])("files with the codec %s", (codec) => {
    const rows = Array.from({ length: 500 }, (_, i) => ({
      a: { long: i },
      b: ["same", "same"],
      c: Buffer.from("c"),
    }));
    const file = container(schema, codec, [rows.slice(0, 300), rows.slice(300)]);

    const found = decodeAll({ type: "avro", encoding: "ocf" }, file);
    const resolved = decodeAll(
      { type: "avro", encoding: "ocf", schema: record({ name: "a", type: ["null", "double"] }) },
      file,
    );

    expect(found).toHaveLength(500);
    expect(found[499]).toEqual({ a: 499, b: ["same", "same"], c: "Yw==" } as never);
    expect(resolved[7]).toEqual({ a: 7 } as never);
  });

  test("a damaged file gives nothing of itself", () => {
    const file = container(schema, "snappy", [
      [{ a: null, b: [], c: Buffer.alloc(9) }],
      [{ a: null, b: [], c: Buffer.alloc(9) }],
    ]);
    for (let i = 0; i < file.length; i++) {
      const damaged = file.slice();
      damaged[i] = damaged[i]! ^ 0x55;
      const found = decodeAll({ type: "avro", encoding: "ocf" }, damaged);
      expect(typeof found === "string" || found.length === 2).toBe(true);
    }
    for (let end = 0; end < file.length; end++) {
      const found = decodeAll({ type: "avro", encoding: "ocf" }, file.subarray(0, end));
      expect(typeof found === "string" || found.length < 2).toBe(true);
    }
  });

  test.each(["deflate", "snappy", "zstandard"])("a %s bomb is refused", (codec) => {
    const nothing = new Uint8Array(64 << 20);
    const block =
      codec === "deflate"
        ? deflateRawSync(nothing)
        : codec === "zstandard"
          ? zstdCompressSync(nothing)
          : new Uint8Array([0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0]);
    const file = containerOf(schema, codec, [{ count: 1, packed: block }]);

    expect(typeof decodeAll({ type: "avro", encoding: "ocf" }, file)).toBe("string");
  });
});

describe("hostile input", () => {
  test("counts that the bytes cannot hold end at once", () => {
    const nulls = avro(record({ name: "a", type: { type: "array", items: "null" } }));
    const empties = avro(
      record({ name: "a", type: { type: "map", values: { type: "fixed", name: "Z", size: 0 } } }),
    );
    const huge = new Uint8Array([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);

    expect(decodeOne(nulls, huge)).toContain("more items");
    expect(decodeOne(empties, huge)).toContain("more items");
    expect(
      decodeOne(
        nulls,
        new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
      ),
    ).toContain("64 bits");
  });

  test("a record that holds itself without an end does not decode", () => {
    const schema = record({ name: "a", type: "R" });

    expect(decodeOne(avro(schema), new Uint8Array(100))).toContain("Nested deeper");
  });

  test.each([
    ["{", "line 1, column 2"],
    ['{"type":"record",\n"name":}', "line 2, column 8"],
    ["nonsense", "line 1, column 1"],
  ])("%s is no schema, at %s", (schema_text, place) => {
    expect(refusalOf(undefined, { schema_text })?.message).toContain(place);
  });

  test.each([
    [record({ name: "a", type: "Missing" }), "$.fields[0].type"],
    [record({ name: "a" }), "$.fields[0].type"],
    [record({ name: "a", type: { type: "array" } }), "$.fields[0].type.items"],
    [record({ name: "1a", type: "int" }), "$.fields[0].name"],
    [record({ name: "a", type: "int" }, { name: "a", type: "int" }), "$.fields[1]"],
    [{ type: "record", name: "R" }, "$"],
    [record({ name: "a", type: ["int", "int"] }), "$.fields[0].type"],
    [record({ name: "a", type: [["int"]] }), "$.fields[0].type"],
    [record({ name: "a", type: { type: "enum", name: "E", symbols: ["A", "A"] } }), "symbols"],
    [
      record({ name: "a", type: { type: "enum", name: "E", symbols: ["A"], default: "B" } }),
      "default",
    ],
    [record({ name: "a", type: { type: "fixed", name: "F", size: -1 } }), "size"],
    [record({ name: "a", type: { type: "record", name: "R", fields: [] } }), "twice"],
    [5, "$"],
    [null, "$"],
  ])("%p is refused", (schema, place) => {
    const refusal = refusalOf(schema);

    expect(refusal?.code).toBe("invalid_schema");
    expect(refusal?.message).toContain(place);
  });

  test("a default that is none is refused", () => {
    const refusal = refusalOf(record({ name: "a", type: "int", default: "x" }), {
      writer_schema: record(),
    });

    expect(refusal?.message).toContain("Default of a");
  });

  test("deep, wide and multiplying schemas are refused in time", () => {
    const startedMs = performance.now();
    let deep: unknown = "int";
    for (let i = 0; i < 150; i++) deep = { type: "array", items: deep };
    const wide = Array.from({ length: 3000 }, (_, i) => ({
      type: "record",
      name: `R${i}`,
      fields: [],
    }));
    const text = `${'{"type":'.repeat(30_000)}"int"${"}".repeat(30_000)}`;

    const fields = (more: object) =>
      record(...Array.from({ length: 5000 }, (_, i) => ({ name: `f${i}`, type: "int", ...more })));
    const symbols = record({
      name: "a",
      type: { type: "enum", name: "E", symbols: Array.from({ length: 25_000 }, (_, i) => `S${i}`) },
    });

    expect(refusalOf(fields({ default: 1 }), { writer_schema: fields({}) })).toBeUndefined();
    expect(refusalOf(symbols, { writer_schema: symbols })).toBeUndefined();
    expect(refusalOf(record({ name: "a", type: deep }))?.message).toContain("deeper");
    expect(refusalOf(record({ name: "a", type: wide }))).toBeUndefined();
    expect(
      refusalOf(record({ name: "a", type: wide.toReversed() }), {
        writer_schema: record({ name: "a", type: wide }),
      })?.message,
    ).toBe("Avro schema is not valid: Too many types to resolve at $.a");
    expect(refusalOf(undefined, { schema_text: text })?.code).toBe("invalid_schema");
    expect(refusalOf(undefined, { schema_text: " ".repeat(300_000) })?.message).toContain("262144");
    expect(performance.now() - startedMs).toBeLessThan(2000);
  });

  test("decoders are kept by what was asked, the latest used ones", () => {
    const decoders = makeDecoders();
    const get = (i: number) => {
      const made = decoders.get(avro(record({ name: `f${i}`, type: "int" })), "decode");
      return made.ok ? made.value : undefined;
    };
    const first = get(0);
    for (let i = 1; i < 64; i++) get(i);

    expect(get(0)).toBe(first as never);
    for (let i = 100; i < 163; i++) get(i);
    expect(get(0)).toBe(first as never);
    for (let i = 200; i < 264; i++) get(i);
    expect(get(0)).not.toBe(first as never);
    expect(decoders.size).toBe(64);
  });
});

/** CRC-64-AVRO, from the specification's own words, over avsc's canonical form. */
function rabin(type: avsc.Type): number[] {
  const empty = 0xc15d213aa4d7a795n;
  let crc = empty;
  for (const byte of Buffer.from(JSON.stringify(type.schema()))) {
    crc ^= BigInt(byte);
    for (let i = 0; i < 8; i++) crc = (crc >> 1n) ^ ((crc & 1n) === 1n ? empty : 0n);
  }
  return Array.from({ length: 8 }, (_, i) => Number((crc >> BigInt(8 * i)) & 255n));
}

const SYNC = new Uint8Array(16).fill(7);

function container(
  schema: unknown,
  codec: string,
  blocks: readonly (readonly unknown[])[],
): Uint8Array {
  const type = avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: true });
  return containerOf(
    schema,
    codec,
    blocks.map((rows) => ({
      count: rows.length,
      packed: pack(codec, Buffer.concat(rows.map((row) => type.toBuffer(row)))),
    })),
  );
}

function containerOf(
  schema: unknown,
  codec: string,
  blocks: readonly { count: number; packed: Uint8Array }[],
): Uint8Array {
  const long = (value: number) => avsc.Type.forSchema("long").toBuffer(value);
  const header = avsc.Type.forSchema({ type: "map", values: "bytes" }).toBuffer({
    "avro.schema": Buffer.from(JSON.stringify(schema)),
    "avro.codec": Buffer.from(codec),
  });
  return new Uint8Array(
    Buffer.concat([
      Buffer.from("Obj\u0001"),
      header,
      SYNC,
      ...blocks.flatMap(({ count, packed }) => [long(count), long(packed.length), packed, SYNC]),
    ]),
  );
}

function pack(codec: string, bytes: Uint8Array): Uint8Array {
  if (codec === "deflate") return deflateRawSync(bytes);
  if (codec === "zstandard") return zstdCompressSync(bytes);
  if (codec === "null") return bytes;
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(bytes));
  return Buffer.concat([snap(bytes), sum]);
}

/** A Snappy block with literals, and a copy for every run of one byte of four or more. */
function snap(bytes: Uint8Array): Uint8Array {
  const out: number[] = [];
  for (let rest = bytes.length; ; rest = Math.floor(rest / 128)) {
    out.push(rest < 128 ? rest : (rest % 128) | 128);
    if (rest < 128) break;
  }
  for (let i = 0; i < bytes.length; ) {
    let run = 1;
    while (run < 11 && i > 0 && i + run <= bytes.length && bytes[i + run - 1] === bytes[i - 1])
      run += 1;
    run -= 1;
    if (i > 0 && run >= 4) {
      out.push(1 | ((run - 4) << 2), 1);
      i += run;
    } else {
      out.push(0, bytes[i]!);
      i += 1;
    }
  }
  return new Uint8Array(out);
}
