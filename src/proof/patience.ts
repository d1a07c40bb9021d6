// Waiting for a condition, with a bound, and no longer than somebody wants to know.

const POLL_MS = 5;

/**
 * Asks again and again until the answer counts, that is, until it is neither undefined nor false.
 * @param what Completes "Waited in vain until".
 * @throws Error that names `what` after `boundMs`, or the signal's reason.
 */
export async function waitUntil<T>(
  what: string,
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  { boundMs, signal }: { readonly boundMs: number; readonly signal: AbortSignal },
): Promise<T> {
  const deadline = performance.now() + boundMs;
  for (;;) {
    signal.throwIfAborted();
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`Waited ${boundMs} ms in vain until ${what}`);
    await Bun.sleep(POLL_MS);
  }
}
