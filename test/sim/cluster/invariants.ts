// What must hold in a cluster at every moment, seen by somebody who sees all nodes at once. Looked at after each event, read
// only, and without drawing a random number, so that looking changes nothing.

import { quorumIndex } from "../../../src/raft/quorum.ts";
import { claim } from "../shadow.ts";
import type { ClusterNode } from "./node.ts";
import type { ClusterWorld } from "./world.ts";

/** The promises of Raft, and those that stand on them. */
export class Invariants {
  readonly #world: ClusterWorld;
  /** Who led which term. */
  readonly #leaders = new Map<number, string>();
  #newestTerm = 0;

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  /** A node has read its disk: what it takes to be committed must be what was agreed on. */
  recovered(node: ClusterNode): void {
    const { ledger } = this.#world;
    const { replica } = node;
    if (replica === undefined) return;
    const { appliedIndex } = replica;
    claim(
      appliedIndex <= ledger.lastIndex,
      `${node.id} starts at ${appliedIndex} of ${ledger.lastIndex}`,
    );
    const { compacted } = replica.log.segments;
    if (compacted.index > 0)
      ledger.agrees(node.id, compacted.index, compacted.term, compacted.checksum);
    for (const { kind, chain } of replica.log.segments.all())
      if (kind === "log" && chain.index > 0 && chain.index <= appliedIndex)
        ledger.agrees(node.id, chain.index, chain.term, chain.checksum);
    this.#keeps(node);
    const { epoch } = replica.membership;
    claim(
      epoch >= node.epoch || node.isLossy,
      `${node.id} went by membership ${node.epoch}, and goes by ${epoch} after a start`,
    );
    if (appliedIndex === ledger.lastIndex && appliedIndex > 0) this.#sameState(node);
  }

