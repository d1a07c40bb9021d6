// Wires the rooms into a node, and is the only file that knows them all. Start-up is a list, shutdown the same list
// backwards; whatever cannot be survived ends here, with one log line and a named exit status.

import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { parseCommand, placeOf, reasonOf, runCommand } from "./cli/mod.ts";
import { ClusterTransport } from "./cluster/mod.ts";
import { advertisedUrl, type Config, insecureReason, limits, loadConfig } from "./config/mod.ts";
import { HttpServer } from "./http/mod.ts";
import { Listener, lockDirectory, type OpenedDisk, openDisk } from "./io/mod.ts";
import { InvariantError } from "./lib/assert.ts";
import { EXIT_CODES, FatalError } from "./lib/fatal.ts";
import { createLogger, type Logger } from "./lib/logger.ts";
import { type Disk, type Identity, openIdentity, setAside } from "./log/mod.ts";
import { isAlone } from "./model/cluster.ts";
import type { ProduceSink } from "./model/produce.ts";
import {
  ALONE,
  type Clock,
  Forming,
  NodeBroker,
  noPeers,
  Replica,
  ReplicaProbe,
  type Transport,
  WaitingBroker,
} from "./replica/mod.ts";

declare const AYDER_VERSION: string;
declare const AYDER_COMMIT: string;
declare const AYDER_TARGET: string;

const version = typeof AYDER_VERSION === "string" ? AYDER_VERSION : "dev";
const commit = typeof AYDER_COMMIT === "string" ? AYDER_COMMIT : "source";
const target = typeof AYDER_TARGET === "string" ? AYDER_TARGET : "source";

/** Ticks between two heartbeats of a cluster: elections are drawn with this grain. */
const TICKS_PER_HEARTBEAT = 3;
/** Milliseconds in which writes that were taken may reach the disk when the node stops, and between two looks at them. */
const STOP_DRAIN_MS = 5000;
const STOP_POLL_MS = 5;
/** Room that the state's own files may need besides segments. */
const RESERVE_EXTRA_BYTES = 64 << 20;
/** Memory for keys beyond twice what this node itself would take. */
const KEY_MEMORY_EXTRA_BYTES = 64 << 20;
/** Milliseconds between two looks at what the peers of an empty node have said. */
const FORMING_MS = 20;
const SLAB_BYTES = 4 << 20;
/** Zeroed within some milliseconds, and as large as an ordinary write becomes. */
const START_SEGMENT_BYTES = 4 << 20;
const TAIL_BYTES = 32 << 20;
/** Id of a node that is alone. */
const NODE_ID = "node1";

const input = {
  env: process.env,
  // A container may have less than its machine.
  memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
  readFile: (path: string): string | undefined => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return undefined;
    }
  },
};

const say = (line: string): void => {
  process.stderr.write(line);
};

const loggerAt = (level: Config["logLevel"]): Logger =>
  createLogger({ level, room: "main", write: say, now: Date.now });

/** Ends the process: one line, one status. */
function die(logger: Logger, error: unknown): never {
  const reason = reasonOf(error);
  const message = error instanceof Error ? error.message : String(error);
  const stack = placeOf(error);
  logger.error("fatal", { reason, message, ...(stack !== undefined && { stack }) });
  process.exit(EXIT_CODES[reason]);
}

async function serve(argv: readonly string[]): Promise<void> {
  const loaded = loadConfig({ ...input, argv });
  if (!loaded.ok) {
    const logger = loggerAt("error");
    for (const problem of loaded.error.problems)
      logger.error("invalid_configuration", { ...problem });
    process.exit(EXIT_CODES.invalid_configuration);
  }
  const { config, notices } = loaded.value;
  const logger = loggerAt(config.logLevel);
  process.on("uncaughtException", (error) => die(logger, error));
  process.on("unhandledRejection", (error) => die(logger, error));
  try {
    await start(config, logger, notices);
  } catch (error) {
    die(logger, error);
  }
}

