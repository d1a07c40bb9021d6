// Commands as bytes: the instructions that entries carry, and the items that deltas and bases are made of.
// Every command states its outcome, never a wish, so that it can be applied, verified, folded and skipped alike.
// Drawn in docs/format.md.
//
//   kind u8 | body length u24 | body

import { assert } from "../lib/assert.ts";
import { type ByteWriter, decodeText, encodeText, getU64, putU64, viewOf } from "../lib/bytes.ts";
import { type Membership, parseMembership } from "./cluster.ts";

/** Kinds of command. The numbers are part of the format; their order is the order of items in a delta or base. */
export const COMMAND = {
  settings: 1,
  topicCreated: 2,
  topicDeleted: 3,
  retentionSet: 4,
  /** In deltas and bases only: how far a partition had got. */
  progressed: 5,
  floorRaised: 6,
  groupCommitted: 7,
  /** Who belongs to the cluster from this entry on; alone in its entry. */
  configured: 8,
  /** A namespace of keys got its number. */
  namespaceCreated: 10,
  /** Tombstones of a namespace up to a `cas` are forgotten: its new keys begin above it. */
  namespaceFloor: 11,
  /** A key and its value; read by `kv-codec.ts`, as is the next. */
  kvPut: 12,
  kvDeleted: 13,
  /** Records of one partition, whose bytes lie in the entry's data. */
  chunk: 16,
  /** An idempotency key with the outcome that it stands for. */
  remembered: 17,
} as const;

/** Bytes before each body. */
export const COMMAND_HEADER_BYTES = 4;
/** Bytes of a chunk's body. */
export const CHUNK_BODY_BYTES = 28;
/** Bytes that a chunk takes among the commands. */
export const CHUNK_COMMAND_BYTES = COMMAND_HEADER_BYTES + CHUNK_BODY_BYTES;
/** Bytes of a `remembered` body before its key. */
const REMEMBERED_FIXED_BYTES = 40;
/** Bytes of the bodies of `kvPut` and `kvDeleted` before their key. */
export const KV_PUT_FIXED_BYTES = 24;
export const KV_DELETED_FIXED_BYTES = 16;

/** In `retentionSet`: every topic; every partition. */
export const RETENTION_ALL_TOPICS = 0;
export const RETENTION_ALL_PARTITIONS = 0xff_ff;

/** Commands that are met once in a while, as objects. Chunks and remembered keys are read in place instead. */
export type ControlCommand =
  | {
      readonly kind: "settings";
      readonly idempotencyTtlMs: number;
      readonly idempotencyKeysMax: number;
    }
  | {
      readonly kind: "topicCreated";
      readonly topicId: number;
      readonly partitions: number;
      readonly mode: number;
      readonly createdMs: number;
      readonly name: string;
    }
  | { readonly kind: "topicDeleted"; readonly topicId: number }
  | {
      readonly kind: "retentionSet";
      readonly topicId: number;
      readonly partition: number;
      readonly ttlMs: number;
      readonly maxBytes: number;
    }
  | {
      readonly kind: "progressed";
      readonly topicId: number;
      readonly partition: number;
      readonly nextOffset: number;
      /** Stored bytes that these entries added. */
      readonly bytesAdded: number;
    }
  | {
      readonly kind: "floorRaised";
      readonly topicId: number;
      readonly partition: number;
      readonly startOffset: number;
      /** Stored bytes of all records ever below the floor. */
      readonly bytesBelow: number;
    }
  | { readonly kind: "configured"; readonly membership: Membership }
  | { readonly kind: "namespaceCreated"; readonly namespaceId: number; readonly name: string }
  | { readonly kind: "namespaceFloor"; readonly namespaceId: number; readonly floor: number };

/** Appends one control command. */
export function putCommand(writer: ByteWriter, command: ControlCommand): void {
  const at = writer.reserve(COMMAND_HEADER_BYTES);
  switch (command.kind) {
    case "settings":
      writer.u64(command.idempotencyTtlMs).u64(command.idempotencyKeysMax);
      break;
    case "topicCreated":
      writer
        .u32(command.topicId)
        .u16(command.partitions)
        .u8(command.mode)
        .u8(0)
        .u64(command.createdMs);
      writer.raw(encodeText(command.name));
      break;
    case "topicDeleted":
      writer.u32(command.topicId);
      break;
    case "retentionSet":
      writer
        .u32(command.topicId)
        .u16(command.partition)
        .u16(0)
        .u64(command.ttlMs)
        .u64(command.maxBytes);
      break;
    case "progressed":
      writer
        .u32(command.topicId)
        .u16(command.partition)
        .u16(0)
        .u64(command.nextOffset)
        .u64(command.bytesAdded);
      break;
    case "floorRaised":
      writer
        .u32(command.topicId)
        .u16(command.partition)
        .u16(0)
        .u64(command.startOffset)
        .u64(command.bytesBelow);
      break;
    case "configured":
      writer.raw(encodeText(JSON.stringify(command.membership)));
      break;
    case "namespaceCreated":
      writer.u32(command.namespaceId).raw(encodeText(command.name));
      break;
    case "namespaceFloor":
      writer.u32(command.namespaceId).u32(0).u64(command.floor);
      break;
  }
  finishCommand(writer, at, COMMAND[command.kind]);
}

