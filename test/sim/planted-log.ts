// What planted bugs do to the bytes of a segment: mend what should be refused, find where whole writes end.

import { viewOf } from "../../src/lib/bytes.ts";
import { crc32 } from "../../src/lib/checksum.ts";
import {
  decodeSegmentHeader,
  ENTRY_HEADER_BYTES,
  FRAME_BYTES,
  newEntryHeader,
  newFrame,
  putFrame,
  readEntryHeader,
  readFrame,
  SEGMENT_DATA_START,
  sealEntry,
  verifyEntry,
} from "../../src/log/format.ts";
import { verifyChunks } from "../../src/log/segment-scan.ts";
import { COMMAND, CommandCursor } from "../../src/model/command-codec.ts";

/** Where the last write ends of which every entry is there; where the log begins when there is none. */
export function endOfWholeWrites(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  const segment = decodeSegmentHeader(bytes);
  if (typeof segment === "string") return bytes.length;
  const frame = newFrame();
  const header = newEntryHeader();
  const cursor = new CommandCursor();
  for (let at = SEGMENT_DATA_START; ; ) {
    if (!readFrame(bytes, view, at, at, segment.salt, frame)) return at;
    const end = at + FRAME_BYTES + frame.entryBytes;
    let entry = at + FRAME_BYTES;
    while (entry < end) {
      const isWhole =
        readEntryHeader(view, entry, header) &&
        entry + header.bytes <= bytes.length &&
        verifyEntry(bytes, entry, header) &&
        verifyChunks(bytes, view, entry, header, cursor);
      if (!isWhole) return at;
      entry += header.bytes;
    }
    at = end;
  }
}

/** Gives every entry that looks like one the checksums that its bytes have. Returns whether any changed. */
export function mendChecksums(bytes: Uint8Array): boolean {
  const view = viewOf(bytes);
  const segment = decodeSegmentHeader(bytes);
  if (typeof segment === "string") return false;
  const frame = newFrame();
  const header = newEntryHeader();
  let hasChanged = false;
  let checksum: number | undefined;
  for (let at = SEGMENT_DATA_START; readFrame(bytes, view, at, at, segment.salt, frame); ) {
    if (checksum !== undefined && checksum !== frame.previousChecksum) {
      frame.previousChecksum = checksum;
      putFrame(bytes, view, at, frame, segment.salt);
    }
    checksum ??= frame.previousChecksum;
    const end = at + FRAME_BYTES + frame.entryBytes;
    for (let entry = at + FRAME_BYTES; entry < end; entry += header.bytes) {
      if (!readEntryHeader(view, entry, header) || entry + header.bytes > bytes.length)
        return hasChanged;
      const before = header.checksum;
      if (!mendChunks(bytes, view, entry, header)) return hasChanged;
      header.previousChecksum = checksum;
      sealEntry(bytes, view, entry, header);
      hasChanged ||= header.checksum !== before;
      ({ checksum } = header);
    }
    at = end;
  }
  return hasChanged;
}

function mendChunks(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  header: ReturnType<typeof newEntryHeader>,
): boolean {
  let data = at + ENTRY_HEADER_BYTES;
  const dataEnd = data + header.dataBytes;
  const cursor = new CommandCursor().reset(bytes, view, dataEnd, dataEnd + header.commandBytes);
  while (cursor.next()) {
    if (cursor.kind !== COMMAND.chunk) continue;
    const end = data + cursor.chunkDataBytes;
    if (end > dataEnd) return false;
    view.setUint32(cursor.bodyStart + 24, crc32(bytes.subarray(data, end)), true);
    data = end;
  }
  return !cursor.isBroken && data === dataEnd;
}