async function start(
  config: Config,
  logger: Logger,
  notices: readonly {
    level: "info" | "warn";
    event: string;
    fields: Readonly<Record<string, string>>;
  }[],
): Promise<void> {
  const startedMs = performance.now();
  // Whoever started this node is gone. Until it serves, there is nothing to finish.
  let leave = (): unknown => process.exit(EXIT_CODES.ok);
  if (config.stopsWithInput) process.stdin.on("close", () => leave()).resume();
  logger.info("starting", { version, commit, data: config.dataDir, pid: process.pid });
  for (const { level, event, fields } of notices) logger[level](event, fields);

  const insecure = config.cluster && insecureReason(config.cluster);
  if (insecure !== undefined) throw new FatalError("insecure_cluster", insecure);
  const lock = lockDirectory(config.dataDir);
  if (lock.guard !== "flock") logger.warn("weak_lock", { guard: lock.guard });
  const { disk, reason } = await openDisk(
    config.dataDir,
    config.disk === "auto" ? {} : { prefer: config.disk },
  );
  logger.info("disk", { kind: disk.kind, reason });

  const findListener = (port: number): Listener | undefined => Listener.find(port);
  const http = new HttpServer({ config, logger, version, findListener });
  const clock = { wallMs: Date.now, monotonicMs: () => performance.now() };
  // A member answers that it is not ready while it waits for the others; a node that is alone has nothing to wait for.
  const waiting = config.cluster && (await http.start(WAITING));
  const httpUrl =
    config.cluster === undefined || waiting === undefined
      ? ""
      : advertisedUrl(config.cluster, config.tls !== undefined, waiting.port);
  const transport = openTransport(config, logger);
  const node = { config, logger, disk, clock, transport, httpUrl };
  let live = wire(await openReplica(node, http), config);
  const { replica: first } = live;
  logger.info("recovered", {
    index: first.appliedIndex,
    replayed_entries: first.replayedEntries,
    topics: first.state.topicCount,
    elapsed_ms: Math.round(performance.now() - startedMs),
  });
  const loadMetrics = async () => {
    const { createHaMetrics, createMetrics } = await import("./metrics/mod.ts");
    const sources = {
      version,
      http: http.probe,
      topics: () => trafficOf(probeOf(live, disk), http),
      groups: () => probeOf(live, disk).groups(),
      keys: () => probeOf(live, disk).keys(),
      log: () => probeOf(live, disk).log(),
      raft: () => probeOf(live, disk).raft(),
      rocket: () => probeOf(live, disk).rocket(),
      backups: () => probeOf(live, disk).backups(),
    };
    const seriesMax = { topicsMax: limits.METRIC_TOPICS_MAX, groupsMax: limits.METRIC_GROUPS_MAX };
    return {
      node: createMetrics(sources, seriesMax),
      cluster: createHaMetrics({ cluster: () => probeOf(live, disk).cluster() }),
    };
  };
  // Once the node is ready: who waits for that waits for no library that prints numbers.
  let loaded: ReturnType<typeof loadMetrics> | undefined;
  const metrics = (): ReturnType<typeof loadMetrics> => {
    loaded ??= loadMetrics();
    return loaded;
  };
  const backend = (): Parameters<HttpServer["serve"]>[0] => ({
    broker: live.broker,
    metricsText: () => metrics().then(({ node: { text } }) => text()),
    haMetricsText: () => metrics().then(({ cluster: { text } }) => text()),
  });
  /** Other files took the place of the log: what was made of the old ones is made anew. */
  const replaced = async (): Promise<void> => {
    http.serve(WAITING);
    live.replica.log.close();
    live = wire(await openReplica(node, http), config);
    live.replica.onReplaced = again;
    http.serve(backend());
  };
  const again = (): void => {
    replaced().catch((error: unknown) => die(logger, error));
  };
  first.onReplaced = again;
  let isStopping = false;
  const tick = setInterval(() => {
    live.replica.tick();
    if (loaded === undefined && live.replica.isReady)
      metrics().catch((error: unknown) => die(logger, error));
    if (!isStopping) live.broker.retentionPass.tick(performance.now());
  }, tickMsOf(config));
  first.tick();
  if (waiting !== undefined) http.serve(backend());
  const { url } = waiting ?? (await http.start(backend()));
  logger.info("started", { url, elapsed_ms: Math.round(performance.now() - startedMs) });

  const stop = async (signal: string): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    logger.info("stopping", { signal });
    await http.stop();
    const { replica } = live;
    replica.stop();
    // What finds no room on a full disk was never acknowledged, and must not hold the node for ever.
    const drainUntil = performance.now() + STOP_DRAIN_MS;
    while (!replica.isIdle && performance.now() < drainUntil) await Bun.sleep(STOP_POLL_MS);
    clearInterval(tick);
    replica.detach();
    await transport.close();
    await disk.close();
    replica.log.close();
    lock.release();
    logger.info("stopped", { index: replica.appliedIndex });
    process.exit(EXIT_CODES.ok);
  };
  const stopBy = (signal: string): void => {
    stop(signal).catch((error: unknown) => die(logger, error));
  };
  leave = () => stopBy("end of input");
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stopBy(signal));
}

