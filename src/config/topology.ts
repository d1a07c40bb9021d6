// Reads `RF_HA_NODES`: `id:host:raft_port:priority`, separated by commas, with the priority left out where it does not matter.

import { fail, type Result, succeed } from "../lib/result.ts";
import { NODE_PRIORITY_DEFAULT } from "../model/cluster.ts";
import { CLUSTER_NODES_MAX, NODE_PRIORITY_MAX } from "./limits.ts";

/** One node of the list. */
export interface ClusterNode {
  readonly nodeId: string;
  /** A name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Who leads when there is a choice: the highest. */
  readonly priority: number;
}

/** What a node may be called: it is a TLS name, a label of metrics and a part of messages. */
export const NODE_ID = /^[A-Za-z0-9._-]{1,120}$/;

const ENTRY = /^([^:]*):(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:[\]]+)):(\d{1,5})(?::(\d{1,5}))?$/;

/**
 * Reads the list.
 * @returns the nodes in the given order, or what is wrong with which of them.
 */
export function parseNodes(text: string): Result<readonly ClusterNode[], string> {
  const nodes: ClusterNode[] = [];
  for (const [i, entry] of text.split(",").entries()) {
    const place = `node ${i + 1}`;
    const match = ENTRY.exec(entry.trim());
    if (match === null) return fail(`${place} is not id:host:raft_port:priority`);
    const [, nodeId = "", address, name, portText, priorityText] = match;
    const host = address ?? name ?? "";
    const port = Number(portText);
    const priority = priorityText === undefined ? NODE_PRIORITY_DEFAULT : Number(priorityText);
    if (!NODE_ID.test(nodeId)) return fail(`${place} has an id that is not ${NODE_ID_RANGE}`);
    if (port < 1 || port > 65_535) return fail(`${place} has a port outside 1 to 65535`);
    if (priority > NODE_PRIORITY_MAX)
      return fail(`${place} has a priority above ${NODE_PRIORITY_MAX}`);
    if (nodes.some((node) => node.nodeId === nodeId))
      return fail(`${place} has the id of another one`);
    if (nodes.some((node) => node.host === host && node.port === port))
      return fail(`${place} has the address of another one`);
    nodes.push({ nodeId, host, port, priority });
  }
  return nodes.length > CLUSTER_NODES_MAX
    ? fail(`there are ${nodes.length}, and ${CLUSTER_NODES_MAX} are the most`)
    : succeed(nodes);
}

/** What `NODE_ID` takes, in words. */
export const NODE_ID_RANGE = "1 to 120 of A-Z a-z 0-9 . _ -";

const LOOPBACK = /^(localhost|127(\.\d+){3}|::1)$/;

/** Whether only this machine reaches `host`. */
export const isLoopback = (host: string): boolean => LOOPBACK.test(host);
