// Proves a node, or a cluster, from outside: starts it on a scratch directory, writes and commits, kills it with SIGKILL
// in the middle of writes, starts it again, twice, and compares all that was acknowledged with all that is there.
// Never looks at files and never imports the node: what it knows, it knows from replies.
// Keeps: no process and no directory outlives a proof. Called by `cli` (`ayder prove`) and `sandbox`.

export { type NodeProcess, startNode } from "./node-process.ts";
export { prove } from "./prove.ts";
export { describeProof, type ProofReport } from "./report.ts";
export type { ProofStep } from "./rounds.ts";
export { makeScratch, type Scratch } from "./scratch.ts";
