// Where the other nodes are reached: what the configured list says goes over what the membership says.

import type { Membership } from "../model/cluster.ts";
import type { PeerAddress } from "./ports.ts";

/** Addresses of everyone but `ownId` whom a node talks to: members, and nodes of the list that do not belong yet. */
export function peersOf(
  ownId: string,
  membership: Membership,
  listed: readonly PeerAddress[],
): readonly PeerAddress[] {
  const peers: PeerAddress[] = [];
  for (const { nodeId, address } of membership.members) {
    if (nodeId === ownId) continue;
    const at = listed.find((known) => known.nodeId === nodeId) ?? parseAddress(nodeId, address);
    if (at !== undefined) peers.push(at);
  }
  // They may ask which cluster this is.
  for (const other of listed) {
    if (other.nodeId === ownId) continue;
    if (!peers.some(({ nodeId }) => nodeId === other.nodeId)) peers.push(other);
  }
  return peers;
}

/** Whether the list names other nodes than belong to the cluster: then it only supplies addresses. */
export const isOtherThan = (
  listed: readonly PeerAddress[],
  { members }: Pick<Membership, "members">,
): boolean =>
  listed.length > 0 &&
  (listed.length !== members.length ||
    !listed.every((known) => members.some(({ nodeId }) => nodeId === known.nodeId)));

/** Base of a node's HTTP address before it was met: one port above the one on which it talks to its peers; empty if unknown. */
export function guessHttpUrl(nodeId: string, listed: readonly PeerAddress[]): string {
  const address = listed.find((known) => known.nodeId === nodeId);
  if (address === undefined) return "";
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `http://${host}:${address.port + 1}`;
}

/** Reads `host:port`; undefined when it is none. */
function parseAddress(nodeId: string, address: string): PeerAddress | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  return host === undefined ? undefined : { nodeId, host, port: Number(match?.[3]) };
}
