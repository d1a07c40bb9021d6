// Protobuf by hand: the parser of `.proto` text, what decoded messages look like, hostile text and bytes.

import { describe, expect, test } from "bun:test";
import protobuf from "protobufjs";
import { type DecodeSpec, decodeOne, makeDecoders } from "../../support/inflate.ts";

const proto = (schema_text: string, more: Partial<DecodeSpec> = {}): DecodeSpec => ({
  type: "proto",
  encoding: "binary",
  schema_text,
  ...more,
});
const encode = (text: string, message: string, value: object): Uint8Array => {
  const type = protobuf.parse(text, { keepCase: true }).root.lookupType(message);
  return new Uint8Array(type.encode(type.fromObject(value)).finish());
};
const refusalOf = (schema_text: string, more: Partial<DecodeSpec> = {}) => {
  const made = makeDecoders().get(proto(schema_text, more), "decode");
  return made.ok ? undefined : made.error;
};

const SHOP = `
// A comment; with "quotes" and { braces }.
syntax = "proto3";
package shop.v1;
import "google/protobuf/timestamp.proto";
import public "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
option java_package = "x.y";
/* Another
   one. */
message Payment {
  reserved 100 to 199, 500; reserved "old";
  option deprecated = false;
  int64 txn_id = 1 [json_name = "txn", deprecated = true];
  optional string note = 2;
  oneof method { string card = 3; Cash cash = 4; }
  map<string, int32> counts = 5;
  repeated int32 numbers = 6 [packed = false];
  Status status = 7;
  bytes raw = 8;
  double amount = 9;
  google.protobuf.Timestamp at = 10;
  google.protobuf.Struct extra = 11;
  google.protobuf.Int64Value big = 12;
  uint64 unsigned = 13;
  repeated google.protobuf.Value values = 14;
  map<int64, Cash> cashes = 15;
  .shop.v1.Payment.Cash again = 16;
  message Cash { int32 coins = 1; Payment payment = 2; }
  enum Status { option allow_alias = true; NEW = 0; DONE = 1; READY = 1 [deprecated = true]; }
}
service Shop { rpc Pay (Payment) returns (Payment) { option (x) = { a: "}" }; } }
`;

describe("messages", () => {
  test("come out under the names of the file", () => {
    const bytes = encode(
      SHOP.replace(/import[^;]*;/g, "").replace(/.*google.*\n/g, ""),
      "shop.v1.Payment",
      {
        txn_id: "9007199254740993",
        cash: { coins: 3 },
        counts: { a: 1, b: 2 },
        numbers: [1, 2],
        status: "DONE",
        raw: Buffer.from([255]),
        amount: 1.5,
        unsigned: "18446744073709551615",
        cashes: { 5: { coins: 1 } },
      },
    );

    expect(decodeOne(proto(SHOP), bytes)).toEqual({
      txn_id: 9007199254740993n,
      cash: { coins: 3 },
      counts: { a: 1, b: 2 },
      numbers: [1, 2],
      status: "DONE",
      raw: "/w==",
      amount: 1.5,
      unsigned: 18446744073709551615n,
      values: [],
      cashes: { 5: { coins: 1 } },
    });
  });

  test("what has no presence of its own has its default, what has one is missing", () => {
    expect(decodeOne(proto(SHOP), new Uint8Array(0))).toEqual({
      txn_id: 0,
      counts: {},
      numbers: [],
      status: "NEW",
      raw: "",
      amount: 0,
      unsigned: 0,
      values: [],
      cashes: {},
    });
  });

  test("JSON, with other names, large integers and well-known types", () => {
    const spec = proto(SHOP, {
      encoding: "json",
      message: "Payment",
      field_aliases: { note: ["Note", "remark"] },
    });
    const text = `{"txn":9007199254740993,"remark":"hi","at":"2024-01-02T03:04:05.5Z","extra":{"a":[1,null]},
      "big":"9007199254740993","values":[null,1,{"x":true}],"unknown":{},"amount":"NaN"}`;

    expect(decodeOne(spec, new TextEncoder().encode(text))).toMatchObject({
      txn_id: 9007199254740993n,
      note: "hi",
      at: "2024-01-02T03:04:05.500Z",
      extra: { a: [1, null] },
      big: 9007199254740993n,
      values: [null, 1, { x: true }],
      amount: "NaN",
    });
    expect(decodeOne(spec, new TextEncoder().encode("[]"))).toBe("Not a JSON object");
    expect(decodeOne(spec, new TextEncoder().encode('{"txn":1.5}'))).toContain("txn");
  });

  test("proto2: presence, groups, extensions, required", () => {
    const text = `
      syntax = 'proto2';
      message A {
        required int32 a = 1;
        optional int32 b = 2 [default = 5];
        repeated group Part = 3 { optional string s = 1; }
        extensions 100 to max;
        extend A { optional int32 more = 101; }
      }
      extend A { optional string other = 100; repeated group G = 102 { optional int32 x = 1; } }`;
    const bytes = new Uint8Array([8, 1, 0x1b, 0x0a, 1, 65, 0x1c, 0xa2, 6, 1, 66]);

    expect(decodeOne(proto(text, { message: "A" }), bytes)).toEqual({ a: 1, part: [{ s: "A" }] });
  });

  test("unknown fields are skipped, unknown enum values are numbers", () => {
    const text = 'syntax = "proto3"; enum E { Z = 0; } message M { E e = 1; }';

    expect(decodeOne(proto(text), new Uint8Array([8, 7, 0x52, 1, 1]))).toEqual({ e: 7 });
  });

  test("the message may be left out when there is one, and is named in full or in short", () => {
    const two =
      'syntax = "proto3"; package p; message A { message X {} int32 a = 1; } message B { message X {} }';

    expect(refusalOf(two)?.message).toContain("p.A, p.B");
    expect(refusalOf(two, { message: "C" })?.message).toContain("no message C");
    expect(refusalOf(two, { message: "X" })?.message).toContain("p.A.X, p.B.X");
    expect(refusalOf('syntax = "proto3";')?.message).toContain("no message");
    for (const message of ["A", "p.A", ".p.A"])
      expect(decodeOne(proto(two, { message }), new Uint8Array([8, 5]))).toEqual({ a: 5 });
    expect(
      decodeOne({ ...proto(two, { message: "p.B.X" }), type: "protobuf" }, new Uint8Array(0)),
    ).toEqual({});
  });
});

