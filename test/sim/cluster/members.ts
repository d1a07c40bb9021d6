// An operator who changes the membership: one change at a time, at whoever leads, and none while a node has lost what it had.

import type { Prng } from "../../../src/lib/prng.ts";
import type { Result } from "../../../src/lib/result.ts";
import type { Refusal } from "../../../src/model/errors.ts";
import type { NodeBroker } from "../../../src/replica/mod.ts";
import { claim } from "../shadow.ts";
import { type ClusterNode, urlOf } from "./node.ts";
import type { ClusterWorld } from "./world.ts";

const NEVER = Number.POSITIVE_INFINITY;
const THINK_MS_MAX = 1500;
const TIMEOUT_MS = 4000;

/** The operator. */
export class MemberClient {
  nextMs: number;
  readonly #world: ClusterWorld;
  readonly #prng: Prng;
  /** A change nobody knows the outcome of may still come about. */
  #hasUnknown = false;
  /** Counts the changes, so that an answer that is too late is not taken for another's. */
  #change = 0;
  #at: ClusterNode | undefined;

  constructor(world: ClusterWorld, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
    this.nextMs = world.plan.faults.members ? 500 + prng.below(THINK_MS_MAX) : NEVER;
  }

  /** Whether it is known who the voters are. */
  get isCalm(): boolean {
    return this.#at === undefined && !this.#hasUnknown;
  }

  /** Whether a node belongs to the cluster, as far as it was agreed on. */
  has({ id }: ClusterNode): boolean {
    const { ledger, addresses, plan } = this.#world;
    const { membership } = ledger;
    if (membership !== undefined) return membership.members.some(({ nodeId }) => nodeId === id);
    return addresses.slice(0, plan.voters).some(({ nodeId }) => nodeId === id);
  }

  #pick<T>(choices: readonly T[]): T | undefined {
    return choices.length === 0 ? undefined : choices[this.#prng.below(choices.length)];
  }

  /** Begins a change, or gives one up that takes too long. */
  act(): void {
    this.nextMs = this.#world.now + 1 + this.#prng.below(THINK_MS_MAX);
    if (this.#at !== undefined) {
      this.#ended("no answer");
      this.#hasUnknown = true;
      return;
    }
    const { nodes } = this.#world;
    const leader = nodes.find(({ replica, isPaused }) => replica?.isLeading === true && !isPaused);
    if (leader?.broker === undefined || nodes.some(({ isLossy }) => isLossy)) return;
    this.#ask(leader, leader.broker);
  }

  /** A process is gone, and perhaps the answer with it. */
  nodeEnded(node: ClusterNode): void {
    if (this.#at !== node) return;
    this.#ended("connection lost");
    this.#hasUnknown = true;
  }

  #ended(how: string): void {
    this.#world.trace.event("changed", how);
    this.#at = undefined;
    this.#change += 1;
    this.nextMs = this.#world.now + 1 + this.#prng.below(THINK_MS_MAX);
  }

  #ask(leader: ClusterNode, broker: NodeBroker): void {
    const { nodes, plan } = this.#world;
    const known = broker.membership().nodes;
    const voters = known.filter(({ isVoter }) => isVoter).map(({ nodeId }) => nodeId);
    const draw = this.#prng.below(100);
    if (draw < 35) {
      const absent = this.#pick(
        nodes.filter(({ id }) => !known.some(({ nodeId }) => nodeId === id)),
      );
      if (absent === undefined) return;
      const { id: nodeId, priority } = absent;
      const request = { nodeId, address: `${nodeId}:7000`, httpUrl: urlOf(nodeId), priority };
      this.#send(leader, `add ${nodeId}`, () => broker.addNode(request));
      return;
    }
    if (draw < 60) {
      // One that has not caught up would be waited for by every majority that it belongs to.
      const appliedIndex = leader.replica?.appliedIndex ?? 0;
      const hasCaughtUp = (nodeId: string): boolean => {
        const { replica } = this.#world.nodeOf(nodeId);
        return replica?.raft.isFenced === false && replica.appliedIndex >= appliedIndex - 3;
      };
      const learner = this.#pick(
        known.filter(({ nodeId, isLearner }) => isLearner && hasCaughtUp(nodeId)),
      );
      if (learner !== undefined)
        this.#send(leader, `promote ${learner.nodeId}`, () => broker.promoteNode(learner.nodeId));
      return;
    }
    if (draw < 80) {
      const gone = this.#pick(known);
      const isTooFew = gone?.isVoter === true && voters.length <= plan.votersMin;
      if (gone !== undefined && !isTooFew)
        this.#send(leader, `remove ${gone.nodeId}`, () => broker.removeNode(gone.nodeId));
      return;
    }
    const heir = this.#pick(voters);
    if (heir !== undefined)
      this.#send(leader, `transfer to ${heir}`, () => broker.transferLeadership(heir));
  }

  #send<T>(leader: ClusterNode, what: string, ask: () => Promise<Result<T, Refusal>>): void {
    const { ledger, trace } = this.#world;
    trace.about(leader, "change", what);
    this.#at = leader;
    this.nextMs = this.#world.now + TIMEOUT_MS;
    const change = this.#change;
    this.#world.guard(leader, () => {
      this.#world.later(leader, ask(), (result) => {
        const index = result.ok
          ? (result.value as { index?: number } | undefined)?.index
          : undefined;
        if (index !== undefined)
          claim(index <= ledger.lastIndex, `${what} is said to be done at ${index}`);
        if (this.#change !== change) return;
        if (!result.ok && result.error.code === "timeout") this.#hasUnknown = true;
        this.#ended(`${what}: ${result.ok ? "ok" : result.error.code}`);
      });
    });
  }
}
