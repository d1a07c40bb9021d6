// Decoders with the compressions of the platform, as the server hands them in.

import { inflateRawSync, zstdDecompressSync } from "node:zlib";
import { Decoders } from "../../src/streams/decode/make.ts";
import type { Fields } from "../../src/streams/mod.ts";

/** Fresh decoders. */
export const makeDecoders = (): Decoders =>
  new Decoders({
    deflate: (bytes, bytesMax) => inflateRawSync(bytes, { maxOutputLength: bytesMax }),
    zstandard: (bytes, bytesMax) => zstdDecompressSync(bytes, { maxOutputLength: bytesMax }),
  });

/** What a decoder is asked for. */
export type DecodeSpec = Parameters<Decoders["get"]>[0];

const decoders = makeDecoders();

/** Decodes one record: its objects, or why it does not decode. Throws the refusal of a bad schema. */
export function decodeAll(spec: DecodeSpec, bytes: Uint8Array): readonly Fields[] | string {
  const decoder = decoders.get(spec, "decode");
  if (!decoder.ok) throw decoder.error;
  const found: Fields[] = [];
  return decoder.value.decode(bytes, (fields) => found.push(fields)) ?? found;
}

/** Decodes one record with one object. */
export function decodeOne(spec: DecodeSpec, bytes: Uint8Array): Fields | string {
  const found = decodeAll(spec, bytes);
  return typeof found === "string" ? found : found[0]!;
}
