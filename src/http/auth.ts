// Who may call: tokens, what each may do, to which topics, and how often.

import { createHash, timingSafeEqual } from "node:crypto";
import type { Access, RateLimit, Token } from "../config/mod.ts";

const RANK: Record<Access, number> = { read: 0, write: 1, full: 2 };

/** What one token allows. */
export class Grant {
  readonly #rank: number;
  readonly #scope: Token["scope"];
  /** Undefined: without a limit, and without a look at the clock. */
  readonly limiter: RateLimiter | undefined;

  constructor(token: Pick<Token, "access" | "scope" | "rate">) {
    this.#rank = RANK[token.access];
    this.#scope = token.scope;
    this.limiter = token.rate === undefined ? undefined : new RateLimiter(token.rate);
  }

  /** Whether it is for this kind of call at all. */
  allows(access: Access): boolean {
    return this.#rank >= RANK[access];
  }

  /** Whether it may touch this topic. */
  covers(topic: string): boolean {
    const scope = this.#scope;
    if (scope === undefined) return true;
    return scope.isExact ? topic === scope.prefix : topic.startsWith(scope.prefix);
  }

  /** Whether it is for the whole node, not for some topics. */
  get isUnscoped(): boolean {
    return this.#scope === undefined;
  }
}

const DAY_MS = 86_400_000;

/** A bucket that fills by the second up to its burst, and a count that starts over at midnight UTC. */
export class RateLimiter {
  readonly #rate: RateLimit;
  #tokens: number;
  #filledAtMs = 0;
  #day = 0;
  #usedToday = 0;

  constructor(rate: RateLimit) {
    this.#rate = rate;
    this.#tokens = this.#capacity;
  }

  get #capacity(): number {
    // Without a burst the bucket still holds one call, or nothing could ever pass.
    return Math.max(1, this.#rate.burst === 0 ? this.#rate.perSecond : this.#rate.burst);
  }

  /**
   * Counts one call.
   * @returns 0 when it may pass, else the seconds until it may.
   */
  take(nowMs: number): number {
    const { perSecond, perDay } = this.#rate;
    const day = Math.floor(nowMs / DAY_MS);
    if (day !== this.#day) {
      this.#day = day;
      this.#usedToday = 0;
    }
    if (perDay > 0 && this.#usedToday >= perDay)
      return Math.ceil(((day + 1) * DAY_MS - nowMs) / 1000);
    if (perSecond > 0) {
      // A clock that goes back fills nothing.
      const elapsedMs = Math.max(0, nowMs - this.#filledAtMs);
      this.#tokens = Math.min(this.#capacity, this.#tokens + (elapsedMs * perSecond) / 1000);
      this.#filledAtMs = nowMs;
      if (this.#tokens < 1) return Math.max(1, Math.ceil((1 - this.#tokens) / perSecond));
      this.#tokens -= 1;
    }
    this.#usedToday += 1;
    return 0;
  }
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Compares two texts in a time that depends on the second one's length alone. */
function isSameText(left: string, right: string): boolean {
  let difference = left.length ^ right.length;
  for (let i = 0; i < right.length; i++) difference |= left.charCodeAt(i) ^ right.charCodeAt(i);
  return difference === 0;
}

/** A header as clients send it, and what it allows. */
interface KnownHeader {
  readonly header: string;
  readonly grant: Grant;
}

/** Knows every token. Nothing else in the program compares one. */
export class Authority {
  /** By a hash of the whole header under a secret seed: one look-up per request, which tells a guesser nothing. */
  readonly #byHash = new Map<number, KnownHeader>();
  readonly #digests: { readonly digest: Buffer; readonly grant: Grant }[] = [];
  readonly #seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;

  constructor(tokens: readonly Token[]) {
    for (const token of tokens) {
      const grant = new Grant(token);
      const header = `Bearer ${token.secret}`;
      // Of two that collide the second goes the long way.
      const hash = this.#hash(header);
      if (!this.#byHash.has(hash)) this.#byHash.set(hash, { header, grant });
      this.#digests.push({ digest: digest(token.secret), grant });
    }
  }

  /**
   * What this `Authorization` header allows; undefined when it is no known token.
   * Whatever is compared with a token is compared to its end, so that the time tells nothing about how much of a guess was
   * right: the header with the one of the same hash, if there is one, and else its token with every token.
   */
  grant(header: string | null): Grant | undefined {
    if (header === null) return undefined;
    const known = this.#byHash.get(this.#hash(header));
    if (known !== undefined && isSameText(header, known.header)) return known.grant;
    const match = /^bearer +(\S+) *$/i.exec(header);
    const guess = digest(match?.[1] ?? "");
    let found: Grant | undefined;
    for (const { digest: own, grant } of this.#digests)
      if (timingSafeEqual(own, guess)) found = grant;
    return match === null ? undefined : found;
  }

  /** FNV-1a from the seed on: Bun's hashes cost 250 ns more, for the way out of the engine. */
  #hash(header: string): number {
    let hash = this.#seed | 0;
    for (let i = 0; i < header.length; i++)
      hash = Math.imul(hash ^ header.charCodeAt(i), 0x01_00_01_93);
    return hash;
  }
}
