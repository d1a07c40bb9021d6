// What the leader's log says that is not applied yet, by key: with the applied state it is the state that a leader decides by.
// Bounded by what is in flight.

/** Values of things that entries under way change. */
export class Pending<Value> {
  readonly #values = new Map<string, { readonly value: Value; readonly index: number }>();
  /** Keys in the order of their entries; those before the head are applied. */
  #order: { readonly key: string; readonly index: number; readonly weight: number }[] = [];
  #head = 0;
  #weight = 0;

  /** Things that are changed by entries under way. */
  get size(): number {
    return this.#values.size;
  }

  /** What all changes under way weigh together. */
  get weight(): number {
    return this.#weight;
  }

  get(key: string): Value | undefined {
    return this.#values.get(key)?.value;
  }

  /** The entry `index`, which is the newest, makes it this. */
  set(key: string, value: Value, index: number, weight = 0): void {
    this.#values.set(key, { value, index });
    this.#order.push({ key, index, weight });
    this.#weight += weight;
  }

  /** What entries up to `appliedIndex` say is in the state by now. */
  trim(appliedIndex: number): void {
    for (let next = this.#order[this.#head]; next !== undefined && next.index <= appliedIndex; ) {
      if (this.#values.get(next.key)?.index === next.index) this.#values.delete(next.key);
      this.#weight -= next.weight;
      this.#head += 1;
      next = this.#order[this.#head];
    }
    if (this.#head < 1024 && this.#head < this.#order.length) return;
    this.#order = this.#order.slice(this.#head);
    this.#head = 0;
  }

  /** Nothing is under way any more: this node no longer leads. */
  clear(): void {
    this.#values.clear();
    this.#order = [];
    this.#head = 0;
    this.#weight = 0;
  }
}
