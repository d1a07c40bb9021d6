// What lies on the disk, and what backups bring: segments, archives, indexes, state files, manifest, state slots, whole
// directories. Where a checksum covers it, what was damaged is never taken for good.

import { FatalError } from "../../src/lib/fatal.ts";
import { scanArchive } from "../../src/log/archive.ts";
import {
  type BackupHead,
  BackupParser,
  BackupWriter,
  partsOf,
} from "../../src/log/backup-format.ts";
import { FileError } from "../../src/log/disk.ts";
import {
  decodeSegmentHeader,
  ENTRY_HEADER_BYTES,
  parseFileName,
  SEGMENT_DATA_START,
} from "../../src/log/format.ts";
import { openIdentity, readManifest } from "../../src/log/identity.ts";
import { inspectLog } from "../../src/log/inspect.ts";
import {
  decodeChecked,
  MANIFEST_FILE,
  META_FILE,
  readState,
  STATE_FILE,
} from "../../src/log/metadata.ts";
import { IndexFile } from "../../src/log/offset-index.ts";
import { recover } from "../../src/log/recovery.ts";
import { Restore } from "../../src/log/restore.ts";
import { CHAIN_START, scanSegment } from "../../src/log/segment-scan.ts";
import { StateFileReader } from "../../src/log/state-file.ts";
import { ByteFiles } from "./byte-files.ts";
import { looseJson, nastyValue, oneOf, spoilBytes, spoilValue } from "./fuzz-values.ts";
import type { ParserTarget } from "./parser-fuzz.ts";
import { SimNode, simDisk } from "./sim-node.ts";

const OPTIONS = { limits: { segmentBytes: 1 << 16, slabBytes: 1 << 14, mergeBytesMin: 1 } };
const ID = "0123456789abcdef".repeat(2);

/** A directory with something of everything, and a backup of it. */
function made(): { readonly files: ByteFiles; readonly backup: Uint8Array } {
  const node = SimNode.ready(simDisk(), OPTIONS);
  const topic = node.topic("t", 2);
  for (let i = 0; i < 30; i++) {
    node.produce(topic, `${i}`.padEnd(6000, "x"), { partition: i % 2, idempotencyKey: `k${i}` });
    node.good(node.broker.commit({ topic: "t", group: `g${i % 3}`, partition: 0, offset: 0 }));
  }
  node.good(node.broker.deleteBefore({ topic: "t", partition: 0, beforeOffset: 12 }));
  node.rest();
  const stream = node.broker.backup();
  if (!stream.ok) throw new Error(stream.error.code);
  const pieces: Uint8Array[] = [];
  for (;;) {
    const piece = node.wait(stream.value.next());
    if (piece === undefined) break;
    pieces.push(piece);
  }
  return {
    files: ByteFiles.copyOf(node.disk.files),
    backup: new Uint8Array(Buffer.concat(pieces)),
  };
}

const { files: FILES, backup: BACKUP } = made();
const named = (kind: string): readonly string[] =>
  FILES.list().filter((name) => parseFileName(name)?.kind === kind);
const first = (kind: string): string => {
  const name = named(kind)[0];
  if (name === undefined) throw new Error(`There is no ${kind} among ${FILES.list().join(" ")}`);
  return name;
};

/** Refused by name, or a fault. */
function refused(error: unknown): boolean {
  if (error instanceof FatalError || error instanceof FileError) return false;
  throw error;
}

const same = (left: Uint8Array, right: Uint8Array): boolean => Buffer.compare(left, right) === 0;

/** Entries of a segment by index, as they were written. */
function entriesOf(files: ByteFiles, name: string): Map<number, string> {
  const header = decodeSegmentHeader(files.bytesOf(name).subarray(0, SEGMENT_DATA_START));
  const entries = new Map<number, string>();
  if (typeof header === "string") return entries;
  const end = files.size(name) ?? 0;
  const chain = readManifest(FILES).segments.find(({ sequence }) => sequence === header.sequence);
  const from =
    chain === undefined || chain.firstIndex === 1
      ? CHAIN_START
      : { ...CHAIN_START, index: chain.firstIndex - 1, checksum: chain.previousChecksum };
  scanSegment(
    files,
    name,
    { salt: header.salt, from: SEGMENT_DATA_START, end, chain: from },
    (bytes, _, at, { index, dataBytes, commandBytes }) => {
      // The zeros behind it, up to a multiple of eight, mean nothing and have no checksum.
      const end = at + ENTRY_HEADER_BYTES + dataBytes + commandBytes;
      entries.set(index, Buffer.from(bytes.subarray(at, end)).toString("base64"));
    },
  );
  return entries;
}

