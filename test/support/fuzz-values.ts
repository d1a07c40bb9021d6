// Values for fuzzing: valid ones after a JSON schema, nasty ones of every kind, and ways to spoil what was valid.

import type { Prng } from "../../src/lib/prng.ts";

/** A schema as far as values are made after it. */
export interface FuzzSchema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly FuzzSchema[];
  readonly properties?: Readonly<Record<string, FuzzSchema>>;
  readonly items?: FuzzSchema;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** One of a list. */
export const oneOf = <T>(random: Prng, list: readonly T[]): T =>
  list[random.below(list.length)] as T;

/** Topics, groups and names that exist or may, so that requests meet each other. */
export const FUZZ_TOPICS: readonly string[] = Array.from({ length: 12 }, (_, i) => `fuzz.${i}`);
const GROUPS = ["g0", "g1", "g2", "g3"];
const KEYS = ["a", "b", "a/b", "a%2Fb", "k%20y", "%C3%A9", "meta/x", "%00", "..%2f..%2fetc"];
const FIELDS = ["a", "b", "a.b", "ts", "id", "__proto__", "constructor", ""];
const SCHEMAS = [
  '{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}',
  '{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]}]}',
  'syntax = "proto3"; message M { int64 a = 1; M m = 2; }',
  'syntax = "proto3"; message M { repeated string a = 1; ',
];

/** Values for names that mean something. */
function named(random: Prng, name: string): unknown {
  switch (name) {
    case "topic":
    case "name":
    case "namespace":
      return oneOf(random, FUZZ_TOPICS);
    case "group":
      return oneOf(random, GROUPS);
    case "partition":
      return random.below(4);
    case "partitions":
      return 4;
    case "kv":
      return `${oneOf(random, FUZZ_TOPICS)}/${oneOf(random, KEYS)}`;
    case "key":
      return oneOf(random, KEYS);
    case "offset":
    case "before_offset":
    case "committed_offset":
    case "expected_offset":
    case "cas":
    case "from":
      return random.below(20);
    case "wait_ms":
      return random.below(30);
    case "timeout_ms":
      return 1 + random.below(3000);
    case "limit":
    case "emit_rows":
    case "max_rows":
      return 1 + random.below(200);
    case "ttl_ms":
    case "max_bytes":
    case "max_age_ms":
      return oneOf(random, [0, 1000, 100_000, 1e12]);
    case "size_ms":
    case "hop_ms":
    case "gap_ms":
      return oneOf(random, [1, 1000, 3_600_000]);
    case "field":
    case "as":
    case "left_key":
    case "right_key":
      return oneOf(random, FIELDS);
    case "schema_text":
    case "writer_schema_text":
      return oneOf(random, SCHEMAS);
    case "value_b64":
    case "key_b64":
      return oneOf(random, ["", "aGVsbG8=", "aGVsbG8", "/+8=", "%%%"]);
    case "idempotency_key":
      return `i${random.below(50)}`;
    case "node_id":
      return `node${2 + random.below(3)}`;
    case "advertise_addr":
      return "127.0.0.1:1";
    case "http_addr":
      return "http://127.0.0.1:1";
    default:
      return undefined;
  }
}

/** A value that a schema allows, mostly. */
export function validValue(random: Prng, schema: FuzzSchema, name = "", depth = 0): unknown {
  const known =
    schema.type === "object" || schema.type === "array" ? undefined : named(random, name);
  if (known !== undefined) return known;
  if (schema.enum !== undefined) return oneOf(random, schema.enum);
  if (schema.anyOf !== undefined)
    return validValue(random, oneOf(random, schema.anyOf), name, depth);
  switch (schema.type) {
    case "object":
      return Object.fromEntries(
        Object.entries(schema.properties ?? {}).flatMap(([property, inner]) =>
          random.chance(depth > 4 ? 0.2 : 0.7)
            ? [[property, validValue(random, inner, property, depth + 1)]]
            : [],
        ),
      );
    case "array":
      return Array.from({ length: random.below(4) }, () =>
        validValue(random, schema.items ?? {}, name, depth + 1),
      );
    case "number":
    case "integer":
      return (schema.minimum ?? 0) + random.below(Math.min(1000, (schema.maximum ?? 1000) + 1));
    case "boolean":
      return random.chance(0.5);
    case "string":
      return oneOf(random, [...FIELDS, "x", "record"]);
    default:
      return nastyValue(random);
  }
}

