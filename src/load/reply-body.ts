// Keeps of a reply's body only what counting needs: its last bytes, or how many newlines went by.

import type { ReplyReading, ReplyTimes, Work } from "./work.ts";

const ENDING_BYTES_MAX = 256;
const LINE_FEED = 10;

/** The body of one reply at a time. */
export class ReplyBody {
  readonly #work: Work;
  readonly #ending = Buffer.alloc(ENDING_BYTES_MAX);
  #endingLength = 0;
  #lines = 0;

  /** @returns undefined for work whose replies are not looked into. */
  static of(work: Work): ReplyBody | undefined {
    return work.readReply === undefined && work.countLines !== true
      ? undefined
      : new ReplyBody(work);
  }

  private constructor(work: Work) {
    this.#work = work;
  }

  /** Takes the next piece. */
  add(bytes: Uint8Array, start: number, end: number): void {
    if (this.#work.countLines === true) {
      let lines = 0;
      for (let at = start; at < end; at++) if (bytes[at] === LINE_FEED) lines += 1;
      this.#lines += lines;
      return;
    }
    const length = end - start;
    if (length >= ENDING_BYTES_MAX) {
      this.#ending.set(bytes.subarray(end - ENDING_BYTES_MAX, end));
      this.#endingLength = ENDING_BYTES_MAX;
      return;
    }
    const kept = Math.min(this.#endingLength, ENDING_BYTES_MAX - length);
    this.#ending.copyWithin(0, this.#endingLength - kept, this.#endingLength);
    this.#ending.set(bytes.subarray(start, end), kept);
    this.#endingLength = kept + length;
  }

  /** Takes the newlines that were counted since the last call. */
  takeLines(): number {
    const lines = this.#lines;
    this.#lines = 0;
    return lines;
  }

  /** Reads the ending of a whole 2xx reply and forgets it. */
  read(times: ReplyTimes): ReplyReading | undefined {
    const text = this.#ending.toString("latin1", 0, this.#endingLength);
    this.clear();
    return this.#work.readReply?.(text, times);
  }

  /** Forgets what came, before the next reply. */
  clear(): void {
    this.#endingLength = 0;
  }
}