/** What a node is opened with. */
interface NodeParts {
  readonly config: Config;
  readonly logger: Logger;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly transport: Transport;
  readonly httpUrl: string;
}

/** A replica and what speaks for it. */
interface Live {
  readonly replica: Replica;
  readonly broker: NodeBroker;
}

const wire = (replica: Replica, config: Config): Live => {
  const controlLimits = {
    topicsMax: limits.TOPICS_MAX,
    partitionsMax: limits.PARTITIONS_MAX,
    groupsMax: limits.GROUPS_MAX,
    waitingMax: limits.WAITERS_MAX,
    keysMax: config.keysMax,
    bytesMax: config.keyBytesMax,
    namespacesMax: limits.NAMESPACES_MAX,
  };
  return { replica, broker: new NodeBroker(replica, controlLimits, config.rocket) };
};

const probeOf = ({ broker }: Live, disk: OpenedDisk["disk"]): ReplicaProbe =>
  new ReplicaProbe(broker, disk.kind, disk.syncLatencyUs);

/** What answers before there is a replica. */
const WAITING = {
  broker: new WaitingBroker(),
  metricsText: () => Promise.resolve(""),
  haMetricsText: () => Promise.resolve(""),
};

const randomId = (): string => crypto.getRandomValues(new Uint8Array(16)).toHex();

const tickMsOf = (config: Config): number =>
  config.cluster === undefined
    ? ALONE.tickMs
    : Math.max(1, Math.round(config.cluster.heartbeatMs / TICKS_PER_HEARTBEAT));

function openTransport(config: Config, logger: Logger): Transport {
  const { cluster } = config;
  if (cluster === undefined) return noPeers();
  return new ClusterTransport({
    host: cluster.raftHost,
    port: cluster.raftPort,
    tls: cluster.tls,
    secret: cluster.secret,
    logger: logger.room("cluster"),
  });
}

/** Opens the log. A member whose data is of no use sets it aside, whole, and is filled by the others. */
async function openReplica(node: NodeParts, http: HttpServer): Promise<Replica> {
  for (;;) {
    let identity: Identity | undefined;
    try {
      identity = await joined(node);
      return recoverReplica(node, identity, http.produceSink);
    } catch (error) {
      const isLoss =
        error instanceof FatalError &&
        (error.reason === "log_corrupt" || error.reason === "data_unusable");
      if (!isLoss || !isFilledByOthers(node.config, identity)) throw error;
      node.logger.error("data_set_aside", { message: error.message, to: "quarantine" });
      setAside(node.disk.files);
    }
  }
}

/** Whether others have what this node has. Who is alone has the only copy, and would begin anew without it. */
function isFilledByOthers({ cluster }: Config, identity: Identity | undefined): boolean {
  if (cluster === undefined) return false;
  if (identity === undefined) return cluster.nodes.length > 1;
  return !isAlone(identity.hardState.membership, identity.meta.nodeId);
}

