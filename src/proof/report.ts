// What a proof found: the JSON that scripts read, and the account that people read. `docs/operating/prove.md` explains both.

import type { FaultCounts } from "./ledger.ts";

/** One kill and what came of it. Times are in milliseconds. */
export interface RoundReport {
  readonly round: number;
  readonly killed: string;
  /** Acknowledged in all rounds so far, when the node was killed. */
  readonly acknowledged_records_at_kill: number;
  /** Requests that the kill left without a reply. */
  readonly unanswered_writes: number;
  /** Of those, the ones with an idempotency key that were sent again, and of these, those that had been stored already. */
  readonly retried_writes: number;
  readonly duplicates_answered: number;
  /** Acknowledged requests that were sent once more with their key, and had to be answered with their first offset. */
  readonly repeated_writes: number;
  /** From the new start of the process until it was ready. */
  readonly ready_ms: number;
  /** From the kill to the reply to the first write that was sent after it. */
  readonly next_write_ms: number;
  readonly partitions: readonly {
    readonly partition: number;
    readonly last_committed_offset: number | null;
    /** A commit without a reply: it may count. */
    readonly commit_in_doubt: number | null;
    readonly first_consumed_offset: number;
  }[];
  /** Acknowledged records that were looked for after this round: all since the beginning. */
  readonly records_checked: number;
}

/** The state of a node in one number, and where in the log it was taken. */
export interface StateReport {
  readonly node: string;
  readonly applied_index: number;
  readonly hash: string;
}

/** The whole proof. */
export interface ProofReport {
  readonly ok: boolean;
  readonly nodes: number;
  readonly version: string;
  readonly program: string;
  readonly rounds: readonly RoundReport[];
  readonly acknowledged_records: number;
  readonly records_checked: number;
  readonly faults: FaultCounts;
  /** The first broken promises in words. */
  readonly fault_details: readonly string[];
  /** The state of each node at the end, in one number. */
  readonly state_hashes: readonly StateReport[];
  readonly elapsed_ms: number;
  /** Why the proof did not come to its end. */
  readonly message?: string;
}

/** The account for a terminal. */
export function describeProof(report: ProofReport): string {
  const { rounds, nodes, faults } = report;
  const lines = [
    nodes === 1
      ? "One node, killed twice in the middle of writes"
      : `${nodes} nodes, the leader killed twice in the middle of writes`,
    "",
  ];
  for (const round of rounds) {
    lines.push(
      `kill ${round.round}: ${round.killed}, ${number(round.acknowledged_records_at_kill)} records acknowledged, ${round.unanswered_writes} writes cut off`,
      `  ready again after ${Math.round(round.ready_ms)} ms, next write taken ${Math.round(round.next_write_ms)} ms after the kill`,
      `  ${round.retried_writes} sent again with their key, ${round.duplicates_answered} of them stored before and answered so`,
      "  partition   last committed   first consumed",
    );
    for (const {
      partition,
      last_committed_offset: last,
      first_consumed_offset: first,
      commit_in_doubt: doubt,
    } of round.partitions)
      lines.push(
        `  ${String(partition).padEnd(12)}${String(last ?? "none").padEnd(17)}${first}${doubt === null ? "" : ` (a commit of ${doubt} was under way)`}`,
      );
    lines.push(`  ${number(round.records_checked)} acknowledged records looked for`, "");
  }
  if (report.state_hashes.length > 1) {
    for (const { node, applied_index: index, hash } of report.state_hashes)
      lines.push(`${node} at ${index}: state ${hash}`);
    lines.push("");
  }
  lines.push(
    ["lost", "doubled", "reordered"].map((kind) => `${kind} ${faults[kind as "lost"]}`).join(", "),
  );
  lines.push(...report.fault_details.map((fault) => `! ${fault}`));
  if (report.message !== undefined) lines.push(`! ${report.message}`);
  lines.push(
    report.ok ? "OK: every acknowledged record is there, once, where it was said to be" : "NOT OK",
  );
  return lines.join("\n");
}

const number = (value: number): string => value.toLocaleString("en");
