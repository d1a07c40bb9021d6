// A whole replica without HTTP, for benches: on a real disk, turned by the event loop, answering into a counter.

import { silentLogger } from "../src/lib/logger.ts";
import { type Disk, openIdentity } from "../src/log/mod.ts";
import type { ProduceRequest } from "../src/model/produce.ts";
import { ALONE, NodeBroker, noPeers, Replica } from "../src/replica/mod.ts";

/** A broker with one topic, `bench`, and the requests that it has answered. */
export interface BenchReplica {
  readonly broker: NodeBroker;
  readonly replica: Replica;
  readonly answered: () => number;
  /** A 64-byte record for `partition`, -1 for each in turn; one object for all of them. */
  readonly request: ProduceRequest;
  readonly stop: () => void;
}

/** Lets the event loop go round once. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Starts a replica on `disk` and makes its topic. */
export async function startReplica(
  disk: Disk,
  options: { readonly partitions: number; readonly segmentBytes: number },
): Promise<BenchReplica> {
  let answered = 0;
  const randomId = (): string => crypto.getRandomValues(new Uint8Array(16)).toHex();
  const replica: Replica = new Replica({
    identity: openIdentity(disk.files, { nodeId: "node1", randomId, startsAlone: true }),
    disk,
    transport: noPeers(),
    cluster: ALONE,
    random: Math.random,
    clock: { wallMs: Date.now, monotonicMs: () => performance.now() },
    sink: {
      submittedMs: 0,
      produced: () => {
        answered += 1;
      },
      refused: (_, refusal) => {
        throw new Error(JSON.stringify(refusal));
      },
    },
    requestTurn: () => setImmediate(() => replica.turn()),
    logger: silentLogger,
    limits: {
      segmentBytes: options.segmentBytes,
      reserveBytes: 0,
      slabBytes: Math.min(4 << 20, options.segmentBytes / 2),
      tailBytes: 32 << 20,
    },
    settings: { idempotencyTtlMs: 86_400_000, idempotencyKeysMax: 1_000_000 },
    randomId,
    randomSalt: () => crypto.getRandomValues(new Uint32Array(1))[0]!,
  });
  const broker = new NodeBroker(replica, {
    topicsMax: 10,
    partitionsMax: 1000,
    groupsMax: 1000,
    waitingMax: 1000,
    keysMax: 10_000,
    bytesMax: 1 << 26,
    namespacesMax: 100,
  });
  const timer = setInterval(() => replica.tick(), 50);
  replica.tick();
  while (!replica.isReady) await nextTurn();
  const shape = { name: "bench", mode: "sealed", ttlMs: 0, maxBytes: 0 } as const;
  await broker.createTopic({ ...shape, partitions: options.partitions });
  const request: ProduceRequest = {
    topicId: broker.topic("bench")!.id,
    partition: -1,
    key: undefined,
    idempotencyKey: undefined,
    expectedOffset: -1,
    ack: "configured",
    headers: undefined,
    body: new Uint8Array(64).fill(97),
    ranges: undefined,
    count: 1,
  };
  return { broker, replica, answered: () => answered, request, stop: () => clearInterval(timer) };
}
