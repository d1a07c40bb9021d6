// What every format comes down to: bytes of a record in, fields out.

import type { Fields } from "../compare.ts";

/** Turns the bytes of records into fields. Keeps nothing between records. */
export interface Decoder {
  /**
   * Decodes one record and hands over its fields: once, or for a container as often as it holds objects, and not at all when
   * any of it does not decode. The bytes are the caller's and change after the call.
   * @returns why it does not decode; undefined when it does.
   */
  decode(bytes: Uint8Array, take: (fields: Fields) => void): string | undefined;
}

/** Thrown inside the decoders for bytes that do not fit their schema; never leaves them. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}
