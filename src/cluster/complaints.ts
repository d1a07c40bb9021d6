// Says what goes wrong again and again once a minute, with how often: a peer that is down must not fill the disk with lines.

import type { Logger } from "../lib/logger.ts";

const QUIET_MS = 60_000;
/** What is remembered at the same time; the oldest goes first. */
const KEYS_MAX = 256;

/** Writes warnings, each kind of them at most once a minute. */
export class Complaints {
  readonly #logger: Logger;
  readonly #said = new Map<string, { readonly ms: number; unsaid: number }>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /**
   * Warns, or counts.
   * @param about What makes it one kind, with the event: a peer, a reason.
   */
  warn(
    event: string,
    about: string,
    fields: Readonly<Record<string, unknown>>,
    nowMs: number,
  ): void {
    const key = `${event} ${about}`;
    const before = this.#said.get(key);
    if (before !== undefined && nowMs - before.ms < QUIET_MS) {
      before.unsaid += 1;
      return;
    }
    const unsaid = before?.unsaid ?? 0;
    this.#said.delete(key);
    if (this.#said.size >= KEYS_MAX) {
      const [oldest] = this.#said.keys();
      if (oldest !== undefined) this.#said.delete(oldest);
    }
    this.#said.set(key, { ms: nowMs, unsaid: 0 });
    this.#logger.warn(event, unsaid === 0 ? fields : { ...fields, unsaid });
  }
}
