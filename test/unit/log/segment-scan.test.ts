// What a walk through a segment says of it: where it ends, why, and what its frames knew to be durable.

import { describe, expect, test } from "bun:test";
import { viewOf } from "../../../src/lib/bytes.ts";
import { Prng } from "../../../src/lib/prng.ts";
import { FRAME_BYTES, SEGMENT_DATA_START } from "../../../src/log/format.ts";
import {
  findMarks,
  type ScanResult,
  scanSegment,
  visitEntries,
} from "../../../src/log/segment-scan.ts";
import { type EntryParts, SegmentBuilder } from "../../support/segment-builder.ts";
import { SimDirectory } from "../../support/sim-directory.ts";

const record = (bytes: number, baseOffset: number): EntryParts => ({
  chunks: [{ topicId: 1, partition: 0, baseOffset, values: [new Uint8Array(bytes).fill(9)] }],
});

/** Three writes of 1, 2 and 1 entries, and an idle frame. */
const built = (): SegmentBuilder =>
  new SegmentBuilder(1)
    .write([record(100, 0)])
    .write([record(100, 1), record(6000, 2)])
    .write([record(10, 3)])
    .write([]);

function scan(
  segment: SegmentBuilder,
  options: { readonly end?: number } = {},
): ScanResult & { readonly visited: number[] } {
  const files = new SimDirectory(new Prng(1), 4096, 2 ** 30);
  segment.putInto(files);
  const visited: number[] = [];
  const result = scanSegment(
    files,
    segment.name,
    {
      salt: segment.salt,
      from: SEGMENT_DATA_START,
      end: options.end ?? segment.bytes.length,
      chain: segment.previous,
    },
    (_bytes, _view, _at, header) => visited.push(header.index),
  );
  return { ...result, visited };
}

test("a whole segment ends where zeros begin, with its last entry and what was durable", () => {
  const segment = built();
  const result = scan(segment);

  expect(result).toMatchObject({
    position: segment.position,
    chain: segment.chain,
    firstIndex: 1,
    syncedIndex: 4,
    entries: 4,
    fault: undefined,
    visited: [1, 2, 3, 4],
  });
});

test("an end that is given is obeyed, also inside a write", () => {
  const segment = built();
  const third = segment.entries[2] ?? 0;

  expect(scan(segment, { end: third })).toMatchObject({
    position: third,
    fault: undefined,
    visited: [1, 2],
  });
});

test("bytes behind the given end are not looked at", () => {
  const segment = built();
  segment.bytes.fill(255, segment.position);

  expect(scan(segment, { end: segment.position })).toMatchObject({ fault: undefined, entries: 4 });
});

