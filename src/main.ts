// Wires the rooms into a node, and is the only file that knows them all. Start-up is a list, shutdown the same list
// backwards; whatever cannot be survived ends here, with one log line and a named exit status.

import { readFileSync } from "node:fs";
import { parseCommand, runCommand } from "./cli/mod.ts";
import { type Config, limits, loadConfig } from "./config/mod.ts";
import { HttpServer } from "./http/mod.ts";
import { lockDirectory, openDisk } from "./io/mod.ts";
import { InvariantError } from "./lib/assert.ts";
import { EXIT_CODES, FatalError, type FatalReason } from "./lib/fatal.ts";
import { createLogger, type Logger } from "./lib/logger.ts";
import { FileError } from "./log/mod.ts";
import { createMetrics } from "./metrics/mod.ts";
import { NodeBroker, Replica, ReplicaProbe } from "./replica/mod.ts";

declare const AYDER_VERSION: string;
declare const AYDER_COMMIT: string;

const version = typeof AYDER_VERSION === "string" ? AYDER_VERSION : "dev";
const commit = typeof AYDER_COMMIT === "string" ? AYDER_COMMIT : "source";

/** Milliseconds between two ticks of the replica: one timer for elections, idle frames and background work. */
const TICK_MS = 50;
const RETENTION_MS = 1000;
/** Milliseconds in which writes that were taken may reach the disk when the node stops, and between two looks at them. */
const STOP_DRAIN_MS = 5000;
const STOP_POLL_MS = 5;
/** Room that the state's own files may need besides segments. */
const RESERVE_EXTRA_BYTES = 64 << 20;
const SLAB_BYTES = 4 << 20;
const TAIL_BYTES = 32 << 20;
const NODE_ID = "node1";

const input = {
  env: process.env,
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
  const text = error instanceof Error ? error.message : String(error);
  // The place matters for what should never happen, and would only distract from what the operator can mend.
  const isOurs = reason === "broken_invariant" || reason === "unexpected";
  const stack = isOurs && error instanceof Error ? error.stack : undefined;
  logger.error("fatal", { reason, message: text, ...(stack !== undefined && { stack }) });
  process.exit(EXIT_CODES[reason]);
}

function reasonOf(error: unknown): FatalReason {
  if (error instanceof FatalError) return error.reason;
  if (error instanceof InvariantError) return "broken_invariant";
  if (error instanceof FileError) return error.kind === "no_space" ? "disk_full" : "data_unusable";
  return "unexpected";
}

async function serve(argv: readonly string[]): Promise<void> {
  const loaded = loadConfig({ ...input, argv });
  if (!loaded.ok) {
    const logger = loggerAt("error");
    for (const problem of loaded.error) logger.error("invalid_configuration", { ...problem });
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
  logger.info("starting", { version, commit, data: config.dataDir, pid: process.pid });
  for (const { level, event, fields } of notices) logger[level](event, fields);

  const lock = lockDirectory(config.dataDir);
  if (lock.guard !== "flock") logger.warn("weak_lock", { guard: lock.guard });
  const { disk, reason } = await openDisk(
    config.dataDir,
    config.disk === "auto" ? {} : { prefer: config.disk },
  );
  logger.info("disk", { kind: disk.kind, reason });

  const http = new HttpServer({ config, logger, version });
  const clock = { wallMs: Date.now, monotonicMs: () => performance.now() };
  const replica: Replica = new Replica({
    nodeId: NODE_ID,
    disk,
    clock,
    sink: http.produceSink,
    requestTurn: () => setImmediate(() => replica.turn()),
    logger: logger.room("replica"),
    limits: {
      segmentBytes: config.segmentBytes,
      reserveBytes: 2 * config.segmentBytes + RESERVE_EXTRA_BYTES,
      slabBytes: Math.min(SLAB_BYTES, config.segmentBytes / 2),
      tailBytes: TAIL_BYTES,
    },
    settings: {
      idempotencyTtlMs: config.idempotencyTtlMs,
      idempotencyKeysMax: config.idempotencyKeysMax,
    },
    randomId: () => crypto.getRandomValues(new Uint8Array(16)).toHex(),
    randomSalt: () => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
  });
  logger.info("recovered", {
    index: replica.appliedIndex,
    replayed_entries: replica.replayedEntries,
    topics: replica.state.topicCount,
    elapsed_ms: Math.round(performance.now() - startedMs),
  });
  const broker = new NodeBroker(replica, {
    topicsMax: limits.TOPICS_MAX,
    partitionsMax: limits.PARTITIONS_MAX,
    groupsMax: limits.GROUPS_MAX,
    waitingMax: limits.WAITERS_MAX,
  });
  const probe = new ReplicaProbe(replica, disk.kind, disk.syncLatencyUs);
  const metrics = createMetrics(
    {
      version,
      http: http.probe,
      topics: () => trafficOf(probe, http),
      groups: () => probe.groups(),
      log: () => probe.log(),
      raft: () => probe.raft(),
    },
    { topicsMax: limits.METRIC_TOPICS_MAX, groupsMax: limits.METRIC_GROUPS_MAX },
  );
  const tick = setInterval(() => replica.tick(), TICK_MS);
  const retention = setInterval(() => broker.retentionPass.start(), RETENTION_MS);
  replica.tick();
  const { url } = await http.start({ broker, metricsText: metrics.text });
  logger.info("started", { url, elapsed_ms: Math.round(performance.now() - startedMs) });

  let isStopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    logger.info("stopping", { signal });
    clearInterval(retention);
    await http.stop();
    replica.stop();
    // What finds no room on a full disk was never acknowledged, and must not hold the node for ever.
    const drainUntil = performance.now() + STOP_DRAIN_MS;
    while (!replica.isIdle && performance.now() < drainUntil) await Bun.sleep(STOP_POLL_MS);
    clearInterval(tick);
    replica.detach();
    await disk.close();
    replica.log.close();
    lock.release();
    logger.info("stopped", { index: replica.appliedIndex });
    process.exit(EXIT_CODES.ok);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      stop(signal).catch((error: unknown) => die(logger, error));
    });
  }
}

/** What went in and out of each topic. */
function* trafficOf(probe: ReplicaProbe, http: HttpServer) {
  for (const { id, name } of probe.topics()) {
    const { recordsIn, bytesIn, recordsOut, bytesOut } = http.probe.traffic(id);
    yield { topic: name, recordsIn, bytesIn, recordsOut, bytesOut };
  }
}

const command = parseCommand(process.argv.slice(2));
if (typeof command === "string") {
  say(`${command}\n`);
  process.exit(EXIT_CODES.invalid_configuration);
} else if (command.name === "serve") {
  await serve(command.argv);
} else {
  process.exit(await runCommand({ ...command, name: command.name }, input, version));
}
