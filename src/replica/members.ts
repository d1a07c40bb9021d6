// Who belongs to the cluster, as the leader changes it: one change at a time, each an entry of the log that states the whole
// outcome. Some changes are asked for; others the leader makes by itself: a node that lost what it had becomes a learner
// under its new incarnation, is filled, and votes again.

import { fail, type Result, succeed } from "../lib/result.ts";
import { isAlone, type Member, type Membership, NODE_PRIORITY_DEFAULT } from "../model/cluster.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import {
  type ConfigurationChange,
  changeSimply,
  isJoint,
  leaveJoint,
  mayChangeConfiguration,
} from "../raft/mod.ts";
import type { PeerHello } from "./ports.ts";
import type { Replica } from "./replica.ts";

/** A learner that lacks fewer entries than this has caught up. */
const CAUGHT_UP_ENTRIES = 1000;
/** Leadership is offered to a node of higher priority at most this often. */
const TRANSFER_INTERVAL_MS = 10_000;
/** A member that said that its disk is full is taken to be so for this long; it says so every second. */
const FULL_MS = 5000;
/** Nodes of a cluster, learners included: what fits the page that a node keeps them on. */
const MEMBERS_MAX = 12;
const NODE_ID_RULE = /^[A-Za-z0-9._-]{1,120}$/;
const ADDRESS_RULE = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,255}):\d{1,5}$/;

/** Where a change stands in the log. */
interface Changed {
  readonly index: number;
}

/** A change that somebody asked for and was not told the end of. */
interface Asked {
  readonly evaluate: (membership: Membership) => Result<Membership, Refusal>;
  readonly resolve: (answer: Result<Changed, Refusal>) => void;
}

/** The membership of one replica, when it leads. */
export class Members {
  readonly #replica: Replica;
  /** There is one at most. It waits until the leader is done with what it changes by itself. */
  #waiting: Asked | undefined;
  #isAskedUnderWay = false;
  readonly #transfers: ((answer: Result<undefined, Refusal>) => void)[] = [];
  #lastTransferMs = Number.NEGATIVE_INFINITY;
  /** When members said that their disks are full. */
  readonly #fullMs = new Map<string, number>();

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  /** This node leads now: it keeps that for a while, also when one of higher priority has just handed it over. */
  lead(): void {
    this.#lastTransferMs = this.#replica.clock.monotonicMs();
  }

  /** A member said that its disk is full. */
  heardFull(nodeId: string): void {
    this.#fullMs.set(nodeId, this.#replica.clock.monotonicMs());
  }