/** Appends a group's committed offset. The group is ASCII bytes. */
export function putGroupCommitted(
  writer: ByteWriter,
  topicId: number,
  partition: number,
  committedOffset: number,
  group: Uint8Array,
): void {
  const at = writer.reserve(COMMAND_HEADER_BYTES);
  writer.u32(topicId).u16(partition).u16(0).u64(committedOffset).raw(group);
  finishCommand(writer, at, COMMAND.groupCommitted);
}

/** An idempotency key and what it stands for, read and written in place. */
export interface Remembered {
  topicId: number;
  partition: number;
  count: number;
  firstOffset: number;
  timestampMs: number;
  fingerprintLow: number;
  fingerprintHigh: number;
  /** What else it stands for, where numbers are not enough; valid while its owner does not change. */
  detail: Uint8Array;
}

const NO_DETAIL = new Uint8Array(0);

/** An outcome to read into. */
export const newRemembered = (): Remembered => ({
  topicId: 0,
  partition: 0,
  count: 0,
  firstOffset: 0,
  timestampMs: 0,
  fingerprintLow: 0,
  fingerprintHigh: 0,
  detail: NO_DETAIL,
});

/** Appends a remembered key. */
export function putRemembered(writer: ByteWriter, outcome: Remembered, key: Uint8Array): void {
  const at = writer.reserve(COMMAND_HEADER_BYTES);
  writer.u32(outcome.topicId).u16(outcome.partition).u16(0).u32(outcome.count);
  writer.u32(outcome.detail.length).u64(outcome.firstOffset).u64(outcome.timestampMs);
  writer.u32(outcome.fingerprintLow).u32(outcome.fingerprintHigh).raw(key).raw(outcome.detail);
  finishCommand(writer, at, COMMAND.remembered);
}

/** Fills in the header of the command that began at `at`, once its body is written. */
export function finishCommand(writer: ByteWriter, at: number, kind: number): void {
  const length = writer.length - at - COMMAND_HEADER_BYTES;
  assert(length < 1 << 24, `A command body of ${length} bytes does not fit its length field`);
  writer.patchU32(at, (kind | (length << 8)) >>> 0);
}

/** Writes a chunk's command at `at` of a view that has room for it. */
export function putChunk(
  view: DataView,
  at: number,
  topicId: number,
  partition: number,
  baseOffset: number,
  count: number,
  dataBytes: number,
  checksum: number,
): void {
  view.setUint32(at, COMMAND.chunk | (CHUNK_BODY_BYTES << 8), true);
  view.setUint32(at + 4, topicId, true);
  view.setUint32(at + 8, partition, true);
  putU64(view, at + 12, baseOffset);
  view.setUint32(at + 20, count, true);
  view.setUint32(at + 24, dataBytes, true);
  view.setUint32(at + 28, checksum, true);
}

/**
 * Walks commands in place, making no object per command. `next` is false at the end and when the bytes are no command
 * (`isBroken`). Fields of the body are read by the methods that go with `kind`.
 */
export class CommandCursor {
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = viewOf(this.bytes);
  kind = 0;
  /** Where the command begins, its header included. */
  start = 0;
  bodyStart = 0;
  bodyEnd = 0;
  isBroken = false;
  #next = 0;
  #end = 0;

  /** Starts over on `bytes[start, end)`. Pass the view of `bytes` if there is one. */
  reset(bytes: Uint8Array, view: DataView, start: number, end: number): this {
    this.bytes = bytes;
    this.view = view;
    this.#next = start;
    this.#end = end;
    this.isBroken = false;
    return this;
  }

