// The bytes of an archive: what is moved is the same, every changed bit is found, every cut is found.

import { beforeEach, describe, expect, test } from "bun:test";
import { encodeKept, endOfKept, indexArchive, scanArchive } from "../../../src/log/archive.ts";
import {
  type ArchiveSource,
  CHUNK_FIELDS,
  deriveArchive,
  planArchive,
  writeArchive,
} from "../../../src/log/archive-jobs.ts";
import { FileError } from "../../../src/log/disk.ts";
import { ENTRY_HEADER_BYTES, fileName, SEGMENT_DATA_START } from "../../../src/log/format.ts";
import { IndexFile, partitionKey } from "../../../src/log/offset-index.ts";
import { CommandCursor } from "../../../src/model/command-codec.ts";
import { logDirectory } from "../../support/log-directory.ts";
import { CLUSTER_ID, encodeRecords, SegmentBuilder } from "../../support/segment-builder.ts";
import type { SimDirectory } from "../../support/sim-directory.ts";

const SEQUENCE = 9;
const value = (text: string): Uint8Array => new TextEncoder().encode(text);
const chunk = (topicId: number, partition: number, baseOffset: number, texts: string[]) => ({
  topicId,
  partition,
  baseOffset,
  values: texts.map(value),
});

/** Two segments in which three partitions take turns. */
function builders(): readonly SegmentBuilder[] {
  const first = new SegmentBuilder(1)
    .write([{ chunks: [chunk(2, 0, 0, ["a0", "a1"]), chunk(1, 1, 0, ["b0"])] }])
    .write([{ chunks: [chunk(1, 0, 0, ["c0"])] }, { chunks: [chunk(2, 0, 2, ["a2"])] }]);
  const second = new SegmentBuilder(2, { chain: first.chain })
    .write([{ chunks: [chunk(1, 0, 1, ["c1", "c2", "c3"]), chunk(2, 0, 3, ["a3"])] }])
    .write([{ chunks: [chunk(1, 1, 1, ["b1"])] }]);
  return [first, second];
}

const sourceOf = (segment: SegmentBuilder): ArchiveSource => ({
  kind: "log",
  sequence: segment.sequence,
  salt: segment.salt,
  clusterId: CLUSTER_ID,
  validBytes: segment.position,
  chain: segment.previous,
  lastIndex: segment.chain.index,
});

/** Moves what is at or above the floors of all sources into one archive, in pieces of one chunk. Returns its size. */
function move(
  files: SimDirectory,
  sources: readonly ArchiveSource[],
  floors: ReadonlyMap<number, number>,
): number {
  const flat = Float64Array.from([...floors].flat());
  const chunks = sources.flatMap((source, number) => {
    const { chunks: found } = planArchive(files, { kind: "plan_archive", source, floors: flat });
    return Array.from({ length: found.length / CHUNK_FIELDS }, (_, i) => [
      number,
      ...found.subarray(i * CHUNK_FIELDS, (i + 1) * CHUNK_FIELDS),
    ]);
  });
  chunks.sort(
    (left, right) => (left[1] ?? 0) - (right[1] ?? 0) || (left[2] ?? 0) - (right[2] ?? 0),
  );
  const lengthOf = (fields: readonly number[]): number =>
    Math.ceil((ENTRY_HEADER_BYTES + (fields[5] ?? 0) + 32) / 8) * 8;
  const bytes = chunks.reduce((sum, fields) => sum + lengthOf(fields), SEGMENT_DATA_START);
  let position = SEGMENT_DATA_START;
  for (const fields of chunks) {
    writeArchive(files, {
      kind: "write_archive",
      sequence: SEQUENCE,
      clusterId: CLUSTER_ID,
      bytes,
      position,
      chunks: Float64Array.from(fields),
      sources,
    });
    position += lengthOf(fields);
  }
  return position;
}

const ALL = new Map([
  [partitionKey(1, 0), 0],
  [partitionKey(1, 1), 0],
  [partitionKey(2, 0), 0],
]);

/** What an archive holds: partition, offset, index of the entry, time, and the records. */
function contentOf(files: SimDirectory, validBytes: number): unknown[] {
  const found: unknown[] = [];
  const commands = new CommandCursor();
  const archive = { sequence: SEQUENCE, clusterId: CLUSTER_ID, validBytes };
  scanArchive(files, archive, (bytes, view, at, header) => {
    const data = at + ENTRY_HEADER_BYTES;
    const start = data + header.dataBytes;
    commands.reset(bytes, view, start, start + header.commandBytes).next();
    found.push([
      `${commands.topicId}/${commands.partition}`,
      commands.chunkBaseOffset,
      header.index,
      header.timestampMs,
      bytes.slice(data, start).toHex(),
    ]);
  });
  return found;
}

