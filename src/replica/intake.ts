// Entries that another node sealed: looked at whole before anything is believed, since what is acknowledged must be what
// the leader sent. A message that does not hold counts for nothing; the leader sends it again.

import { isZero, viewOf } from "../lib/bytes.ts";
import {
  type ChainEnd,
  chainOf,
  ENTRY_HEADER_BYTES,
  type EntryHeader,
  newEntryHeader,
  readEntryHeader,
  verifyChunks,
  verifyEntry,
} from "../log/mod.ts";
import { CommandCursor } from "../model/command-codec.ts";
import type { AppendMessage } from "../raft/mod.ts";

/** Verifies the entries of appends and hands out those that are wanted. */
export class Intake {
  readonly #header: EntryHeader = newEntryHeader();
  readonly #commands = new CommandCursor();

  /** Whether `bytes` from `start` are exactly the entries that the message speaks of, each of them whole. */
  isWhole(message: AppendMessage, bytes: Uint8Array, start: number): boolean {
    const header = this.#header;
    const view = viewOf(bytes);
    let at = start;
    let run = 0;
    let previousChecksum: number | undefined;
    for (let index = message.prevIndex + 1; index <= message.lastIndex; index++) {
      if (!readEntryHeader(view, at, header) || at + header.bytes > bytes.length) return false;
      while (run + 1 < message.runs.length && (message.runs[run + 1]?.index ?? 0) <= index)
        run += 1;
      if (header.index !== index || header.term !== message.runs[run]?.term) return false;
      if (previousChecksum !== undefined && header.previousChecksum !== previousChecksum)
        return false;
      if (!this.#holds(bytes, view, at)) return false;
      previousChecksum = header.checksum;
      at += header.bytes;
    }
    return at === bytes.length;
  }

  /** How far `bytes` from `start` continue the log behind `chain`, whole to their end; undefined when they do not. */
  chainFrom(
    chain: ChainEnd,
    bytes: Uint8Array,
    start: number,
  ): { readonly end: ChainEnd; readonly count: number } | undefined {
    const header = this.#header;
    const view = viewOf(bytes);
    let end = chain;
    let count = 0;
    for (let at = start; at < bytes.length; at += header.bytes) {
      if (!readEntryHeader(view, at, header) || at + header.bytes > bytes.length) return undefined;
      if (header.index !== end.index + 1 || header.previousChecksum !== end.checksum)
        return undefined;
      if (!this.#holds(bytes, view, at)) return undefined;
      end = chainOf(header);
      count += 1;
    }
    return count === 0 ? undefined : { end, count };
  }

  /** Whether the entry that was read last is what was sealed, to its last byte: no checksum covers the zeros at its end. */
  #holds(bytes: Uint8Array, view: DataView, at: number): boolean {
    const header = this.#header;
    if (!verifyEntry(bytes, at, header)) return false;
    if (!verifyChunks(bytes, view, at, header, this.#commands)) return false;
    const end = at + ENTRY_HEADER_BYTES + header.dataBytes + header.commandBytes;
    return isZero(bytes.subarray(end, at + header.bytes));
  }

  /** Calls `take` for each entry from `firstIndex` on; the bytes are whole. */
  each(
    bytes: Uint8Array,
    start: number,
    firstIndex: number,
    take: (bytes: Uint8Array, at: number, header: EntryHeader) => void,
  ): void {
    const header = this.#header;
    const view = viewOf(bytes);
    for (let at = start; at < bytes.length; at += header.bytes) {
      if (!readEntryHeader(view, at, header)) return;
      if (header.index >= firstIndex) take(bytes, at, header);
    }
  }
}
