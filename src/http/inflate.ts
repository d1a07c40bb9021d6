// Undoes what the platform can undo, for the decoders of `streams`, which do no such thing themselves.

import { inflateRawSync, zstdDecompressSync } from "node:zlib";
import type { Inflate } from "../streams/mod.ts";

/** Raw deflate and Zstandard, bounded in what comes out. */
export const inflate: Inflate = {
  deflate: (bytes, bytesMax) => inflateRawSync(bytes, { maxOutputLength: bytesMax }),
  zstandard: (bytes, bytesMax) => zstdDecompressSync(bytes, { maxOutputLength: bytesMax }),
};
