// A proof from its beginning to its report: the nodes, two rounds, the verdict. The verdict is the ledger's.

import { Ledger } from "./ledger.ts";
import { Nodes } from "./nodes.ts";
import type { ProofReport, RoundReport, StateReport } from "./report.ts";
import { PARTITIONS, type ProofStep, Rounds } from "./rounds.ts";
import { makeScratch } from "./scratch.ts";

const ROUNDS = 2;
const PROOF_MS_MAX = 180_000;
const TOKEN_BYTES = 24;

/** What is proved, and how it is told. */
export interface ProofOptions {
  /** 1, 3 or 5. */
  readonly nodes: number;
  /** The executable that is proved, and its first arguments. */
  readonly program: readonly string[];
  /** What the environment of each node has besides its settings. */
  readonly env: Readonly<Record<string, string>>;
  readonly version: string;
  /** The scratch directory stays. */
  readonly isKept?: boolean;
  /** Ends the proof early. */
  readonly signal?: AbortSignal;
  readonly progress: (step: ProofStep) => void;
}

/** Runs a proof. Never throws: what went wrong is in the report. Whatever happens, it leaves no process behind. */
export async function prove(options: ProofOptions): Promise<ProofReport> {
  const startedMs = performance.now();
  const ledger = new Ledger(PARTITIONS);
  const rounds: RoundReport[] = [];
  let states: readonly StateReport[] = [];
  let message: string | undefined;
  const { nodes: count, program, env, isKept = false } = options;
  const stopping = new AbortController();
  const bound = setTimeout(
    () => stopping.abort(new Error(`The proof took longer than ${PROOF_MS_MAX / 1000} s`)),
    PROOF_MS_MAX,
  );
  const leave = (): void => stopping.abort(new Error("The proof was interrupted"));
  options.signal?.addEventListener("abort", leave);
  if (options.signal?.aborted === true) leave();
  const { signal } = stopping;
  try {
    using scratch = makeScratch("prove", { isKept });
    const token = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES)).toHex();
    const ended = (reason: string): void => stopping.abort(new Error(reason));
    await using nodes = new Nodes({ count, program, env, token, scratch, ended });
    const run = new Rounds({ nodes, token, ledger, signal, startedMs, progress: options.progress });
    await run.start();
    for (let round = 1; round <= ROUNDS; round++) rounds.push(await run.round(round));
    if (count > 1) states = await run.compare();
  } catch (thrown) {
    // What made everything else fail says more than what failed because of it.
    const cause = signal.aborted ? signal.reason : thrown;
    message = cause instanceof Error ? cause.message : String(cause);
  } finally {
    // Whoever still waits for a node has nothing to wait for.
    stopping.abort(new Error("The proof is over"));
    clearTimeout(bound);
    options.signal?.removeEventListener("abort", leave);
  }
  const checked = rounds.at(-1)?.records_checked ?? 0;
  const isWhole = message === undefined && rounds.length === ROUNDS && checked > 0;
  return {
    ok: isWhole && ledger.isClean && checked === ledger.acknowledgedRecords,
    nodes: count,
    version: options.version,
    program: program.join(" "),
    rounds,
    acknowledged_records: ledger.acknowledgedRecords,
    records_checked: checked,
    faults: ledger.counts,
    fault_details: ledger.faults,
    state_hashes: states,
    elapsed_ms: Math.round(performance.now() - startedMs),
    ...(message !== undefined && { message }),
  };
}