  #isFull(nodeId: string): boolean {
    const saidMs = this.#fullMs.get(nodeId);
    return saidMs !== undefined && this.#replica.clock.monotonicMs() - saidMs < FULL_MS;
  }

  /** A peer has come: does it still have what it had? */
  met(hello: PeerHello): void {
    const { raft, membership } = this.#replica;
    if (raft.role !== "leader") return;
    const member = membership.members.find((known) => known.nodeId === hello.nodeId);
    if (member === undefined || member.incarnation === hello.incarnation) return;
    // Whatever it had acknowledged is not to be counted on, from this moment.
    this.#replica.forget(hello.nodeId);
    this.tick();
  }

  /** What the leader does by itself: at most one change. */
  tick(): void {
    this.#endTransfers();
    this.#beginAsked();
    const { raft, membership } = this.#replica;
    if (raft.role !== "leader" || !this.#replica.isLeading) return;
    if (raft.mustLeaveJoint) {
      this.#leaveJoint();
      return;
    }
    if (!mayChangeConfiguration(raft)) return;
    for (const member of membership.members) if (this.#mend(member)) return;
    this.#handOver();
  }

  #leaveJoint(): void {
    if (!mayChangeConfiguration(this.#replica.raft)) return;
    const { membership } = this.#replica;
    const left = leaveJoint(membership);
    if (left.ok) this.#propose({ ...membership, ...left.value });
  }

  /** Brings one member up to date. True: a change was proposed. */
  #mend(member: Member): boolean {
    const { membership, transport, identity } = this.#replica;
    const { nodeId } = member;
    const hello =
      nodeId === identity.meta.nodeId ? this.#replica.self : transport.link(nodeId).hello;
    if (hello === undefined) return false;
    if (hello.incarnation !== member.incarnation) {
      if (nodeId === identity.meta.nodeId) return false;
      const isKnown = member.incarnation !== "";
      const isVoter = membership.voters.includes(nodeId);
      // A voter that lost its log must not be counted as one until it has it again.
      const changed =
        isKnown && isVoter
          ? changeSimply(membership, [{ kind: "addLearner", nodeId }])
          : succeed(membership);
      if (!changed.ok) return false;
      // It may be met by calling it, before it calls: it is not heard of as having come.
      this.#replica.forget(nodeId);
      this.#replica.logger.warn("member_returned_empty", { node: nodeId });
      this.#propose(
        withMember({ ...membership, ...changed.value }, nodeId, {
          incarnation: hello.incarnation,
          httpUrl: hello.httpUrl,
          isReturning: member.isReturning || (isKnown && isVoter),
        }),
      );
      return true;
    }
    if (hello.httpUrl !== "" && hello.httpUrl !== member.httpUrl) {
      this.#propose(withMember(membership, nodeId, { httpUrl: hello.httpUrl }));
      return true;
    }
    if (!member.isReturning || !membership.learners.includes(nodeId)) return false;
    if (this.#missing(nodeId) !== undefined) return false;
    const promoted = changeSimply(membership, [{ kind: "addVoter", nodeId }]);
    if (!promoted.ok) return false;
    this.#replica.logger.info("member_votes_again", { node: nodeId });
    this.#propose(withMember({ ...membership, ...promoted.value }, nodeId, { isReturning: false }));
    return true;
  }

  /** What a learner lacks to vote: in words; undefined when nothing. */
  #missing(nodeId: string): string | undefined {
    const { raft } = this.#replica;
    const progress = raft.progress.get(nodeId);
    if (progress === undefined || !progress.isActive) return "it is not heard of";
    if (progress.state !== "replicate") return "it is being filled";
    const behind = raft.lastIndex - progress.matchIndex;
    return behind > CAUGHT_UP_ENTRIES ? `it is ${behind} entries behind` : undefined;
  }

  /** Hands leadership to a voter of higher priority that has everything. */
  #handOver(): void {
    const { raft, membership, identity, clock } = this.#replica;
    if (isAlone(membership, identity.meta.nodeId) || raft.transferee !== undefined) return;
    const own = membership.members.find(({ nodeId }) => nodeId === identity.meta.nodeId);
    const better = membership.members
      .filter(({ nodeId, priority }) => {
        const progress = raft.progress.get(nodeId);
        return (
          membership.voters.includes(nodeId) &&
          priority > (own?.priority ?? 0) &&
          progress?.isActive === true &&
          progress.matchIndex === raft.lastIndex &&
          // It would take no records, and give the lead back.
          !this.#isFull(nodeId)
        );
      })
      .sort((left, right) => right.priority - left.priority)[0];
    const now = clock.monotonicMs();
    if (better === undefined || now - this.#lastTransferMs < TRANSFER_INTERVAL_MS) return;
    this.#lastTransferMs = now;
    this.#replica.logger.info("leadership_offered", { node: better.nodeId, why: "priority" });
    this.#replica.transfer(better.nodeId);
  }

  /** The voter that is furthest of all the others, those with room before those without; undefined when there is none. */
  furthest(): string | undefined {
    const { raft, membership } = this.#replica;
    return [...raft.progress]
      .filter(
        ([nodeId, { isActive }]) =>
          nodeId !== raft.nodeId && isActive && membership.voters.includes(nodeId),
      )
      .sort(
        ([leftId, left], [rightId, right]) =>
          Number(this.#isFull(leftId)) - Number(this.#isFull(rightId)) ||
          right.matchIndex - left.matchIndex,
      )[0]?.[0];
  }

  /** Offers leadership to a voter that has room, where this node has none. */
  offerForRoom(intervalMs: number): void {
    const to = this.furthest();
    if (to !== undefined && !this.#isFull(to)) this.offer("the disk is full", intervalMs);
  }

  /** Offers leadership to the voter that is furthest, unless that was done a short while ago. */
  offer(why: string, intervalMs = TRANSFER_INTERVAL_MS): void {
    const now = this.#replica.clock.monotonicMs();
    const to = this.furthest();
    if (to === undefined || now - this.#lastTransferMs < intervalMs) return;
    this.#lastTransferMs = now;
    this.#replica.logger.warn("leadership_offered", { node: to, why });
    this.#replica.giveUpTo(to);
  }

  #propose(membership: Membership): number {
    return this.#replica.proposeMembership({ ...membership, epoch: membership.epoch + 1 });
  }

  /** One asked change: evaluated as soon as no other is under way, answered once it is applied. */
  #change(evaluate: Asked["evaluate"]): Promise<Result<Changed, Refusal>> {
    const gate = this.#replica.writeGate();
    if (gate !== undefined) return Promise.resolve(fail(gate));
    if (this.#waiting !== undefined || this.#isAskedUnderWay)
      return Promise.resolve(fail(refuse("change_in_progress")));
    return new Promise((resolve) => {
      this.#waiting = { evaluate, resolve };
      this.#beginAsked();
    });
  }

  #beginAsked(): void {
    const asked = this.#waiting;
    if (asked === undefined) return;
    const { raft, membership, isSavingMembership, callbacks } = this.#replica;
    const gate = this.#replica.writeGate();
    const isBusy = isJoint(membership) || !mayChangeConfiguration(raft) || isSavingMembership;
    if (gate === undefined && isBusy) return;
    this.#waiting = undefined;
    const changed = gate === undefined ? asked.evaluate(membership) : fail(gate);
    if (!changed.ok) asked.resolve(changed);
    else if (changed.value === membership)
      asked.resolve(succeed({ index: raft.configurationIndex }));
    else {
      this.#isAskedUnderWay = true;
      const end = (answer: Result<Changed, Refusal>): void => {
        this.#isAskedUnderWay = false;
        asked.resolve(answer);
      };
      const index = this.#propose(changed.value);
      callbacks.add(
        index,
        () => end(succeed({ index })),
        (refusal) => end(fail(refusal)),
      );
    }
  }

  /**
   * Adds a node that listens and does not vote. One that belongs already stays what it is, and is not moved by being added:
   * whoever mistypes a name would cut a voter off.
   */
  add(request: {
    readonly nodeId: string;
    readonly address: string;
    /** Left out: one port above the one for peers, until the node says it. */
    readonly httpUrl?: string | undefined;
    readonly priority?: number | undefined;
  }): Promise<Result<Changed & { readonly isVoter: boolean }, Refusal>> {
    const { nodeId, address } = request;
    if (!NODE_ID_RULE.test(nodeId))
      return Promise.resolve(unfit("node_id", "node_id is 1 to 120 of A-Z a-z 0-9 . _ -"));
    if (!ADDRESS_RULE.test(address))
      return Promise.resolve(
        unfit("advertise_addr", "advertise_addr is host:port, IPv6 in brackets"),
      );
    return this.#change((membership) => this.#withNew(membership, request)).then((added) => {
      if (!added.ok) return added;
      const isVoter = this.#replica.membership.voters.includes(nodeId);
      return succeed({ ...added.value, isVoter });
    });
  }

  #withNew(
    membership: Membership,
    { nodeId, address, httpUrl, priority }: Parameters<Members["add"]>[0],
  ): Result<Membership, Refusal> {
    const known = membership.members.find((member) => member.nodeId === nodeId);
    if (known !== undefined) {
      const isSame = known.address === address && (priority ?? known.priority) === known.priority;
      return isSame ? succeed(membership) : exists(known);
    }
    const there = membership.members.find((member) => member.address === address);
    if (there !== undefined) return exists(there);
    if (membership.members.length >= MEMBERS_MAX)
      return fail(refuse("invalid_parameter", `A cluster has at most ${MEMBERS_MAX} nodes`));
    const member: Member = {
      nodeId,
      address,
      httpUrl: httpUrl ?? "",
      priority: priority ?? NODE_PRIORITY_DEFAULT,
      incarnation: "",
      isReturning: false,
    };
    const members = [...membership.members, member].sort(byId);
    return this.#changed({ ...membership, members }, [{ kind: "addLearner", nodeId }]);
  }

  /** Makes a learner a voter, once it has what the log has: before, it would make majorities larger and be in none of them. */
  promote(nodeId: string): Promise<Result<Changed, Refusal>> {
    return this.#change((membership) => {
      if (!membership.members.some((member) => member.nodeId === nodeId)) return unknown(nodeId);
      if (membership.voters.includes(nodeId)) return succeed(membership);
      const missing = this.#missing(nodeId);
      if (missing !== undefined)
        return fail(refuse("not_ready", `Node ${nodeId} cannot vote yet: ${missing}`));
      // Whoever makes it a voter by hand has not left anything for the leader to do.
      const asked = withMember(membership, nodeId, { isReturning: false });
      return this.#changed(asked, [{ kind: "addVoter", nodeId }]);
    });
  }

  /** Takes a node out. */
  remove(nodeId: string): Promise<Result<Changed, Refusal>> {
    return this.#change((membership) => {
      if (!membership.members.some((member) => member.nodeId === nodeId)) return unknown(nodeId);
      if (membership.voters.length === 1 && membership.voters[0] === nodeId)
        return fail(refuse("invalid_parameter", `Node ${nodeId} is the last voter`));
      const members = membership.members.filter((member) => member.nodeId !== nodeId);
      const removed = this.#changed(membership, [{ kind: "remove", nodeId }]);
      return removed.ok ? succeed({ ...removed.value, members }) : removed;
    });
  }

  /** Hands leadership over; resolves when this node has let go of it, or keeps it after all. */
  transfer(nodeId: string): Promise<Result<undefined, Refusal>> {
    const replica = this.#replica;
    const gate = replica.writeGate();
    if (gate !== undefined) return Promise.resolve(fail(gate));
    const { membership, raft } = replica;
    if (!membership.voters.includes(nodeId))
      return Promise.resolve(
        fail(refuse("not_found", `Node ${nodeId} is no voter of the cluster`)),
      );
    if (nodeId === raft.nodeId) return Promise.resolve(succeed(undefined));
    if (raft.transferee !== undefined) return Promise.resolve(fail(refuse("change_in_progress")));
    return new Promise((resolve) => {
      this.#transfers.push(resolve);
      replica.transfer(nodeId);
    });
  }

  /** Answers those who wait for a transfer, once there is none under way. */
  #endTransfers(): void {
    const { raft } = this.#replica;
    if (this.#transfers.length === 0 || raft.transferee !== undefined) return;
    const hasLet = raft.role !== "leader";
    for (const resolve of this.#transfers.splice(0))
      resolve(
        hasLet
          ? succeed(undefined)
          : fail(refuse("timeout", "The node did not take over in time", { outcome: "unknown" })),
      );
  }

  #changed(
    membership: Membership,
    changes: readonly ConfigurationChange[],
  ): Result<Membership, Refusal> {
    const changed = changeSimply(membership, changes);
    return changed.ok
      ? succeed({ ...membership, ...changed.value })
      : fail(refuse("invalid_parameter", changed.error));
  }
}

const byId = (left: Member, right: Member): number => (left.nodeId < right.nodeId ? -1 : 1);

const unfit = (parameter: string, message: string): Result<never, Refusal> =>
  fail(refuse("invalid_parameter", message, { parameter }));

const exists = ({ nodeId, address, priority }: Member): Result<never, Refusal> =>
  fail(
    refuse("node_exists", `Node ${nodeId} is at ${address} with priority ${priority} already`, {
      node_id: nodeId,
      advertise_addr: address,
      priority,
    }),
  );

const unknown = (nodeId: string): Result<Membership, Refusal> =>
  fail(refuse("not_found", `Node ${nodeId} does not belong to the cluster`));

const withMember = (
  membership: Membership,
  nodeId: string,
  change: Partial<Member>,
): Membership => ({
  ...membership,
  members: membership.members.map((member) =>
    member.nodeId === nodeId ? { ...member, ...change } : member,
  ),
});
