// Fills a node with files when it lacks more of the log than is worth sending entry by entry. The one that lacks asks, piece
// by piece, a few at a time: so the transfer goes on where it stopped, and never outruns its disk or the leader's attention.

import type { Logger } from "../lib/logger.ts";
import {
  type Disk,
  type DiskFile,
  filesOf,
  type IncomingFiles,
  type OfferedFiles,
  pieceChecksum,
  type SegmentLog,
} from "../log/mod.ts";
import type { PeerTalk } from "./peer-codec.ts";

/** Bytes of one piece. */
const PIECE_BYTES = 256 << 10;
/** Pieces that are asked for and have not come. */
const PIECES_UNDER_WAY = 8;
/** A piece that does not come for so long is asked for again. */
const ASK_AGAIN_MS = 2000;
/** Who asks for nothing for so long is made the same offer again. */
const OFFER_AGAIN_MS = 3000;
/** Files may be so many times what the entries are that they stand for: they are written and not applied. */
const FILES_WORTH = 2;
/** Whether files are worth it is looked at so often: with many files it takes its time. */
const LOOK_AGAIN_MS = 500;
/** A transfer that stands still for so long is over. */
const GIVE_UP_MS = 30_000;
/** After a transfer that failed, entries are tried for a while. */
const TRY_AGAIN_MS = 30_000;

/** What both sides need of their replica. */
interface TransferOptions {
  readonly disk: Disk;
  readonly log: SegmentLog;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly talk: (to: string, talk: PeerTalk) => void;
  /** False: too much waits to be sent. */
  readonly sendPiece: (to: string, piece: PieceHead, bytes: Uint8Array) => boolean;
}

/** Which piece of what. */
export interface PieceHead {
  /** Index that the offer stands for. */
  readonly transfer: number;
  readonly file: number;
  readonly checksum: number;
  readonly position: number;
}

/** One follower that is being filled. */
interface Sending {
  readonly offer: OfferedFiles;
  readonly files: Map<number, DiskFile>;
  /** When the follower last asked for something. */
  lastMs: number;
  /** When it was last offered. */
  offeredMs: number;
  /** It was offered on a connection that is no more. */
  isUnheard: boolean;
  /** Pieces that are being read, or were and are not sent yet. */
  reads: number;
  /** Those that found no room on their way: `send` says whether they did now. */
  unsent: { readonly send: () => boolean; readonly done: () => void }[];
  isOver: boolean;
}

/** The side that has the files. */
export class FileSender {
  readonly #options: TransferOptions;
  readonly #sending = new Map<string, Sending>();
  readonly #failedMs = new Map<string, number>();
  /** When files were last found to be more than the entries are worth. */
  readonly #tooMuchMs = new Map<string, number>();
  readonly #pieces: Uint8Array[] = [];

  constructor(options: TransferOptions) {
    this.#options = options;
  }

  /**
   * Offers a follower everything up to an index beyond `nextIndex`; undefined when there is no such offer now.
   * @param entryBytes Of the entries that it lacks; `Infinity` when they are not in the log any more.
   */
  offer(to: string, nextIndex: number, entryBytes: number): OfferedFiles | undefined {
    const now = this.#options.nowMs();
    const failedMs = this.#failedMs.get(to) ?? Number.NEGATIVE_INFINITY;
    if (now - failedMs < TRY_AGAIN_MS) return undefined;
    const isRemembered =
      now - (this.#tooMuchMs.get(to) ?? Number.NEGATIVE_INFINITY) < LOOK_AGAIN_MS;
    if (isRemembered && Number.isFinite(entryBytes)) return undefined;
    const offer = this.#options.log.offer();
    if (offer === undefined || offer.index < nextIndex) return undefined;
    // The follower may be in the middle of it. What makes up the log may lie in other files by now; these are still open.
    const known = this.#sending.get(to);
    if (known?.offer.index === offer.index) {
      known.lastMs = now;
      known.offeredMs = now;
      return known.offer;
    }
    const offered = filesOf(offer);
    // While files are sent entries come in: to send all files for those again would never end.
    if (offered.reduce((sum, { bytes }) => sum + bytes, 0) > FILES_WORTH * entryBytes) {
      this.#tooMuchMs.set(to, now);
      return undefined;
    }
    this.end(to);
    const files = new Map<number, DiskFile>();
    const times = { lastMs: now, offeredMs: now, isUnheard: false };
    this.#sending.set(to, { offer, files, ...times, reads: 0, unsent: [], isOver: false });
    // A merge or a reclaim may take files away before they are asked for; what is open stays readable.
    for (let file = 0; file < offered.length; file++) this.#open(files, offer, file);
    this.#options.logger.info("offers_files", { node: to, index: offer.index });
    return offer;
  }

  /** A follower asks for the list of what it was offered. */
  list(to: string, index: number): void {
    const sending = this.#sending.get(to);
    if (sending?.offer.index !== index) return;
    sending.lastMs = this.#options.nowMs();
    this.#options.talk(to, { kind: "files", offer: sending.offer });
  }

  /** A follower asks for a piece. */
  piece(to: string, transfer: number, file: number, position: number): void {
    const sending = this.#sending.get(to);
    if (sending?.offer.index !== transfer) return;
    sending.lastMs = this.#options.nowMs();
    const offered = filesOf(sending.offer)[file];
    if (offered === undefined || position >= offered.bytes) return;
    // Asked for again while the first is on its way.
    if (sending.reads >= PIECES_UNDER_WAY) return;
    const open = sending.files.get(file) ?? this.#open(sending.files, sending.offer, file);
    const length = Math.min(PIECE_BYTES, offered.bytes - position);
    const memory = this.#pieces.pop() ?? this.#options.disk.allocate(PIECE_BYTES);
    const done = (): void => {
      this.#pieces.push(memory);
      sending.reads -= 1;
      this.#close(sending);
    };
    sending.reads += 1;
    this.#options.disk.read(open, position, memory, length).then(
      (count) => {
        const bytes = memory.subarray(0, count);
        const head = { transfer, file, checksum: pieceChecksum(bytes), position };
        const send = (): boolean =>
          count !== length || sending.isOver || this.#options.sendPiece(to, head, bytes);
        sending.unsent.push({ send, done });
        this.#flush(sending);
      },
      // Damaged or not, the follower gives up in time and is offered something else.
      done,
    );
  }

