// Counts what came back, within the window that is measured.

import { LatencyHistogram } from "./latency-histogram.ts";

/** What the connections report to; one per run. Times are milliseconds of `performance.now()`. */
export class Tally {
  /** From the moment a request should have been sent: what a client that does not wait for the generator sees. */
  readonly latency = new LatencyHistogram();
  /** From the moment it was sent: what the server and the network took. Filled at a fixed rate only. */
  readonly service = new LatencyHistogram();
  readonly #statuses = new Float64Array(600);
  readonly #isScheduled: boolean;
  #from = Number.POSITIVE_INFINITY;
  #until = Number.POSITIVE_INFINITY;
  #dueUntil = Number.POSITIVE_INFINITY;
  #first = Number.POSITIVE_INFINITY;
  #last = 0;
  /** Replies of the whole run, warm-up included. */
  answered = 0;
  replies = 0;
  records = 0;
  bytesSent = 0;
  bytesReceived = 0;
  errors = 0;
  /** Why the first error happened; the rest are usually the same. */
  firstError: string | undefined;

  /** @param isScheduled Requests are due at times that do not depend on replies. */
  constructor(isScheduled: boolean) {
    this.#isScheduled = isScheduled;
  }

  /** Counts what arrives from `from` on. @param dueUntil Requests of a schedule that are due later do not matter. */
  open(from: number, dueUntil: number): void {
    this.#from = from;
    this.#dueUntil = dueUntil;
  }

  /**
   * Counts nothing that arrives from `now` on, but for latencies of a schedule: a reply that comes after the window
   * to a request that was due in it is a slow one, and slow ones must not be left out.
   */
  close(now: number): void {
    this.#until = now;
  }

  /** Seconds between the first and the last byte counted: the length of a stream that ran dry before the end. */
  get activeSeconds(): number {
    return this.#last > this.#first ? (this.#last - this.#first) / 1000 : 0;
  }

  /** Counts one whole reply. */
  reply(status: number, intended: number, sent: number, now: number, records: number): void {
    this.answered += 1;
    if (now < this.#from) return;
    const isInWindow = now < this.#until;
    if (isInWindow) {
      this.replies += 1;
      this.records += records;
      this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
    }
    if (!this.#isScheduled) {
      if (isInWindow) this.latency.record((now - intended) * 1000);
    } else if (intended < this.#dueUntil) {
      this.latency.record((now - intended) * 1000);
      this.service.record((now - sent) * 1000);
    }
  }

  /** Counts bytes that arrived. */
  received(bytes: number, now: number): void {
    if (now < this.#from || now >= this.#until) return;
    this.bytesReceived += bytes;
    if (this.#first > now) this.#first = now;
    this.#last = now;
  }

  /** Counts bytes handed to the kernel. */
  sent(bytes: number, now: number): void {
    if (now >= this.#from && now < this.#until) this.bytesSent += bytes;
  }

  /** Counts records of a stream. */
  streamed(records: number, now: number): void {
    if (now >= this.#from && now < this.#until) this.records += records;
  }

  /** Counts a request that got no reply, at any time of the run: an error during warm-up is one too. */
  failed(reason: string): void {
    this.errors += 1;
    this.firstError ??= reason;
  }

  /** Replies per status, those that occurred. */
  statuses(): Record<string, number> {
    const found: Record<string, number> = {};
    this.#statuses.forEach((count, status) => {
      if (count > 0) found[status] = count;
    });
    return found;
  }
}