  #sameState(node: ClusterNode): void {
    const { ledger } = this.#world;
    const found = node.broker?.stateHash();
    if (found === undefined) return;
    claim(
      found.hash === ledger.hash(),
      `${node.id} has another state at ${found.appliedIndex} than the log makes`,
    );
  }

  /** Looks at one node. */
  look(node: ClusterNode): void {
    const { replica } = node;
    if (replica === undefined) return;
    this.#order(node);
    if (replica.raft.role === "leader") this.#leads(node);
    if (replica.isReady && !node.wasReady) this.#becameReady(node);
    this.#configured(node);
    this.#keeps(node);
    if (node.isLossy) this.#isWhole(node);
  }

  /** Who has applied a membership goes by it, as soon as it is saved. */
  #configured(node: ClusterNode): void {
    const { memberships } = this.#world.ledger;
    const { replica } = node;
    if (replica === undefined || replica.isSavingMembership) return;
    node.epoch = replica.membership.epoch;
    const applied = memberships.findLast(({ index }) => index <= replica.appliedIndex);
    if (applied === undefined) return;
    // A node that joined was told of the present membership, which may be ahead of what it has applied.
    const { epoch, voters } = replica.membership;
    claim(
      epoch >= applied.membership.epoch || replica.raft.isFenced,
      `${node.id} goes by membership ${epoch}, and has applied ${applied.membership.epoch} at ${applied.index}`,
    );
    const agreed = memberships.find(({ membership }) => membership.epoch === epoch);
    claim(
      agreed === undefined || agreed.membership.voters.join() === voters.join(),
      `${node.id} takes ${voters} for the voters of membership ${epoch}, which were ${agreed?.membership.voters}`,
    );
  }

  /** What was agreed on and is durable at a node stays there, through restarts and whatever leaders say. */
  #keeps(node: ClusterNode): void {
    const { ledger } = this.#world;
    const { replica } = node;
    if (replica === undefined) return;
    if (node.isLossy) {
      node.heldIndex = 0;
      return;
    }
    const { terms } = replica.raft;
    const isThere = (index: number): boolean => terms.at(index) === ledger.at(index)?.term;
    claim(
      node.heldIndex === 0 || node.heldIndex < terms.firstIndex || isThere(node.heldIndex),
      `${node.id} had entry ${node.heldIndex}, which was agreed on, and has it no more: its log ends at ${terms.lastIndex}`,
    );
    const end = Math.min(ledger.lastIndex, replica.log.syncedIndex);
    while (node.heldIndex < end && isThere(Math.max(node.heldIndex + 1, terms.firstIndex)))
      node.heldIndex = Math.max(node.heldIndex + 1, terms.firstIndex);
  }

  /** Written, synced, committed, applied: in this order, and none of them goes back. */
  #order(node: ClusterNode): void {
    const { replica, marks } = node;
    if (replica === undefined) return;
    const { appliedIndex, log, raft } = replica;
    const { commitIndex, lastIndex } = raft;
    const { syncedIndex } = log;
    const isOrdered =
      appliedIndex <= syncedIndex &&
      appliedIndex <= commitIndex &&
      commitIndex <= lastIndex &&
      syncedIndex <= lastIndex;
    const isForward = commitIndex >= marks.commitIndex && appliedIndex >= marks.appliedIndex;
    if (!isOrdered || !isForward) {
      const all = `applied ${appliedIndex}, committed ${commitIndex}, synced ${syncedIndex}, last ${lastIndex}`;
      claim(
        false,
        `${node.id} ${isOrdered ? "went back" : "is out of order"}: ${all}; before ${JSON.stringify(marks)}`,
      );
    }
    if (commitIndex > marks.commitIndex && raft.role === "leader") this.#isOnQuorum(node);
    marks.commitIndex = commitIndex;
    marks.appliedIndex = appliedIndex;
    marks.syncedIndex = syncedIndex;
    marks.configuration = raft.configuration;
  }

  /** What a leader takes to be committed is durable on a majority of the voters. */
  #isOnQuorum(node: ClusterNode): void {
    const { replica, marks } = node;
    if (replica === undefined) return;
    const { raft } = replica;
    const { commitIndex, configuration } = raft;
    const term = raft.terms.at(commitIndex);
    if (term === undefined) return;
    // In one step entries may be committed by a configuration, and the next one be applied.
    const configurations = [configuration, marks.configuration ?? configuration];
    const isHeld = configurations.some(
      (one) =>
        quorumIndex(one, (nodeId) =>
          this.#world.nodeOf(nodeId).holds(commitIndex, term) ? 1 : 0,
        ) === 1,
    );
    claim(
      isHeld,
      `${node.id} takes ${commitIndex} of term ${term} to be committed, and too few of ${configuration.voters} have it`,
    );
    this.#staysForEver(node, commitIndex, term);
  }

  /**
   * What is committed is in the log of every leader to come: if all lost their memory now, nobody who lacks it would find a
   * majority that lets him lead (Raft §5.4).
   */
  #staysForEver(leader: ClusterNode, commitIndex: number, term: number): void {
    const { configuration } = leader.replica?.raft ?? { configuration: undefined };
    if (configuration === undefined) return;
    const members = [...new Set([...configuration.voters, ...configuration.outgoing])];
    const ends = new Map(
      members.map((nodeId) => [nodeId, this.#world.nodeOf(nodeId).durableEnd()]),
    );
    for (const nodeId of members) {
      const own = ends.get(nodeId);
      if (own === undefined || this.#world.nodeOf(nodeId).holds(commitIndex, term)) continue;
      const supporters = quorumIndex(configuration, (voter) => {
        const end = ends.get(voter);
        const isBehind =
          end !== undefined &&
          (end.term < own.term || (end.term === own.term && end.index <= own.index));
        return isBehind ? 1 : 0;
      });
      claim(
        supporters === 0,
        `${leader.id} takes ${commitIndex} of term ${term} to be committed, and ${nodeId}, which lacks it, could lead: its log ends at ${own.index} of term ${own.term}`,
      );
    }
  }

  /** One leader a term, and it has everything that was agreed on. */
  #leads(node: ClusterNode): void {
    const { replica } = node;
    if (replica === undefined) return;
    const { raft } = replica;
    const { term } = raft;
    const known = this.#leaders.get(term);
    if (known === node.id) return;
    claim(known === undefined, `Both ${known} and ${node.id} lead term ${term}`);
    this.#leaders.set(term, node.id);
    if (term < this.#newestTerm) return;
    this.#newestTerm = term;
    const { ledger } = this.#world;
    const { lastIndex } = ledger;
    if (lastIndex === 0) return;
    const there = raft.terms.at(lastIndex);
    claim(
      there === ledger.at(lastIndex)?.term,
      `${node.id} leads term ${term} without entry ${lastIndex} of term ${ledger.at(lastIndex)?.term}: it has term ${there} there, and ends at ${raft.lastIndex}`,
    );
  }

  /** Who says that it is ready has what was agreed on when it started. */
  #becameReady(node: ClusterNode): void {
    node.wasReady = true;
    const { appliedIndex } = node.replica ?? { appliedIndex: 0 };
    claim(
      appliedIndex >= node.readyFloor,
      `${node.id} says that it is ready at ${appliedIndex}; ${node.readyFloor} was agreed on before it started`,
    );
  }

  /** A node that lost something has it again, under a name of its own. */
  #isWhole(node: ClusterNode): void {
    const { ledger } = this.#world;
    const { replica } = node;
    if (replica === undefined || node.hasRot) return;
    const { nodeId, incarnation } = replica.self;
    const member = replica.membership.members.find((known) => known.nodeId === nodeId);
    if (member?.incarnation !== incarnation || replica.raft.isFenced) return;
    if (replica.log.syncedIndex < ledger.lastIndex || replica.appliedIndex < ledger.lastIndex)
      return;
    this.#world.trace.about(node, "whole", `up to ${ledger.lastIndex}`);
    node.isLossy = false;
  }

  /** Whether every member is up, in step and ready, and one of them leads. */
  isSettled(): boolean {
    const { nodes, ledger } = this.#world;
    const leaders = nodes.filter(({ replica }) => replica?.isLeading === true);
    const [leader] = leaders;
    if (leaders.length !== 1 || leader?.replica === undefined) return false;
    const { membership, raft } = leader.replica;
    if (raft.commitIndex !== raft.lastIndex || raft.lastIndex !== ledger.lastIndex) return false;
    if (membership.members.some(({ isReturning }) => isReturning)) return false;
    return membership.members.every(({ nodeId }) => {
      const { replica } = this.#world.nodeOf(nodeId);
      if (replica?.isReady !== true || replica.repairs.size > 0) return false;
      return replica.appliedIndex === ledger.lastIndex;
    });
  }

  /** How everybody is, in one line. */
  describe(): string {
    const { nodes, ledger } = this.#world;
    const each = nodes.map((node) => {
      const { replica, isUp, isPaused } = node;
      if (replica === undefined) return `${node.id} ${isUp ? "forming" : "down"}`;
      const { raft, log, appliedIndex, isReady, isLeading } = replica;
      const part = `${raft.role}${isLeading ? "!" : ""}${raft.isFenced ? " fenced" : ""}${isReady ? " ready" : ""}${isPaused ? " paused" : ""}`;
      return `${node.id} ${part} term ${raft.term} last ${raft.lastIndex} synced ${log.syncedIndex} committed ${raft.commitIndex} applied ${appliedIndex}${log.isFull ? " full" : ""}`;
    });
    return `agreed ${ledger.lastIndex}; ${each.join("; ")}`;
  }
}
