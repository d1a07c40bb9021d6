// Assertions that stay on in production: a broken invariant must stop the node, not spread.

/** Thrown when one of our own invariants is broken; `main` turns it into exit code `broken_invariant`. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** Stops with `message` unless `condition` holds. Never used for what a client, a peer or a disk can cause. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** Closes a `switch` over a union: the type checker refuses a missing case, and so does the running program. */
export function assertNever(value: never): never {
  throw new InvariantError(`Cannot handle the case ${JSON.stringify(value)}`);
}
