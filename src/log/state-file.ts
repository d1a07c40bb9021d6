// Deltas and bases: what the state became, as sorted items, without the records. A delta tells of one
// segment, the base of everything up to an index. Merging keeps the last change of each key and adds up progress.
//
// header 96 | keyed items, sorted by key | window items, in log order: idempotency keys, and the settings between them
//
//  0 magic u64 | 8 version u32 | 12 zero u32 | 16 sequence u64 | 24 cluster id 16 | 40 last index u64 | 48 last term u64
// 56 last checksum u32 | 60 zero u32 | 64 last timestamp u64 | 72 keyed bytes u64 | 80 window bytes u64 | 88 topic ids up to u32
// 92 checksum u32 of the 92 bytes before
//
// Then each section in blocks: length u32 | checksum u32 | items. An item is a command (model/command-codec.ts).

import { assert } from "../lib/assert.ts";
import { ByteWriter, getU64, putU64, viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import { COMMAND, COMMAND_HEADER_BYTES, CommandCursor } from "../model/command-codec.ts";
import { kvKeyOf } from "../model/kv-codec.ts";
import type { Files } from "./disk.ts";
import { FORMAT_VERSION } from "./format.ts";
import type { ChainEnd } from "./segment-scan.ts";

const MAGIC_LOW = 0x45_44_59_41; // "AYDE"
const MAGIC_HIGH = 0x54_41_54_53; // "STAT"
const HEADER_BYTES = 96;
const BLOCK_BYTES = 1 << 16;
const BLOCK_HEADER_BYTES = 8;
/** A sync of the log between two of these waits for so much at most. */
const SYNC_BYTES = 1 << 20;

/** What a delta or base says of itself. */
export interface StateFileHeader {
  readonly sequence: number;
  readonly clusterId: string;
  readonly chain: ChainEnd;
  readonly topicIdMax: number;
}

function encodeHeader(
  header: StateFileHeader,
  keyedBytes: number,
  windowBytes: number,
): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, MAGIC_LOW, true);
  view.setUint32(4, MAGIC_HIGH, true);
  view.setUint32(8, FORMAT_VERSION, true);
  putU64(view, 16, header.sequence);
  bytes.set(Uint8Array.fromHex(header.clusterId), 24);
  putU64(view, 40, header.chain.index);
  putU64(view, 48, header.chain.term);
  view.setUint32(56, header.chain.checksum, true);
  putU64(view, 64, header.chain.timestampMs);
  putU64(view, 72, keyedBytes);
  putU64(view, 80, windowBytes);
  view.setUint32(88, header.topicIdMax, true);
  view.setUint32(92, crc32(bytes.subarray(0, 92)), true);
  return bytes;
}

/** Writes a new state file item by item; nothing counts until `finish` has written the header. */
export class StateFileWriter {
  readonly #files: Files;
  readonly #name: string;
  readonly #block = new ByteWriter(BLOCK_BYTES + 1024);
  #position = HEADER_BYTES;
  #keyedEnd = 0;
  #unsynced = 0;

  /** Makes the file. A leftover of a job that was cut off has been removed by the caller. */
  constructor(files: Files, name: string) {
    this.#files = files;
    this.#name = name;
    files.create(name);
  }

