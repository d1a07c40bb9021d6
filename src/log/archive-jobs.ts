// The jobs that move records: looking for what is alive in a source, writing it into an archive piece by piece, making the
// archive's index. Sources never change, and nothing refers to an archive before it is whole.

import { viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import { COMMAND, CommandCursor } from "../model/command-codec.ts";
import {
  encodeArchiveHeader,
  indexArchive,
  keptBytes,
  putKept,
  SourceWalk,
  scanArchive,
} from "./archive.ts";
import { FileError, type Files } from "./disk.ts";
import { ENTRY_HEADER_BYTES, fileName, newEntryHeader, SEGMENT_DATA_START } from "./format.ts";
import type { LiveSegment } from "./live-segment.ts";
import { partitionKey } from "./offset-index.ts";
import { type ChainEnd, type EntryVisitor, scanSegment } from "./segment-scan.ts";

/** Where records are that are to be kept: a sealed segment or another archive. Plain data. */
export interface ArchiveSource {
  readonly kind: "log" | "archive";
  readonly sequence: number;
  readonly salt: number;
  readonly clusterId: string;
  readonly validBytes: number;
  /** What the first entry of a segment follows. */
  readonly chain: ChainEnd;
  readonly lastIndex: number;
}

/** What a job is told of a live segment or archive. */
export const sourceOf = (segment: LiveSegment, clusterId: string): ArchiveSource => ({
  kind: segment.kind,
  sequence: segment.sequence,
  salt: segment.salt,
  clusterId,
  validBytes: segment.position,
  chain: segment.previous,
  lastIndex: segment.chain.index,
});

/** Looks for the chunks of one source that are to be kept. */
export interface PlanArchiveJob {
  readonly kind: "plan_archive";
  readonly source: ArchiveSource;
  /** Partition keys with their floors; records of any other partition are dead. */
  readonly floors: Float64Array;
}

/** The kept chunks of one source, by partition and then by offset: `CHUNK_FIELDS` numbers each. */
export interface ArchivePlan {
  readonly chunks: Float64Array;
}

/** Numbers that a plan has of each chunk. */
export const CHUNK_FIELDS = 9;
/** Where they are: the source's position is that of the records. */
export const CHUNK = {
  key: 0,
  baseOffset: 1,
  count: 2,
  position: 3,
  bytes: 4,
  checksum: 5,
  raftIndex: 6,
  term: 7,
  timestampMs: 8,
} as const;

/** Writes the next piece of an archive that nothing refers to yet, and syncs it. */
export interface WriteArchiveJob {
  readonly kind: "write_archive";
  readonly sequence: number;
  readonly clusterId: string;
  /** Of the whole archive. */
  readonly bytes: number;
  /** Where the piece goes; at its start the file is made. */
  readonly position: number;
  /** Chunks in the order of the archive, each with the number of its source in front of its fields. */
  readonly chunks: Float64Array;
  readonly sources: readonly ArchiveSource[];
}

/** Verifies a whole archive and makes its index. */
export interface DeriveArchiveJob {
  readonly kind: "derive_archive";
  readonly sequence: number;
  readonly clusterId: string;
  readonly validBytes: number;
}

/** Bytes that are read at a time where one chunk follows another. */
const WALK_BYTES = 64 << 10;

const damaged = (message: string): FileError => new FileError("damaged", message);

/** Runs a `plan_archive` job. Throws `FileError` when the source is not what it was. */
export function planArchive(files: Files, job: PlanArchiveJob): ArchivePlan {
  const floors = new Map<number, number>();
  for (let i = 0; i < job.floors.length; i += 2)
    floors.set(job.floors[i] ?? 0, job.floors[i + 1] ?? 0);
  const kept = new Map<number, number[]>();
  const cursor = new CommandCursor();
  const visit: EntryVisitor = (bytes, view, at, header, position) => {
    let data = ENTRY_HEADER_BYTES;
    const commands = at + data + header.dataBytes;
    cursor.reset(bytes, view, commands, commands + header.commandBytes);
    while (cursor.next()) {
      if (cursor.kind !== COMMAND.chunk) continue;
      const start = data;
      data += cursor.chunkDataBytes;
      const key = partitionKey(cursor.topicId, cursor.partition);
      const floor = floors.get(key);
      const { chunkBaseOffset, chunkCount } = cursor;
      if (floor === undefined || chunkBaseOffset + chunkCount <= floor) continue;
      let list = kept.get(key);
      if (list === undefined) {
        list = [];
        kept.set(key, list);
      }
      list.push(key, chunkBaseOffset, chunkCount, position + start, cursor.chunkDataBytes);
      list.push(cursor.chunkChecksum, header.index, header.term, header.timestampMs);
    }
  };
  visitSource(files, job.source, visit);
  const lists = [...kept].sort(([left], [right]) => left - right).map(([, list]) => list);
  const chunks = new Float64Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    chunks.set(list, at);
    at += list.length;
  }
  return { chunks };
}

