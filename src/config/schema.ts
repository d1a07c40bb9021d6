// The one schema of the configuration: every variable with its description, default and range.
// `load.ts` reads it, `describe.ts` prints it, and `docs/reference/configuration.md` is that print.

import * as v from "valibot";
import { advertised, nodeId, nodeList, secret, writeConcern } from "./cluster-fields.ts";
import {
  address,
  alwaysOff,
  LOG_LEVELS,
  oneOf,
  onOff,
  optionalPath,
  optionalWord,
  text,
  tokenList,
  webAddress,
  wholeNumber,
} from "./fields.ts";
import { SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, WRITE_TIMEOUT_MS_MAX } from "./limits.ts";

const MIB = 1_048_576;

/** Every variable by name; values come in as text, from flags, environment or file alike. */
export const ConfigSchema = v.object({
  RF_HTTP_ADDR: address(
    "Where to listen. The default host is 127.0.0.1, and 0.0.0.0 when RF_BEARER_TOKENS is set; the default port is 1109.",
  ),
  PORT: wholeNumber(
    undefined,
    0,
    65_535,
    "The port alone, over the one in RF_HTTP_ADDR. 0 takes a free one.",
    "--port",
  ),
  RF_DATA_DIR: text(
    "./data",
    "The directory that holds the log. One process at a time owns it.",
    "--data",
  ),
  RF_BEARER_TOKENS: tokenList(
    "Who may call. Scopes are `scope` or `admin` (everything), `write` and `read`, each also narrowed to topics as in `write=orders.*`. Unset, the single token is `dev`.",
  ),
  RF_LOG_LEVEL: oneOf(
    "info",
    LOG_LEVELS,
    "The least severe diagnostics that are written, as JSON lines on standard error.",
    "--log-level",
  ),
  RF_SEGMENT_BYTES: wholeNumber(
    64 * MIB,
    SEGMENT_BYTES_MIN,
    SEGMENT_BYTES_MAX,
    "Bytes of one log file. It must hold the largest request and 64 KiB more.",
  ),
  RF_SEGMENTS_KEPT: wholeNumber(
    2,
    0,
    1000,
    "Full log files that are kept as they are, whatever in them is dead: followers that lack no more than these are fed from them.",
  ),
  RF_DISK: oneOf(
    "auto",
    ["auto", "uring", "worker"],
    "How the log is written: `uring` by io_uring, `worker` by a thread, `auto` by the first where the kernel allows it.",
  ),
  RF_WRITE_TIMEOUT_MS: wholeNumber(
    5000,
    1,
    WRITE_TIMEOUT_MS_MAX,
    "Milliseconds that a write waits for its confirmation when the request has no `timeout_ms`.",
  ),
  RF_INFLIGHT_BYTES: wholeNumber(
    256 * MIB,
    MIB,
    64 * 1024 * MIB,
    "Bytes of request bodies held at the same time. Over it, requests are refused with `overloaded` before their body is read.",
  ),
  RF_BODY_BYTES_MAX: wholeNumber(16 * MIB, 1024, 256 * MIB, "Bytes of one request body."),
  RF_RECORD_BYTES_MAX: wholeNumber(MIB, 1, 64 * MIB, "Bytes of one record's value."),
  RF_IDEMPOTENCY_TTL_MS: wholeNumber(
    86_400_000,
    1000,
    31_536_000_000,
    "Milliseconds for which an idempotency key is remembered.",
  ),
  RF_IDEMPOTENCY_KEYS_MAX: wholeNumber(
    1_000_000,
    1,
    100_000_000,
    "How many idempotency keys are remembered; the oldest go first.",
  ),
  RF_AUTO_CREATE_TOPICS: onOff(
    false,
    "A produce to a topic that does not exist creates it, with 8 partitions, unless it would be refused.",
  ),
  RF_TLS_CERT: optionalPath("Certificate chain for HTTPS, PEM. Needs RF_TLS_KEY."),
  RF_TLS_KEY: optionalPath(
    "Private key of that certificate, PEM, without a passphrase. Needs RF_TLS_CERT.",
  ),
  RF_METRICS_OPEN: onOff(true, "`/metrics` answers without a token."),
  RF_DOCS_OPEN: onOff(true, "`/swagger`, `/openapi.json` and `/docs` answer without a token."),
  RF_DOCS_URL: webAddress("https://ayder.dev/docs", "The base of the `docs` address in errors."),
  RF_STOP_WITH_STDIN: onOff(
    false,
    "`1` stops the node when its standard input ends: for a program that starts nodes and must leave none behind, however it ends itself.",
  ),
  RF_ROCKET: onOff(
    false,
    "`1` makes `rocket` the mode of new topics that do not say theirs, also of those that a produce creates.",
  ),
  RF_ROCKET_BYTES: wholeNumber(
    256 * MIB,
    2 * MIB,
    64 * 1024 * MIB,
    "Bytes of memory for the records of all rocket topics. Over it, the oldest records leave.",
  ),
  RF_ROCKET_PARTITION_BYTES: wholeNumber(
    64 * MIB,
    2 * MIB,
    64 * 1024 * MIB,
    "Bytes that one partition of a rocket topic keeps, at most. Over it, its oldest records leave. One request may bring half of it.",
  ),
  RF_SHARED_ENTRIES: wholeNumber(
    undefined,
    1,
    4_000_000_000,
    "How many keys may have a value. Left out: one for each 256 bytes of RF_KV_BYTES. All nodes of a cluster should have the same.",
  ),
  RF_KV_BYTES: wholeNumber(
    undefined,
    MIB,
    1024 * 1024 * MIB,
    "Bytes of memory for keys and values. Left out: a quarter of the machine's memory. All nodes of a cluster should have the same.",
  ),
  RF_HA_ENABLED: onOff(
    false,
    "`1` makes this node one of a cluster. It then needs `RF_HA_NODE_ID` and `RF_HA_NODES`.",
  ),
  RF_HA_NODE_ID: nodeId("This node's id: one of those in `RF_HA_NODES`."),
  RF_HA_NODES: nodeList(
    "All nodes, the same text on each: `node1:host1:7000:100,node2:host2:7000,…`. Hosts are names or addresses, IPv6 in brackets. A node listens on the host and port of its own entry. The priority says who leads when there is a choice, and is 100 when it is left out. Once the cluster is formed the list only supplies addresses: membership is in the log.",
  ),
  RF_HA_BOOTSTRAP_LEADER: onOff(
    false,
    "`1` on one node of a new cluster: it forms the cluster once, when all nodes of the list are there and empty. On a node that belongs to a cluster it does nothing. Set on none, the node with the highest priority does it.",
  ),
  RF_HA_WRITE_CONCERN: writeConcern(
    'How many nodes must have a write on disk before it is answered. `1` is the leader alone: such a write may be lost with it, and its reply says `"synced":false`. From 2 up to a majority means `majority`. Left out: `majority`.',
  ),
  RF_HA_SYNC_MODE: optionalWord(
    ["async", "sync-majority", "sync-all"],
    "The same by name, for `1`, `majority` and `all`. Set only one of the two, or both alike.",
  ),
  RF_HA_DEDICATED_WORKER: alwaysOff(
    "replication runs on the serving thread (ADR 0013)",
    "A thread of its own for replication; there is none, because the way to it costs as much as what it would take off the serving thread. `1` is refused, rather than taken for something that a node does not do: take it out.",
  ),
  RF_HA_TLS: onOff(
    false,
    "`1` turns on mutual TLS between nodes. Needs the three paths below. Without it nodes prove themselves by `RF_HA_SECRET`, and what they send can be read on the way.",
  ),
  RF_HA_TLS_CA: optionalPath("Certificate of the authority that signed every node's, PEM."),
  RF_HA_TLS_CERT: optionalPath(
    "This node's certificate, PEM. Its common name or one of its DNS names is the node id.",
  ),
  RF_HA_TLS_KEY: optionalPath("Private key of that certificate, PEM, without a passphrase."),
  RF_HA_HEARTBEAT_MS: wholeNumber(
    50,
    10,
    10_000,
    "Milliseconds between two heartbeats of the leader.",
  ),
  RF_HA_ELECTION_TIMEOUT_MS: wholeNumber(
    300,
    50,
    100_000,
    "Milliseconds without a leader after which an election begins, at least; each node adds up to as much again by chance. At least 4 times `RF_HA_HEARTBEAT_MS`.",
  ),
  RF_HA_SECRET: secret(
    "What nodes without TLS prove themselves by, the same on each. Left out, it is derived from `RF_BEARER_TOKENS`, which must then be the same on each.",
  ),
  RF_HA_INSECURE: onOff(
    false,
    "`1` lets a node start although peers can reach it over a network and neither TLS nor a secret nor tokens of your own are set. Whoever reaches its port may then write into the log.",
  ),
  RF_HA_REDIRECT_STATUS: oneOf(
    "307",
    ["307", "308"],
    "The status with which a follower sends a write to the leader.",
  ),
  RF_HA_CATCH_UP_BYTES: wholeNumber(
    1024 * MIB,
    MIB,
    1024 * 1024 * MIB,
    "Bytes of the log that a follower may lack: beyond them it is filled with files in place of entries.",
  ),
  RF_HTTP_ADVERTISE: advertised(
    "How clients reach this node's HTTP address: other nodes send them there when this one leads. Left out: the host of its entry in `RF_HA_NODES` with the HTTP port.",
  ),
});

/** Every variable's value. */
export type Settings = v.InferOutput<typeof ConfigSchema>;

/** A variable's name. */
export type Variable = keyof typeof ConfigSchema.entries;

/** Every variable's name, in the order of the reference. */
export const VARIABLES = Object.keys(ConfigSchema.entries) as readonly Variable[];