  /** Steps to the next command. */
  next(): boolean {
    if (this.#next >= this.#end) return false;
    if (this.#next + COMMAND_HEADER_BYTES > this.#end) return this.#broken();
    const header = this.view.getUint32(this.#next, true);
    this.kind = header & 0xff;
    this.start = this.#next;
    this.bodyStart = this.#next + COMMAND_HEADER_BYTES;
    this.bodyEnd = this.bodyStart + (header >>> 8);
    if (this.bodyEnd > this.#end) return this.#broken();
    this.#next = this.bodyEnd;
    const bytes = this.bodyEnd - this.bodyStart;
    return bytes >= bodyBytesMin(this.kind) ? true : this.#broken();
  }

  /** Of every kind but `settings` and those of keys, which have the number of their namespace here. */
  get topicId(): number {
    return this.view.getUint32(this.bodyStart, true);
  }

  /** Of every kind that has one. */
  get partition(): number {
    return this.view.getUint16(this.bodyStart + 4, true);
  }

  get chunkBaseOffset(): number {
    return getU64(this.view, this.bodyStart + 8);
  }

  get chunkCount(): number {
    return this.view.getUint32(this.bodyStart + 16, true);
  }

  get chunkDataBytes(): number {
    return this.view.getUint32(this.bodyStart + 20, true);
  }

  get chunkChecksum(): number {
    return this.view.getUint32(this.bodyStart + 24, true);
  }

  get committedOffset(): number {
    return getU64(this.view, this.bodyStart + 8);
  }

  get groupStart(): number {
    return this.bodyStart + 16;
  }

  /** Fills `outcome` from a `remembered` command; its key is `bytes[rememberedKeyStart, rememberedKeyEnd)`. */
  remembered(outcome: Remembered): void {
    const at = this.bodyStart;
    outcome.topicId = this.view.getUint32(at, true);
    outcome.partition = this.view.getUint16(at + 4, true);
    outcome.count = this.view.getUint32(at + 8, true);
    outcome.firstOffset = getU64(this.view, at + 16);
    outcome.timestampMs = getU64(this.view, at + 24);
    outcome.fingerprintLow = this.view.getUint32(at + 32, true);
    outcome.fingerprintHigh = this.view.getUint32(at + 36, true);
    outcome.detail = this.bytes.subarray(this.rememberedKeyEnd, this.bodyEnd);
  }

  get rememberedKeyEnd(): number {
    return this.bodyEnd - this.view.getUint32(this.bodyStart + 12, true);
  }

  get rememberedKeyStart(): number {
    return this.bodyStart + REMEMBERED_FIXED_BYTES;
  }

  /** The command as an object; undefined for kinds that are read in place or not known. */
  control(): ControlCommand | undefined {
    const { view, bodyStart: at } = this;
    switch (this.kind) {
      case COMMAND.settings:
        return {
          kind: "settings",
          idempotencyTtlMs: getU64(view, at),
          idempotencyKeysMax: getU64(view, at + 8),
        };
      case COMMAND.topicCreated:
        return {
          kind: "topicCreated",
          topicId: this.topicId,
          partitions: this.partition,
          mode: view.getUint8(at + 6),
          createdMs: getU64(view, at + 8),
          name: decodeText(this.bytes.subarray(at + 16, this.bodyEnd)),
        };
      case COMMAND.topicDeleted:
        return { kind: "topicDeleted", topicId: this.topicId };
      case COMMAND.retentionSet: {
        const { topicId, partition } = this;
        return {
          kind: "retentionSet",
          topicId,
          partition,
          ttlMs: getU64(view, at + 8),
          maxBytes: getU64(view, at + 16),
        };
      }
      case COMMAND.progressed: {
        const { topicId, partition } = this;
        return {
          kind: "progressed",
          topicId,
          partition,
          nextOffset: getU64(view, at + 8),
          bytesAdded: getU64(view, at + 16),
        };
      }
      case COMMAND.floorRaised: {
        const { topicId, partition } = this;
        return {
          kind: "floorRaised",
          topicId,
          partition,
          startOffset: getU64(view, at + 8),
          bytesBelow: getU64(view, at + 16),
        };
      }
      case COMMAND.configured: {
        const membership = parseMembership(
          decodeText(this.bytes.subarray(this.bodyStart, this.bodyEnd)),
        );
        return membership && { kind: "configured", membership };
      }
      case COMMAND.namespaceCreated: {
        const name = decodeText(this.bytes.subarray(at + 4, this.bodyEnd));
        return { kind: "namespaceCreated", namespaceId: this.topicId, name };
      }
      case COMMAND.namespaceFloor:
        return {
          kind: "namespaceFloor",
          namespaceId: this.topicId,
          floor: getU64(view, at + 8),
        };
      default:
        return undefined;
    }
  }

  #broken(): false {
    this.isBroken = true;
    this.#next = this.#end;
    return false;
  }
}

/** Shortest body of each kind; what is shorter is damage. */
function bodyBytesMin(kind: number): number {
  switch (kind) {
    case COMMAND.topicDeleted:
      return 4;
    case COMMAND.settings:
    case COMMAND.topicCreated:
    case COMMAND.groupCommitted:
      return 16;
    case COMMAND.retentionSet:
    case COMMAND.progressed:
    case COMMAND.floorRaised:
      return 24;
    case COMMAND.chunk:
      return CHUNK_BODY_BYTES;
    case COMMAND.remembered:
      return REMEMBERED_FIXED_BYTES;
    case COMMAND.configured:
      return 2;
    case COMMAND.namespaceCreated:
      return 5;
    case COMMAND.namespaceFloor:
      return 16;
    case COMMAND.kvPut:
      return KV_PUT_FIXED_BYTES;
    case COMMAND.kvDeleted:
      return KV_DELETED_FIXED_BYTES;
    default:
      return 0;
  }
}
