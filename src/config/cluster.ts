// What the `RF_HA_` variables mean together: one frozen part of the configuration, or everything that is wrong with them.

import { hkdfSync } from "node:crypto";
import type { ConfigNotice, ConfigProblem } from "./load.ts";
import type { Settings, Variable } from "./schema.ts";
import { tlsProblems } from "./tls.ts";
import type { Token } from "./tokens.ts";
import { type ClusterNode, isLoopback } from "./topology.ts";

/** How many nodes must have a write on disk before it is answered. */
export type WriteConcern = number | "majority" | "all";

/** How this node is part of a cluster. */
export interface ClusterConfig {
  readonly nodeId: string;
  /** All nodes, this one too, in the order of `RF_HA_NODES`. */
  readonly nodes: readonly ClusterNode[];
  /** Whether this node forms the cluster. */
  readonly isBootstrap: boolean;
  /** 1: the leader alone; from 2 up to a majority: a majority. */
  readonly writeConcern: WriteConcern;
  readonly heartbeatMs: number;
  readonly electionTimeoutMs: number;
  /** Mutual TLS between nodes, PEM. */
  readonly tls:
    | { readonly caPath: string; readonly certPath: string; readonly keyPath: string }
    | undefined;
  /** Derived from `RF_HA_SECRET` or the tokens; undefined when there is neither. Never logged. */
  readonly secret: string | undefined;
  /** Running without any proof of who a peer is was asked for. */
  readonly isInsecure: boolean;
  /** The base of this node's HTTP address for clients of other nodes; undefined: where it listens. */
  readonly advertiseUrl: string | undefined;
  readonly redirectStatus: 307 | 308;
  /** A follower that lacks more of the log than this gets files in place of entries. */
  readonly catchUpBytes: number;
  /** Where this node listens for the others: its own entry. */
  readonly raftHost: string;
  readonly raftPort: number;
}

/** What a rule found. */
export interface Findings {
  readonly problems: ConfigProblem[];
  readonly notices: ConfigNotice[];
}

/** Numbers of nodes that have a majority which one more node would not make cheaper. */
const USUAL_NODES = [1, 3, 5, 7];
/** Characters of a secret that is not guessed from a recorded handshake. */
const SECRET_CHARS_MIN = 16;
/** Heartbeats that may be lost before an election. */
const HEARTBEATS_PER_ELECTION_MIN = 4;

/** Reads the cluster's part. Undefined when clustering is off, or when `found` has a problem. */
export function clusterOf(
  settings: Settings,
  values: Readonly<Record<string, string>>,
  readFile: (path: string) => string | undefined,
  found: Findings,
): ClusterConfig | undefined {
  if (!settings.RF_HA_ENABLED) {
    noticeUnused(values, found);
    return undefined;
  }
  const problem = (variable: Variable, value: number | string, range: string): void => {
    found.problems.push({ variable, value: String(value), range });
  };
  const nodeId = settings.RF_HA_NODE_ID;
  const nodes = settings.RF_HA_NODES;
  if (nodeId === undefined) problem("RF_HA_NODE_ID", "", "an id, because RF_HA_ENABLED is 1");
  if (nodes === undefined) problem("RF_HA_NODES", "", "the nodes, because RF_HA_ENABLED is 1");
  const own = nodes?.find((node) => node.nodeId === nodeId);
  if (nodeId !== undefined && nodes !== undefined && own === undefined) {
    const ids = nodes.map((node) => node.nodeId).join(", ");
    problem("RF_HA_NODE_ID", nodeId, `one of RF_HA_NODES: ${ids}`);
  }
  const heartbeatMs = settings.RF_HA_HEARTBEAT_MS;
  const electionTimeoutMs = settings.RF_HA_ELECTION_TIMEOUT_MS;
  const electionMin = HEARTBEATS_PER_ELECTION_MIN * heartbeatMs;
  if (electionTimeoutMs < electionMin) {
    const range = `at least ${HEARTBEATS_PER_ELECTION_MIN} times RF_HA_HEARTBEAT_MS, ${electionMin}`;
    problem("RF_HA_ELECTION_TIMEOUT_MS", electionTimeoutMs, range);
  }
  checkConcern(settings, nodes?.length, problem);
  const tls = tlsOf(settings, readFile, found);
  const secret = secretOf(settings);
  if (own === undefined || nodes === undefined || found.problems.length > 0) return undefined;

  noticeOdd(nodes, settings.RF_HA_SECRET, found);
  return Object.freeze({
    nodeId: own.nodeId,
    nodes,
    isBootstrap: settings.RF_HA_BOOTSTRAP_LEADER,
    writeConcern:
      settings.RF_HA_WRITE_CONCERN ?? CONCERN_OF[settings.RF_HA_SYNC_MODE ?? ""] ?? "majority",
    heartbeatMs,
    electionTimeoutMs,
    tls,
    secret,
    isInsecure: settings.RF_HA_INSECURE,
    advertiseUrl: advertisedBy(settings),
    redirectStatus: settings.RF_HA_REDIRECT_STATUS === "308" ? 308 : 307,
    catchUpBytes: settings.RF_HA_CATCH_UP_BYTES,
    raftHost: own.host,
    raftPort: own.port,
  });
}

/**
 * Why this node must not start as it is: others could write into its log, and nothing would prove who they are.
 * Undefined when it may.
 */
