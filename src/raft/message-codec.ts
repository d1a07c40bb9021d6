// Messages as bytes: little-endian, ids as text behind their length. Behind an append come its entries, as they are on disk.
//
//   kind u8 | from: length u8, text | to: length u8, text | term u64 | what the kind adds
//
//   1 append          prevIndex, prevTerm, commitIndex, lastIndex u64 | runs u32 | runs × (index, term u64)
//   2 appendReply     index, hintIndex, hintTerm u64 | isRejected u8
//   3 heartbeat       commitIndex, round u64          4 heartbeatReply  round u64
//   5 vote, 6 preVote lastIndex, lastTerm u64 | isTransfer u8
//   7 voteReply, 8 preVoteReply  commitIndex, commitTerm u64 | isRejected u8
//   9 snapshot        index, indexTerm u64
//  10 timeoutNow     11 readIndex  context u64       12 readIndexReply  context, index u64

import { assert } from "../lib/assert.ts";
import { ByteWriter, encodeText, getU64, viewOf } from "../lib/bytes.ts";
import { type RaftMessage, RUNS_MAX, type TermRun } from "./messages.ts";

/** Zero is no kind, so that zeroed bytes are no message. */
const KINDS = [
  "append",
  "appendReply",
  "heartbeat",
  "heartbeatReply",
  "vote",
  "preVote",
  "voteReply",
  "preVoteReply",
  "snapshot",
  "timeoutNow",
  "readIndex",
  "readIndexReply",
] as const satisfies readonly RaftMessage["kind"][];

/** Bytes of a node's id at the most. */
const ID_BYTES_MAX = 120;

/** Writes a message. Its entries, if it has any, go behind it. */
export function encodeMessage(message: RaftMessage): Uint8Array {
  const writer = new ByteWriter(128);
  writer.u8(KINDS.indexOf(message.kind) + 1);
  putId(writer, message.from);
  putId(writer, message.to);
  writer.u64(message.term);
  putRest(writer, message);
  return writer.written();
}

function putRest(writer: ByteWriter, message: RaftMessage): void {
  switch (message.kind) {
    case "append":
      assert(message.runs.length <= RUNS_MAX, `An append cannot have ${message.runs.length} runs`);
      writer.u64(message.prevIndex).u64(message.prevTerm);
      writer.u64(message.commitIndex).u64(message.lastIndex).u32(message.runs.length);
      for (const { index, term } of message.runs) writer.u64(index).u64(term);
      break;
    case "appendReply":
      writer.u64(message.index).u64(message.hintIndex).u64(message.hintTerm);
      writer.u8(message.isRejected ? 1 : 0);
      break;
    case "heartbeat":
      writer.u64(message.commitIndex).u64(message.round);
      break;
    case "heartbeatReply":
      writer.u64(message.round);
      break;
    case "vote":
    case "preVote":
      writer
        .u64(message.lastIndex)
        .u64(message.lastTerm)
        .u8(message.isTransfer ? 1 : 0);
      break;
    case "voteReply":
    case "preVoteReply":
      writer
        .u64(message.commitIndex)
        .u64(message.commitTerm)
        .u8(message.isRejected ? 1 : 0);
      break;
    case "snapshot":
      writer.u64(message.index).u64(message.indexTerm);
      break;
    case "readIndex":
      writer.u64(message.context);
      break;
    case "readIndexReply":
      writer.u64(message.context).u64(message.index);
      break;
    case "timeoutNow":
      break;
  }
}

function putId(writer: ByteWriter, nodeId: string): void {
  const text = encodeText(nodeId);
  assert(text.length <= ID_BYTES_MAX, `The id ${nodeId} is longer than ${ID_BYTES_MAX} bytes`);
  writer.u8(text.length).raw(text);
}

/**
 * Reads a message.
 * @returns The message and where it ends: what is behind are its entries. Undefined for bytes that are no message. Never
 *   throws: a peer may send anything.
 */
export function decodeMessage(
  bytes: Uint8Array,
): { readonly message: RaftMessage; readonly end: number } | undefined {
  const reader = new Reader(bytes);
  const message = readMessage(reader);
  return reader.isBroken || message === undefined ? undefined : { message, end: reader.at };
}

