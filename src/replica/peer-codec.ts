// What nodes send each other, as bytes: consensus messages with their entries, and what is said about the cluster itself.
//
//   kind u8 | zero u8 × 7 | sender's wall clock in ms u64 | body

import { decodeText, encodeText, getU64, putU64, viewOf } from "../lib/bytes.ts";
import type { OfferedFiles } from "../log/mod.ts";
import { type Membership, parseMembership } from "../model/cluster.ts";
import { decodeMessage, encodeMessage, type RaftMessage } from "../raft/mod.ts";

const KIND = { raft: 1, talk: 2, piece: 3, entries: 4, records: 5 } as const;
const HEAD_BYTES = 16;
/** Fields of a piece of a file, behind the head: transfer u64, file u32, checksum u32, position u64. */
const PIECE_HEAD_BYTES = 24;
const RECORDS_HEAD_BYTES = 16;

/** What is said apart from consensus. Small and rare: JSON. */
export type PeerTalk =
  /** An empty node asks who else is empty, and of the same list. */
  | { readonly kind: "empty"; readonly nodes: string; readonly isBootstrap: boolean }
  /** The bootstrap node, or any that belongs to the cluster, names it to an empty one. */
  | { readonly kind: "form"; readonly clusterId: string; readonly membership: Membership }
  /** Of a transfer of files (`file-transfer.ts`). */
  | { readonly kind: "wantFiles"; readonly index: number }
  | { readonly kind: "files"; readonly offer: OfferedFiles }
  | {
      readonly kind: "wantPiece";
      readonly index: number;
      readonly file: number;
      readonly position: number;
    }
  /** Of a repair (`repairs.ts`). */
  | { readonly kind: "wantEntries"; readonly index: number; readonly lastIndex: number }
  | { readonly kind: "lacksEntries"; readonly index: number }
  | {
      readonly kind: "wantRecords";
      /** Number of the repair, said again in the answer. */
      readonly index: number;
      readonly key: number;
      readonly offset: number;
      readonly endOffset: number;
    }
  | { readonly kind: "filesEnded"; readonly index: number; readonly isInstalled: boolean }
  /** The sender's disk has no room: for a while it is not to be given the lead. */
  | { readonly kind: "full" };

/** A message taken apart. */
export type PeerMessage = { readonly wallMs: number } & (
  | {
      readonly kind: "raft";
      readonly message: RaftMessage;
      readonly bytes: Uint8Array;
      readonly entriesStart: number;
    }
  | { readonly kind: "talk"; readonly talk: PeerTalk }
  | {
      readonly kind: "records";
      /** Number of the repair. */
      readonly repair: number;
      /** First offset that the peer has of this partition. */
      readonly floor: number;
      readonly kept: Uint8Array;
    }
  | { readonly kind: "entries"; readonly bytes: Uint8Array; readonly entriesStart: number }
  | {
      readonly kind: "piece";
      readonly transfer: number;
      readonly file: number;
      readonly checksum: number;
      readonly position: number;
      readonly bytes: Uint8Array;
    }
);

function head(kind: number, wallMs: number, bodyBytes: number): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES + bodyBytes);
  bytes[0] = kind;
  putU64(viewOf(bytes), 8, wallMs);
  return bytes;
}

/** A consensus message; the entries of an append follow it as they are on disk. */
export function encodeRaft(message: RaftMessage, wallMs: number): Uint8Array {
  const body = encodeMessage(message);
  const bytes = head(KIND.raft, wallMs, body.length);
  bytes.set(body, HEAD_BYTES);
  return bytes;
}

/** A message about the cluster. */
export function encodeTalk(talk: PeerTalk, wallMs: number): Uint8Array {
  const body = encodeText(JSON.stringify(talk));
  const bytes = head(KIND.talk, wallMs, body.length);
  bytes.set(body, HEAD_BYTES);
  return bytes;
}

/** What stands before a piece of a file. */
export function encodePieceHead(
  piece: {
    readonly transfer: number;
    readonly file: number;
    readonly checksum: number;
    readonly position: number;
  },
  wallMs: number,
): Uint8Array {
  const bytes = head(KIND.piece, wallMs, PIECE_HEAD_BYTES);
  const view = viewOf(bytes);
  putU64(view, HEAD_BYTES, piece.transfer);
  view.setUint32(HEAD_BYTES + 8, piece.file, true);
  view.setUint32(HEAD_BYTES + 12, piece.checksum, true);
  putU64(view, HEAD_BYTES + 16, piece.position);
  return bytes;
}

/** What stands before entries that were asked for. */
export const encodeEntriesHead = (wallMs: number): Uint8Array => head(KIND.entries, wallMs, 0);

/** What stands before records that were asked for: number of the repair u64, first offset of the partition u64. */
export function encodeRecordsHead(repair: number, floor: number, wallMs: number): Uint8Array {
  const bytes = head(KIND.records, wallMs, RECORDS_HEAD_BYTES);
  putU64(viewOf(bytes), HEAD_BYTES, repair);
  putU64(viewOf(bytes), HEAD_BYTES + 8, floor);
  return bytes;
}