/** Reads a whole sealed segment or archive. Throws `FileError` when it is not what it was. */
function visitSource(files: Files, source: ArchiveSource, visit: EntryVisitor): void {
  if (source.kind === "archive") {
    scanArchive(files, source, visit);
    return;
  }
  const name = fileName(source.sequence, "log");
  const { salt, validBytes: end, chain, lastIndex } = source;
  // What is moved is verified when it is; what is dead may be anything.
  const scan = { salt, from: SEGMENT_DATA_START, end, chain, skipsRecords: true };
  const result = scanSegment(files, name, scan, visit);
  if (result.fault === undefined && result.chain.index === lastIndex) return;
  throw damaged(`Cannot read ${name} at ${result.position}: ${result.fault ?? "it ends early"}`);
}

/** Runs a `write_archive` job. Throws `FileError` when records are not what they were. */
export function writeArchive(files: Files, job: WriteArchiveJob): void {
  const name = fileName(job.sequence, "archive");
  const isFirst = job.position === SEGMENT_DATA_START;
  const stride = CHUNK_FIELDS + 1;
  let length = 0;
  for (let i = 0; i < job.chunks.length; i += stride)
    length += keptBytes(job.chunks[i + 1 + CHUNK.bytes] ?? 0);
  const piece = new Uint8Array(length);
  const view = viewOf(piece);
  const header = newEntryHeader();
  const walks = job.sources.map(
    (source) => new SourceWalk(files, fileName(source.sequence, source.kind), WALK_BYTES),
  );
  let at = 0;
  for (let i = 0; i < job.chunks.length; i += stride) {
    const field = (name: keyof typeof CHUNK): number => job.chunks[i + 1 + CHUNK[name]] ?? 0;
    const walk = walks[job.chunks[i] ?? 0];
    if (walk === undefined) throw damaged(`Cannot write ${name}: a chunk has no source`);
    const dataBytes = field("bytes");
    const dataStart = at + ENTRY_HEADER_BYTES;
    walk.need(field("position"), dataBytes);
    piece.set(walk.bytes.subarray(walk.at, walk.at + dataBytes), dataStart);
    if (crc32(piece.subarray(dataStart, dataStart + dataBytes)) !== field("checksum"))
      throw damaged(
        `Cannot read ${walk.name} at ${field("position")}: records whose checksum does not hold`,
      );
    at += putKept(piece, view, at, header, {
      key: field("key"),
      baseOffset: field("baseOffset"),
      count: field("count"),
      bytes: dataBytes,
      checksum: field("checksum"),
      raftIndex: field("raftIndex"),
      term: field("term"),
      timestampMs: field("timestampMs"),
    });
  }
  if (isFirst) {
    files.remove(name);
    files.create(name);
    files.write(name, 0, encodeArchiveHeader(job.sequence, job.bytes, job.clusterId));
  }
  files.write(name, job.position, piece);
  files.sync(name);
}

/** Runs a `derive_archive` job. Throws `FileError` when the archive is damaged. */
export function deriveArchive(files: Files, job: DeriveArchiveJob): void {
  const index = indexArchive(files, job);
  const indexName = fileName(job.sequence, "index");
  files.remove(indexName);
  files.create(indexName);
  files.write(indexName, 0, index.encode(job.sequence, job.clusterId));
  files.sync(indexName);
  files.syncDirectory();
}
