// Builds segment files byte by byte, as a node would have written them, for tests that start from a disk.

import { ByteWriter, viewOf } from "../../src/lib/bytes.ts";
import { crc32 } from "../../src/lib/checksum.ts";
import type { Files } from "../../src/log/disk.ts";
import {
  ENTRY_HEADER_BYTES,
  ENTRY_KIND,
  encodeSegmentHeader,
  entryBytes,
  FRAME_BYTES,
  fileName,
  newEntryHeader,
  putFrame,
  SEGMENT_DATA_START,
  sealEntry,
} from "../../src/log/format.ts";
import { CHAIN_START, type ChainEnd } from "../../src/log/segment-scan.ts";
import { CHUNK_COMMAND_BYTES, putChunk } from "../../src/model/command-codec.ts";
import { putRecord, recordSize } from "../../src/model/record.ts";

/** What one entry holds. */
export interface EntryParts {
  readonly term?: number;
  readonly timestampMs?: number;
  readonly kind?: number;
  readonly chunks?: readonly {
    readonly topicId: number;
    readonly partition: number;
    readonly baseOffset: number;
    readonly values: readonly Uint8Array[];
  }[];
  readonly commands?: (writer: ByteWriter) => void;
}

/** The cluster of every file that is built here. */
export const CLUSTER_ID = "00112233445566778899aabbccddeeff";

/** Records back to back. */
export function encodeRecords(values: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(
    values.reduce((sum, value) => sum + recordSize(-1, -1, value.length), 0),
  );
  let at = 0;
  for (const value of values)
    at = putRecord(bytes, at, undefined, undefined, value, 0, value.length);
  return bytes;
}

/** The bytes of one entry that follows `chain`, and the new end of the chain. */
export function encodeEntry(
  parts: EntryParts,
  chain: ChainEnd,
): { readonly bytes: Uint8Array; readonly chain: ChainEnd } {
  const chunks = (parts.chunks ?? []).map((chunk) => ({
    ...chunk,
    data: encodeRecords(chunk.values),
  }));
  const commands = new ByteWriter();
  for (const { topicId, partition, baseOffset, values, data } of chunks) {
    const at = commands.reserve(CHUNK_COMMAND_BYTES);
    const view = viewOf(commands.bytes);
    putChunk(view, at, topicId, partition, baseOffset, values.length, data.length, crc32(data));
  }
  parts.commands?.(commands);
  const dataBytes = chunks.reduce((sum, { data }) => sum + data.length, 0);
  const bytes = new Uint8Array(entryBytes(dataBytes, commands.length));
  let at = ENTRY_HEADER_BYTES;
  for (const { data } of chunks) {
    bytes.set(data, at);
    at += data.length;
  }
  bytes.set(commands.written(), at);
  const header = newEntryHeader();
  header.previousChecksum = chain.checksum;
  header.kind = parts.kind ?? ENTRY_KIND.commands;
  header.term = parts.term ?? Math.max(1, chain.term);
  header.index = chain.index + 1;
  header.timestampMs = parts.timestampMs ?? chain.timestampMs + 1;
  header.dataBytes = dataBytes;
  header.commandBytes = commands.length;
  header.recordCount = chunks.reduce((sum, { values }) => sum + values.length, 0);
  sealEntry(bytes, viewOf(bytes), 0, header);
  const { index, term, checksum, timestampMs } = header;
  return { bytes, chain: { index, term, checksum, timestampMs } };
}

/** One segment on its way to a disk. */
export class SegmentBuilder {
  readonly sequence: number;
  readonly salt: number;
  readonly bytes: Uint8Array;
  readonly previous: ChainEnd;
  chain: ChainEnd;
  position = SEGMENT_DATA_START;
  /** Where each entry begins. */
  readonly entries: number[] = [];

  constructor(
    sequence: number,
    options: {
      readonly chain?: ChainEnd;
      readonly fileBytes?: number;
      readonly salt?: number;
    } = {},
  ) {
    this.sequence = sequence;
    this.salt = options.salt ?? 1000 + sequence;
    this.previous = options.chain ?? CHAIN_START;
    this.chain = this.previous;
    const fileBytes = options.fileBytes ?? 65_536;
    this.bytes = new Uint8Array(fileBytes);
    this.bytes.set(
      encodeSegmentHeader({ sequence, salt: this.salt, fileBytes, clusterId: CLUSTER_ID }),
    );
  }

  get name(): string {
    return fileName(this.sequence, "log");
  }

  /** What the next frames say to be committed. */
  commitIndex = 0;

  /** Adds one write: a frame and its entries. */
  write(entries: readonly EntryParts[], syncedIndex = this.chain.index): this {
    const start = this.position;
    const { index, checksum } = this.chain;
    this.position += FRAME_BYTES;
    for (const parts of entries) {
      const entry = encodeEntry(parts, this.chain);
      this.entries.push(this.position);
      this.bytes.set(entry.bytes, this.position);
      this.position += entry.bytes.length;
      this.chain = entry.chain;
    }
    putFrame(
      this.bytes,
      viewOf(this.bytes),
      start,
      {
        position: start,
        entryBytes: this.position - start - FRAME_BYTES,
        entryCount: entries.length,
        syncedIndex,
        firstIndex: index + 1,
        previousChecksum: checksum,
        commitIndex: this.commitIndex,
      },
      this.salt,
    );
    return this;
  }

  /** Puts the file on a disk, synced. */
  putInto(files: Files): this {
    files.create(this.name);
    files.write(this.name, 0, this.bytes);
    files.sync(this.name);
    files.syncDirectory();
    return this;
  }
}
