// How a cluster begins. A node that belongs to none never votes: it tells the nodes of its list that it is empty, and waits.
// When every node of the list has said the same, one of them founds the cluster, once; whoever belongs to it tells the rest.
// One that had data and set it aside is not empty: it says so, and waits for a cluster that has what it had.

import type { Logger } from "../lib/logger.ts";
import { type Disk, hasSetAside, type Identity, joinCluster } from "../log/mod.ts";
import type { Member, Membership } from "../model/cluster.ts";
import type { Clock } from "./log-time.ts";
import { decodePeer, encodeTalk, type PeerTalk } from "./peer-codec.ts";
import type { PeerAddress, PeerHello, Transport } from "./ports.ts";

/** A node of the list. */
export interface ListedNode extends PeerAddress {
  readonly priority: number;
}

/** What forming is told. */
export interface FormingOptions {
  readonly disk: Disk;
  readonly identity: Identity;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Every node that is to belong to the cluster, this one included. */
  readonly nodes: readonly ListedNode[];
  /** This node is to found the cluster. Without any such, the one of highest priority does. */
  readonly isBootstrap: boolean;
  readonly httpUrl: string;
  readonly randomId: () => string;
}

/** What another empty node said of itself. */
interface EmptyPeer {
  readonly hello: PeerHello;
  readonly isBootstrap: boolean;
}

const ASK_INTERVAL_MS = 200;
const SAY_INTERVAL_MS = 5000;

/** What a node that is not empty says in place of its list: nobody has the same. */
const NO_LIST = "";

/** One empty node, until it belongs to a cluster. */
export class Forming {
  /** Who this node is once it belongs to a cluster. */
  formed: Identity | undefined;
  readonly #options: FormingOptions;
  readonly #list: string;
  readonly #empty = new Map<string, EmptyPeer>();
  /** Lists of others that are not the one of this node, as far as they were complained about. */
  readonly #otherLists = new Map<string, string>();
  #askedMs = Number.NEGATIVE_INFINITY;
  #saidMs = Number.NEGATIVE_INFINITY;

  constructor(options: FormingOptions) {
    this.#options = options;
    this.#list = hasSetAside(options.disk.files)
      ? NO_LIST
      : options.nodes
          .map(({ nodeId }) => nodeId)
          .sort()
          .join(",");
    if (this.#list === NO_LIST)
      options.logger.warn("waits_to_be_filled", {
        message:
          "This node has set its data aside: it joins the cluster that has it, and founds none",
      });
    const { nodeId, incarnation } = options.identity.meta;
    options.transport.introduce({
      nodeId,
      clusterId: "",
      incarnation,
      httpUrl: options.httpUrl,
    });
    options.transport.setPeers(options.nodes.filter((node) => node.nodeId !== nodeId));
  }

  /** Takes what came and says what is due. True: this node belongs to a cluster now. */
  turn(): boolean {
    for (const delivery of this.#options.transport.poll()) {
      if (this.formed !== undefined) break;
      if (delivery.kind === "disconnected") this.#empty.delete(delivery.from.nodeId);
      if (delivery.kind !== "message") continue;
      const message = decodePeer(delivery.bytes);
      if (message?.kind === "talk") this.#hear(delivery.from, message.talk);
    }
    if (this.formed === undefined) this.#ask();
    if (this.formed === undefined) this.#found();
    return this.formed !== undefined;
  }

  #hear(from: PeerHello, talk: PeerTalk): void {
    const { logger } = this.#options;
    if (talk.kind === "form") {
      logger.info("joins_cluster", { node: from.nodeId, cluster_id: talk.clusterId });
      this.#join(talk.clusterId, talk.membership);
    } else if (talk.kind !== "empty") {
      // Of a cluster that this node does not belong to.
    } else if (talk.nodes === NO_LIST || talk.nodes !== this.#list) {
      this.#empty.delete(from.nodeId);
      // It says so several times a second.
      if (this.#otherLists.get(from.nodeId) === talk.nodes) return;
      this.#otherLists.set(from.nodeId, talk.nodes);
      if (talk.nodes === NO_LIST) logger.warn("peer_lost_data", { node: from.nodeId });
      else if (this.#list !== NO_LIST)
        logger.warn("other_node_list", { node: from.nodeId, nodes: talk.nodes, own: this.#list });
    } else this.#empty.set(from.nodeId, { hello: from, isBootstrap: talk.isBootstrap });
  }

  #ask(): void {
    const { clock, identity, isBootstrap, logger, nodes, transport } = this.#options;
    const now = clock.monotonicMs();
    if (now - this.#askedMs < ASK_INTERVAL_MS) return;
    this.#askedMs = now;
    const talk = { kind: "empty", nodes: this.#list, isBootstrap } as const;
    const bytes = encodeTalk(talk, clock.wallMs());
    const others = nodes.filter(({ nodeId }) => nodeId !== identity.meta.nodeId);
    for (const { nodeId } of others) transport.send(nodeId, "urgent", [bytes]);
    if (now - this.#saidMs < SAY_INTERVAL_MS) return;
    this.#saidMs = now;
    const missing = others.filter(({ nodeId }) => !this.#empty.has(nodeId));
    logger.info("waiting_for_peers", { missing: missing.map(({ nodeId }) => nodeId).join(",") });
  }

  /** Founds the cluster when everybody is there and it is this node's part. */
  #found(): void {
    const { identity, isBootstrap, nodes, httpUrl, randomId, logger } = this.#options;
    const own = identity.meta.nodeId;
    if (this.#list === NO_LIST) return;
    if (nodes.some(({ nodeId }) => nodeId !== own && !this.#empty.has(nodeId))) return;
    const isNamed = (nodeId: string): boolean =>
      nodeId === own ? isBootstrap : this.#empty.get(nodeId)?.isBootstrap === true;
    const named = nodes.filter(({ nodeId }) => isNamed(nodeId));
    const [founder] = [...(named.length > 0 ? named : nodes)].sort(
      (left, right) => right.priority - left.priority || (left.nodeId < right.nodeId ? -1 : 1),
    );
    if (founder?.nodeId !== own) return;
    const members: Member[] = nodes.map(({ nodeId, host, port, priority }) => {
      const hello = this.#empty.get(nodeId)?.hello;
      return {
        nodeId,
        address: `${host.includes(":") ? `[${host}]` : host}:${port}`,
        httpUrl: hello?.httpUrl ?? httpUrl,
        priority,
        incarnation: hello?.incarnation ?? identity.meta.incarnation,
        isReturning: false,
      };
    });
    members.sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
    const clusterId = randomId();
    logger.info("founds_cluster", { cluster_id: clusterId, nodes: this.#list });
    this.#join(clusterId, {
      epoch: 1,
      voters: members.map(({ nodeId }) => nodeId),
      outgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
      members,
    });
  }

  #join(clusterId: string, membership: Membership): void {
    const { disk, identity } = this.#options;
    this.formed = joinCluster(disk.files, identity, clusterId, membership);
  }
}
