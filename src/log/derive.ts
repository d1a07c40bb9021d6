// The two long jobs: making a sealed segment's index and delta, and merging deltas into a new base.
// Both read files that never change again and write files that nothing knows yet, so that they can be cut off anywhere.

import { ByteWriter, viewOf } from "../lib/bytes.ts";
import {
  COMMAND,
  CommandCursor,
  type ControlCommand,
  newRemembered,
  putCommand,
  RETENTION_ALL_TOPICS,
} from "../model/command-codec.ts";
import { kvCasOf } from "../model/kv-codec.ts";
import type { Files } from "./disk.ts";
import { FileError } from "./disk.ts";
import { ENTRY_HEADER_BYTES, fileName, SEGMENT_DATA_START } from "./format.ts";
import { KeyItems } from "./key-items.ts";
import { GrowingIndex, PARTITIONS_PER_TOPIC_MAX } from "./offset-index.ts";
import { type ChainEnd, type EntryVisitor, scanSegment } from "./segment-scan.ts";
import {
  compareItems,
  copyItem,
  isWindowItem,
  replaces,
  StateFileReader,
  StateFileWriter,
} from "./state-file.ts";

/** Makes `.index` and `.delta` of one sealed segment. */
export interface DeriveJob {
  readonly kind: "derive_segment";
  readonly sequence: number;
  readonly salt: number;
  readonly clusterId: string;
  readonly validBytes: number;
  /** The end of the segment before. */
  readonly chain: ChainEnd;
  /** What the walk must end at: anything else is damage. */
  readonly lastIndex: number;
}

/** Merges a base and the deltas after it into a new base. */
export interface MergeJob {
  readonly kind: "merge_base";
  readonly sequence: number;
  readonly clusterId: string;
  readonly baseSequence: number | undefined;
  /** Of the segments whose deltas go in, oldest first. */
  readonly deltaSequences: readonly number[];
}

const damaged = (message: string): Error => new FileError("damaged", message);

/** Reads a whole sealed segment; returns its end. Throws `FileError` when it is not what it was. */
export function verifySegment(
  files: Files,
  job: Omit<DeriveJob, "kind">,
  visit: EntryVisitor = () => undefined,
): ChainEnd {
  const name = fileName(job.sequence, "log");
  const scan = { salt: job.salt, from: SEGMENT_DATA_START, end: job.validBytes, chain: job.chain };
  const result = scanSegment(files, name, scan, visit);
  if (result.fault !== undefined || result.chain.index !== job.lastIndex) {
    throw damaged(
      `Cannot read ${name} at ${result.position}: ${result.fault ?? "it ends early"}, after index ${result.chain.index}`,
    );
  }
  return result.chain;
}

/** Runs a `derive_segment` job. Throws `FileError` when the segment is not what it was. */
export function deriveSegment(files: Files, job: DeriveJob): void {
  const index = new GrowingIndex();
  const delta = new DeltaBuilder();
  const end = verifySegment(files, job, (bytes, view, at, header, position) => {
    index.addEntry(bytes, view, at, header, position);
    const start = at + ENTRY_HEADER_BYTES + header.dataBytes;
    delta.addCommands(bytes, view, start, start + header.commandBytes);
  });
  const indexName = fileName(job.sequence, "index");
  const deltaName = fileName(job.sequence, "delta");
  files.remove(indexName);
  files.remove(deltaName);
  files.create(indexName);
  files.write(indexName, 0, index.encode(job.sequence, job.clusterId));
  files.sync(indexName);
  for (const range of index.ranges()) {
    delta.addProgress(range.key, range.nextOffset, range.bytes);
  }
  delta.write(files, deltaName, job.sequence, job.clusterId, end);
  files.syncDirectory();
}

/** Gathers the last state change per key. */
class DeltaBuilder {
  readonly #keyed = new Map<string, Uint8Array>();
  readonly #keys = new KeyItems();
  readonly #window = new ByteWriter(1 << 16);
  readonly #cursor = new CommandCursor();
  readonly #earlier = new CommandCursor();
  readonly #scratch = new ByteWriter();
  #topicIdMax = 0;

  addCommands(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    const cursor = this.#cursor.reset(bytes, view, start, end);
    while (cursor.next()) {
      if (cursor.kind === COMMAND.chunk) continue;
      if (cursor.kind === COMMAND.topicCreated)
        this.#topicIdMax = Math.max(this.#topicIdMax, cursor.topicId);
      if (isWindowItem(cursor.kind)) this.#window.raw(bytes.subarray(cursor.start, cursor.bodyEnd));
      else if (isKey(cursor.kind)) this.#keys.add(cursor);
      else this.#keep(cursor);
    }
  }