/** Small pieces of a large file, so that damage strikes what matters: its beginning, and all of it now and then. */
const segment = first("log");
const SEGMENT_ENTRIES = entriesOf(FILES, segment);
const INDEX = first("index");
const STATE_NAME = named("base")[0] ?? first("delta");
const CLUSTER = (decodeChecked(FILES.bytesOf(META_FILE)) as { readonly clusterId: string })
  .clusterId;

/** Items of a state file. */
function itemsOf(files: ByteFiles): readonly string[] {
  const reader = new StateFileReader(
    files,
    STATE_NAME,
    (message) => new FileError("damaged", message),
  );
  const items: string[] = [];
  for (const begins of [false, true]) {
    if (begins) reader.beginWindow();
    while (reader.next())
      items.push(
        Buffer.from(reader.item.bytes.subarray(reader.item.start, reader.item.bodyEnd)).toString(
          "base64",
        ),
      );
  }
  return items;
}
const STATE_ITEMS = new Set(itemsOf(FILES));

/** Damage of one file of a directory, as whoever opens it then meets it. */
function directory(
  name: string,
  weight: number,
  read: (files: ByteFiles) => boolean,
): ParserTarget {
  return {
    name,
    weight,
    seeds: [new Uint8Array(8)],
    run: (input, random) => {
      // The input says how the file is spoiled: an untouched seed spoils nothing.
      if (same(input, new Uint8Array(8))) return read(FILES.withFile("nothing", new Uint8Array(0)));
      const file = oneOf(random, FILES.list());
      const bytes = random.chance(0.1) ? input : spoilBytes(random, FILES.bytesOf(file));
      return read(FILES.withFile(file, bytes));
    },
  };
}

function restored(bytes: Uint8Array): boolean {
  const parser = new BackupParser(
    new Restore(new ByteFiles(), { nodeId: "node1", randomId: () => ID }),
  );
  try {
    parser.feed(bytes);
    parser.end();
    return true;
  } catch (error) {
    return refused(error);
  }
}

/** A backup whose checksums hold and whose head or pieces somebody made up. */
function madeUp(random: Parameters<ParserTarget["run"]>[1]): Uint8Array {
  const text = Buffer.from(BACKUP).toString(
    "latin1",
    24,
    24 + new DataView(BACKUP.buffer).getUint32(12, true),
  );
  const head = JSON.parse(text) as BackupHead;
  const spoiled = random.chance(0.7) ? (spoilValue(random, head) as BackupHead) : head;
  const writer = new BackupWriter();
  const pieces = [writer.head(spoiled)];
  let parts: ReturnType<typeof partsOf> = [];
  try {
    parts = partsOf(spoiled);
  } catch {
    // Then there are none to follow it.
  }
  for (const [i, { bytes }] of parts.slice(0, 4).entries()) {
    const size = Number.isSafeInteger(bytes) && bytes > 0 ? Math.min(bytes, 65_536) : 1;
    const piece = new Uint8Array(size);
    for (let at = 0; at < 40; at++) piece[random.below(size)] = random.below(256);
    pieces.push(writer.piece(i, 0, piece));
  }
  pieces.push(writer.end());
  return new Uint8Array(Buffer.concat(pieces));
}

