// Moments at which something ends, the soonest first: a binary heap in two typed arrays. What was put in is not taken out when
// it changes; whoever takes it looks whether it still holds.

const CAPACITY_MIN = 1024;

/** Deadlines with the address that each belongs to. */
export class DeadlineHeap {
  #times = new Float64Array(CAPACITY_MIN);
  #addresses = new Float64Array(CAPACITY_MIN);
  #size = 0;

  /** Deadlines in the heap. */
  get size(): number {
    return this.#size;
  }

  /** The soonest deadline; `Infinity` when there is none. */
  get nextMs(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#times[0] as number);
  }

  /** The address that the soonest deadline belongs to. */
  get nextAddress(): number {
    return this.#addresses[0] as number;
  }

  push(deadlineMs: number, address: number): void {
    if (this.#size === this.#times.length) this.#grow();
    let at = this.#size;
    this.#size += 1;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if ((this.#times[parent] as number) <= deadlineMs) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#times[at] = deadlineMs;
    this.#addresses[at] = address;
  }

  /** Takes the soonest out. */
  pop(): void {
    this.#size -= 1;
    const last = this.#size;
    const lastMs = this.#times[last] as number;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= last) break;
      if (child + 1 < last && (this.#times[child + 1] as number) < (this.#times[child] as number))
        child += 1;
      if ((this.#times[child] as number) >= lastMs) break;
      this.#move(child, at);
      at = child;
    }
    this.#times[at] = lastMs;
    this.#addresses[at] = this.#addresses[last] as number;
  }

  /** Takes everything out. */
  clear(): void {
    this.#size = 0;
  }

  #move(from: number, to: number): void {
    this.#times[to] = this.#times[from] as number;
    this.#addresses[to] = this.#addresses[from] as number;
  }

  #grow(): void {
    const grown = (from: Float64Array): Float64Array<ArrayBuffer> => {
      const into = new Float64Array(from.length * 2);
      into.set(from);
      return into;
    };
    this.#times = grown(this.#times);
    this.#addresses = grown(this.#addresses);
  }
}
