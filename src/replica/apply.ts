// Applies committed entries to the state of topics and of keys. Depends on nothing but the log: the leader decided, this
// verifies, and a difference is a broken invariant that stops the node.

import type { BrokerState, Topic } from "../broker/mod.ts";
import { isKvCommand, type KvState, type Namespace } from "../kv/mod.ts";
import { assert } from "../lib/assert.ts";
import { ENTRY_HEADER_BYTES, ENTRY_KIND, type EntryHeader } from "../log/mod.ts";
import type { Membership } from "../model/cluster.ts";
import { COMMAND, CommandCursor } from "../model/command-codec.ts";

/** Applies entries one by one, in log order. */
export class Applier {
  /** Called for a partition that goes on, and for a topic of which something else changed (`partition` -1). */
  onChange: (topic: Topic, partition: number) => void = () => undefined;
  /** Called for a namespace in which something changed. */
  onKeyChange: (namespace: Namespace, index: number) => void = () => undefined;
  /** Called with a membership and the index of the entry that states it. */
  onConfigured: (membership: Membership, index: number) => void = () => undefined;
  /** The last membership that was applied. */
  configured: { readonly membership: Membership; readonly index: number } | undefined;
  readonly #state: BrokerState;
  readonly #kv: KvState;
  readonly #commands = new CommandCursor();
  appliedIndex: number;

  /** @param appliedIndex The index that the folded state stands for. */
  constructor(state: BrokerState, kv: KvState, appliedIndex: number) {
    this.#state = state;
    this.#kv = kv;
    this.appliedIndex = appliedIndex;
  }

  /** Applies the entry whose header is `header` and which lies whole in `bytes` from `at`. */
  apply(bytes: Uint8Array, view: DataView, at: number, header: EntryHeader): void {
    assert(
      header.index === this.appliedIndex + 1,
      `Entry ${header.index} follows ${this.appliedIndex}`,
    );
    if (header.kind === ENTRY_KIND.commands) {
      const start = at + ENTRY_HEADER_BYTES + header.dataBytes;
      const commands = this.#commands.reset(bytes, view, start, start + header.commandBytes);
      while (commands.next()) this.#command(commands, header.index);
      assert(!commands.isBroken, `Entry ${header.index} holds whole commands`);
    } else {
      assert(
        header.kind === ENTRY_KIND.noOp,
        `Entry ${header.index} is of a known kind, not ${header.kind}`,
      );
    }
    this.appliedIndex = header.index;
  }

  #command(commands: CommandCursor, index: number): void {
    if (commands.kind === COMMAND.configured) {
      const command = commands.control();
      assert(command?.kind === "configured", `Entry ${index} states a membership`);
      this.configured = { membership: command.membership, index };
      this.onConfigured(command.membership, index);
      return;
    }
    if (isKvCommand(commands.kind)) {
      this.onKeyChange(this.#kv.apply(commands, index), index);
      return;
    }
    if (commands.kind !== COMMAND.chunk) {
      const topic = this.#state.apply(commands);
      if (topic !== undefined) this.onChange(topic, -1);
      return;
    }
    const { partition } = commands;
    const topic = this.#state.applyChunk(
      commands.topicId,
      partition,
      commands.chunkBaseOffset,
      commands.chunkCount,
      commands.chunkDataBytes,
    );
    this.onChange(topic, partition);
  }
}
