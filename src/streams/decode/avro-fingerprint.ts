// The fingerprint that single-object encoding carries: CRC-64-AVRO of a schema in Parsing Canonical Form.

import type { AvroType } from "./avro-schema.ts";

const EMPTY = 0xc1_5d_21_3a_a4_d7_a7_95n;

const TABLE: readonly bigint[] = Array.from({ length: 256 }, (_, i) => {
  let bits = BigInt(i);
  for (let j = 0; j < 8; j++) bits = (bits >> 1n) ^ ((bits & 1n) === 1n ? EMPTY : 0n);
  return bits;
});

/** The schema as the specification normalises it: full names, no doc, no aliases, no defaults, no spaces. */
export function canonicalForm(type: AvroType, named = new Set<string>()): string {
  switch (type.kind) {
    case "array":
      return `{"type":"array","items":${canonicalForm(type.items, named)}}`;
    case "map":
      return `{"type":"map","values":${canonicalForm(type.values, named)}}`;
    case "union":
      return `[${type.branches.map((branch) => canonicalForm(branch, named)).join(",")}]`;
    case "record":
    case "enum":
    case "fixed": {
      const name = JSON.stringify(type.name);
      if (named.has(type.name)) return name;
      named.add(type.name);
      if (type.kind === "fixed") return `{"name":${name},"type":"fixed","size":${type.size}}`;
      if (type.kind === "enum")
        return `{"name":${name},"type":"enum","symbols":${JSON.stringify(type.symbols)}}`;
      const fields = type.fields.map(
        (field) =>
          `{"name":${JSON.stringify(field.name)},"type":${canonicalForm(field.type, named)}}`,
      );
      return `{"name":${name},"type":"record","fields":[${fields.join(",")}]}`;
    }
    default:
      return JSON.stringify(type.kind);
  }
}

/** The fingerprint's eight bytes, least significant first. */
export function fingerprint(type: AvroType): Uint8Array {
  let crc = EMPTY;
  for (const byte of new TextEncoder().encode(canonicalForm(type)))
    crc = (crc >> 8n) ^ (TABLE[Number((crc ^ BigInt(byte)) & 255n)] ?? 0n);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, crc, true);
  return bytes;
}
