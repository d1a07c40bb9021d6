// The bounds that no configuration changes: each a name with its unit, a number and the reason for it.
// What configuration may change lies in `schema.ts`; relations between the two are checked in `load.ts`.

import { assert } from "../lib/assert.ts";

/** Characters of a topic's or a group's name: fits a file name and a metric label with room to spare. */
export const NAME_CHARS_MAX = 120;
/** Partitions of one topic: offsets are handed out per partition, and a listing shows them all. */
export const TOPIC_PARTITIONS_MAX = 256;
/** Partitions of a topic that does not say: enough readers side by side for one machine. */
export const TOPIC_PARTITIONS_DEFAULT = 8;
/** Topics of a node: their tables stay in memory. */
export const TOPICS_MAX = 10_000;
/** Partitions of all topics together: each costs a few hundred bytes of memory. */
export const PARTITIONS_MAX = 100_000;
/** Groups of all partitions together, counted per partition: each costs up to 200 bytes of memory. */
export const GROUPS_MAX = 1_000_000;
/** Bytes of a record key: keys choose partitions and are copied around, values carry the content. */
export const KEY_BYTES_MAX = 1024;
/** Bytes of an idempotency key: a million of them are remembered. */
export const IDEMPOTENCY_KEY_BYTES_MAX = 256;
/** Bytes of the kept `ce-*` headers of one request: the server takes 16 KiB of headers in all. */
export const RECORD_HEADERS_BYTES_MAX = 16_384;
/** Records of one NDJSON request: one atomic entry, one fsync. */
export const NDJSON_RECORDS_MAX = 100_000;
/** Records of one consume reply. */
export const CONSUME_RECORDS_MAX = 1000;
/** Records of one consume reply that does not say. */
export const CONSUME_RECORDS_DEFAULT = 100;
/** Bytes of values in one consume reply: 1000 records of 1 MiB would be 1.3 GiB of base64 without it. */
export const CONSUME_BYTES_MAX = 16_777_216;
/** Bytes of values in one consume reply that does not say. */
export const CONSUME_BYTES_DEFAULT = 4_194_304;
/** Milliseconds of a long poll: shorter than what proxies allow an idle request. */
export const WAIT_MS_MAX = 60_000;
/** Milliseconds that a write may wait for its confirmation: below the idle limit of a connection. */
export const WRITE_TIMEOUT_MS_MAX = 120_000;
/** Milliseconds in which a request body must arrive: a half-sent body holds its reservation. */
export const BODY_DEADLINE_MS = 30_000;
/** Namespaces of keys: they stay, and a token may be narrowed to some. */
export const NAMESPACES_MAX = 10_000;
/** Bytes of memory that any key takes, at least: its slot, and its place in the order. */
export const KEY_BYTES_MIN = 64;
/** Keys of one listing that does not say. */
export const KEY_LIST_DEFAULT = 100;
/** Keys of one listing. */
export const KEY_LIST_MAX = 1000;
/** Writes that wait for their confirmation, over all connections: HTTP/2 multiplies them. */
export const WAITERS_MAX = 100_000;
/** Long polls and tails that wait for records at the same time. */
export const TAIL_READERS_MAX = 10_000;
/** Milliseconds between two signs of life on an idle tail: proxies cut silent streams after 30 s or more. */
export const TAIL_KEEP_ALIVE_MS = 15_000;
/** Bytes at which a piece of a tail is handed on: large enough for throughput, small enough per reader. */
export const TAIL_PIECE_BYTES = 131_072;
/** Milliseconds in which a tail's reader must take a piece before it is cut off; it resumes by offset. */
export const TAIL_STALL_MS = 60_000;
/** Milliseconds in which the reader of a backup must take a piece before it is cut off: meanwhile files stay open. */
export const BACKUP_STALL_MS = 60_000;
/** Milliseconds between two pieces of a backup, so that it leaves the thread to others: 256 KiB each, 85 MB/s at most. */
export const BACKUP_PAUSE_MS = 3;
/** Records that one read of a tail asks for. */
export const TAIL_RECORDS_MAX = 8192;
/** Records that one query, or one side of a join, scans. */
export const STREAM_RECORDS_MAX = 100_000;
/** The same when the request does not say. */
export const STREAM_RECORDS_DEFAULT = 200;
/** Records of a query over all there is: `"limit":"all"`. */
export const STREAM_ALL_RECORDS_MAX = 10_000_000;
/** Rows of one JSON reply. */
export const STREAM_ROWS_MAX = 5000;
/** Rows of one NDJSON reply, which leaves as it is made. */
export const STREAM_LINES_MAX = 10_000_000;
/** Rows of a join that does not say. */
export const JOIN_ROWS_DEFAULT = 200;
/** Bytes of rows in one JSON reply: 5000 records of 1 MiB would be 5 GiB without it. */
export const STREAM_REPLY_BYTES_MAX = 16_777_216;
/** Groups of one query, counted per window. */
export const STREAM_GROUPS_MAX = 100_000;
/** Bytes that one query or join keeps between records, roughly. */
export const STREAM_STATE_BYTES_MAX = 268_435_456;
/** Pairs of records with the same keys that one join looks at. */
export const STREAM_PAIRS_MAX = 10_000_000;
/** Milliseconds of one query or join. */
export const STREAM_TIME_MS_MAX = 120_000;
/** Milliseconds of one query or join that does not say. */
export const STREAM_TIME_MS_DEFAULT = 30_000;
/** Queries and joins at the same time: each may hold its bytes of state. */
export const STREAM_REQUESTS_MAX = 8;
/** Milliseconds that a query holds the thread before it lets others have a turn. A turn more is what a produce waits. */
export const STREAM_SLICE_MS = 0.5;
/** Milliseconds that a slice of a query waits at most for writes that are under way. */
export const STREAM_PAUSE_MS = 3;
/** Milliseconds without a write after which a query takes the whole thread, slice by slice. */
export const STREAM_CALM_MS = 20;
/** Bytes of values that a query asks for at once: some hundred records. */
export const STREAM_READ_BYTES = 65_536;
/** Bytes at which a piece of an NDJSON reply leaves. */
export const STREAM_PIECE_BYTES = 65_536;
/** Milliseconds in which a reader must take a piece before it is cut off. */
export const STREAM_STALL_MS = 60_000;
/** Topics of one listing. */
export const TOPIC_LIST_MAX = 1000;
/** Connections to one node: each takes some 2 KiB of memory at rest, and a descriptor. */
export const CONNECTIONS_MAX = 20_000;
/** Share of the process's descriptors that connections may take: the log's files need some, too. */
export const CONNECTION_DESCRIPTORS_SHARE = 0.75;
/** Milliseconds between two looks at how many there are: thousands may come in between, and wait or go. */
export const CONNECTION_LOOK_MS = 100;
/** Seconds without traffic after which a connection is closed: the longest Bun knows, above every wait. */
export const CONNECTION_IDLE_S = 255;
/** Milliseconds between two looks at deadlines: timeouts are this exact, and no request has a timer. */
export const ALARM_TICK_MS = 50;
/** Milliseconds in which requests in flight may finish when the node stops. */
export const STOP_GRACE_MS = 10_000;
/** Topics that metrics name one by one; the rest is counted together, for the scraper's sake. */
export const METRIC_TOPICS_MAX = 200;
/** Groups and partitions that metrics name one by one. */
export const METRIC_GROUPS_MAX = 500;
/** Nodes of a cluster: each more of them is one more to wait for and to send to. */
export const CLUSTER_NODES_MAX = 9;
/** Who leads when there is a choice: the highest. */
export const NODE_PRIORITY_MAX = 1000;
/** Bytes of a segment, at least: files are found by number, and each costs an open handle or a mapping. */
export const SEGMENT_BYTES_MIN = 1_048_576;
/** Bytes of a segment, at most: positions inside one are 32-bit. */
export const SEGMENT_BYTES_MAX = 1_073_741_824;
/** Bytes of an entry beyond the request body that it carries: entry header, chunk headers, record headers. */
export const ENTRY_OVERHEAD_BYTES_MAX = 65_536;

assert(CONSUME_BYTES_DEFAULT <= CONSUME_BYTES_MAX, "The default reply fits the largest reply");
assert(CONSUME_RECORDS_DEFAULT <= CONSUME_RECORDS_MAX, "The default list fits the largest list");
assert(WAIT_MS_MAX < CONNECTION_IDLE_S * 1000, "A long poll ends before its connection is idle");
assert(
  WRITE_TIMEOUT_MS_MAX < CONNECTION_IDLE_S * 1000,
  "A write ends before its connection is idle",
);
assert(
  TAIL_KEEP_ALIVE_MS < CONNECTION_IDLE_S * 1000,
  "A tail shows life before its connection is idle",
);
assert(STREAM_TIME_MS_MAX < CONNECTION_IDLE_S * 1000, "A query ends before its connection is idle");
assert(STREAM_ROWS_MAX <= STREAM_LINES_MAX, "Lines may be more than rows");
assert(BODY_DEADLINE_MS % ALARM_TICK_MS === 0, "Deadlines are whole ticks");
assert(
  RECORD_HEADERS_BYTES_MAX + KEY_BYTES_MAX < ENTRY_OVERHEAD_BYTES_MAX,
  "The overhead of an entry covers one record's key and headers",
);
