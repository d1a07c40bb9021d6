// Routes by which operators see who belongs to the cluster, and change it. What may change is decided behind the port.

import { fail, succeed } from "../../lib/result.ts";
import { jsonReply } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import { guarded, type Handler, type Route, type RouteDoc, withJson } from "../route.ts";
import { splitHostPort } from "../schemas/parameters.ts";
import { AddedReply, MembershipReply, NodeReply, RemovedReply } from "../schemas/replies.ts";
import { AddNodeBody, NodeBody } from "../schemas/requests.ts";

const MEMBERSHIP: RouteDoc = {
  method: "GET",
  path: "/ha/membership",
  id: "membership",
  summary: "Show the nodes of the cluster",
  description:
    "As the node that is asked knows them, also while it is not ready. A node that is alone shows itself, and one that waits for its cluster shows none.",
  tag: "cluster",
  access: "read",
  reply: MembershipReply,
};

/** What the routes that change the cluster have in common. */
const change = (
  action: string,
  rest: Pick<RouteDoc, "id" | "summary" | "description" | "body" | "reply">,
): RouteDoc => ({
  method: "POST",
  path: `/ha/${action}`,
  tag: "cluster",
  access: "full",
  isForWholeNode: true,
  ...rest,
});

const ADD = change("membership/add", {
  id: "addNode",
  summary: "Add a node",
  description:
    "It joins as a learner: it is filled with everything there is and takes no part in votes until it is promoted. One that belongs already stays what it is. One change at a time.",
  body: AddNodeBody,
  reply: AddedReply,
});

const PROMOTE = change("membership/promote", {
  id: "promoteNode",
  summary: "Make a learner a voter",
  description: "From then on it counts for every majority.",
  body: NodeBody,
  reply: AddedReply,
});

const REMOVE = change("membership/remove", {
  id: "removeNode",
  summary: "Remove a node",
  description: "From then on it counts for no majority and is sent nothing.",
  body: NodeBody,
  reply: RemovedReply,
});

const TRANSFER = change("transfer", {
  id: "transferLeadership",
  summary: "Hand leadership to another node",
  description: "The node must be a voter that has caught up.",
  body: NodeBody,
  reply: NodeReply,
});

/** The cluster routes. */
export const clusterRoutes = (rooms: HttpRooms): readonly Route[] => [
  guarded(rooms, MEMBERSHIP, () => {
    const { epoch, isJoint, nodes } = rooms.broker.membership();
    return succeed(
      jsonReply({
        ok: true,
        membership: {
          epoch,
          joint_active: isJoint,
          node_count: nodes.length,
          nodes: nodes.map((node) => ({
            node_id: node.nodeId,
            advertise_addr: node.address,
            http_addr: node.httpUrl,
            priority: node.priority,
            is_voter: node.isVoter,
            is_learner: node.isLearner,
          })),
        },
      }),
    );
  }),
  guarded(rooms, ADD, (call) =>
    withJson(rooms, call, AddNodeBody, async (body) => {
      const added = await rooms.deadlines.bound(
        rooms.broker.addNode({
          nodeId: body.node_id,
          address: body.advertise_addr,
          httpUrl: body.http_addr ?? guessedUrl(rooms, body.advertise_addr),
          priority: body.priority,
        }),
      );
      if (!added.ok) return added;
      const { index, isVoter } = added.value;
      const role = isVoter ? "voter" : "learner";
      return succeed(jsonReply({ ok: true, index, node_id: body.node_id, role }));
    }),
  ),
  guarded(
    rooms,
    PROMOTE,
    changeOf(rooms, async (nodeId) => {
      const promoted = await rooms.deadlines.bound(rooms.broker.promoteNode(nodeId));
      if (!promoted.ok) return promoted;
      const { index } = promoted.value;
      return succeed(jsonReply({ ok: true, index, node_id: nodeId, role: "voter" }));
    }),
  ),
  guarded(
    rooms,
    REMOVE,
    changeOf(rooms, async (nodeId) => {
      const removed = await rooms.deadlines.bound(rooms.broker.removeNode(nodeId));
      if (!removed.ok) return removed;
      const { index } = removed.value;
      return succeed(jsonReply({ ok: true, index, node_id: nodeId, removed: true }));
    }),
  ),
  guarded(
    rooms,
    TRANSFER,
    changeOf(rooms, async (nodeId) => {
      const transferred = await rooms.deadlines.bound(rooms.broker.transferLeadership(nodeId));
      return transferred.ok
        ? succeed(jsonReply({ ok: true, node_id: nodeId }))
        : fail(transferred.error);
    }),
  ),
];

/** Serves a change that names one node. */
const changeOf =
  (rooms: HttpRooms, handle: (nodeId: string) => ReturnType<Handler>): Handler =>
  (call) =>
    withJson(rooms, call, NodeBody, ({ node_id: nodeId }) => handle(nodeId));

const PORT_MAX = 65_535;

/** Where a node is taken to speak HTTP until it says so itself: one port above the one for its peers. */
function guessedUrl({ config }: HttpRooms, address: string): string {
  const { host = "", port = 0 } = splitHostPort(address) ?? {};
  if (port === PORT_MAX) return "";
  return `${config.tls === undefined ? "http" : "https"}://${host}:${port + 1}`;
}
