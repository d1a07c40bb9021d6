// The series of `/metrics_ha`: the cluster as one node sees it. Names that begin with `ramforge_` are those of the published
// interface and stay as they are. `docs/reference/metrics.md` lists all of them, and a test compares.

import { type Metric, Registry } from "prom-client";
import type { ClusterNumbers, ClusterSource, PeerNumbers } from "./ports.ts";
import type { Metrics } from "./registry.ts";
import { counters, gauge, gauges, type Sample } from "./series.ts";

/** Numbers of roles, as published. */
const ROLES = { leader: 0, follower: 1, candidate: 2, learner: 3 } as const;

const PEER_STATES = ["probe", "replicate", "snapshot", "unknown"] as const;

/** Makes the metrics of the cluster. */
export function createHaMetrics(source: ClusterSource): Metrics {
  const registry = new Registry();
  // One look per scrape: all series of a scrape tell of the same moment.
  let seen: ClusterNumbers | undefined;
  const read = (): ClusterNumbers => {
    seen ??= source.cluster();
    return seen;
  };
  for (const metric of [...nodeMetrics(read), ...peerMetrics(read)])
    registry.registerMetric(metric);
  return {
    text: () => {
      seen = undefined;
      return registry.metrics();
    },
  };
}

const flag = (is: boolean): number => (is ? 1 : 0);

const nodeMetrics = (read: () => ClusterNumbers): readonly Metric[] => [
  gauge(
    "ramforge_ha_role",
    "What this node is: 0 leader, 1 follower, 2 candidate, 3 learner.",
    () => ROLES[read().role],
  ),
  gauge(
    "ramforge_ha_state",
    "State of consensus on this node, in the numbers of the role.",
    () => ROLES[read().role],
  ),
  gauge("ramforge_ha_term", "Current term.", () => read().term),
  gauge(
    "ramforge_ha_epoch",
    "Number of the membership: it grows with every change.",
    () => read().epoch,
  ),
  gauge("ramforge_ha_joint_active", "1 while a change of the membership is half done.", () =>
    flag(read().isJoint),
  ),
  gauge(
    "ramforge_ha_fresh_quorum",
    "1 while this node is in touch with a majority, or with a leader that is.",
    () => flag(read().hasFreshQuorum),
  ),
  gauges("ayder_ha_info", "Who this node is and whom it follows; always 1.", () => {
    const { nodeId, role, leaderId, leaderUrl } = read();
    const labels = { node_id: nodeId, role, leader_id: leaderId, leader_url: leaderUrl };
    return [{ value: 1, labels }];
  }),
  gauge("ayder_ha_ready", "1 while this node answers reads.", () => flag(read().isReady)),
  gauge("ayder_ha_has_leader", "1 while this node knows a leader.", () =>
    flag(read().leaderId !== ""),
  ),
  gauge("ayder_ha_term", "Current term.", () => read().term),
  gauge(
    "ayder_ha_commit_index",
    "Index of the newest entry that is known to be committed.",
    () => read().commitIndex,
  ),
  gauge("ayder_ha_applied_index", "Index of the newest applied entry.", () => read().appliedIndex),
  gauge("ayder_ha_last_index", "Index of the newest entry.", () => read().lastIndex),
  gauge(
    "ayder_ha_damaged_segments",
    "Sealed segments that were found damaged and are not repaired yet.",
    () => read().damagedSegments,
  ),
  gauge(
    "ayder_ha_node_list_differs",
    "1 while RF_HA_NODES names other nodes than belong to the cluster.",
    () => flag(read().isListOther),
  ),
  counters("ayder_ha_elections_total", "Elections this node has won.", () => [
    { value: read().elections, labels: {} },
  ]),
  counters(
    "ayder_ha_repaired_entries_total",
    "Entries that were damaged on this node and fetched from another.",
    () => [{ value: read().damagedEntriesRepaired, labels: {} }],
  ),
];

/** One sample per peer. */
const perPeer =
  (
    read: () => ClusterNumbers,
    value: (peer: PeerNumbers) => number,
    isShown: (peer: PeerNumbers) => boolean = () => true,
  ): (() => Iterable<Sample>) =>
  () =>
    read()
      .peers.filter(isShown)
      .map((peer) => ({ value: value(peer), labels: { peer: peer.nodeId } }));

/** Only the leader knows how far others are; a number that nobody knows is not shown. */
const isKnown = (peer: PeerNumbers): boolean => peer.state !== "unknown";

const wasHeard = (peer: PeerNumbers): boolean =>
  Number.isFinite(peer.lastContactMs) && peer.lastContactMs >= 0;

const peerMetrics = (read: () => ClusterNumbers): readonly Metric[] => [
  gauges(
    "ayder_ha_peer_voter",
    "1 for a node that votes, 0 for a learner.",
    perPeer(read, (peer) => flag(peer.isVoter)),
  ),
  gauges(
    "ayder_ha_peer_connected",
    "1 while there is a connection to the node.",
    perPeer(read, (peer) => flag(peer.isConnected)),
  ),
  gauges("ayder_ha_peer_state", "1 at the state in which the leader fills the node.", () =>
    read().peers.flatMap((peer) =>
      PEER_STATES.map((state) => ({
        value: flag(peer.state === state),
        labels: { peer: peer.nodeId, state },
      })),
    ),
  ),
  gauges(
    "ayder_ha_peer_match_index",
    "Index up to which the node is known to have synced the log; on the leader.",
    perPeer(read, (peer) => peer.matchIndex, isKnown),
  ),
  gauges(
    "ayder_ha_peer_lag_entries",
    "Entries that the node is behind; on the leader.",
    perPeer(read, (peer) => peer.lagEntries, isKnown),
  ),
  gauges(
    "ayder_ha_peer_lag_bytes",
    "Bytes of the log that the node is behind; on the leader.",
    perPeer(read, (peer) => peer.lagBytes, isKnown),
  ),
  gauges(
    "ayder_ha_peer_last_contact_seconds",
    "Time since anything came from the node.",
    perPeer(read, (peer) => peer.lastContactMs / 1000, wasHeard),
  ),
  counters(
    "ayder_ha_peer_sent_bytes_total",
    "Bytes sent to the node.",
    perPeer(read, (peer) => peer.bytesSent),
  ),
  counters(
    "ayder_ha_peer_received_bytes_total",
    "Bytes received from the node.",
    perPeer(read, (peer) => peer.bytesReceived),
  ),
];
