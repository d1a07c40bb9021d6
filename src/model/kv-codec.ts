// Keys and values as commands. Both kinds begin alike, and state what became of the key:
//
//   kvPut      namespace u32 | key length u16 | zero u16 | cas u64 | deadline ms u64, 0: none | key | value
//   kvDeleted  namespace u32 | key length u16 | isExpired u16 | cas u64 | key

import { type ByteWriter, getU64 } from "../lib/bytes.ts";
import {
  COMMAND,
  COMMAND_HEADER_BYTES,
  type CommandCursor,
  finishCommand,
  KV_DELETED_FIXED_BYTES,
  KV_PUT_FIXED_BYTES,
} from "./command-codec.ts";

/** Bytes of a `kvPut` besides its key and value, its header included. */
export const KV_PUT_COMMAND_BYTES = COMMAND_HEADER_BYTES + KV_PUT_FIXED_BYTES;
/** Bytes of a `kvDeleted` besides its key, its header included. */
export const KV_DELETED_COMMAND_BYTES = COMMAND_HEADER_BYTES + KV_DELETED_FIXED_BYTES;

/** Which change of which key. */
export interface KvChange {
  readonly namespaceId: number;
  readonly key: Uint8Array;
  /** What the key has from this change on. */
  readonly cas: number;
}

/** Appends a key with its value. @param deadlineMs When it ends, in log time; 0: never. */
export function putKvPut(
  writer: ByteWriter,
  change: KvChange,
  deadlineMs: number,
  value: Uint8Array,
): void {
  const at = writer.reserve(COMMAND_HEADER_BYTES);
  writer.u32(change.namespaceId).u16(change.key.length).u16(0).u64(change.cas).u64(deadlineMs);
  writer.raw(change.key).raw(value);
  finishCommand(writer, at, COMMAND.kvPut);
}

/** Appends a key's end. */
export function putKvDeleted(writer: ByteWriter, change: KvChange, isExpired: boolean): void {
  const at = writer.reserve(COMMAND_HEADER_BYTES);
  writer
    .u32(change.namespaceId)
    .u16(change.key.length)
    .u16(isExpired ? 1 : 0)
    .u64(change.cas);
  writer.raw(change.key);
  finishCommand(writer, at, COMMAND.kvDeleted);
}

/** A change of a key as it lies in a command: fields are read where they are, nothing is copied. */
export class KvReader {
  bytes: Uint8Array = new Uint8Array(0);
  namespaceId = 0;
  cas = 0;
  deadlineMs = 0;
  isPut = false;
  isExpired = false;
  keyStart = 0;
  keyEnd = 0;
  /** Of a put. */
  valueStart = 0;
  valueEnd = 0;

  /** Stands on the command of `cursor`. False: it is of another kind, or no whole command. */
  read(cursor: CommandCursor): boolean {
    const { kind, view, bodyStart, bodyEnd } = cursor;
    this.isPut = kind === COMMAND.kvPut;
    if (!this.isPut && kind !== COMMAND.kvDeleted) return false;
    this.bytes = cursor.bytes;
    this.namespaceId = view.getUint32(bodyStart, true);
    this.cas = getU64(view, bodyStart + 8);
    this.isExpired = !this.isPut && view.getUint16(bodyStart + 6, true) === 1;
    this.deadlineMs = this.isPut ? getU64(view, bodyStart + 16) : 0;
    this.keyStart = bodyStart + (this.isPut ? KV_PUT_FIXED_BYTES : KV_DELETED_FIXED_BYTES);
    this.keyEnd = this.keyStart + view.getUint16(bodyStart + 4, true);
    this.valueStart = this.keyEnd;
    this.valueEnd = bodyEnd;
    return this.keyEnd <= bodyEnd && this.cas > 0 && this.deadlineMs >= 0;
  }
}

/** Bytes of a change's key in a command of either kind, for ordering. */
export function kvKeyOf(cursor: CommandCursor): Uint8Array {
  const fixed = cursor.kind === COMMAND.kvPut ? KV_PUT_FIXED_BYTES : KV_DELETED_FIXED_BYTES;
  const start = cursor.bodyStart + fixed;
  return cursor.bytes.subarray(start, start + cursor.view.getUint16(cursor.bodyStart + 4, true));
}

/** The `cas` that a change of either kind states. */
export const kvCasOf = (cursor: CommandCursor): number => getU64(cursor.view, cursor.bodyStart + 8);
