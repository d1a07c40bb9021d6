// Consensus as a state machine. Decides; never acts. No clock, no randomness, no I/O, no await: a tidy test checks.
// Keeps: at most one leader per term; the commit index never goes back; only entries of the leader's own term commit by
// counting; nothing is said that a crash could make untrue. Knows positions and terms of entries, never their bytes.
// Driven by `replica/` and by `test/sim`.

export {
  type Configuration,
  type ConfigurationChange,
  changeSimply,
  enterJoint,
  isJoint,
  leaveJoint,
  membersOf,
} from "./configuration.ts";
export { decodeMessage, encodeMessage } from "./message-codec.ts";
export type { AppendMessage, RaftMessage, TermRun } from "./messages.ts";
export type { RaftReady } from "./ready.ts";
export { makeAppend, nextAppend } from "./replication.ts";
export {
  createRaft,
  mayChangeConfiguration,
  type RaftState,
  termAt,
} from "./state.ts";
export { type RaftInput, step } from "./step.ts";
