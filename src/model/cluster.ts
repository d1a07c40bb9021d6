// Who belongs to a cluster: the nouns of membership, as they stand in the log and in the node's own state.

/** What a node has for a priority that does not say. */
export const NODE_PRIORITY_DEFAULT = 100;

/** One node of a cluster. */
export interface Member {
  readonly nodeId: string;
  /** Where its peers reach it: `host:port`, IPv6 in brackets; empty for a node that never had peers. */
  readonly address: string;
  /** Base of its HTTP address; empty when it is not known. */
  readonly httpUrl: string;
  /** The higher, the sooner it leads. */
  readonly priority: number;
  /** Which life of its directory is meant: 32 hexadecimal digits; empty until it is met. */
  readonly incarnation: string;
  /** It was a voter and lost what it had: the leader makes it one again once it has caught up. */
  readonly isReturning: boolean;
}

/** Who votes, who only listens, and where they all are. The four lists are sorted and name members. */
export interface Membership {
  /** Grows with every change. */
  readonly epoch: number;
  readonly voters: readonly string[];
  /** The voters before, while a joint configuration holds; else empty. */
  readonly outgoing: readonly string[];
  readonly learners: readonly string[];
  /** Voters of the old half that become learners when the joint configuration is left. */
  readonly learnersNext: readonly string[];
  readonly autoLeave: boolean;
  /** Sorted by id. */
  readonly members: readonly Member[];
}

/** The membership of a node that is alone. */
export const aloneAs = (nodeId: string, incarnation: string): Membership => ({
  epoch: 1,
  voters: [nodeId],
  outgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
  members: [
    {
      nodeId,
      address: "",
      httpUrl: "",
      priority: NODE_PRIORITY_DEFAULT,
      incarnation,
      isReturning: false,
    },
  ],
});

/** Whether this node decides for itself. */
export const isAlone = (membership: Membership, nodeId: string): boolean =>
  membership.outgoing.length === 0 &&
  membership.voters.length === 1 &&
  membership.voters[0] === nodeId;

/** Whether this very life of a node belongs to a cluster. */
export const isMember = (
  membership: Membership,
  node: { readonly nodeId: string; readonly incarnation: string },
): boolean =>
  membership.members.some(
    ({ nodeId, incarnation }) => nodeId === node.nodeId && incarnation === node.incarnation,
  );

/** Reads a membership from JSON; undefined when it is none. Never throws. */
export function parseMembership(text: string): Membership | undefined {
  try {
    const value = JSON.parse(text) as Partial<Membership> | null;
    const lists = [value?.voters, value?.outgoing, value?.learners, value?.learnersNext];
    const isOne =
      lists.every((ids) => Array.isArray(ids) && ids.every((id) => typeof id === "string")) &&
      Array.isArray(value?.members) &&
      value.members.every(isMemberShaped);
    return isOne ? (value as Membership) : undefined;
  } catch {
    return undefined;
  }
}

const isMemberShaped = (member: Partial<Member> | null): boolean =>
  typeof member?.nodeId === "string" &&
  typeof member.address === "string" &&
  typeof member.httpUrl === "string" &&
  typeof member.priority === "number" &&
  typeof member.incarnation === "string";