export function insecureReason(cluster: ClusterConfig): string | undefined {
  const { tls, secret, isInsecure, nodes } = cluster;
  if (tls !== undefined || secret !== undefined || isInsecure) return undefined;
  const reachable = nodes.find((node) => !isLoopback(node.host));
  if (reachable === undefined) return undefined;
  return `${reachable.host} port ${reachable.port} is not on loopback and nothing proves who a peer is: set RF_HA_SECRET, RF_BEARER_TOKENS or RF_HA_TLS, or RF_HA_INSECURE=1`;
}

/**
 * The base of this node's HTTP address, as other nodes hand it to clients.
 * @param port The port that HTTP listens on, which a configured 0 does not tell.
 */
export function advertisedUrl(cluster: ClusterConfig, hasTls: boolean, port: number): string {
  const { advertiseUrl, raftHost } = cluster;
  const host = raftHost.includes(":") ? `[${raftHost}]` : raftHost;
  return advertiseUrl ?? `${hasTls ? "https" : "http"}://${host}:${port}`;
}

type Problem = (variable: Variable, value: number | string, range: string) => void;

const CONCERN_OF: Readonly<Record<string, WriteConcern>> = {
  async: 1,
  "sync-majority": "majority",
  "sync-all": "all",
};

function checkConcern(settings: Settings, nodeCount: number | undefined, problem: Problem): void {
  const concern = settings.RF_HA_WRITE_CONCERN;
  const mode = settings.RF_HA_SYNC_MODE;
  if (concern === undefined || nodeCount === undefined) return;
  if (typeof concern === "number" && concern > nodeCount)
    problem("RF_HA_WRITE_CONCERN", concern, `at most the number of nodes, ${nodeCount}`);
  else if (
    mode !== undefined &&
    nodesOf(concern, nodeCount) !== nodesOf(CONCERN_OF[mode] ?? 1, nodeCount)
  )
    problem(
      "RF_HA_WRITE_CONCERN",
      concern,
      `the same as RF_HA_SYNC_MODE, which is ${mode}, or one of them alone`,
    );
}

/** How many nodes a concern means. */
function nodesOf(concern: WriteConcern, nodeCount: number): number {
  const majority = Math.floor(nodeCount / 2) + 1;
  if (concern === "all") return nodeCount;
  if (concern === "majority") return majority;
  return concern === 1 ? 1 : Math.max(concern, majority);
}

function tlsOf(
  settings: Settings,
  readFile: (path: string) => string | undefined,
  { problems }: Findings,
): ClusterConfig["tls"] {
  if (!settings.RF_HA_TLS) return undefined;
  const fileOf = (variable: "RF_HA_TLS_CA" | "RF_HA_TLS_CERT" | "RF_HA_TLS_KEY") => {
    const path = settings[variable];
    if (path !== undefined) return { variable, path };
    problems.push({ variable, value: "", range: "a path, because RF_HA_TLS is 1" });
    return undefined;
  };
  const [ca, cert, key] = [
    fileOf("RF_HA_TLS_CA"),
    fileOf("RF_HA_TLS_CERT"),
    fileOf("RF_HA_TLS_KEY"),
  ];
  problems.push(...tlsProblems({ ca, cert, key }, readFile));
  return ca && cert && key && { caPath: ca.path, certPath: cert.path, keyPath: key.path };
}

/** Only keys that follow from the secret leave this room. */
function secretOf(settings: Settings): string | undefined {
  if (settings.RF_HA_SECRET !== undefined) return derive("secret", settings.RF_HA_SECRET);
  const secrets = settings.RF_BEARER_TOKENS?.map(({ secret }: Token) => secret) ?? [];
  // The token that everybody knows proves nothing.
  const isKnown = secrets.every((secret) => secret === "dev");
  return isKnown ? undefined : derive("tokens", secrets.sort().join("\n"));
}

const derive = (source: string, text: string): string =>
  new Uint8Array(hkdfSync("sha256", text, "", `ayder cluster ${source} 1`, 32)).toHex();

function advertisedBy(settings: Settings): string | undefined {
  const said = settings.RF_HTTP_ADVERTISE;
  if (said === undefined || /^https?:/.test(said)) return said;
  return `${settings.RF_TLS_CERT === undefined ? "http" : "https"}://${said}`;
}

function noticeOdd(
  nodes: readonly ClusterNode[],
  secret: string | undefined,
  { notices }: Findings,
): void {
  if (!USUAL_NODES.includes(nodes.length)) {
    const message =
      "Use 1, 3, 5 or 7 nodes: an even number survives no more failures than one node less";
    notices.push({
      level: "warn",
      event: "unusual_cluster_size",
      fields: { message, nodes: String(nodes.length) },
    });
  }
  if (secret !== undefined && secret.length < SECRET_CHARS_MIN) {
    const message = `RF_HA_SECRET has fewer than ${SECRET_CHARS_MIN} characters: it can be guessed from a recorded handshake`;
    notices.push({ level: "warn", event: "weak_cluster_secret", fields: { message } });
  }
}

function noticeUnused(values: Readonly<Record<string, string>>, { notices }: Findings): void {
  const unused = Object.keys(values).filter(
    (name) => name.startsWith("RF_HA_") && name !== "RF_HA_ENABLED",
  );
  if (unused.length === 0) return;
  notices.push({
    level: "warn",
    event: "cluster_settings_unused",
    fields: {
      message: "RF_HA_ENABLED is not 1: this node is alone",
      variables: unused.sort().join(" "),
    },
  });
}