describe("the walk ends, and says so, at", () => {
  const at = (position: number, value: number) => (segment: SegmentBuilder) => {
    segment.bytes[position] = value;
  };
  const entry = (segment: SegmentBuilder, i: number): number => segment.entries[i] ?? 0;
  const cases: [string, (segment: SegmentBuilder) => void, string, number[]][] = [
    ["a damaged first frame", at(SEGMENT_DATA_START + 8, 1), "no valid write frame", []],
    [
      "rubbish behind the last write",
      (segment) => at(segment.position + 500, 1)(segment),
      "no valid write frame",
      [1, 2, 3, 4],
    ],
    [
      "an entry whose header is gone",
      (segment) => segment.bytes.fill(0, entry(segment, 1), entry(segment, 1) + 56),
      "no valid entry header",
      [1],
    ],
    [
      "an entry with a damaged header",
      (segment) => at(entry(segment, 1) + 32, 1)(segment),
      "an entry whose checksum does not hold",
      [1],
    ],
    [
      "records that are not what they were",
      (segment) => at(entry(segment, 2) + 3000, 1)(segment),
      "records whose checksum does not hold",
      [1, 2],
    ],
    [
      "an entry that ends past the file",
      (segment) => viewOf(segment.bytes).setUint32(entry(segment, 3), 65_536, true),
      "no valid entry header",
      [1, 2, 3],
    ],
  ];
  test.each(cases)("%s", (_, damage, fault, visited) => {
    const segment = built();
    damage(segment);

    expect(scan(segment)).toMatchObject({ fault, visited });
  });

  test("an entry of another log, however whole it is", () => {
    const other = new SegmentBuilder(1, {
      chain: { index: 0, term: 1, checksum: 123, timestampMs: 0 },
    }).write([record(50, 0)]);
    const segment = new SegmentBuilder(1);
    segment.bytes.set(other.bytes.subarray(SEGMENT_DATA_START), SEGMENT_DATA_START);

    expect(scan(segment)).toMatchObject({
      fault: "a write frame that does not follow the entry before it",
      visited: [],
    });
  });

  test("an entry whose term is lower than the one before it", () => {
    const segment = new SegmentBuilder(1).write([{ term: 5 }, { term: 4 }]);

    expect(scan(segment)).toMatchObject({
      fault: "an entry that does not follow the one before it",
      visited: [1],
    });
  });

  test("an entry that the file is too short for", () => {
    const segment = built();

    expect(scan(segment, { end: (segment.entries[2] ?? 0) + 3000 })).toMatchObject({
      fault: "an entry that ends past the file",
      visited: [1, 2],
    });
  });
});

describe("behind damage", () => {
  const find = (segment: SegmentBuilder, from: number): number => {
    const files = new SimDirectory(new Prng(1), 4096, 2 ** 30);
    segment.putInto(files);
    const end = segment.bytes.length;
    return findMarks(files, { name: segment.name, salt: segment.salt, from, end }).syncedIndex;
  };

  test("frames still tell what was durable", () => {
    const segment = built();
    segment.bytes.fill(0, SEGMENT_DATA_START, segment.position - FRAME_BYTES);

    expect(find(segment, SEGMENT_DATA_START)).toBe(4);
    expect(find(segment, SEGMENT_DATA_START + 3)).toBe(4);
  });

  test("a frame of another segment or place tells nothing, so that no record can pass for one", () => {
    const segment = built();
    const foreign = new SegmentBuilder(2).write([], 99);
    segment.bytes.set(foreign.bytes.subarray(4096, 4144), 8192);
    const moved = new SegmentBuilder(1).write([], 98);
    segment.bytes.set(moved.bytes.subarray(4096, 4144), 16_384);

    expect(find(segment, SEGMENT_DATA_START)).toBe(4);
  });

  test("a frame that lies across two pieces of the walk is seen", () => {
    const fileBytes = (1 << 20) + 65_536;
    const segment = new SegmentBuilder(1, { fileBytes });
    const gap = (1 << 20) - 24;
    const late = new SegmentBuilder(1, { fileBytes });
    late.position = SEGMENT_DATA_START + gap;
    late.write([], 55);
    segment.bytes.set(late.bytes.subarray(SEGMENT_DATA_START), SEGMENT_DATA_START);

    expect(find(segment, SEGMENT_DATA_START)).toBe(55);
  });
});

describe("visitEntries()", () => {
  test("stops the node when the disk gives back an entry that does not hold", () => {
    const segment = built();
    const files = new SimDirectory(new Prng(1), 4096, 2 ** 30);
    segment.putInto(files);
    const visit = (): number[] => {
      const visited: number[] = [];
      visitEntries(
        files,
        segment.name,
        SEGMENT_DATA_START,
        segment.position,
        (_bytes, _view, _at, header) => visited.push(header.index),
      );
      return visited;
    };

    expect(visit()).toEqual([1, 2, 3, 4]);
    // The term of the first entry.
    files.file(segment.name).flipBit(SEGMENT_DATA_START + FRAME_BYTES + 16);
    expect(visit).toThrow("no entry that holds");
  });
});