  #keep(item: CommandCursor): void {
    const key = keyText(item);
    const known = this.#keyed.get(key);
    if (known !== undefined) {
      const earlier = this.#earlier.reset(known, viewOf(known), 0, known.length);
      earlier.next();
      if (!replaces(item, earlier)) return;
    }
    this.#keyed.set(key, copyItem(item));
  }

  addProgress(key: number, nextOffset: number, bytesAdded: number): void {
    putCommand(this.#scratch.clear(), {
      kind: "progressed",
      topicId: Math.floor(key / PARTITIONS_PER_TOPIC_MAX),
      partition: key % PARTITIONS_PER_TOPIC_MAX,
      nextOffset,
      bytesAdded,
    });
    const item = this.#scratch.written().slice();
    this.#keyed.set(`progress ${key}`, item);
  }

  write(files: Files, name: string, sequence: number, clusterId: string, chain: ChainEnd): void {
    const items = [...this.#keyed.values()].map((bytes) => {
      const cursor = new CommandCursor().reset(bytes, viewOf(bytes), 0, bytes.length);
      cursor.next();
      return cursor;
    });
    items.sort(compareItems);
    const writer = new StateFileWriter(files, name);
    for (const item of items) writer.item(item.bytes, item.start, item.bodyEnd);
    // Their kinds are the last.
    this.#keys.write(writer);
    writer.beginWindow();
    const window = this.#window.written();
    const cursor = new CommandCursor().reset(window, viewOf(window), 0, window.length);
    while (cursor.next()) writer.item(window, cursor.start, cursor.bodyEnd);
    writer.finish({ sequence, clusterId, chain, topicIdMax: this.#topicIdMax });
  }
}

const isKey = (kind: number): boolean => kind === COMMAND.kvPut || kind === COMMAND.kvDeleted;

/** A key that a `Map` can compare; `compareItems` calls exactly these equal. */
function keyText(item: CommandCursor): string {
  switch (item.kind) {
    case COMMAND.topicCreated:
    case COMMAND.topicDeleted:
      return `topic ${item.topicId}`;
    case COMMAND.groupCommitted:
      return `group ${item.topicId} ${item.partition} ${item.bytes.subarray(item.groupStart, item.bodyEnd).toHex()}`;
    case COMMAND.configured:
      return "configured";
    case COMMAND.namespaceCreated:
    case COMMAND.namespaceFloor:
      return `${item.kind} ${item.topicId}`;
    default:
      return `${item.kind} ${item.topicId} ${item.partition}`;
  }
}

/** Reads a whole base. Throws `FileError` when it is damaged. */
export function verifyBase(files: Files, name: string): void {
  const reader = new StateFileReader(files, name, damaged);
  while (reader.next());
  reader.beginWindow();
  while (reader.next());
}

/** Runs a `merge_base` job. Returns the size of the new base and the index it stands for. */
export function mergeBase(
  files: Files,
  job: MergeJob,
): { readonly bytes: number; readonly lastIndex: number } {
  const name = fileName(job.sequence, "base");
  files.remove(name);
  const sources = [
    ...(job.baseSequence === undefined ? [] : [fileName(job.baseSequence, "base")]),
    ...job.deltaSequences.map((sequence) => fileName(sequence, "delta")),
  ].map((source) => new StateFileReader(files, source, damaged));
  const writer = new StateFileWriter(files, name);
  mergeKeyed(sources, writer);
  writer.beginWindow();
  mergeWindow(sources, writer);
  const newest = sources.at(-1)?.header.chain;
  if (newest === undefined) throw damaged("Cannot merge a base of nothing");
  const topicIdMax = Math.max(...sources.map((source) => source.header.topicIdMax));
  const bytes = writer.finish({
    sequence: job.sequence,
    clusterId: job.clusterId,
    chain: newest,
    topicIdMax,
  });
  files.syncDirectory();
  return { bytes, lastIndex: newest.index };
}

