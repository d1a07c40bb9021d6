// Lets long replies end when the node stops, and lets them outlive the idle limit of a connection.

/** Whether the node is stopping, and who wants to know. */
export class Lifecycle {
  readonly #listeners = new Set<() => void>();
  #isStopping = false;
  #keepOpen: (request: Request) => void = () => undefined;

  /** Whether no new long reply may start, and open ones should end. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Calls `listener` when the node stops. @returns takes the wish back. */
  onStop(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Tells everyone. */
  stop(): void {
    this.#isStopping = true;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** The server says how a request's connection is kept open without traffic. */
  set keeper(keepOpen: (request: Request) => void) {
    this.#keepOpen = keepOpen;
  }

  /** Keeps the connection of `request` open however long it is silent. */
  keepOpen(request: Request): void {
    this.#keepOpen(request);
  }
}
