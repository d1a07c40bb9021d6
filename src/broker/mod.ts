// Topics, partitions, groups, idempotency keys and retention rules: what the log makes of them. Pure: commands in, state out.
// Never reads a clock or decides by chance; apply depends on nothing but the log, and verifies what the leader
// decided. Keeps: offsets of a partition are dense; a group never goes back; a topic id is never used again.
// Called by `replica/`, at start for folded state and then for every committed entry.

export { KeyWindow } from "./key-window.ts";
export { choosePartition, isName, PARTITIONS_MAX } from "./names.ts";
export { BrokerState, modeNumber, type Topic } from "./state.ts";
export { hashState } from "./state-hash.ts";
export {
  NO_ROCKET_KEY,
  noSuchPartition,
  noSuchTopic,
  shapeRefusal,
  type TopicShape,
} from "./topic-refusals.ts";
