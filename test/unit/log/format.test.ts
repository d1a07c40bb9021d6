// The bytes of a segment: what is written is read, and everything that is not what was written is refused, by every branch.

import { describe, expect, test } from "bun:test";
import { viewOf } from "../../../src/lib/bytes.ts";
import { crc32 } from "../../../src/lib/checksum.ts";
import {
  decodeSegmentHeader,
  ENTRY_BYTES_MAX,
  ENTRY_HEADER_BYTES,
  encodeSegmentHeader,
  FRAME_BYTES,
  fileName,
  isFrameAt,
  newEntryHeader,
  newFrame,
  parseFileName,
  putFrame,
  readEntryHeader,
  readFrame,
  verifyEntry,
} from "../../../src/log/format.ts";
import { CHAIN_START } from "../../../src/log/segment-scan.ts";
import { putCommand } from "../../../src/model/command-codec.ts";
import { CLUSTER_ID, encodeEntry } from "../../support/segment-builder.ts";

describe("a segment header", () => {
  const header = { sequence: 7, salt: 0xfe_dc_ba_98, fileBytes: 2 ** 26, clusterId: CLUSTER_ID };
  /** The header with a change, under a checksum that holds. */
  const changed = (change: (bytes: Uint8Array) => void): Uint8Array => {
    const bytes = encodeSegmentHeader(header);
    change(bytes);
    viewOf(bytes).setUint32(52, crc32(bytes.subarray(0, 52)), true);
    return bytes;
  };

  test("is read as it was written", () => {
    expect(decodeSegmentHeader(encodeSegmentHeader(header))).toEqual(header);
  });

  test.each([
    ["shorter than a header", encodeSegmentHeader(header).subarray(0, 55)],
    ["empty", new Uint8Array(4096)],
    [
      "not a segment",
      changed((bytes) => {
        bytes[0] = 0;
      }),
    ],
    [
      "not a segment",
      changed((bytes) => {
        bytes[7] = 0;
      }),
    ],
    [
      "format version 1, this program reads 3",
      changed((bytes) => {
        bytes[8] = 1;
      }),
    ],
  ])("is refused as %s", (why, bytes) => {
    expect(decodeSegmentHeader(bytes)).toBe(why);
  });

  test("is refused for any changed bit", () => {
    const bytes = encodeSegmentHeader(header);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(typeof decodeSegmentHeader(damaged)).toBe("string");
    }
  });
});

describe("a write frame", () => {
  const frame = {
    position: 4096,
    entryBytes: 800,
    entryCount: 3,
    syncedIndex: 99,
    firstIndex: 100,
    previousChecksum: 0xde_ad,
    commitIndex: 98,
  };
  const written = (): { bytes: Uint8Array; view: DataView } => {
    const bytes = new Uint8Array(64);
    const view = viewOf(bytes);
    putFrame(bytes, view, 8, frame, 5);
    return { bytes, view };
  };

  test("is read as it was written", () => {
    const { bytes, view } = written();
    const into = newFrame();

    expect(isFrameAt(view, 8)).toBe(true);
    expect(readFrame(bytes, view, 8, 4096, 5, into)).toBe(true);
    expect(into).toEqual(frame);
  });

  test("of another place, another segment or a shorter file is none", () => {
    const { bytes, view } = written();
    const into = newFrame();

    expect(readFrame(bytes, view, 8, 4104, 5, into)).toBe(false);
    expect(readFrame(bytes, view, 8, 4096, 6, into)).toBe(false);
    const short = bytes.subarray(0, 8 + FRAME_BYTES - 1);
    expect(readFrame(short, viewOf(short), 8, 4096, 5, into)).toBe(false);
  });

  test("with any changed bit is none", () => {
    for (let bit = 64; bit < 64 + FRAME_BYTES * 8; bit++) {
      const { bytes, view } = written();
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(readFrame(bytes, view, 8, 4096, 5, newFrame())).toBe(false);
    }
  });

  test("never has the length of an entry for its first word", () => {
    const { view } = written();

    expect(view.getUint32(8, true) % 8).not.toBe(0);
  });
});

describe("an entry", () => {
  const { bytes } = encodeEntry(
    {
      term: 3,
      timestampMs: 1_700_000_000_000,
      chunks: [{ topicId: 1, partition: 2, baseOffset: 5, values: [Uint8Array.of(1, 2, 3)] }],
      commands: (writer) => putCommand(writer, { kind: "topicDeleted", topicId: 9 }),
    },
    { index: 41, term: 2, checksum: 77, timestampMs: 1 },
  );

  test("is read as it was sealed, padded to eight bytes", () => {
    const header = newEntryHeader();

    expect(readEntryHeader(viewOf(bytes), 0, header)).toBe(true);
    expect(verifyEntry(bytes, 0, header)).toBe(true);
    expect(header).toMatchObject({
      bytes: bytes.length,
      previousChecksum: 77,
      term: 3,
      index: 42,
      timestampMs: 1_700_000_000_000,
      dataBytes: 5,
      recordCount: 1,
    });
    expect(bytes.length % 8).toBe(0);
  });

  test("with any changed bit in its header or commands does not hold", () => {
    const header = newEntryHeader();
    readEntryHeader(viewOf(bytes), 0, header);
    const { dataBytes, commandBytes } = header;
    for (let at = 0; at < ENTRY_HEADER_BYTES + dataBytes + commandBytes; at++) {
      if (at >= ENTRY_HEADER_BYTES && at < ENTRY_HEADER_BYTES + dataBytes) continue;
      for (let bit = 0; bit < 8; bit++) {
        const damaged = bytes.slice();
        damaged[at] = (damaged[at] ?? 0) ^ (1 << bit);
        const isHeader = readEntryHeader(viewOf(damaged), 0, header);
        const holds = isHeader && header.bytes <= damaged.length && verifyEntry(damaged, 0, header);
        expect(holds).toBe(false);
      }
    }
  });

  const field = (at: number, value: number): Uint8Array => {
    const changed = bytes.slice();
    viewOf(changed).setUint32(at, value, true);
    return changed;
  };
  test.each([
    ["shorter than a header", bytes.subarray(0, ENTRY_HEADER_BYTES - 1)],
    ["of no length", field(0, 0)],
    ["of a length that is not that of its parts", field(0, bytes.length + 8)],
    ["of parts that are not its length", field(40, 14)],
    ["longer than any entry", field(0, ENTRY_BYTES_MAX + 8)],
    ["of term 0", field(16, 0)],
    ["of index 0", field(24, 0)],
    ["of an index that is no safe integer", field(28, 0xff_ff_ff_ff)],
    ["of a time that is no safe integer", field(36, 0xff_ff_ff_ff)],
    ["made of zeros", new Uint8Array(100)],
  ])("%s is none", (_, changed) => {
    expect(readEntryHeader(viewOf(changed), 0, newEntryHeader())).toBe(false);
  });

  test("without parts is a header alone", () => {
    expect(encodeEntry({}, CHAIN_START).bytes.length).toBe(ENTRY_HEADER_BYTES);
  });
});

test("names of data files carry their number and kind, and other names are none", () => {
  expect(fileName(42, "log")).toBe("000000000042.log");
  expect(parseFileName("000000000042.delta")).toEqual({ sequence: 42, kind: "delta" });
  for (const name of [
    "42.log",
    "000000000042.tmp",
    "manifest",
    "x000000000042.log",
    "000000000042.log.tmp",
  ])
    expect(parseFileName(name)).toBeUndefined();
});
