// A data directory as a node would have left it, for tests of what the next start makes of it.

import { Prng } from "../../src/lib/prng.ts";
import { encodeSegmentHeader, FORMAT_VERSION, fileName } from "../../src/log/format.ts";
import { openIdentity } from "../../src/log/identity.ts";
import { replaceFile } from "../../src/log/jobs.ts";
import {
  EMPTY_MANIFEST,
  encodeChecked,
  encodeStateSlot,
  type HardState,
  MANIFEST_FILE,
  type Manifest,
  META_FILE,
  type SealedSegment,
  STATE_FILE,
  STATE_SLOT_BYTES,
  stateSlotPosition,
} from "../../src/log/metadata.ts";
import { type RecoveredLog, recover } from "../../src/log/recovery.ts";
import { aloneAs } from "../../src/model/cluster.ts";
import { CLUSTER_ID, type SegmentBuilder } from "./segment-builder.ts";
import { SimDirectory } from "./sim-directory.ts";

/** What this node had promised. */
export const HARD_STATE: HardState = {
  term: 1,
  vote: "node1",
  commitIndex: 0,
  configurationIndex: 0,
  membership: aloneAs("node1", CLUSTER_ID),
};

/** Makes a directory with an identity and these segments, of which the manifest knows the given ones. */
export function logDirectory(options: {
  readonly segments?: readonly SegmentBuilder[];
  readonly sealed?: readonly SealedSegment[];
  readonly manifest?: Partial<Manifest>;
  readonly hardState?: Partial<HardState>;
  readonly seed?: number;
}): SimDirectory {
  const files = new SimDirectory(new Prng(options.seed ?? 1), 4096, 2 ** 30);
  const slots = new Uint8Array(2 * STATE_SLOT_BYTES);
  const hardState = { ...HARD_STATE, ...options.hardState };
  slots.set(encodeStateSlot(1, hardState), stateSlotPosition(1));
  replaceFile(files, STATE_FILE, slots);
  const segments = options.sealed ?? [];
  replaceFile(
    files,
    MANIFEST_FILE,
    encodeChecked({ ...EMPTY_MANIFEST, segments, ...options.manifest }),
  );
  const meta = {
    format: FORMAT_VERSION,
    nodeId: "node1",
    clusterId: CLUSTER_ID,
    incarnation: CLUSTER_ID,
  };
  replaceFile(files, META_FILE, encodeChecked(meta));
  for (const segment of options.segments ?? []) segment.putInto(files);
  return files;
}

/** What the manifest says of a segment that has ended. */
export const sealedEntry = (segment: SegmentBuilder, isDerived = false): SealedSegment => ({
  sequence: segment.sequence,
  firstIndex: segment.previous.index + 1,
  lastIndex: segment.chain.index,
  lastTerm: segment.chain.term,
  lastChecksum: segment.chain.checksum,
  lastTimestampMs: segment.chain.timestampMs,
  previousChecksum: segment.previous.checksum,
  terms: [[segment.previous.index + 1, segment.chain.term]],
  validBytes: segment.position,
  isDerived,
});

/** A prepared segment of zeros. */
export function putSpare(files: SimDirectory, sequence: number, fileBytes = 65_536): void {
  const name = fileName(sequence, "log");
  files.create(name);
  files.write(name, 0, new Uint8Array(fileBytes));
  files.write(
    name,
    0,
    encodeSegmentHeader({ sequence, salt: 1000 + sequence, fileBytes, clusterId: CLUSTER_ID }),
  );
  files.sync(name);
  files.syncDirectory();
}

/** What a start found. */
export interface Recovered {
  readonly log: RecoveredLog;
  /** Indexes of the entries that were replayed. */
  readonly replayed: readonly number[];
  /** Kinds of the items that were folded. */
  readonly folded: readonly number[];
  readonly events: readonly string[];
}

/** Recovers, and remembers what it was told on the way. */
export function recoverFrom(files: SimDirectory): Recovered {
  const replayed: number[] = [];
  const folded: number[] = [];
  const events: string[] = [];
  let salt = 7;
  const log = recover(files, {
    identity: openIdentity(files, {
      nodeId: "node1",
      randomId: () => CLUSTER_ID,
      startsAlone: true,
    }),
    startSegmentBytes: 65_536,
    segmentBytes: 65_536,
    randomId: () => CLUSTER_ID,
    randomSalt: () => ++salt,
    fold: (item) => folded.push(item.kind),
    replay: (_bytes, _view, _at, header) => replayed.push(header.index),
    report: (event) => events.push(event),
  });
  return { log, replayed, folded, events };
}
