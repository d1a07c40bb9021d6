// A backup as a stream of bytes: a head that says everything of its parts, the parts in checksummed pieces, and an end mark
// whose checksum covers all of it. Written piece by piece, read in whatever pieces it comes; nothing that it says is believed
// before its checksum held. Drawn in docs/format.md.

import { assert } from "../lib/assert.ts";
import { decodeText, encodeText, getU64, putU64, viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import { FileError } from "./disk.ts";
import { filesOf, type OfferedFile, type OfferedFiles } from "./file-set.ts";
import { FORMAT_VERSION, fileName } from "./format.ts";
import type { ChainEnd } from "./segment-scan.ts";

/** A segment that goes on, or whose entries are not derived yet: its bytes up to some place behind the last entry that counts. */
export interface OpenPart {
  readonly sequence: number;
  readonly salt: number;
  readonly firstIndex: number;
  readonly bytes: number;
}

/** What a backup says of itself. */
export interface BackupHead {
  readonly format: number;
  readonly createdMs: number;
  readonly nodeId: string;
  readonly clusterId: string;
  /** Of the membership that was in force. */
  readonly epoch: number;
  /** The last entry that is in it. */
  readonly applied: ChainEnd;
  /** Of the state at that entry; null when it was too large to be looked at in passing. */
  readonly stateHash: string | null;
  /** Complete files. */
  readonly offer: OfferedFiles;
  /** Segments behind them, in log order. */
  readonly open: readonly OpenPart[];
}

/** The parts of a backup, in order. */
export const partsOf = ({ offer, open }: BackupHead): readonly OfferedFile[] => [
  ...filesOf(offer),
  ...open.map(({ sequence, bytes }) => ({
    name: fileName(sequence, "log"),
    kind: "log" as const,
    bytes,
  })),
];

/** Bytes of the records, segments and tables in it. */
export const partBytes = (head: BackupHead): number =>
  partsOf(head).reduce((sum, { bytes }) => sum + bytes, 0);

const MAGIC_LOW = 0x45_44_59_41; // "AYDE"
const MAGIC_HIGH = 0x4b_41_42_52; // "RBAK"
const PIECE_MAGIC = 0x43_45_49_50; // "PIEC"
const END_MAGIC = 0x45_4e_4f_44; // "DONE"
const HEAD_BYTES = 24;
const FRAME_BYTES = 32;
/** A list of 100,000 files. */
const HEAD_TEXT_BYTES_MAX = 64 << 20;
/** Bytes of one piece, at most. */
export const BACKUP_PIECE_BYTES = 256 << 10;

/** Writes a backup. Calls come in the order of the stream. */
export class BackupWriter {
  #checksum = 0;
  #pieces = 0;
  #bytes = 0;

  /** The beginning of the stream. */
  head(head: BackupHead): Uint8Array {
    const text = encodeText(JSON.stringify(head));
    assert(text.length <= HEAD_TEXT_BYTES_MAX, "The list of parts fits its limit");
    const bytes = new Uint8Array(HEAD_BYTES + text.length);
    const view = viewOf(bytes);
    view.setUint32(0, MAGIC_LOW, true);
    view.setUint32(4, MAGIC_HIGH, true);
    view.setUint32(8, FORMAT_VERSION, true);
    view.setUint32(12, text.length, true);
    view.setUint32(16, crc32(text), true);
    this.#checksum = crc32(bytes.subarray(0, 20));
    view.setUint32(20, this.#checksum, true);
    bytes.set(text, HEAD_BYTES);
    return bytes;
  }

  /** One piece of a part, copied. */
  piece(part: number, position: number, data: Uint8Array): Uint8Array {
    assert(data.length > 0 && data.length <= BACKUP_PIECE_BYTES, "A piece has its size");
    const bytes = new Uint8Array(FRAME_BYTES + data.length);
    const view = viewOf(bytes);
    view.setUint32(0, PIECE_MAGIC, true);
    view.setUint32(8, part, true);
    view.setUint32(12, data.length, true);
    putU64(view, 16, position);
    view.setUint32(28, crc32(data), true);
    bytes.set(data, FRAME_BYTES);
    this.#pieces += 1;
    this.#bytes += data.length;
    return this.#seal(bytes, view);
  }

  /** The end of the stream. */
  end(): Uint8Array {
    const bytes = new Uint8Array(FRAME_BYTES);
    const view = viewOf(bytes);
    view.setUint32(0, END_MAGIC, true);
    view.setUint32(8, this.#pieces, true);
    putU64(view, 16, this.#bytes);
    return this.#seal(bytes, view);
  }

  /** Each frame's checksum goes on from the one before it, so that the last one covers everything. */
  #seal(bytes: Uint8Array, view: DataView): Uint8Array {
    this.#checksum = crc32(bytes.subarray(8, FRAME_BYTES), this.#checksum);
    view.setUint32(4, this.#checksum, true);
    return bytes;
  }
}

/** What a reader is told as the stream goes by; bytes are valid during the call. */
export interface BackupVisitor {
  head(head: BackupHead): void;
  piece(part: number, position: number, bytes: Uint8Array): void;
}

/** Reads a backup as it comes. Throws `FileError` (`damaged`) with the place of what does not hold. */
export class BackupParser {
  readonly #visitor: BackupVisitor;
  #buffer = new Uint8Array(FRAME_BYTES + BACKUP_PIECE_BYTES);
  #filled = 0;
  /** Bytes that the present step needs. */
  #need = HEAD_BYTES;
  #step: (bytes: Uint8Array, view: DataView) => void = (bytes, view) => this.#prefix(bytes, view);
  #checksum = 0;
  #pieces = 0;
  #bytes = 0;
  #parts: readonly OfferedFile[] = [];
  #part = 0;
  #position = 0;
  #isComplete = false;
  /** Where the present step begins in the stream. */
  position = 0;

  constructor(visitor: BackupVisitor) {
    this.#visitor = visitor;
  }

  /** Whether the end mark was read. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Takes the next bytes of the stream. */
  feed(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#isComplete) throw this.#fault("there are bytes behind its end");
      const count = Math.min(this.#need - this.#filled, bytes.length - at);
      this.#buffer.set(bytes.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled < this.#need) return;
      const step = this.#buffer.subarray(0, this.#need);
      const length = this.#need;
      this.#filled = 0;
      this.#step(step, viewOf(step));
      this.position += length;
    }
  }

  /** The stream is over: nothing may be missing. */
  end(): void {
    if (!this.#isComplete) throw this.#fault("it is cut off, and its end mark is missing");
  }

  #fault(what: string): FileError {
    return new FileError("damaged", `Cannot use the backup: at ${this.position}, ${what}`);
  }

  #expect(bytes: number, step: (bytes: Uint8Array, view: DataView) => void): void {
    if (bytes > this.#buffer.length) this.#buffer = new Uint8Array(bytes);
    this.#need = bytes;
    this.#step = step;
  }

  #prefix(bytes: Uint8Array, view: DataView): void {
    if (view.getUint32(0, true) !== MAGIC_LOW || view.getUint32(4, true) !== MAGIC_HIGH)
      throw this.#fault("it does not begin as a backup does");
    this.#checksum = view.getUint32(20, true);
    if (crc32(bytes.subarray(0, 20)) !== this.#checksum)
      throw this.#fault("its head has a checksum that does not hold");
    const version = view.getUint32(8, true);
    if (version !== FORMAT_VERSION)
      throw this.#fault(`it has format ${version}, and this program reads ${FORMAT_VERSION}`);
    const length = view.getUint32(12, true);
    const checksum = view.getUint32(16, true);
    if (length === 0 || length > HEAD_TEXT_BYTES_MAX)
      throw this.#fault(`its head has ${length} bytes`);
    this.#expect(length, (text) => this.#head(text, checksum));
  }

  #head(text: Uint8Array, checksum: number): void {
    if (crc32(text) !== checksum) throw this.#fault("its head has a checksum that does not hold");
    const head = headOf(decodeText(text));
    if (head === undefined) throw this.#fault("its head is none");
    this.#parts = partsOf(head);
    this.#visitor.head(head);
    this.#expect(FRAME_BYTES, this.#frame);
  }

  readonly #frame = (bytes: Uint8Array, view: DataView): void => {
    const magic = view.getUint32(0, true);
    if (magic !== PIECE_MAGIC && magic !== END_MAGIC) throw this.#fault("there is no piece");
    this.#checksum = crc32(bytes.subarray(8, FRAME_BYTES), this.#checksum);
    if (view.getUint32(4, true) !== this.#checksum)
      throw this.#fault("a piece has a head whose checksum does not hold");
    if (magic === END_MAGIC) {
      this.#end(view.getUint32(8, true), getU64(view, 16));
      return;
    }
    const part = view.getUint32(8, true);
    const length = view.getUint32(12, true);
    const position = getU64(view, 16);
    const checksum = view.getUint32(28, true);
    const left = (this.#parts[part]?.bytes ?? 0) - position;
    const isNext = part === this.#part && position === this.#position;
    if (!isNext || length === 0 || length > Math.min(left, BACKUP_PIECE_BYTES))
      throw this.#fault("a piece is not the one that comes next");
    this.#expect(length, (data) => this.#data(part, position, data, checksum));
  };

  #data(part: number, position: number, data: Uint8Array, checksum: number): void {
    const name = this.#parts[part]?.name;
    if (crc32(data) !== checksum)
      throw this.#fault(`a piece of ${name} at ${position} has a checksum that does not hold`);
    this.#visitor.piece(part, position, data);
    this.#pieces += 1;
    this.#bytes += data.length;
    this.#position += data.length;
    if (this.#position === this.#parts[part]?.bytes) {
      this.#part += 1;
      this.#position = 0;
    }
    this.#expect(FRAME_BYTES, this.#frame);
  }

  #end(pieces: number, bytes: number): void {
    if (this.#part < this.#parts.length || pieces !== this.#pieces || bytes !== this.#bytes)
      throw this.#fault(`${this.#parts[this.#part]?.name ?? "a part"} is not whole`);
    this.#isComplete = true;
  }
}

/** Reads a head; undefined when it is none. */
function headOf(text: string): BackupHead | undefined {
  try {
    return checkedHead(JSON.parse(text) as BackupHead);
  } catch {
    // Its checksum held, so somebody made it up.
    return undefined;
  }
}

/** Sizes and numbers are looked at here, so that nobody else has to. Throws on what has another shape. */
function checkedHead(head: BackupHead): BackupHead | undefined {
  if (head.format !== FORMAT_VERSION) return undefined;
  const { applied, offer, open, clusterId } = head;
  if (typeof clusterId !== "string" || !/^[0-9a-f]{32}$/.test(clusterId)) return undefined;
  const numbers = [
    head.epoch,
    head.createdMs,
    applied.index,
    applied.term,
    applied.checksum,
    applied.timestampMs,
    offer.index,
    offer.term,
    ...offer.segments.flatMap((segment) => [
      segment.sequence,
      segment.salt,
      segment.validBytes,
      segment.firstIndex,
      segment.lastIndex,
      segment.lastTerm,
      segment.lastChecksum,
      segment.lastTimestampMs,
      segment.previousChecksum,
    ]),
    ...offer.archives.flatMap(({ sequence, firstIndex, lastIndex, validBytes }) => [
      sequence,
      firstIndex,
      lastIndex,
      validBytes,
    ]),
    ...(offer.compacted === null
      ? []
      : [
          offer.compacted.index,
          offer.compacted.term,
          offer.compacted.checksum,
          offer.compacted.timestampMs,
        ]),
    ...open.flatMap(({ sequence, salt, firstIndex, bytes }) => [sequence, salt, firstIndex, bytes]),
    ...filesOf({ ...offer, base: offer.base ?? null }).map(({ bytes }) => bytes),
  ];
  if (!numbers.every((value) => Number.isSafeInteger(value) && value >= 0)) return undefined;
  // A part without bytes would have no piece to end it.
  return partsOf(head).every(({ bytes }) => bytes > 0) ? head : undefined;
}
