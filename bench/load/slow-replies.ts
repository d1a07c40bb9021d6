// Why replies were slow: what the node said of them, beside what else happened at the same time.

/** Where the time of a request went inside the node, in microseconds, as `timing=1` tells. */
export interface Parts {
  readonly queue: number;
  readonly server: number;
  readonly syncWait: number;
}

const NO_PARTS: Parts = { queue: 0, server: 0, syncWait: 0 };

/** Reads the parts, which are the last fields of a reply; a reply without them has none. */
export function readParts(ending: string): Parts {
  const at = ending.lastIndexOf(',"queue_us":');
  if (at < 0) return NO_PARTS;
  const numberOf = (name: string): number =>
    Number.parseInt(ending.slice(ending.indexOf(name, at) + name.length), 10) || 0;
  return {
    queue: numberOf('"queue_us":'),
    server: numberOf('"server_us":'),
    syncWait: numberOf('"sync_wait_us":'),
  };
}

/** A slow reply. Times are milliseconds of `performance.now()`. */
export interface SlowReply {
  readonly intended: number;
  readonly sent: number;
  readonly now: number;
  readonly parts: Parts;
}

/** Stretches of time in which something stood still, in the order of their ends. */
export class Pauses {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  sumMs = 0;
  worstMs = 0;

  get count(): number {
    return this.#ends.length;
  }

  /** One has ended. @param joinMs One that ended so shortly before is the same one. */
  add(start: number, end: number, joinMs = 0): void {
    const before = this.#ends.at(-1) ?? Number.NEGATIVE_INFINITY;
    if (start - before < joinMs) {
      this.sumMs += end - before;
      this.#ends[this.#ends.length - 1] = end;
    } else {
      this.sumMs += end - start;
      this.#starts.push(start);
      this.#ends.push(end);
    }
    const last = this.#ends.length - 1;
    this.worstMs = Math.max(this.worstMs, end - (this.#starts[last] as number));
  }

  /** One has ended just now. */
  ended(lengthMs: number): void {
    const now = performance.now();
    this.add(now - lengthMs, now);
  }

  /** How much of them lies between two moments, in milliseconds. */
  within(from: number, to: number): number {
    let sum = 0;
    for (let i = this.#firstAfter(from); i < this.#ends.length; i++) {
      const end = this.#ends[i] as number;
      sum += Math.max(0, Math.min(end, to) - Math.max(this.#starts[i] as number, from));
      // None is longer than the worst: those that end later begin after `to`.
      if (end - this.worstMs > to) break;
    }
    return sum;
  }

  /** The longest that ended in each second from `begin` on. */
  worstBySecond(begin: number, seconds: number): number[] {
    const worst = new Array<number>(seconds).fill(0);
    this.#ends.forEach((end, i) => {
      const at = Math.floor((end - begin) / 1000);
      if (at >= 0 && at < seconds)
        worst[at] = Math.max(worst[at] as number, end - (this.#starts[i] as number));
    });
    return worst;
  }

  summary(): { readonly count: number; readonly sumMs: number; readonly worstMs: number } {
    return { count: this.count, sumMs: this.sumMs, worstMs: this.worstMs };
  }

  #firstAfter(moment: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] as number) < moment) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** All that was watched. */
export interface Seen {
  /** The processors ran at a fraction of their speed. */
  readonly slowdowns: Pauses;
  /** Pauses of the node's garbage collector. */
  readonly collections: Pauses;
  /** The node's first thread waited for a processor. */
  readonly waits: Pauses;
  /** The generator came back late to its own timer. */
  readonly stalls: Pauses;
}

/** What replies can be slow for, in words. */
export const CAUSES = {
  machine: "the machine: its processors ran at a fraction of their speed",
  collector: "garbage collection in the node",
  processor: "the node waited for a processor",
  sync: "the disk: a write and its sync",
  queue: "the disk: the write before",
  generator: "the load generator stood still",
  node: "the node's own work",
  outside: "sockets, or a turn of either loop",
} as const;

/** A key of `CAUSES`. */
export type Cause = keyof typeof CAUSES;

/** Slow replies that came together: they suffered from the same thing, the last of them from those before. */
export interface Episode {
  readonly cause: Cause;
  readonly fromMs: number;
  readonly writes: number;
  /** The slowest, from when it was due. */
  readonly worstMs: number;
  /** Of the one that was longest on its way: how long, and what fell into that time. */
  readonly serviceMs: number;
  readonly syncMs: number;
  readonly queueMs: number;
  readonly machineMs: number;
  readonly collectorMs: number;
  readonly processorMs: number;
  readonly generatorMs: number;
}

/** Puts slow replies together whose ends are less than `gapMs` apart. @param replies In the order of their ends. */
export function episodesOf(replies: readonly SlowReply[], seen: Seen, gapMs: number): Episode[] {
  const groups: SlowReply[][] = [];
  let before = Number.NEGATIVE_INFINITY;
  for (const reply of replies) {
    if (reply.now - before < gapMs) groups.at(-1)?.push(reply);
    else groups.push([reply]);
    before = reply.now;
  }
  return groups.map((group) => {
    const longest = group.reduce((a, b) => (b.now - b.sent > a.now - a.sent ? b : a));
    const { sent, now, parts } = longest;
    const found = {
      serviceMs: now - sent,
      syncMs: parts.syncWait / 1000,
      queueMs: parts.queue / 1000,
      machineMs: seen.slowdowns.within(sent, now),
      collectorMs: seen.collections.within(sent, now),
      processorMs: seen.waits.within(sent, now),
      generatorMs: seen.stalls.within(sent, now),
    };
    return {
      ...found,
      cause: causeOf(found, parts.server / 1000),
      fromMs: Math.min(...group.map(({ intended }) => intended)),
      writes: group.length,
      worstMs: Math.max(...group.map((reply) => reply.now - reply.intended)),
    };
  });
}

/** What took at least half of the time on its way; of several, the one that the others follow from. */
function causeOf(
  found: Omit<Episode, "cause" | "fromMs" | "writes" | "worstMs">,
  serverMs: number,
): Cause {
  const half = found.serviceMs / 2;
  if (found.machineMs >= half) return "machine";
  if (found.collectorMs >= half) return "collector";
  if (found.processorMs >= half) return "processor";
  if (found.syncMs >= half) return "sync";
  if (found.syncMs + found.queueMs >= half) return "queue";
  if (found.generatorMs >= half) return "generator";
  return serverMs >= half ? "node" : "outside";
}