/** Every parser of what is stored. */
export const DISK_TARGETS: readonly ParserTarget[] = [
  {
    name: "segments",
    weight: 2,
    seeds: [FILES.bytesOf(segment)],
    run: (bytes) => {
      const found = entriesOf(FILES.withFile(segment, bytes), segment);
      for (const [index, entry] of found)
        if (SEGMENT_ENTRIES.get(index) !== entry)
          throw new Error(`Entry ${index} was taken for good`);
      return found.size === SEGMENT_ENTRIES.size;
    },
  },
  {
    name: "indexes",
    seeds: [FILES.bytesOf(INDEX)],
    run: (bytes) => {
      const sequence = parseFileName(INDEX)?.sequence ?? 0;
      const index = IndexFile.open(bytes, sequence, CLUSTER);
      if (index !== undefined && !same(bytes, FILES.bytesOf(INDEX)))
        throw new Error("A damaged index was taken for good");
      return index !== undefined;
    },
  },
  {
    name: "state files",
    seeds: [FILES.bytesOf(STATE_NAME)],
    run: (bytes) => {
      try {
        for (const item of itemsOf(FILES.withFile(STATE_NAME, bytes)))
          if (!STATE_ITEMS.has(item)) throw new Error("An item was taken for good");
        return true;
      } catch (error) {
        return refused(error);
      }
    },
  },
  ...[MANIFEST_FILE, META_FILE].map((name) => ({
    name,
    seeds: [FILES.bytesOf(name)],
    run: (bytes: Uint8Array) => {
      const value = decodeChecked(bytes);
      if (value === undefined) return false;
      if (JSON.stringify(value) !== JSON.stringify(decodeChecked(FILES.bytesOf(name))))
        throw new Error(`A damaged ${name} was taken for good`);
      return true;
    },
  })),
  {
    name: "state slots",
    seeds: [FILES.bytesOf(STATE_FILE)],
    run: (bytes) => {
      const found = readState(bytes);
      if (found === undefined) return false;
      const slots = [0, 4096].map((at) => {
        const alone = new Uint8Array(8192);
        alone.set(FILES.bytesOf(STATE_FILE).subarray(at, at + 4096), at);
        return JSON.stringify(readState(alone));
      });
      if (!slots.includes(JSON.stringify(found)))
        throw new Error("A damaged slot was taken for good");
      return true;
    },
  },
  {
    name: "backups",
    weight: 2,
    seeds: [BACKUP],
    run: (bytes) => {
      const isTaken = restored(bytes);
      if (isTaken && !same(bytes, BACKUP)) throw new Error("A damaged backup was taken for good");
      return isTaken;
    },
  },
  {
    name: "backups that somebody made up",
    seeds: [BACKUP],
    run: (bytes, random) => restored(same(bytes, BACKUP) ? bytes : madeUp(random)),
  },
  directory("directories, inspected", 1, (files) => !inspectLog(files).isDamaged),
  directory("directories, recovered", 1, (files) => {
    let next = 0;
    try {
      recover(files, {
        identity: openIdentity(files, { nodeId: "node1", randomId: () => ID, startsAlone: true }),
        startSegmentBytes: 1 << 16,
        segmentBytes: 1 << 16,
        randomId: () => ID,
        randomSalt: () => 7,
        fold: () => undefined,
        replay: (_bytes, _view, _at, { index }) => {
          if (next !== 0 && index !== next)
            throw new Error(`Entry ${index} where ${next} was next`);
          next = index + 1;
        },
        report: () => undefined,
      });
      return true;
    } catch (error) {
      return refused(error);
    }
  }),
  ...named("archive").map((name) => ({
    name: "archives",
    seeds: [FILES.bytesOf(name)],
    run: (bytes: Uint8Array) => {
      const sequence = parseFileName(name)?.sequence ?? 0;
      const validBytes = FILES.size(name) ?? 0;
      try {
        scanArchive(
          FILES.withFile(name, bytes),
          { sequence, clusterId: CLUSTER, validBytes },
          () => undefined,
        );
      } catch (error) {
        return refused(error);
      }
      if (!same(bytes.subarray(0, validBytes), FILES.bytesOf(name)))
        throw new Error("A damaged archive was taken for good");
      return true;
    },
  })),
  {
    name: "checked texts that somebody made up",
    seeds: [FILES.bytesOf(MANIFEST_FILE)],
    run: (bytes, random) => {
      if (same(bytes, FILES.bytesOf(MANIFEST_FILE))) return true;
      decodeChecked(Buffer.from(looseJson(random, nastyValue(random))));
      return false;
    },
  },
];
