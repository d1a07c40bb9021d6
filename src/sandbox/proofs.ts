// Proofs for visitors: one line of JSON per step, the report as the last one. Whoever goes away ends theirs.

import { type ProofStep, prove } from "../proof/mod.ts";
import { PROOF_PAUSE_MS, PROOFS_MAX } from "./bounds.ts";
import type { Fields } from "./calls.ts";
import { HEADERS, refusal } from "./replies.ts";
import type { NodeOptions, Visitor } from "./visitor.ts";

const NODES = [1, 3];
const ENCODER = new TextEncoder();

/** What proofs are made with. */
export interface ProofsOptions extends NodeOptions {
  readonly version: string;
  /** Gets what went wrong, which may name paths: it is for the log, not for the visitor. */
  readonly complain: (message: string) => void;
}

/** Runs proofs, few at a time. */
export class Proofs implements AsyncDisposable {
  readonly #options: ProofsOptions;
  readonly #running = new Map<Promise<void>, AbortController>();

  constructor(options: ProofsOptions) {
    this.#options = options;
  }

  /** Starts a proof and answers with its lines. */
  start(visitor: Visitor, { nodes }: Fields): Response {
    const count = NODES.find((one) => one === nodes);
    if (count === undefined)
      return refusal("bad_request", `A proof has ${NODES.join(" or ")} nodes here`);
    if (visitor.isProving || this.#running.size >= PROOFS_MAX)
      return refusal("proof_running", "A proof is running already: try again in a moment");
    if (performance.now() - visitor.provedMs < PROOF_PAUSE_MS)
      return refusal("proof_running", "Your last proof has only just ended: try again in a moment");
    const leaving = new AbortController();
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const say = (line: unknown): void => {
          if (!leaving.signal.aborted)
            controller.enqueue(ENCODER.encode(`${JSON.stringify(line)}\n`));
        };
        const run = this.#run(visitor, count, leaving.signal, say).finally(() => {
          this.#running.delete(run);
          if (!leaving.signal.aborted) controller.close();
        });
        this.#running.set(run, leaving);
      },
      cancel: () => leaving.abort(),
    });
    return new Response(stream, {
      headers: { ...HEADERS, "content-type": "application/x-ndjson" },
    });
  }

  async #run(
    visitor: Visitor,
    nodes: number,
    signal: AbortSignal,
    say: (line: { readonly step: ProofStep } | { readonly report: unknown }) => void,
  ): Promise<void> {
    const { program, env, version, complain } = this.#options;
    visitor.isProving = true;
    try {
      const report = await prove({
        nodes,
        program,
        env,
        version,
        signal,
        progress: (step) => say({ step }),
      });
      const { program: _, message, ...shown } = report;
      if (message !== undefined && !signal.aborted) complain(message);
      say({
        report: {
          ...shown,
          ...(message !== undefined && { message: "The proof did not come to its end" }),
        },
      });
    } finally {
      visitor.isProving = false;
      visitor.provedMs = performance.now();
      visitor.seen(visitor.provedMs);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const leaving of this.#running.values()) leaving.abort();
    await Promise.all(this.#running.keys());
  }
}