let files: SimDirectory;
let segments: readonly SegmentBuilder[];
let validBytes: number;

beforeEach(() => {
  segments = builders();
  files = logDirectory({ segments });
  validBytes = move(files, segments.map(sourceOf), ALL);
});

const hex = (...texts: string[]): string => encodeRecords(texts.map(value)).toHex();

describe("moving", () => {
  test("brings chunks as they are, by partition and offset, with the entry they came with", () => {
    expect(contentOf(files, validBytes)).toEqual([
      ["1/0", 0, 2, 2, hex("c0")],
      ["1/0", 1, 4, 4, hex("c1", "c2", "c3")],
      ["1/1", 0, 1, 1, hex("b0")],
      ["1/1", 1, 5, 5, hex("b1")],
      ["2/0", 0, 1, 1, hex("a0", "a1")],
      ["2/0", 2, 3, 3, hex("a2")],
      ["2/0", 3, 4, 4, hex("a3")],
    ]);
  });

  test("leaves out topics that are gone and chunks that are wholly below their floor", () => {
    const floors = new Map([
      [partitionKey(1, 0), 2],
      [partitionKey(2, 0), 3],
    ]);
    files = logDirectory({ segments });
    validBytes = move(files, segments.map(sourceOf), floors);

    expect(contentOf(files, validBytes)).toEqual([
      ["1/0", 1, 4, 4, hex("c1", "c2", "c3")],
      ["2/0", 3, 4, 4, hex("a3")],
    ]);
  });

  test("from an archive gives the same archive", () => {
    const before = files.map(fileName(SEQUENCE, "archive"))?.slice(SEGMENT_DATA_START);
    const source: ArchiveSource = {
      kind: "archive",
      sequence: SEQUENCE,
      salt: 0,
      clusterId: CLUSTER_ID,
      validBytes,
      chain: { index: 0, term: 0, checksum: 0, timestampMs: 0 },
      lastIndex: 5,
    };
    const plan = planArchive(files, {
      kind: "plan_archive",
      source,
      floors: Float64Array.from([...ALL].flat()),
    });
    const chunks: number[] = [];
    for (let i = 0; i < plan.chunks.length; i += CHUNK_FIELDS)
      chunks.push(0, ...plan.chunks.subarray(i, i + CHUNK_FIELDS));
    writeArchive(files, {
      kind: "write_archive",
      sequence: SEQUENCE + 1,
      clusterId: CLUSTER_ID,
      bytes: validBytes,
      position: SEGMENT_DATA_START,
      chunks: Float64Array.from(chunks),
      sources: [source],
    });

    expect(files.map(fileName(SEQUENCE + 1, "archive"))?.slice(SEGMENT_DATA_START)).toEqual(before);
  });

  test("stops at records that are not what they were, and names their file", () => {
    const [, second] = segments;
    const at = Buffer.from(second?.bytes ?? []).indexOf("c2");
    files.write(fileName(2, "log"), at, value("C"));

    expect(() => move(files, segments.map(sourceOf), ALL)).toThrow("000000000002.log");
  });

  test("does not mind what is dead", () => {
    const [first] = segments;
    const at = Buffer.from(first?.bytes ?? []).indexOf("c0");
    files.write(fileName(1, "log"), at, value("C"));
    const floors = new Map(ALL).set(partitionKey(1, 0), 1);

    expect(move(files, segments.map(sourceOf), floors)).toBeLessThan(validBytes);
  });
});