  /** Appends one item: a whole command, in the section that is open. */
  item(bytes: Uint8Array, start: number, end: number): void {
    if (this.#block.length + end - start > BLOCK_BYTES) this.#flush();
    this.#block.raw(bytes.subarray(start, end));
  }

  /** Ends the keyed items and begins the window. */
  beginWindow(): void {
    this.#flush();
    this.#keyedEnd = this.#position;
  }

  /** Writes what is left and the header, and syncs. Returns the size of the file. */
  finish(header: StateFileHeader): number {
    this.#flush();
    this.#files.write(
      this.#name,
      0,
      encodeHeader(header, this.#keyedEnd - HEADER_BYTES, this.#position - this.#keyedEnd),
    );
    this.#files.sync(this.#name);
    return this.#position;
  }

  #flush(): void {
    if (this.#block.length === 0) return;
    const items = this.#block.written();
    const head = new ByteWriter(BLOCK_HEADER_BYTES).u32(items.length).u32(crc32(items));
    this.#files.write(this.#name, this.#position, head.written());
    this.#files.write(this.#name, this.#position + BLOCK_HEADER_BYTES, items);
    this.#position += BLOCK_HEADER_BYTES + items.length;
    this.#block.clear();
    this.#unsynced += items.length;
    if (this.#unsynced < SYNC_BYTES) return;
    this.#unsynced = 0;
    this.#files.sync(this.#name);
  }
}

/** Reads a state file item by item, a block in memory at a time. */
export class StateFileReader {
  readonly header: StateFileHeader;
  /** Stands on the current item after `next`. */
  readonly item = new CommandCursor();
  readonly name: string;
  readonly #files: Files;
  readonly #keyedEnd: number;
  readonly #end: number;
  #position = HEADER_BYTES;
  #limit: number;

  /** Opens and verifies the header. Throws what `damaged` makes of a sentence. */
  constructor(files: Files, name: string, damaged: (message: string) => Error) {
    this.#files = files;
    this.name = name;
    const head = new Uint8Array(HEADER_BYTES);
    const count = files.size(name) === undefined ? 0 : files.read(name, 0, head);
    const view = viewOf(head);
    if (
      count < HEADER_BYTES ||
      view.getUint32(0, true) !== MAGIC_LOW ||
      view.getUint32(4, true) !== MAGIC_HIGH ||
      view.getUint32(92, true) !== crc32(head.subarray(0, 92))
    ) {
      throw damaged(`Cannot read ${name}: its header is missing or damaged`);
    }
    this.#damaged = damaged;
    this.header = {
      sequence: getU64(view, 16),
      clusterId: head.subarray(24, 40).toHex(),
      chain: {
        index: getU64(view, 40),
        term: getU64(view, 48),
        checksum: view.getUint32(56, true),
        timestampMs: getU64(view, 64),
      },
      topicIdMax: view.getUint32(88, true),
    };
    this.#keyedEnd = HEADER_BYTES + getU64(view, 72);
    this.#end = this.#keyedEnd + getU64(view, 80);
    this.#limit = this.#keyedEnd;
  }

  readonly #damaged: (message: string) => Error;

  /** Steps to the next item of the open section; false at its end. */
  next(): boolean {
    while (!this.item.next()) {
      if (this.item.isBroken)
        throw this.#damaged(`Cannot read ${this.name}: an item before ${this.#position} is broken`);
      if (this.#position >= this.#limit) return false;
      this.#readBlock();
    }
    return true;
  }

  /** Goes on with the window, whatever of the keyed items was read. */
  beginWindow(): void {
    this.#position = this.#keyedEnd;
    this.#limit = this.#end;
    this.item.reset(this.item.bytes, this.item.view, 0, 0);
  }

  #readBlock(): void {
    const head = new Uint8Array(BLOCK_HEADER_BYTES);
    const headCount = this.#files.read(this.name, this.#position, head);
    const view = viewOf(head);
    const length = view.getUint32(0, true);
    if (
      headCount < BLOCK_HEADER_BYTES ||
      this.#position + BLOCK_HEADER_BYTES + length > this.#limit
    ) {
      throw this.#damaged(`Cannot read ${this.name}: the block at ${this.#position} does not fit`);
    }
    const items = new Uint8Array(length);
    const count = this.#files.read(this.name, this.#position + BLOCK_HEADER_BYTES, items);
    if (count < length || crc32(items) !== view.getUint32(4, true)) {
      throw this.#damaged(`Cannot read ${this.name}: the block at ${this.#position} is damaged`);
    }
    this.#position += BLOCK_HEADER_BYTES + length;
    this.item.reset(items, viewOf(items), 0, length);
  }
}

/** Kinds that share a key with another: a topic's creation and its deletion are states of one thing, as are a key's. */
function keyKind(kind: number): number {
  if (kind === COMMAND.topicDeleted) return COMMAND.topicCreated;
  return kind === COMMAND.kvDeleted ? COMMAND.kvPut : kind;
}

/** Bytes of a body, from its start, that make the key of each kind, without trailing names. */
function keyFixedBytes(kind: number): number {
  switch (kind) {
    case COMMAND.topicCreated:
    case COMMAND.topicDeleted:
    case COMMAND.namespaceCreated:
    case COMMAND.namespaceFloor:
      return 4;
    default:
      return 6;
  }
}

/** Orders two items by key: kind, topic, partition, group; or namespace and key. 0: they are states of one thing. */
export function compareItems(left: CommandCursor, right: CommandCursor): number {
  const kind = keyKind(left.kind) - keyKind(right.kind);
  // There is one membership.
  if (kind !== 0 || left.kind === COMMAND.configured) return kind;
  const topic = left.topicId - right.topicId;
  if (topic !== 0 || keyFixedBytes(left.kind) < 6) return topic;
  if (keyKind(left.kind) === COMMAND.kvPut) return Buffer.compare(kvKeyOf(left), kvKeyOf(right));
  const partition = left.partition - right.partition;
  if (partition !== 0 || left.kind !== COMMAND.groupCommitted) return partition;
  const leftGroup = left.bytes.subarray(left.groupStart, left.bodyEnd);
  const rightGroup = right.bytes.subarray(right.groupStart, right.bodyEnd);
  return Buffer.compare(leftGroup, rightGroup);
}

/** Whether `later` in the log takes the place of `earlier`, another state of the same thing: floors and groups never go back. */
export function replaces(later: CommandCursor, earlier: CommandCursor): boolean {
  const isForward = later.kind === COMMAND.groupCommitted || later.kind === COMMAND.floorRaised;
  // Both carry how far they have got at the same place.
  return !isForward || later.committedOffset > earlier.committedOffset;
}

/** Whether a command belongs to the window: kept in log order, not by key. Settings say how long keys stay from there on. */
export const isWindowItem = (kind: number): boolean =>
  kind === COMMAND.remembered || kind === COMMAND.settings;

/** Copies an item out of its block. */
export function copyItem(item: CommandCursor): Uint8Array {
  assert(item.bodyEnd - item.start >= COMMAND_HEADER_BYTES, "An item has a header");
  return item.bytes.slice(item.start, item.bodyEnd);
}