/** Who this node is, once it belongs to a cluster. */
async function joined(node: NodeParts): Promise<Identity> {
  const { config, logger, disk, clock, transport, httpUrl } = node;
  const { cluster } = config;
  const identity = openIdentity(disk.files, {
    nodeId: cluster?.nodeId ?? NODE_ID,
    startsAlone: cluster === undefined,
    randomId,
  });
  if (identity.meta.clusterId !== "" || cluster === undefined) return identity;
  const forming = new Forming({
    disk,
    identity,
    transport,
    clock,
    logger: logger.room("forming"),
    nodes: cluster.nodes,
    isBootstrap: cluster.isBootstrap,
    httpUrl,
    randomId,
  });
  while (!forming.turn()) await Bun.sleep(FORMING_MS);
  return forming.formed ?? identity;
}

function recoverReplica(node: NodeParts, identity: Identity, sink: ProduceSink): Replica {
  const { config, logger, disk, clock, transport, httpUrl } = node;
  const { cluster } = config;
  const tickMs = tickMsOf(config);
  const replica: Replica = new Replica({
    identity,
    disk,
    transport,
    clock,
    sink,
    requestTurn: () => setImmediate(() => replica.turn()),
    logger: logger.room("replica"),
    limits: {
      segmentBytes: config.segmentBytes,
      startSegmentBytes: Math.min(START_SEGMENT_BYTES, config.segmentBytes),
      reserveBytes: 2 * config.segmentBytes + RESERVE_EXTRA_BYTES,
      slabBytes: Math.min(SLAB_BYTES, config.segmentBytes / 2),
      tailBytes: TAIL_BYTES,
      segmentsKept: config.segmentsKept,
    },
    cluster:
      cluster === undefined
        ? ALONE
        : {
            writeConcern: cluster.writeConcern,
            tickMs,
            electionTicks: Math.round(cluster.electionTimeoutMs / tickMs),
            heartbeatTicks: Math.max(1, Math.round(cluster.heartbeatMs / tickMs)),
            httpUrl,
            addresses: cluster.nodes,
            catchUpBytes: cluster.catchUpBytes,
          },
    // Nodes may differ in what they allow; what the others took is held in any case, within reason.
    keyMemoryBytesMax: 2 * config.keyBytesMax + KEY_MEMORY_EXTRA_BYTES,
    settings: {
      idempotencyTtlMs: config.idempotencyTtlMs,
      idempotencyKeysMax: config.idempotencyKeysMax,
    },
    random: Math.random,
    randomId,
    randomSalt: () => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
  });
  return replica;
}

/** Opens a directory as a node would that is alone, and tells what it holds. Nothing is served, and no term begins. */
async function stateOf(
  directory: string,
  nodeId: string,
): Promise<{ readonly appliedIndex: number; readonly hash: string }> {
  const loaded = loadConfig({ ...input, env: {}, argv: ["--data", directory] });
  if (!loaded.ok) throw new InvariantError("The configuration without settings is valid");
  const { config } = loaded.value;
  const logger = loggerAt("error");
  const lock = lockDirectory(directory);
  const { disk } = await openDisk(directory, { prefer: "worker" });
  const clock = { wallMs: Date.now, monotonicMs: () => performance.now() };
  const identity = openIdentity(disk.files, { nodeId, startsAlone: true, randomId });
  const node = { config, logger, disk, clock, transport: noPeers(), httpUrl: "" };
  const sink = { submittedMs: 0, produced: () => undefined, refused: () => undefined };
  const { replica, broker } = wire(recoverReplica(node, identity, sink), config);
  const state = broker.stateHash();
  replica.detach();
  await disk.close();
  replica.log.close();
  lock.release();
  return state;
}

/** What went in and out of each topic. */
function* trafficOf(probe: ReplicaProbe, http: HttpServer) {
  for (const { id, name } of probe.topics()) {
    const { recordsIn, bytesIn, recordsOut, bytesOut } = http.probe.traffic(id);
    yield { topic: name, recordsIn, bytesIn, recordsOut, bytesOut };
  }
}

const argv = process.argv.slice(2);
const command = parseCommand(argv);
if (command.ok && command.value.name === "serve" && !command.value.isHelp) {
  await serve(command.value.argv);
} else {
  const build = { version, commit, target };
  process.exit(await runCommand(argv, input, { build, stateOf }));
}
