// Clients that take their time, beside the fuzzer: heads and bodies that come byte by byte, connections that say nothing,
// readers that take nothing of a large reply or of a stream.

import type { Prng } from "../../src/lib/prng.ts";
import { Wire } from "./fuzz-wire.ts";

const AUTH = "Host: node\r\nAuthorization: Bearer fuzz\r\n";
const BYTE_MS = 40;
const LIFE_MS_MAX = 4000;

/** What a slow client sends, and whether all of it at once. */
const KINDS: readonly {
  readonly head: string;
  readonly isSlow: boolean;
  readonly isDeaf: boolean;
}[] = [
  { head: `GET /health HTTP/1.1\r\n${AUTH}X: ${"slow".repeat(100)}`, isSlow: true, isDeaf: false },
  {
    head: `POST /broker/topics/fuzz.slow/produce HTTP/1.1\r\n${AUTH}Content-Length: 9000\r\n\r\nslow`,
    isSlow: true,
    isDeaf: false,
  },
  {
    head: `POST /broker/commit HTTP/1.1\r\n${AUTH}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n`,
    isSlow: true,
    isDeaf: false,
  },
  { head: "", isSlow: false, isDeaf: false },
  {
    head: `GET /broker/consume/fuzz.big/g/0?offset=0&limit=1000 HTTP/1.1\r\n${AUTH}\r\n`,
    isSlow: false,
    isDeaf: true,
  },
  {
    head: `GET /broker/tail/fuzz.big/0?offset=0 HTTP/1.1\r\n${AUTH}\r\n`,
    isSlow: false,
    isDeaf: true,
  },
  {
    head: `GET /swagger/swagger-ui-bundle.js HTTP/1.1\r\n${AUTH}\r\n`,
    isSlow: false,
    isDeaf: true,
  },
  { head: `GET /kv/fuzz.big?watch=1 HTTP/1.1\r\n${AUTH}\r\n`, isSlow: false, isDeaf: true },
];

/** Keeps `count` of them at it until it is stopped. */
export class SlowClients {
  started = 0;
  readonly #port: number;
  readonly #random: Prng;
  readonly #running: Promise<unknown>;
  #isStopping = false;

  constructor(port: number, random: Prng, count: number) {
    this.#port = port;
    this.#random = random;
    this.#running = Promise.all(Array.from({ length: count }, () => this.#live()));
  }

  /** Waits until all have ended. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  async #live(): Promise<void> {
    while (!this.#isStopping) {
      const kind = KINDS[this.#random.below(KINDS.length)];
      const ends = performance.now() + this.#random.below(LIFE_MS_MAX);
      const wire = await Wire.open(this.#port);
      this.started += 1;
      if (kind?.isDeaf === true) wire.stopReading();
      if (kind?.isSlow === false) wire.send(Buffer.from(kind.head));
      let at = 0;
      while (performance.now() < ends && !this.#isStopping && !wire.isClosed) {
        if (kind?.isSlow === true && at < kind.head.length)
          wire.send(Buffer.from(kind.head.slice(at, ++at)));
        await Bun.sleep(BYTE_MS);
      }
      if (this.#random.chance(0.5)) wire.reset();
      else wire.close();
    }
  }
}
