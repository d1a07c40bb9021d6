// What metrics read on scrape: plain numbers and histograms that others fill as they work. `main` puts them together.

import type { Histogram } from "../lib/histogram.ts";

/** Counts of one route. */
export interface RouteNumbers {
  readonly method: string;
  readonly route: string;
  /** Requests, at the index of their status. */
  readonly byStatus: Float64Array;
  /** Seconds. */
  readonly latency: Histogram;
}

/** Counts of the HTTP room. */
export interface HttpNumbers {
  readonly routes: Iterable<RouteNumbers>;
  readonly connections: number;
  readonly tailReaders: number;
  readonly longPolls: number;
  /** Queries and joins that run. */
  readonly streams: number;
  readonly waitingWrites: number;
  readonly inflightBytes: number;
}

/** What went in and out of one topic since the start. */
export interface TopicNumbers {
  readonly topic: string;
  readonly recordsIn: number;
  readonly bytesIn: number;
  readonly recordsOut: number;
  readonly bytesOut: number;
}

/** How far one group is behind in one partition. */
export interface GroupNumbers {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  /** Records. */
  readonly lag: number;
}

/** Keys and values. */
export interface KeyNumbers {
  readonly keys: number;
  readonly bytes: number;
  /** Bytes, room for more in their pages included. */
  readonly memoryBytes: number;
  /** Deleted keys that are remembered. */
  readonly tombstones: number;
  readonly namespaces: number;
  /** Since the start. */
  readonly expired: number;
}

/** The log and its disk. */
export interface LogNumbers {
  /** How writes reach the disk, such as `uring` or `worker`. */
  readonly disk: string;
  readonly segments: number;
  /** Sealed segments verified since the start. */
  readonly scrubbedSegments: number;
  /** Archives among the files. */
  readonly archives: number;
  /** What sealed files have to keep, and the rest of them, when last looked at. */
  readonly liveBytes: number;
  readonly deadBytes: number;
  /** Reclaiming since the start. */
  readonly reclaimRuns: number;
  readonly reclaimedFiles: number;
  readonly reclaimedBytes: number;
  /** The log goes on behind this index. */
  readonly compactedIndex: number;
  readonly segmentBytes: number;
  /** Bytes free on the file system of the log. */
  readonly freeBytes: number;
  /** Microseconds from handing a write over until it is synced. */
  readonly syncMicros: Histogram;
  /** Bytes of each write. */
  readonly writeBytes: Histogram;
  /** Records of each entry. */
  readonly entryRecords: Histogram;
  /** What waits for the write in flight. */
  readonly queuedEntries: number;
  readonly queuedBytes: number;
}

/** Backups that were taken of this node, since the start. */
export interface BackupNumbers {
  readonly running: number;
  readonly finished: number;
  readonly failed: number;
  readonly bytes: number;
}

/** Memory of rocket topics. */
export interface RocketNumbers {
  readonly bytes: number;
  /** Records that left because there was no room, since the start. */
  readonly evicted: number;
}

/** Consensus and state. */
export interface RaftNumbers {
  readonly term: number;
  readonly lastIndex: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly isLeader: boolean;
  readonly idempotencyKeys: number;
  /** Keys forgotten before their time because there were too many. */
  readonly idempotencyEvictions: number;
}

/** Everything that metrics read. Functions are called once per scrape. */
export interface MetricsSources {
  readonly version: string;
  readonly http: HttpNumbers;
  topics(): Iterable<TopicNumbers>;
  groups(): Iterable<GroupNumbers>;
  keys(): KeyNumbers;
  log(): LogNumbers;
  raft(): RaftNumbers;
  rocket(): RocketNumbers;
  backups(): BackupNumbers;
}

/** Another node, as this one knows it. */
export interface PeerNumbers {
  readonly nodeId: string;
  readonly isVoter: boolean;
  readonly isConnected: boolean;
  /** How the leader fills it; `unknown` on every node that does not lead. */
  readonly state: "probe" | "replicate" | "snapshot" | "unknown";
  /** Known to the leader alone, as are the two lags. */
  readonly matchIndex: number;
  readonly lagEntries: number;
  readonly lagBytes: number;
  /** Milliseconds since anything came from it; negative or infinite: nothing ever did. */
  readonly lastContactMs: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** The cluster, as one node sees it. */
export interface ClusterNumbers {
  readonly role: "leader" | "follower" | "candidate" | "learner";
  readonly term: number;
  readonly epoch: number;
  readonly isJoint: boolean;
  /** Whether this node has heard of a majority, or of a leader that has one, within the last election timeout. */
  readonly hasFreshQuorum: boolean;
  readonly nodeId: string;
  /** Empty: none is known. */
  readonly leaderId: string;
  readonly leaderUrl: string;
  readonly isReady: boolean;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  /** Entries that were damaged here and fetched from another node, since the start. */
  readonly damagedEntriesRepaired: number;
  /** Sealed segments that wait to be repaired. */
  readonly damagedSegments: number;
  /** The configured list of nodes names others than belong to the cluster. */
  readonly isListOther: boolean;
  /** Elections this node has stood in, since the start. */
  readonly elections: number;
  readonly peers: readonly PeerNumbers[];
}

/** What the metrics of the cluster read, once per scrape. */
export interface ClusterSource {
  cluster(): ClusterNumbers;
}
