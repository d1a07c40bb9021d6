// What a start makes of the files: the log, the state of topics and keys up to the last entry that is known to be committed,
// and what this node had promised.

import type { BrokerState } from "../broker/mod.ts";
import { isKvCommand, type KvState } from "../kv/mod.ts";
import { assert } from "../lib/assert.ts";
import {
  type Files,
  type HardState,
  type RecoveredLog,
  type RecoveryOptions,
  recover,
} from "../log/mod.ts";
import type { Membership } from "../model/cluster.ts";
import { COMMAND } from "../model/command-codec.ts";
import { Applier } from "./apply.ts";

/** Where a node goes on. */
export interface RecoveredState {
  readonly log: RecoveredLog;
  readonly applier: Applier;
  /** What was saved, with the newest membership that the log holds. */
  readonly hardState: HardState;
}

/** Recovers the log, and `state` and `kv` with it, which are empty. Blocks. Throws `FatalError`, `FileError`. */
export function recoverState(
  files: Files,
  state: BrokerState,
  kv: KvState,
  options: Omit<RecoveryOptions, "fold" | "replay">,
): RecoveredState {
  let applier: Applier | undefined;
  let folded: Membership | undefined;
  const log = recover(files, {
    ...options,
    fold: (item) => {
      if (isKvCommand(item.kind)) kv.fold(item);
      else state.fold(item);
      const command = item.kind === COMMAND.configured ? item.control() : undefined;
      if (command?.kind === "configured") folded = command.membership;
    },
    replay: (bytes, view, at, header) => {
      applier ??= new Applier(state, kv, header.index - 1);
      applier.apply(bytes, view, at, header);
    },
  });
  const appliedIndex = log.appliedChain.index;
  state.topicIdMax = Math.max(state.topicIdMax, log.topicIdMax);
  applier ??= new Applier(state, kv, appliedIndex);
  assert(applier.appliedIndex === appliedIndex, "What is committed is applied");
  kv.foldedIndex = appliedIndex - log.replayedEntries;
  const hardState = newest(log.hardState, folded, kv.foldedIndex, applier.configured);
  return { log, applier, hardState };
}

/**
 * A membership that was replayed and not saved before the end is saved now; it holds from there on. So is one that came with
 * files in place of entries: what this node knew before it had them is older.
 */
function newest(
  saved: HardState,
  folded: Membership | undefined,
  foldedIndex: number,
  replayed: Applier["configured"],
): HardState {
  let hardState = saved;
  if (folded !== undefined && folded.epoch > saved.membership.epoch)
    hardState = { ...saved, configurationIndex: foldedIndex, membership: folded };
  if (replayed !== undefined && replayed.index > hardState.configurationIndex)
    hardState = {
      ...saved,
      configurationIndex: replayed.index,
      membership: replayed.membership,
    };
  return hardState;
}
