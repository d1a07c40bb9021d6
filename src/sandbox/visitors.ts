// Who is there: so many and no more, and everybody who has gone makes room.

import { Allowance } from "./allowance.ts";
import { SWEEP_MS, VISITORS_MAX, VISITS_BURST, VISITS_PER_MINUTE } from "./bounds.ts";
import { type NodeOptions, Visitor } from "./visitor.ts";

const ID_BYTES = 32;
const MINUTE_S = 60;

/** All visitors by their id, which nobody can guess. */
export class Visitors implements AsyncDisposable {
  readonly #options: NodeOptions;
  readonly #visitors = new Map<string, Visitor>();
  readonly #clock: () => number;
  readonly #visits: Allowance;
  readonly #sweeping: Timer;
  /** Those whose nodes are ending: they take room until they are gone. */
  readonly #leaving = new Set<Promise<void>>();

  /** @param clock Milliseconds that never go back. */
  constructor(options: NodeOptions, clock: () => number = () => performance.now()) {
    this.#options = options;
    this.#clock = clock;
    this.#visits = new Allowance(VISITS_BURST, VISITS_PER_MINUTE / MINUTE_S, clock());
    this.#sweeping = setInterval(() => this.#sweep(), SWEEP_MS);
  }

  /** Finds a visitor whose visit is not over. */
  find(id: string | undefined): Visitor | undefined {
    const visitor = id === undefined ? undefined : this.#visitors.get(id);
    return visitor !== undefined && visitor.leftMs(this.#clock()) > 0 ? visitor : undefined;
  }

  /** Lets a visitor in and gives their id; undefined when the sandbox is full. */
  enter(): string | undefined {
    const nowMs = this.#clock();
    this.#sweep();
    if (this.#visitors.size + this.#leaving.size >= VISITORS_MAX) return undefined;
    if (!this.#visits.take(nowMs)) return undefined;
    const id = crypto.getRandomValues(new Uint8Array(ID_BYTES)).toHex();
    this.#visitors.set(id, new Visitor(this.#options, nowMs));
    return id;
  }

  /** Ends a visit. */
  async leave(id: string): Promise<void> {
    const visitor = this.#visitors.get(id);
    if (visitor === undefined) return;
    this.#visitors.delete(id);
    const left: Promise<void> = visitor[Symbol.asyncDispose]().finally(() =>
      this.#leaving.delete(left),
    );
    this.#leaving.add(left);
    await left;
  }

  #sweep(): void {
    const nowMs = this.#clock();
    for (const [id, visitor] of this.#visitors)
      if (visitor.leftMs(nowMs) === 0) this.leave(id).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeping);
    await Promise.all([
      ...[...this.#visitors.keys()].map((id) => this.leave(id)),
      ...this.#leaving,
    ]);
  }
}