/** Takes a message apart; undefined when it is none. Never throws. */
export function decodePeer(bytes: Uint8Array): PeerMessage | undefined {
  if (bytes.length < HEAD_BYTES) return undefined;
  const view = viewOf(bytes);
  const wallMs = getU64(view, 8);
  if (!Number.isSafeInteger(wallMs)) return undefined;
  switch (bytes[0]) {
    case KIND.raft: {
      const decoded = decodeMessage(bytes.subarray(HEAD_BYTES));
      if (decoded === undefined) return undefined;
      const entriesStart = HEAD_BYTES + decoded.end;
      return { kind: "raft", wallMs, message: decoded.message, bytes, entriesStart };
    }
    case KIND.talk: {
      const talk = parseTalk(decodeText(bytes.subarray(HEAD_BYTES)));
      return talk && { kind: "talk", wallMs, talk };
    }
    case KIND.piece: {
      if (bytes.length < HEAD_BYTES + PIECE_HEAD_BYTES) return undefined;
      return {
        kind: "piece",
        wallMs,
        transfer: getU64(view, HEAD_BYTES),
        file: view.getUint32(HEAD_BYTES + 8, true),
        checksum: view.getUint32(HEAD_BYTES + 12, true),
        position: getU64(view, HEAD_BYTES + 16),
        bytes: bytes.subarray(HEAD_BYTES + PIECE_HEAD_BYTES),
      };
    }
    case KIND.records: {
      if (bytes.length < HEAD_BYTES + RECORDS_HEAD_BYTES) return undefined;
      const repair = getU64(view, HEAD_BYTES);
      const floor = getU64(view, HEAD_BYTES + 8);
      if (repair < 0 || floor < 0) return undefined;
      const kept = bytes.subarray(HEAD_BYTES + RECORDS_HEAD_BYTES);
      return { kind: "records", wallMs, repair, floor, kept };
    }
    case KIND.entries:
      return { kind: "entries", wallMs, bytes, entriesStart: HEAD_BYTES };
    default:
      return undefined;
  }
}

/** Fields that any talk may have, none of them looked at yet. */
type Said = {
  readonly [Key in
    | "kind"
    | "nodes"
    | "isBootstrap"
    | "clusterId"
    | "membership"
    | "index"
    | "lastIndex"
    | "offer"
    | "file"
    | "position"
    | "isInstalled"
    | "key"
    | "offset"
    | "endOffset"]?: unknown;
};

function parseTalk(text: string): PeerTalk | undefined {
  try {
    return readTalk(JSON.parse(text) as Said);
  } catch {
    return undefined;
  }
}

function readTalk(said: Said): PeerTalk | undefined {
  const { kind, nodes, isBootstrap, clusterId, index, offer, file, position } = said;
  switch (kind) {
    case "empty":
      return typeof nodes === "string" && typeof isBootstrap === "boolean"
        ? { kind, nodes, isBootstrap }
        : undefined;
    case "form": {
      const membership = parseMembership(JSON.stringify(said.membership ?? null));
      return isClusterId(clusterId) && membership !== undefined
        ? { kind, clusterId, membership }
        : undefined;
    }
    case "wantFiles":
      return isCount(index) ? { kind, index } : undefined;
    case "files":
      return isOffer(offer) ? { kind, offer } : undefined;
    case "wantPiece":
      return isCount(index) && isCount(file) && isCount(position)
        ? { kind, index, file, position }
        : undefined;
    case "wantEntries":
      return isCount(index) && isCount(said.lastIndex)
        ? { kind, index, lastIndex: said.lastIndex }
        : undefined;
    case "lacksEntries":
      return isCount(index) ? { kind, index } : undefined;
    case "wantRecords": {
      const { key, offset, endOffset } = said;
      return isCount(index) && isCount(key) && isCount(offset) && isCount(endOffset)
        ? { kind, index, key, offset, endOffset }
        : undefined;
    }
    case "full":
      return { kind };
    case "filesEnded":
      return isCount(index) ? { kind, index, isInstalled: said.isInstalled === true } : undefined;
    default:
      return undefined;
  }
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;

/** Whether the parts that are relied on are there. What the files hold is verified when they are. */
function isOffer(value: unknown): value is OfferedFiles {
  const offer = value as Partial<OfferedFiles> | undefined;
  if (!isCount(offer?.index) || !isCount(offer.term) || !Array.isArray(offer.segments))
    return false;
  const { base, segments, archives, compacted } = offer;
  if (!Array.isArray(archives) || compacted === undefined) return false;
  if (compacted !== null && !(isCount(compacted.index) && isCount(compacted.checksum)))
    return false;
  const areArchives = archives.every(
    (archive) =>
      isCount(archive?.sequence) &&
      isCount(archive.firstIndex) &&
      isCount(archive.lastIndex) &&
      isCount(archive.validBytes),
  );
  if (!areArchives) return false;
  if (base === undefined || (base !== null && !(isCount(base.bytes) && isCount(base.lastIndex))))
    return false;
  return segments.every(
    (segment) =>
      isCount(segment?.sequence) &&
      isCount(segment.salt) &&
      isCount(segment.firstIndex) &&
      isCount(segment.lastIndex) &&
      isCount(segment.lastTerm) &&
      isCount(segment.lastChecksum) &&
      isCount(segment.previousChecksum) &&
      isCount(segment.lastTimestampMs) &&
      isCount(segment.validBytes) &&
      Array.isArray(segment.terms),
  );
}

const isClusterId = (value: unknown): value is string =>
  typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
