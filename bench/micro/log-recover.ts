// How fast a segment is read back and verified at start, and how much of that is the checksums.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeFiles } from "../../src/io/mod.ts";
import { crc32 } from "../../src/lib/checksum.ts";
import { encodeSegmentHeader, putFrame, SEGMENT_DATA_START } from "../../src/log/format.ts";
import {
  type EntryHeader,
  entryBytes,
  FRAME_BYTES,
  newEntryHeader,
  runJob,
  sealEntry,
} from "../../src/log/mod.ts";
import { CHAIN_START, scanSegment } from "../../src/log/segment-scan.ts";
import { CHUNK_COMMAND_BYTES, putChunk } from "../../src/model/command-codec.ts";
import { putRecord } from "../../src/model/record.ts";
import type { MicroResult, MicroSize } from "./micro.ts";

const RECORDS = 30;
const SALT = 7;
const NAME = "000000000001.log";

/** Writes a segment of entries with thirty records of 64 bytes each, then walks it. */
export async function run({ size }: { readonly size: MicroSize }): Promise<MicroResult> {
  const bytes = size === "tiny" ? 1 << 17 : 64 << 20;
  const directory = mkdtempSync(join(tmpdir(), "ayder-micro-"));
  try {
    const files = new NodeFiles(directory);
    const header = encodeSegmentHeader({
      sequence: 1,
      salt: SALT,
      fileBytes: bytes,
      clusterId: "0".repeat(32),
    });
    runJob(files, { kind: "prepare_segment", name: NAME, bytes, header });
    const entries = fill(files, bytes);
    const started = performance.now();
    let seen = 0;
    const result = scanSegment(
      files,
      NAME,
      { salt: SALT, from: SEGMENT_DATA_START, end: bytes, chain: CHAIN_START },
      () => {
        seen += 1;
      },
    );
    const seconds = (performance.now() - started) / 1000;
    if (result.fault !== undefined || seen !== entries)
      throw new Error(`Read ${seen} of ${entries} entries: ${result.fault}`);
    return {
      name: "log-recover",
      figures: {
        entries_per_s: entries / seconds,
        records_per_s: (entries * RECORDS) / seconds,
        mib_per_s: bytes / 2 ** 20 / seconds,
      },
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Fills a segment; returns how many entries went in. */
function fill(files: NodeFiles, bytes: number): number {
  const value = new Uint8Array(64).fill(97);
  const write = new Uint8Array(4096);
  const view = new DataView(write.buffer);
  const header: EntryHeader = {
    ...newEntryHeader(),
    kind: 1,
    term: 1,
    recordCount: RECORDS,
    commandCount: 1,
  };
  const entryStart = FRAME_BYTES;
  let position = SEGMENT_DATA_START;
  for (let index = 1; ; index++) {
    let at = entryStart + 56;
    const dataStart = at;
    for (let i = 0; i < RECORDS; i++)
      at = putRecord(write, at, undefined, undefined, value, 0, value.length);
    const dataBytes = at - dataStart;
    putChunk(
      view,
      at,
      1,
      0,
      (index - 1) * RECORDS,
      RECORDS,
      dataBytes,
      crc32(write.subarray(dataStart, at)),
    );
    const length = entryBytes(dataBytes, CHUNK_COMMAND_BYTES);
    if (position + FRAME_BYTES + length > bytes) return index - 1;
    const previousChecksum = header.checksum;
    Object.assign(header, {
      previousChecksum,
      index,
      dataBytes,
      commandBytes: CHUNK_COMMAND_BYTES,
    });
    sealEntry(write, view, entryStart, header);
    putFrame(
      write,
      view,
      0,
      {
        position,
        entryBytes: length,
        entryCount: 1,
        syncedIndex: index - 1,
        firstIndex: index,
        previousChecksum,
        commitIndex: index - 1,
      },
      SALT,
    );
    files.write(NAME, position, write.subarray(0, FRAME_BYTES + length));
    position += FRAME_BYTES + length;
  }
}