/** Texts that parsers, paths and sizes stumble over. */
export const NASTY_TEXTS: readonly string[] = [
  "",
  " ",
  "0",
  "-0",
  "-1",
  "+1",
  "1e3",
  "1.5",
  "0x10",
  "00",
  "9007199254740991",
  "9007199254740992",
  "18446744073709551616",
  "-9223372036854775809",
  "1".repeat(400),
  "NaN",
  "Infinity",
  "null",
  "true",
  "undefined",
  "*",
  ".",
  "..",
  "../../../../etc/passwd",
  "..%2f..%2f..%2fetc%2fpasswd",
  "..\\..\\windows",
  "%2e%2e/%2e%2e",
  "%",
  "%0",
  "%zz",
  "%00",
  "a%00b",
  "%ff%fe",
  "%c0%ae%c0%ae",
  "%F0%9F%98%80",
  "%ED%A0%80",
  "%E2%80%AE",
  "a b",
  "a+b",
  "a&b=c",
  "a;b",
  "a#b",
  "a?b",
  "$(id)",
  "' OR 1=1 --",
  "__proto__",
  "constructor",
  "toString",
  "{{7*7}}",
  "<script>alert(1)</script>",
  "x".repeat(121),
  "x".repeat(1025),
  "x".repeat(5000),
  "/".repeat(300),
  "%2F".repeat(300),
  "🙂",
  "\u202e",
];

/** A JSON value of any kind, often at an edge. */
export function nastyValue(random: Prng, depth = 0): unknown {
  switch (random.below(9)) {
    case 0:
      return oneOf(random, NASTY_TEXTS);
    case 1:
      return oneOf(random, [0, -1, 1.5, 1e308, -1e308, 2 ** 53, 2 ** 31, 2 ** 32, 1e-320]);
    case 2:
      return null;
    case 3:
      return random.chance(0.5);
    case 4:
      return depth > 3
        ? []
        : Array.from({ length: random.below(4) }, () => nastyValue(random, depth + 1));
    case 5:
      return depth > 3 ? {} : { [oneOf(random, FIELDS)]: nastyValue(random, depth + 1) };
    case 6:
      return "\u0000".repeat(random.below(5));
    case 7:
      return "x".repeat(random.below(3000));
    default:
      return random.u32();
  }
}

/** Changes one place of a value: replaced, removed, doubled, wrapped. */
export function spoilValue(random: Prng, value: unknown): unknown {
  if (random.chance(0.3) || typeof value !== "object" || value === null) return nastyValue(random);
  if (Array.isArray(value)) {
    if (value.length === 0 || random.chance(0.2)) return [...value, nastyValue(random)];
    const at = random.below(value.length);
    if (random.chance(0.2)) return [...value, ...value, value[at]];
    return value.map((item, i) => (i === at ? spoilValue(random, item) : item));
  }
  const entries = Object.entries(value);
  if (entries.length === 0 || random.chance(0.1))
    return { ...value, [oneOf(random, FIELDS)]: nastyValue(random) };
  const at = random.below(entries.length);
  if (random.chance(0.2)) return Object.fromEntries(entries.filter((_, i) => i !== at));
  return Object.fromEntries(
    entries.map(([name, item], i) => [name, i === at ? spoilValue(random, item) : item]),
  );
}

/** JSON text of a value, sometimes written as no serializer would. */
export function looseJson(random: Prng, value: unknown): string {
  const text = JSON.stringify(value) ?? "null";
  switch (random.below(24)) {
    case 0:
      return text.slice(0, random.below(text.length + 1));
    case 1:
      return `${text}${oneOf(random, ["}", "]", ",", "x", "\u0000", " ", "\n{}"])}`;
    case 2:
      return `\uFEFF${text}`;
    case 3:
      return text.replace(/:(\d+)/, ":$1$1$1$1$1$1$1$1$1");
    case 4:
      return text.replace(/\{/, '{"topic":"fuzz.0","topic":"fuzz.1",');
    case 5:
      return `${"[".repeat(random.below(20_000))}${text}`;
    case 6:
      return text.replace(/"(\w)/, () => '"\\ud800$1');
    case 7:
      return `${'{"a":'.repeat(random.below(5000))}1`;
    default:
      return text;
  }
}

/** Changes some bytes: flips, cuts, doubles, inserts. */
export function spoilBytes(random: Prng, bytes: Uint8Array): Uint8Array {
  const spoiled = new Uint8Array(bytes);
  const times = 1 + random.below(4);
  let result = spoiled;
  for (let i = 0; i < times; i++) {
    const at = random.below(result.length + 1);
    switch (random.below(6)) {
      case 0:
        if (at < result.length) result[at] = (result[at] as number) ^ (1 << random.below(8));
        break;
      case 1:
        if (at < result.length) result[at] = random.below(256);
        break;
      case 2:
        result = result.slice(0, at);
        break;
      case 3: {
        const piece = result.slice(at, at + random.below(40));
        result = new Uint8Array(Buffer.concat([result.slice(0, at), piece, result.slice(at)]));
        break;
      }
      case 4:
        result = new Uint8Array(
          Buffer.concat([result.slice(0, at), result.slice(at + random.below(20))]),
        );
        break;
      default:
        result = new Uint8Array(
          Buffer.concat([
            result.slice(0, at),
            Buffer.from(
              oneOf(random, ["\r", "\n", "\r\n", "\0", ":", " ", "\u00ff", "0", "%"]),
              "latin1",
            ),
            result.slice(at),
          ]),
        );
    }
  }
  return result;
}
