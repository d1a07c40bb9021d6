// What became of the keys of a namespace, entry by entry: read from the log by position, so that nobody who resumes misses
// anything. Entries in which nothing of it changed are passed over by what the state knows, where it does.

import { viewOf } from "../lib/bytes.ts";
import { ENTRY_HEADER_BYTES, type EntrySpan, newEntryHeader, readEntryHeader } from "../log/mod.ts";
import { CommandCursor } from "../model/command-codec.ts";
import { KvReader } from "../model/kv-codec.ts";
import type { Replica } from "./replica.ts";

/** Bytes of entries that one read looks at, about. */
const READ_BYTES = 1 << 20;

/** One change of one key. */
export interface KeyChange {
  readonly kind: "put" | "deleted" | "expired";
  readonly key: Uint8Array;
  readonly cas: number;
  /** Of a put; 0: none. */
  readonly deadlineMs: number;
  /** Of a put. */
  readonly value: Uint8Array | undefined;
  /** Index of its entry. */
  readonly index: number;
}

/** What a read found. */
export interface KeyChangesFound {
  readonly changes: readonly KeyChange[];
  /** Where to go on. */
  readonly nextIndex: number;
  /** The first entry that the log still has. */
  readonly firstIndex: number;
}

/** Key of the wish for changes of a namespace, among those for records; undefined: for one that is not there yet. */
export const namespaceWish = (namespaceId: number | undefined): number => -1 - (namespaceId ?? 0);

/** Reads changes. */
export class KeyChanges {
  readonly #replica: Replica;
  readonly #header = newEntryHeader();
  readonly #commands = new CommandCursor();
  readonly #reader = new KvReader();

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  /** Changes from the entry `from` on, as far as this node has applied: some of them, and where to go on. */
  read(namespace: string, from: number): KeyChangesFound | Promise<KeyChangesFound> {
    const { appliedIndex, kv, log } = this.#replica;
    const { firstIndex } = log;
    const found = kv.namespace(namespace);
    const nextIndex = appliedIndex + 1;
    const changedIndex = found && Math.max(found.changedIndex, kv.foldedIndex);
    if (found === undefined || changedIndex === undefined || changedIndex < from)
      return { changes: [], nextIndex: Math.max(from, nextIndex), firstIndex };
    if (from < firstIndex) return { changes: [], nextIndex: from, firstIndex };
    const span = log.entries.read(from, Math.min(changedIndex, appliedIndex), READ_BYTES);
    const done = (entries: EntrySpan): KeyChangesFound => {
      const changes = this.#changesIn(entries, found.id);
      log.entries.release(entries);
      // The log was cut while the disk was asked: the same is asked for again.
      return { changes, nextIndex: Math.max(from, entries.lastIndex + 1), firstIndex };
    };
    return span instanceof Promise ? span.then(done) : done(span);
  }

  #changesIn(span: EntrySpan, namespaceId: number): readonly KeyChange[] {
    const changes: KeyChange[] = [];
    const header = this.#header;
    for (const { bytes, start, end } of span.slices) {
      const view = viewOf(bytes);
      for (let at = start; at < end && readEntryHeader(view, at, header); at += header.bytes) {
        const from = at + ENTRY_HEADER_BYTES + header.dataBytes;
        const commands = this.#commands.reset(bytes, view, from, from + header.commandBytes);
        while (commands.next()) {
          const change = this.#changeIn(commands, namespaceId, header.index);
          if (change !== undefined) changes.push(change);
        }
      }
    }
    return changes;
  }

  #changeIn(commands: CommandCursor, namespaceId: number, index: number): KeyChange | undefined {
    const reader = this.#reader;
    if (!reader.read(commands) || reader.namespaceId !== namespaceId) return undefined;
    const { bytes, keyStart, keyEnd, valueStart, valueEnd, cas, deadlineMs } = reader;
    return {
      kind: reader.isPut ? "put" : reader.isExpired ? "expired" : "deleted",
      key: bytes.slice(keyStart, keyEnd),
      cas,
      deadlineMs,
      value: reader.isPut ? bytes.slice(valueStart, valueEnd) : undefined,
      index,
    };
  }
}
