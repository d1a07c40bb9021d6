// The bounds of a sandbox, each with its reason. None is a setting: a machine that allows for more has better uses for it.

/** Visitors with a node: about 90 MiB of memory each. */
export const VISITORS_MAX = 8;
/** Proofs at the same time: each starts up to three nodes and keeps a core busy. */
export const PROOFS_MAX = 1;
/** Milliseconds between two proofs of one visitor, so that others come to theirs. */
export const PROOF_PAUSE_MS = 3000;
/** Milliseconds without a call after which a visit ends. The page asks every second while somebody looks at it. */
export const IDLE_MS_MAX = 10 * 60_000;
/** Milliseconds after which a visit ends in any case. */
export const VISIT_MS_MAX = 60 * 60_000;
/** Milliseconds between two looks at who is idle. */
export const SWEEP_MS = 5000;
/** Calls a second of one visitor, and how many at once: the page makes one a second, and one per press of a button. */
export const CALLS_PER_SECOND = 20;
export const CALLS_BURST = 40;
/** New visits a minute, of all together, and how many at once: a node is a process to start. */
export const VISITS_PER_MINUTE = 60;
export const VISITS_BURST = 2 * VISITORS_MAX;
/** Bytes of one request to the sandbox: a value, escaped, and a little more. */
export const REQUEST_BYTES_MAX = 65_536;
/** Bytes of a record's value. */
export const VALUE_BYTES_MAX = 8192;
/** Bytes that one visitor may write in all: their node keeps a few times as much on disk, files ahead included. */
export const VISITOR_BYTES_MAX = 4 << 20;
/** Topics of one visitor: a list that fits a page. */
export const TOPICS_MAX = 8;
/** Partitions of a visitor's topic. */
export const PARTITIONS_MAX = 8;
/** Bytes that a partition of a visitor's topic keeps. */
export const PARTITION_BYTES_MAX = 1 << 18;
/** Records of one consume. */
export const CONSUME_RECORDS_MAX = 20;
/** Milliseconds that a call to a visitor's node may take. */
export const CALL_MS_MAX = 10_000;

/** What each visitor's node is started with. */
export const NODE_SETTINGS: Readonly<Record<string, string>> = {
  RF_HTTP_ADDR: "127.0.0.1:0",
  RF_LOG_LEVEL: "info",
  RF_SEGMENT_BYTES: "1048576",
  RF_BODY_BYTES_MAX: "65536",
  RF_RECORD_BYTES_MAX: String(VALUE_BYTES_MAX),
  RF_INFLIGHT_BYTES: "1048576",
  RF_IDEMPOTENCY_KEYS_MAX: "1000",
  RF_KV_BYTES: "1048576",
  RF_SHARED_ENTRIES: "1000",
  RF_ROCKET_BYTES: "2097152",
  RF_ROCKET_PARTITION_BYTES: "2097152",
};