function readMessage(reader: Reader): RaftMessage | undefined {
  const kind = KINDS[reader.u8() - 1];
  const from = reader.id();
  const to = reader.id();
  const term = reader.u64();
  switch (kind) {
    case "append":
      return readAppend(reader, { from, to, term });
    case "appendReply": {
      const [index, hintIndex, hintTerm] = [reader.u64(), reader.u64(), reader.u64()];
      return { kind, from, to, term, index, hintIndex, hintTerm, isRejected: reader.flag() };
    }
    case "heartbeat":
      return { kind, from, to, term, commitIndex: reader.u64(), round: reader.u64() };
    case "heartbeatReply":
      return { kind, from, to, term, round: reader.u64() };
    case "vote":
    case "preVote": {
      const [lastIndex, lastTerm] = [reader.u64(), reader.u64()];
      return { kind, from, to, term, lastIndex, lastTerm, isTransfer: reader.flag() };
    }
    case "voteReply":
    case "preVoteReply": {
      const [commitIndex, commitTerm] = [reader.u64(), reader.u64()];
      return { kind, from, to, term, commitIndex, commitTerm, isRejected: reader.flag() };
    }
    case "snapshot":
      return { kind, from, to, term, index: reader.u64(), indexTerm: reader.u64() };
    case "timeoutNow":
      return { kind, from, to, term };
    case "readIndex":
      return { kind, from, to, term, context: reader.u64() };
    case "readIndexReply":
      return { kind, from, to, term, context: reader.u64(), index: reader.u64() };
    default:
      return undefined;
  }
}

/** An append whose runs do not cover its entries, or fall in term, would break the log that takes it. */
function readAppend(
  reader: Reader,
  envelope: { readonly from: string; readonly to: string; readonly term: number },
): RaftMessage | undefined {
  const [prevIndex, prevTerm] = [reader.u64(), reader.u64()];
  const [commitIndex, lastIndex] = [reader.u64(), reader.u64()];
  const count = reader.u32();
  if (reader.isBroken || count > RUNS_MAX || lastIndex < prevIndex) return undefined;
  if (count === 0 ? lastIndex !== prevIndex : lastIndex === prevIndex) return undefined;
  const runs: TermRun[] = [];
  let term = prevTerm;
  for (let i = 0; i < count && !reader.isBroken; i += 1) {
    const run = { index: reader.u64(), term: reader.u64() };
    const isNext = i === 0 ? run.index === prevIndex + 1 : run.index > (runs[i - 1]?.index ?? 0);
    if (!isNext || run.index > lastIndex || run.term < term) return undefined;
    term = run.term;
    runs.push(run);
  }
  if (term > envelope.term) return undefined;
  return { kind: "append", ...envelope, prevIndex, prevTerm, commitIndex, lastIndex, runs };
}

const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

/** Reads fields one behind the other. Past the end, or at an impossible value, everything is 0 and `isBroken` is set. */
class Reader {
  at = 0;
  isBroken = false;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  u8(): number {
    const at = this.#take(1);
    return at < 0 ? 0 : this.#view.getUint8(at);
  }

  u32(): number {
    const at = this.#take(4);
    return at < 0 ? 0 : this.#view.getUint32(at, true);
  }

  u64(): number {
    const at = this.#take(8);
    const value = at < 0 ? 0 : getU64(this.#view, at);
    if (value < 0) this.isBroken = true;
    return value;
  }

  flag(): boolean {
    const value = this.u8();
    if (value > 1) this.isBroken = true;
    return value === 1;
  }

  id(): string {
    const length = this.u8();
    const at = this.#take(length);
    if (length > ID_BYTES_MAX) this.isBroken = true;
    return at < 0 || this.isBroken ? "" : decoder.decode(this.#bytes.subarray(at, at + length));
  }

  /** Steps over a field; -1 when it is not all there. */
  #take(length: number): number {
    const at = this.at;
    if (this.isBroken || at + length > this.#bytes.length) {
      this.isBroken = true;
      return -1;
    }
    this.at = at + length;
    return at;
  }
}