describe("hostile input", () => {
  test.each([
    ["message A {", "line 1, column 12"],
    ['syntax = "proto3";\nmessage A { int32 a = 0; }', "line 2, column 23"],
    ['syntax = "proto3"; message A { int32 a = 19500; }', "19000"],
    ['syntax = "proto3"; message A { int32 a = 1; int32 b = 1; }', "number 1 twice"],
    ['syntax = "proto3"; message A { int32 a = 1; int32 a = 2; }', "field a twice"],
    ['syntax = "proto3"; message A { required int32 a = 1; }', "required"],
    ["message A { int32 a = 1; }", "Expected a label"],
    ['syntax = "proto3"; message A { B b = 1; }', "Unknown type B at line 1, column 32"],
    ['syntax = "proto3"; message A {} message A {}', "twice"],
    ['syntax = "proto3"; enum E { A = 1; }', "must be 0"],
    ['syntax = "proto3"; enum E { }', "no value"],
    ['syntax = "proto3"; message A { map<float, int32> m = 1; }', "keys of float"],
    ['syntax = "proto3"; message A { oneof o { repeated int32 a = 1; } }', "oneof"],
    ['syntax = "proto9"; message A {}', "proto9"],
    ['edition = "2023"; message A {}', "proto2 and proto3"],
    ['syntax = "proto3"; import "other.proto"; message A {}', "other.proto"],
    ['syntax = "proto3"; message A { string s = 1 [default = "unclosed; }', "Unexpected"],
    ["§", "Unexpected § at line 1, column 1"],
    ["message", "Expected a name, found the end"],
    ["option x", "Unexpected end"],
    ['syntax = "proto3"; message A { int32 a = 1 [json_name = 5]; }', "Expected a string"],
  ])("%s is refused", (text, why) => {
    const refusal = refusalOf(text, { message: "A" });

    expect(refusal?.code).toBe("invalid_schema");
    expect(refusal?.message).toContain(why);
  });

  test("deep and long text ends in time", () => {
    const startedMs = performance.now();
    const deep = `syntax = "proto3"; ${"message A { ".repeat(5000)}${"}".repeat(5000)}`;
    const braces = `option a = ${"{".repeat(100_000)}`;
    const comments = `/*${"*".repeat(250_000)}`;
    const fields = `syntax = "proto3"; message A { ${Array.from({ length: 5000 }, (_, i) => `A f${i} = ${i + 1 + (i >= 18_999 ? 1000 : 0)};`).join("")} }`;

    const quoted = `syntax = "proto3"; message A { string s = 1 [(x) = "${"y".repeat(250_000)}"]; }`;

    const openComments = `option a = ${"/* ".repeat(85_000)}`;
    const messages = Array.from({ length: 8000 }, (_, i) => `message M${i} { M0 a = 1; }`).join("");
    const values = Array.from({ length: 12_000 }, (_, i) => `V${i} = ${i};`).join("");

    expect(refusalOf(openComments)?.message).toContain("comment does not end");
    expect(refusalOf(`syntax = "proto3"; ${messages}`, { message: "M1" })).toBeUndefined();
    expect(
      refusalOf(`syntax = "proto3"; enum E { ${values} } message A { E e = 1; }`),
    ).toBeUndefined();
    expect(refusalOf(quoted)).toBeUndefined();
    expect(refusalOf(deep)?.message).toContain("Nested deeper");
    expect(refusalOf(braces)?.message).toContain("Unexpected end");
    expect(refusalOf(comments)?.code).toBe("invalid_schema");
    expect(refusalOf(fields)).toBeUndefined();
    expect(performance.now() - startedMs).toBeLessThan(2000);
  });

  test("messages inside messages without an end do not decode", () => {
    const text = 'syntax = "proto3"; message A { A a = 1; }';
    let nested: number[] = [];
    for (let i = 0; i < 150; i++) nested = [0x0a, ...varint(nested.length), ...nested];

    expect(typeof decodeOne(proto(text), new Uint8Array(nested))).toBe("string");
    expect(typeof decodeOne(proto(text), new Uint8Array([0x0a, 0xff]))).toBe("string");
    expect(typeof decodeOne(proto(text), new Uint8Array(100).fill(0xff))).toBe("string");
  });
});

const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];
