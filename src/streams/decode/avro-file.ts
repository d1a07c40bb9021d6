// Reads Avro object container files out of records: a header with the writer's schema, then blocks of objects.

import { crc32 } from "../../lib/checksum.ts";
import type { AvroRead } from "./avro-read.ts";
import { Tap } from "./avro-tap.ts";
import { DecodeError } from "./decoder.ts";
import { unsnap } from "./snappy.ts";

/** Undoes compressions that the platform knows. Throws for bytes that are none, or when more than `bytesMax` would come out. */
export interface Inflate {
  /** Raw deflate, RFC 1951. */
  deflate(bytes: Uint8Array, bytesMax: number): Uint8Array;
  zstandard(bytes: Uint8Array, bytesMax: number): Uint8Array;
}

const MAGIC = [79, 98, 106, 1];
const SYNC_BYTES = 16;
/** Bytes of all blocks of one record when they are not compressed: a small file must not become a large memory. */
export const FILE_BYTES_MAX = 16_777_216;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** What a file says before its blocks. */
export interface FileHeader {
  readonly schemaText: string;
  readonly codec: string;
  /** Where the blocks begin. */
  readonly at: number;
  readonly sync: Uint8Array;
}

/** Reads the header of a file. @throws DecodeError when it is none. */
export function readHeader(bytes: Uint8Array): FileHeader {
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) throw new DecodeError("Not an Avro file");
  const tap = new Tap(bytes, MAGIC.length);
  let schemaText: string | undefined;
  let codec = "null";
  for (let count = tap.count(); count > 0; count = tap.count()) {
    for (let i = 0; i < count; i++) {
      const key = tap.text();
      const value = tap.bytesField();
      if (key === "avro.schema") schemaText = textOf(value);
      if (key === "avro.codec") codec = textOf(value);
    }
  }
  if (schemaText === undefined) throw new DecodeError("An Avro file has no schema");
  const sync = tap.raw(SYNC_BYTES);
  return { schemaText, codec, at: tap.at, sync };
}

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new DecodeError("An Avro file has a header that is not UTF-8");
  }
}

/** Reads every object of a file. */
export function* readBlocks(
  bytes: Uint8Array,
  header: FileHeader,
  read: AvroRead,
  inflate: Inflate,
): Generator<ReturnType<AvroRead>> {
  const tap = new Tap(bytes, header.at);
  let left = FILE_BYTES_MAX;
  while (!tap.isAtEnd) {
    const count = tap.length();
    const packed = tap.bytesField();
    const sync = tap.raw(SYNC_BYTES);
    if (!header.sync.every((byte, i) => sync[i] === byte))
      throw new DecodeError("A block of an Avro file does not end with its mark");
    const block = unpack(packed, header.codec, inflate, left);
    left -= block.length;
    const inner = new Tap(block);
    if (count > block.length + OBJECTS_EMPTY_MAX)
      throw new DecodeError("A block has more objects than bytes");
    for (let i = 0; i < count; i++) yield read(inner);
    if (!inner.isAtEnd) throw new DecodeError("A block has bytes left over");
  }
}

/** Objects of a block that take no bytes, beside one for every byte. */
const OBJECTS_EMPTY_MAX = 65_536;

function unpack(packed: Uint8Array, codec: string, inflate: Inflate, bytesMax: number): Uint8Array {
  switch (codec) {
    case "null":
      return packed;
    case "snappy": {
      // The checksum of what comes out follows what went in, most significant byte first.
      const at = packed.length - 4;
      if (at < 0) throw new DecodeError("A block is not Snappy");
      const block = unsnap(packed.subarray(0, at), bytesMax);
      const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
      if (crc32(block) !== view.getUint32(at))
        throw new DecodeError("A block does not have its checksum");
      return block;
    }
    case "deflate":
      return inflate.deflate(packed, bytesMax);
    case "zstandard":
      return inflate.zstandard(packed, bytesMax);
    default:
      throw new DecodeError(
        `Codec ${codec.slice(0, 32)} is none of null, deflate, snappy, zstandard`,
      );
  }
}