/** Merges the sorted sections: the newest of each key, progress added up, nothing of deleted topics. */
function mergeKeyed(sources: readonly StateFileReader[], writer: StateFileWriter): void {
  const liveTopics = new Set<number>();
  /** By namespace: deletions at or below it are forgotten. They come before its keys. */
  const floors = new Map<number, number>();
  const scratch = new ByteWriter();
  let open = sources.filter((source) => source.next());
  while (open.length > 0) {
    let least = open[0] as StateFileReader;
    for (const source of open) if (compareItems(source.item, least.item) < 0) least = source;
    // Sources are oldest first, so the last of the equal ones is the newest.
    const equal = open.filter((source) => compareItems(source.item, least.item) === 0);
    const newest = equal
      .map((source) => source.item)
      .reduce((earlier, later) => (replaces(later, earlier) ? later : earlier));
    const command = newest.control();
    if (newest.kind === COMMAND.topicCreated) liveTopics.add(newest.topicId);
    if (command?.kind === "namespaceFloor") floors.set(command.namespaceId, command.floor);
    const isAlive = isKept(newest, liveTopics, floors);
    if (isAlive && command?.kind === "progressed") {
      const bytesAdded = equal.reduce((sum, source) => {
        const part = source.item.control();
        return sum + (part?.kind === "progressed" ? part.bytesAdded : 0);
      }, 0);
      putCommand(scratch.clear(), { ...command, bytesAdded });
      writer.item(scratch.bytes, 0, scratch.length);
    } else if (isAlive) {
      writer.item(newest.bytes, newest.start, newest.bodyEnd);
    }
    const ended = equal.filter((source) => !source.next());
    if (ended.length > 0) open = open.filter((source) => !ended.includes(source));
  }
}

/** Whether an item is still of any use when nothing comes before it. */
function isKept(
  item: CommandCursor,
  liveTopics: ReadonlySet<number>,
  floors: ReadonlyMap<number, number>,
): boolean {
  switch (item.kind) {
    case COMMAND.topicCreated:
    case COMMAND.configured:
    case COMMAND.namespaceCreated:
    case COMMAND.namespaceFloor:
    case COMMAND.kvPut:
      return true;
    case COMMAND.topicDeleted:
      return false;
    case COMMAND.kvDeleted:
      return kvCasOf(item) > (floors.get(item.topicId) ?? 0);
    case COMMAND.retentionSet:
      return item.topicId === RETENTION_ALL_TOPICS || liveTopics.has(item.topicId);
    default:
      return liveTopics.has(item.topicId);
  }
}

/** Settings under which no key leaves. */
const KEEP_ALL = {
  kind: "settings",
  idempotencyTtlMs: Number.MAX_SAFE_INTEGER,
  idempotencyKeysMax: Number.MAX_SAFE_INTEGER,
} as const;

/**
 * Joins the windows in log order and leaves out what has left by its end, under the settings of each moment, as apply does.
 * Keys leave oldest first, so what stays is an end of the list. It is put between settings under which nothing more leaves
 * and those that hold from here on.
 */
function mergeWindow(sources: readonly StateFileReader[], writer: StateFileWriter): void {
  const scratch = new ByteWriter();
  const put = (settings: ControlCommand): void => {
    putCommand(scratch.clear(), settings);
    writer.item(scratch.bytes, 0, scratch.length);
  };
  const { left, settings } = walkWindow(sources);
  if (settings === undefined) return;
  let surplus = left;
  put(KEEP_ALL);
  for (const source of sources) {
    source.beginWindow();
    while (source.next()) {
      if (source.item.kind !== COMMAND.remembered) continue;
      if (surplus > 0) surplus -= 1;
      else writer.item(source.item.bytes, source.item.start, source.item.bodyEnd);
    }
  }
  put(settings);
}

/** How many keys have left by the end of the windows, and the settings that hold there. */
function walkWindow(sources: readonly StateFileReader[]): {
  readonly left: number;
  readonly settings: Extract<ControlCommand, { kind: "settings" }> | undefined;
} {
  const outcome = newRemembered();
  let settings: Extract<ControlCommand, { kind: "settings" }> | undefined;
  // Times of the keys, oldest first; those before `left` have left. A million keys are 8 MB.
  const times: number[] = [];
  let left = 0;
  for (const source of sources) {
    source.beginWindow();
    while (source.next()) {
      const command = source.item.control();
      if (command?.kind === "settings") settings = command;
      if (source.item.kind !== COMMAND.remembered || settings === undefined) continue;
      source.item.remembered(outcome);
      times.push(outcome.timestampMs);
      const expiredMs = outcome.timestampMs - settings.idempotencyTtlMs;
      while (left < times.length && (times[left] ?? 0) <= expiredMs) left += 1;
      left = Math.max(left, times.length - settings.idempotencyKeysMax);
    }
  }
  return { left, settings };
}
