// Keys with values: compare-and-set, time to live, what is left of deleted keys. Pure: commands in, state out. Never reads a
// clock: a deadline is a number in the log, and only the log ends a key. Keeps: a key's `cas` only grows, also over its
// deletion. Called by `replica/`, at start for folded state and then for every committed entry.

export { hashKv } from "./hash.ts";
export { isKvCommand, type KeyEntry, type KeyView, KvState, type Namespace } from "./state.ts";