  /** Sends what found no room before. */
  flush(): void {
    for (const sending of this.#sending.values()) this.#flush(sending);
  }

  #flush(sending: Sending): void {
    while (sending.unsent[0]?.send() === true) sending.unsent.shift()?.done();
  }

  #open(files: Map<number, DiskFile>, offer: OfferedFiles, file: number): DiskFile {
    const open = this.#options.disk.open(filesOf(offer)[file]?.name ?? "");
    files.set(file, open);
    return open;
  }

  /** Lets go of the files of a transfer that is over, once nothing of them is being read. */
  #close(sending: Sending): void {
    if (!sending.isOver || sending.reads > 0) return;
    for (const file of sending.files.values()) file.close();
    sending.files.clear();
  }

  /** A follower has connected: of an offer that was made before it knows nothing, unless it asks. */
  met(to: string): void {
    const sending = this.#sending.get(to);
    if (sending === undefined) return;
    sending.isUnheard = true;
    for (const { done } of sending.unsent.splice(0)) done();
  }

  /**
   * Who asks for nothing may never have had the offer, or have started again since: it is to be made again. One who has it
   * takes no notice.
   */
  unanswered(): readonly { readonly to: string; readonly index: number }[] {
    const now = this.#options.nowMs();
    const silent = [...this.#sending].filter(
      ([, { lastMs, offeredMs, isUnheard }]) =>
        isUnheard || now - Math.max(lastMs, offeredMs) >= OFFER_AGAIN_MS,
    );
    for (const [, sending] of silent) {
      sending.offeredMs = now;
      sending.isUnheard = false;
    }
    return silent.map(([to, { offer }]) => ({ to, index: offer.index }));
  }

  /** Time goes on. Returns followers that have asked for nothing for too long: their transfers are over. */
  expired(): readonly string[] {
    const before = this.#options.nowMs() - GIVE_UP_MS;
    const late = [...this.#sending].filter(([, { lastMs }]) => lastMs < before);
    for (const [to] of late) this.end(to, true);
    return late.map(([to]) => to);
  }

  /** The transfer is over. */
  end(to: string, hasFailed = false): void {
    if (hasFailed) this.#failedMs.set(to, this.#options.nowMs());
    const sending = this.#sending.get(to);
    if (sending === undefined) return;
    this.#sending.delete(to);
    sending.isOver = true;
    this.#flush(sending);
    this.#close(sending);
  }

  /** Every transfer is over. */
  close(): void {
    for (const to of [...this.#sending.keys()]) this.end(to);
  }
}

/** What the receiving side is told besides. */
interface ReceiveOptions extends TransferOptions {
  /** The new set is complete and verified. */
  readonly complete: (incoming: IncomingFiles) => void;
}

/** A transfer that comes in. */
interface Receiving {
  readonly from: string;
  readonly index: number;
  incoming: IncomingFiles | undefined;
  isBegun: boolean;
  isVerifying: boolean;
  /** The next piece to ask for. */
  file: number;
  position: number;
  /** Asked for, by file and position. */
  readonly awaited: Map<
    string,
    { readonly file: number; readonly position: number; askedMs: number }
  >;
  /** Pieces that are being written. */
  writing: number;
  bytes: number;
  lastMs: number;
}

/** The side that lacks them. */
export class FileReceiver {
  readonly #options: ReceiveOptions;
  #receiving: Receiving | undefined;

  constructor(options: ReceiveOptions) {
    this.#options = options;
  }

  /** Whether a transfer is under way. */
  get isBusy(): boolean {
    return this.#receiving !== undefined;
  }

  /** A leader offers its state at `index`. */
  offered(from: string, index: number): void {
    const receiving = this.#receiving;
    if (receiving?.from === from && receiving.index === index) return;
    if (receiving?.isVerifying === true) return;
    // What came of another offer would lie there until the next start.
    receiving?.incoming?.discard();
    const lastMs = this.#options.nowMs();
    this.#receiving = {
      from,
      index,
      incoming: undefined,
      isBegun: false,
      isVerifying: false,
      file: 0,
      position: 0,
      awaited: new Map(),
      writing: 0,
      bytes: 0,
      lastMs,
    };
    this.#options.talk(from, { kind: "wantFiles", index });
  }

  /** The list of an offer came. */
  listed(from: string, offer: OfferedFiles): void {
    const receiving = this.#receiving;
    if (receiving?.from !== from || receiving.index !== offer.index) return;
    if (receiving.incoming !== undefined) return;
    this.#options.logger.info("receives_files", { node: from, index: offer.index });
    receiving.lastMs = this.#options.nowMs();
    receiving.incoming = this.#options.log.receive(offer, () => {
      receiving.isBegun = true;
      this.#ask(receiving);
    });
  }

  #ask(receiving: Receiving): void {
    const { incoming, awaited, from, index } = receiving;
    if (incoming === undefined || !receiving.isBegun) return;
    const askedMs = this.#options.nowMs();
    while (awaited.size + receiving.writing < PIECES_UNDER_WAY) {
      const { file, position } = receiving;
      const offered = incoming.files[file];
      if (offered === undefined) break;
      awaited.set(`${file} ${position}`, { file, position, askedMs });
      this.#options.talk(from, { kind: "wantPiece", index, file, position });
      receiving.position += PIECE_BYTES;
      if (receiving.position >= offered.bytes) {
        receiving.file += 1;
        receiving.position = 0;
      }
    }
    if (awaited.size + receiving.writing === 0 && !receiving.isVerifying) this.#verify(receiving);
  }

  /** A piece came. */
  take(from: string, head: PieceHead, bytes: Uint8Array): void {
    const receiving = this.#receiving;
    if (receiving?.from !== from || receiving.index !== head.transfer) return;
    const { incoming, awaited } = receiving;
    const key = `${head.file} ${head.position}`;
    if (incoming === undefined || !awaited.has(key)) return;
    // One that is damaged counts as one that did not come.
    if (pieceChecksum(bytes) !== head.checksum) return;
    awaited.delete(key);
    receiving.writing += 1;
    receiving.bytes += bytes.length;
    receiving.lastMs = this.#options.nowMs();
    incoming.write(head.file, head.position, bytes.slice(), (error) => {
      receiving.writing -= 1;
      if (this.#receiving !== receiving) return;
      if (error === undefined) this.#ask(receiving);
      else this.#fail(receiving, error.message);
    });
  }

  #verify(receiving: Receiving): void {
    const { incoming, from, index, bytes } = receiving;
    if (incoming === undefined) return;
    receiving.isVerifying = true;
    incoming.verify((error) => {
      if (this.#receiving !== receiving) return;
      if (error !== undefined) {
        this.#fail(receiving, error.message);
        return;
      }
      this.#options.logger.info("received_files", { node: from, index, bytes });
      this.#options.complete(incoming);
    });
  }

  /** What came is not wanted any more: this node has it, or more, by other ways. */
  decline(): void {
    const receiving = this.#receiving;
    if (receiving === undefined) return;
    const { from, index } = receiving;
    this.#options.logger.info("files_declined", { node: from, index });
    this.#options.talk(from, { kind: "filesEnded", index, isInstalled: true });
    this.#receiving = undefined;
    receiving.incoming?.discard();
  }

  #fail(receiving: Receiving, message: string): void {
    const { from, index } = receiving;
    receiving.incoming?.discard();
    this.#options.logger.warn("files_failed", { node: from, index, message });
    this.#options.talk(from, { kind: "filesEnded", index, isInstalled: false });
    this.#receiving = undefined;
  }

  /** Time goes on: what did not come is asked for again. */
  tick(): void {
    const receiving = this.#receiving;
    if (receiving === undefined || receiving.isVerifying) return;
    const now = this.#options.nowMs();
    if (now - receiving.lastMs >= GIVE_UP_MS) {
      this.#fail(receiving, "nothing came for too long");
      return;
    }
    const { from, index, awaited, incoming } = receiving;
    if (incoming === undefined && now - receiving.lastMs >= ASK_AGAIN_MS)
      this.#options.talk(from, { kind: "wantFiles", index });
    for (const piece of awaited.values()) {
      if (now - piece.askedMs < ASK_AGAIN_MS) continue;
      piece.askedMs = now;
      const { file, position } = piece;
      this.#options.talk(from, { kind: "wantPiece", index, file, position });
    }
  }
}
