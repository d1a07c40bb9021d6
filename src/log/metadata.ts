// The small files that say what the directory is: `meta.json` (who), `manifest` (which files live), `state` (what this
// node has promised). Texts with a checksum line, but for `state`, whose two slots lie on two pages.

import { assert } from "../lib/assert.ts";
import { decodeText, encodeText, getU64, putU64, viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import { type Membership, parseMembership } from "../model/cluster.ts";
import type { Files } from "./disk.ts";
import { FORMAT_VERSION } from "./format.ts";
import type { ChainEnd } from "./segment-scan.ts";

/** Names of the three files. */
export const META_FILE = "meta.json";
/** It says that the node had data and set it aside: until others have filled it, it is not empty like a new one. */
export const SET_ASIDE_FILE = "set-aside";
export const MANIFEST_FILE = "manifest";
export const STATE_FILE = "state";

/** Who this node is. Written when the directory is made, when it joins a cluster, and when what it held was lost. */
export interface Meta {
  readonly format: number;
  readonly nodeId: string;
  /** 32 hexadecimal digits; empty until the node belongs to a cluster. */
  readonly clusterId: string;
  /** 32 hexadecimal digits, new with every empty directory and with every loss of what was promised. */
  readonly incarnation: string;
}

/** What is known of a segment that takes no more writes. */
export interface SealedSegment {
  readonly sequence: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly lastChecksum: number;
  readonly lastTimestampMs: number;
  /** Checksum of the entry before its first: what is before may be gone. */
  readonly previousChecksum: number;
  /** Where terms begin in it, as `[index, term]`, oldest first; the first pair stands at its first entry. */
  readonly terms: readonly (readonly [number, number])[];
  /** Bytes past it are never looked at. */
  readonly validBytes: number;
  /** Whether `.index` and `.delta` exist. */
  readonly isDerived: boolean;
}

/** Sorts by the entries that they hold. One that was left with none, as the next write did not fit, comes before its heir. */
export const inLogOrder = (segments: readonly SealedSegment[]): SealedSegment[] =>
  [...segments].sort(
    (left, right) => left.firstIndex - right.firstIndex || left.lastIndex - right.lastIndex,
  );

/** Records that were moved out of segments which are gone. It holds no state and no entries. */
export interface ArchiveFile {
  readonly sequence: number;
  /** Entries that its records came with lie in this range; not every one of them has left something here. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly validBytes: number;
}

/** A sorted image of the state up to an index. */
export interface BaseFile {
  readonly sequence: number;
  readonly lastIndex: number;
  readonly bytes: number;
}

/** The only truth about which files live. */
export interface Manifest {
  readonly format: number;
  /** Sequence numbers from here on have never been used. */
  readonly nextSequence: number;
  /** In log order. */
  readonly segments: readonly SealedSegment[];
  /** In log order; between them may lie segments that are still full of records. */
  readonly archives: readonly ArchiveFile[];
  /** The last entry of the log that is gone: above it the log is unbroken, what lies below holds records and nothing else. */
  readonly compacted: ChainEnd | null;
  /** Files with log entries that the list does not know count from this number on; older ones were dropped with what they held. */
  readonly openFrom: number;
  readonly base: BaseFile | null;
  /** Files that are not complete, or that nothing needs any more: a start removes them. */
  readonly incoming: readonly number[];
  /** What was found damaged; a node with such a note does not start. */
  readonly damage: string | null;
}

/** An empty directory's manifest. */
export const EMPTY_MANIFEST: Manifest = {
  format: FORMAT_VERSION,
  nextSequence: 1,
  segments: [],
  archives: [],
  compacted: null,
  openFrom: 0,
  base: null,
  incoming: [],
  damage: null,
};

/** A JSON text with its checksum on a second line. */
export function encodeChecked(value: unknown): Uint8Array {
  const text = JSON.stringify(value);
  return encodeText(`${text}\n${crc32(encodeText(text)).toString(16).padStart(8, "0")}\n`);
}

/** The value of such a text; undefined when the checksum does not hold. */
export function decodeChecked(bytes: Uint8Array): unknown {
  const [text = "", checksum = ""] = decodeText(bytes).split("\n");
  return crc32(encodeText(text)).toString(16).padStart(8, "0") === checksum
    ? JSON.parse(text)
    : undefined;
}

/** A whole small file, or undefined when there is none. */
export function readWhole(files: Files, name: string): Uint8Array | undefined {
  const size = files.size(name);
  if (size === undefined) return undefined;
  const bytes = new Uint8Array(size);
  return bytes.subarray(0, files.read(name, 0, bytes));
}

/** What the node has promised: synced before anything that depends on it leaves. */
export interface HardState {
  readonly term: number;
  /** Whom this node voted for in `term`; empty for nobody. */
  readonly vote: string;
  readonly commitIndex: number;
  /** Applied membership and the index of the entry that set it; 0 when it came with the cluster's forming. */
  readonly configurationIndex: number;
  readonly membership: Membership;
}

const STATE_MAGIC = 0x54_41_54_53; // "STAT"
/** One slot per page, so that a torn page leaves the other. */
export const STATE_SLOT_BYTES = 4096;
const STATE_TEXT_START = 40;

/**
 * 0 magic u32 | 4 checksum u32 of the rest | 8 counter u64 | 16 term u64 | 24 commit index u64 | 32 text length u32 | 36 version u32
 * 40 JSON text: vote, configuration index, membership
 */
export function encodeStateSlot(counter: number, state: HardState): Uint8Array {
  const bytes = new Uint8Array(STATE_SLOT_BYTES);
  const view = viewOf(bytes);
  const text = encodeText(
    JSON.stringify({
      vote: state.vote,
      configurationIndex: state.configurationIndex,
      membership: state.membership,
    }),
  );
  assert(
    STATE_TEXT_START + text.length <= STATE_SLOT_BYTES,
    `A membership of ${state.membership.members.length} nodes fits its page`,
  );
  view.setUint32(0, STATE_MAGIC, true);
  putU64(view, 8, counter);
  putU64(view, 16, state.term);
  putU64(view, 24, state.commitIndex);
  view.setUint32(32, text.length, true);
  view.setUint32(36, FORMAT_VERSION, true);
  bytes.set(text, STATE_TEXT_START);
  view.setUint32(4, crc32(bytes.subarray(8)), true);
  return bytes;
}

/** Where the slot with this counter goes. */
export const stateSlotPosition = (counter: number): number => (counter % 2) * STATE_SLOT_BYTES;

/** The newest readable slot; undefined when both are unreadable. */
export function readState(
  bytes: Uint8Array,
): { readonly counter: number; readonly state: HardState } | undefined {
  const slots = [0, STATE_SLOT_BYTES].flatMap(
    (at) => decodeSlot(bytes.subarray(at, at + STATE_SLOT_BYTES)) ?? [],
  );
  return slots.sort((left, right) => right.counter - left.counter)[0];
}

function decodeSlot(
  bytes: Uint8Array,
): { readonly counter: number; readonly state: HardState } | undefined {
  if (bytes.length < STATE_SLOT_BYTES) return undefined;
  const view = viewOf(bytes);
  if (
    view.getUint32(0, true) !== STATE_MAGIC ||
    view.getUint32(4, true) !== crc32(bytes.subarray(8))
  )
    return undefined;
  const length = view.getUint32(32, true);
  const text = JSON.parse(decodeText(bytes.subarray(STATE_TEXT_START, STATE_TEXT_START + length)));
  const membership = parseMembership(JSON.stringify(text.membership ?? null));
  if (membership === undefined) return undefined;
  return {
    counter: getU64(view, 8),
    state: {
      term: getU64(view, 16),
      commitIndex: getU64(view, 24),
      vote: String(text.vote),
      configurationIndex: Number(text.configurationIndex),
      membership,
    },
  };
}
