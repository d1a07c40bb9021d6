// Where a client sends its next request: on to the leader when a node names it, else to the next node that lives.

import { Client } from "./client.ts";

/** One client's way through the nodes, over one connection at a time. */
export class Route implements Disposable {
  readonly #urls: () => readonly string[];
  readonly #token: string;
  #client: Client | undefined;

  /** @param urls Addresses of the nodes that live now. */
  constructor(urls: () => readonly string[], token: string) {
    this.#urls = urls;
    this.#token = token;
  }

  /** The client to use now; undefined while no node lives. */
  get client(): Client | undefined {
    if (this.#client === undefined) {
      const [url] = this.#urls();
      if (url !== undefined) this.#client = new Client(url, this.#token);
    }
    return this.#client;
  }

  /** Goes on elsewhere after `failed` has not answered or has refused. @param leaderUrl Where it sent us. */
  turn(failed: Client, leaderUrl?: string): void {
    failed[Symbol.dispose]();
    if (this.#client !== failed) return;
    const urls = this.#urls();
    const next =
      leaderUrl !== undefined && urls.includes(leaderUrl)
        ? leaderUrl
        : urls[(urls.indexOf(failed.url) + 1) % Math.max(1, urls.length)];
    this.#client = next === undefined ? undefined : new Client(next, this.#token);
  }

  [Symbol.dispose](): void {
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }
}