describe("damage", () => {
  const scan = (sequence = SEQUENCE, bytes = validBytes): void =>
    scanArchive(files, { sequence, clusterId: CLUSTER_ID, validBytes: bytes }, () => undefined);

  test("every changed bit is found", () => {
    const name = fileName(SEQUENCE, "archive");
    const whole = files.map(name) ?? new Uint8Array(0);
    scan();
    const missed: number[] = [];
    for (let at = 0; at < whole.length; at++) {
      // The page of the header is long, and zeros but for its beginning.
      if (at > 64 && at < SEGMENT_DATA_START - 8) continue;
      for (let bit = 0; bit < 8; bit++) {
        const byte = whole[at] ?? 0;
        files.write(name, at, Uint8Array.of(byte ^ (1 << bit)));
        try {
          scan();
          missed.push(at * 8 + bit);
        } catch (error) {
          expect(error).toBeInstanceOf(FileError);
        }
        files.write(name, at, Uint8Array.of(byte));
      }
    }
    expect(missed).toEqual([]);
  });

  test("every cut is found", () => {
    const name = fileName(SEQUENCE, "archive");
    const whole = files.map(name) ?? new Uint8Array(0);
    for (let bytes = whole.length - 1; bytes >= SEGMENT_DATA_START - 8; bytes--) {
      files.truncate(name, bytes);
      expect(() => scan(), `cut to ${bytes}`).toThrow(FileError);
      expect(() => scan(SEQUENCE, bytes), `taken to end at ${bytes}`).toThrow(FileError);
    }
  });

  test("a chunk that is missing, twice or out of order is found", () => {
    const name = fileName(SEQUENCE, "archive");
    const whole = files.map(name) ?? new Uint8Array(0);
    const starts: number[] = [];
    const archive = { sequence: SEQUENCE, clusterId: CLUSTER_ID, validBytes };
    scanArchive(files, archive, (_bytes, _view, _at, _header, position) => starts.push(position));
    const [first = 0, second = 0, third = 0] = starts;
    files.write(name, first, whole.subarray(second, third));
    files.write(name, first + third - second, whole.subarray(first, second));

    expect(() => scan()).toThrow("does not follow");
  });

  test("an archive of another cluster is none", () => {
    const clusterId = "f".repeat(32);
    expect(() =>
      scanArchive(files, { sequence: SEQUENCE, clusterId, validBytes }, () => undefined),
    ).toThrow("no header");
  });
});

describe("index", () => {
  test("tells ranges, chunks and where to look, from a file as from a walk", () => {
    const job = { sequence: SEQUENCE, clusterId: CLUSTER_ID, validBytes };
    deriveArchive(files, { kind: "derive_archive", ...job });
    const bytes = files.map(fileName(SEQUENCE, "index")) ?? new Uint8Array(0);
    const index = IndexFile.open(bytes, SEQUENCE, CLUSTER_ID);
    const walked = indexArchive(files, job);

    for (const key of ALL.keys()) {
      const { chunks, firstOffset, nextOffset, bytes } = index?.range(key) ?? {};
      expect(walked.range(key)).toMatchObject({ chunks, firstOffset, nextOffset, bytes } as object);
      expect(index?.find(key, 1)).toEqual(walked.find(key, 1));
      expect(index?.findAfter(key, 0)).toBeUndefined();
    }
    expect(index?.range(partitionKey(2, 0))).toMatchObject({ chunks: 3, nextOffset: 4 });
  });
});

describe("records for a peer", () => {
  const slice = (baseOffset: number, ...texts: string[]) => {
    const bytes = encodeRecords(texts.map(value));
    const count = texts.length;
    return {
      bytes,
      start: 0,
      end: bytes.length,
      baseOffset,
      count,
      timestampMs: 5,
      raftIndex: 7,
      term: 2,
    };
  };
  const key = partitionKey(3, 1);

  test("go on where they were asked for, and end where they end", () => {
    const kept = encodeKept(key, [slice(4, "a", "b"), slice(6, "c")]);

    expect(endOfKept(kept, key, 5)).toBe(7);
    expect(endOfKept(kept, key, 4)).toBe(7);
    expect(endOfKept(new Uint8Array(0), key, 4)).toBe(4);
  });

  test("of another partition, behind a gap or with a changed bit are refused", () => {
    const kept = encodeKept(key, [slice(4, "a", "b"), slice(6, "c")]);
    const gap = encodeKept(key, [slice(4, "a", "b"), slice(7, "c")]);
    expect(endOfKept(kept, key + 1, 4)).toBeUndefined();
    expect(endOfKept(kept, key, 3)).toBeUndefined();
    expect(endOfKept(kept, key, 6)).toBeUndefined();
    expect(endOfKept(gap, key, 4)).toBeUndefined();
    for (let at = 0; at < kept.length; at++) {
      const changed = kept.slice();
      changed[at] = (changed[at] ?? 0) ^ 4;
      expect(endOfKept(changed, key, 4), `byte ${at}`).toBeUndefined();
    }
  });
});
