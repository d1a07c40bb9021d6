// Backups: what is restored is what was there at one moment, whatever went on meanwhile; and whatever is missing or changed in
// a stream, it is refused.

import { describe, expect, test } from "bun:test";
import { Prng } from "../../../src/lib/prng.ts";
import { type BackupHead, BackupParser, partsOf } from "../../../src/log/backup-format.ts";
import { FileError } from "../../../src/log/disk.ts";
import { fileName } from "../../../src/log/format.ts";
import { readManifest } from "../../../src/log/identity.ts";
import type { LiveSegment } from "../../../src/log/mod.ts";
import { Restore } from "../../../src/log/restore.ts";
import type { BackupStream } from "../../../src/replica/backups.ts";
import { SimNode, simDisk } from "../../support/sim-node.ts";

const OPTIONS = { limits: { segmentBytes: 1 << 16, slabBytes: 1 << 14, mergeBytesMin: 1 } };

let ids = 0;
const randomId = (): string => (++ids).toString(16).padStart(32, "0");

/** Takes what is left of a stream. */
function drain(node: SimNode, stream: BackupStream, between: () => void = () => undefined): Buffer {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const piece = node.wait(stream.next());
    if (piece === undefined) return Buffer.concat(pieces);
    pieces.push(piece);
    between();
  }
}

const begin = (node: SimNode): BackupStream => {
  const backup = node.broker.backup();
  if (!backup.ok) throw new Error(`Refused: ${backup.error.code}`);
  return backup.value;
};

/** Makes a directory of a backup. Throws `FileError`. */
function restoredDisk(bytes: Uint8Array, pieceBytes = 1 << 16) {
  const disk = simDisk(99);
  const restored = new Restore(disk.files, { nodeId: "node1", randomId });
  const parser = new BackupParser(restored);
  for (let at = 0; at < bytes.length; at += pieceBytes)
    parser.feed(bytes.subarray(at, at + pieceBytes));
  parser.end();
  return { disk, head: restored.finish() };
}

const refusal = (bytes: Uint8Array): string => {
  try {
    restoredDisk(bytes, 1 << 20);
    return "none";
  } catch (error) {
    if (error instanceof FileError) return error.kind;
    throw error;
  }
};

/** A node with some of everything. */
function busyNode(records = 40): { node: SimNode; topic: number } {
  const node = SimNode.ready(simDisk(), OPTIONS);
  const topic = node.topic("t", 2);
  node.topic("gone");
  const request = { name: "r", partitions: 1, mode: "rocket" as const, ttlMs: 0, maxBytes: 0 };
  const rocket = node.good(node.broker.createTopic(request)).topicId;
  node.produce(rocket, "in memory");
  for (let i = 0; i < records; i++) {
    node.produce(topic, `${i}`.padEnd(6000, "x"), { partition: i % 2, idempotencyKey: `k${i}` });
    node.good(node.broker.commit({ topic: "t", group: `g${i % 3}`, partition: 0, offset: 0 }));
  }
  node.good(node.broker.deleteTopic("gone"));
  node.good(node.broker.deleteBefore({ topic: "t", partition: 1, beforeOffset: 3 }));
  return { node, topic };
}

describe("a restored directory", () => {
  test("holds the same state and records, under another cluster's name, and goes on", () => {
    const { node, topic } = busyNode();
    node.rest();
    const before = node.broker.stateHash();
    const { disk, head } = restoredDisk(drain(node, begin(node)));
    expect(head.applied.index).toBe(before.appliedIndex);
    expect(head.stateHash).toBe(before.hash);
    expect(head.offer.segments.length).toBeGreaterThan(1);
    expect(head.offer.base).not.toBeNull();

    const other = new SimNode(disk, OPTIONS);

    expect(other.broker.stateHash()).toEqual(before);
    expect(other.replica.self.clusterId).not.toBe(node.replica.self.clusterId);
    expect(other.replica.self.incarnation).not.toBe(node.replica.self.incarnation);
    expect(other.replica.membership).toMatchObject({ epoch: head.epoch + 1, voters: ["node1"] });
    other.until(() => other.replica.isReady);
    for (const partition of [0, 1])
      expect(other.values(topic, partition)).toEqual(node.values(topic, partition));
    expect(other.broker.committedOffset(topic, 0, "g1")).toBe(0);
    const again = other.send(topic, "0".padEnd(6000, "x"), { idempotencyKey: "k0" });
    expect(other.outcome(again)).toMatchObject({ firstOffset: 0, duplicate: 1 });
    // Offsets of a rocket topic go on behind what the source had reserved.
    const rocket = other.broker.topic("r")?.id ?? 0;
    expect(other.produce(rocket, "later")).toBe(65_536);
    const end = other.broker.partition(topic, 0).nextOffset;
    expect(other.produce(topic, "more")).toBe(end);
    const crashed = other.crashed(OPTIONS);
    expect(crashed.broker.partition(topic, 0).nextOffset).toBe(end + 1);
  });

  test("of a log without complete files holds everything as well", () => {
    const node = SimNode.ready(simDisk());
    const topic = node.topic("t");
    node.produce(topic, "a");
    node.produce(topic, "b");
    const { disk, head } = restoredDisk(drain(node, begin(node)), 7);
    expect(head.offer.segments).toEqual([]);

    const other = SimNode.ready(disk);

    expect(other.texts(topic)).toEqual(["a", "b"]);
  });

  test("is the state of one moment, however much goes on and is unlinked while it is read", () => {
    for (let seed = 1; seed <= 5; seed++) {
      const prng = new Prng(seed);
      const { node, topic } = busyNode(20 + prng.below(40));
      if (prng.below(2) === 0) node.rest();
      const { appliedIndex, hash } = node.broker.stateHash();
      const records = node.values(topic);
      const bytes = drain(node, begin(node), () => {
        for (let i = prng.below(8); i > 0; i--) node.produce(topic, new Uint8Array(8000));
        if (prng.below(3) === 0) node.rest();
      });
      expect(node.replica.appliedIndex).toBeGreaterThan(appliedIndex);

      const other = new SimNode(restoredDisk(bytes).disk, OPTIONS);

      expect(other.broker.stateHash()).toEqual({ appliedIndex, hash });
      other.until(() => other.replica.isReady);
      expect(other.values(topic)).toEqual(records);
      other.replica.log.scrub();
      other.rest();
    }
  });

  test("can be backed up itself", () => {
    const { node } = busyNode();
    const other = SimNode.ready(restoredDisk(drain(node, begin(node))).disk, OPTIONS);
    other.rest();
    const { appliedIndex, hash } = other.broker.stateHash();

    const third = new SimNode(restoredDisk(drain(other, begin(other))).disk, OPTIONS);

    expect(third.broker.stateHash()).toEqual({ appliedIndex, hash });
  });

  test("that was not finished does not start", () => {
    const { node } = busyNode();
    const bytes = drain(node, begin(node));
    const disk = simDisk(5);
    const parser = new BackupParser(new Restore(disk.files, { nodeId: "node1", randomId }));
    parser.feed(bytes.subarray(0, bytes.length - 40));

    expect(() => new SimNode(disk, OPTIONS)).toThrow("meta.json is missing");
  });
});

describe("a stream", () => {
  /** A small one, of which every byte can be tried. */
  const small = (): Buffer => {
    const node = SimNode.ready(simDisk());
    node.produce(node.topic("t"), "a");
    return drain(node, begin(node));
  };

  test("that is cut anywhere is refused", () => {
    const bytes = small();
    expect(refusal(bytes)).toBe("none");
    for (let length = 0; length < bytes.length; length++)
      expect({ length, refusal: refusal(bytes.subarray(0, length)) }).toEqual({
        length,
        refusal: "damaged",
      });
    expect(refusal(Buffer.concat([bytes, Buffer.from([0])]))).toBe("damaged");
  });

  test("with any bit changed is refused", () => {
    const bytes = small();
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] as number) ^ (1 << (at % 8));
      expect({ at, refusal: refusal(changed) }).toEqual({ at, refusal: "damaged" });
    }
  });

  test("whose pieces are left out, doubled or in another order is refused", () => {
    const { node } = busyNode();
    const pieces: Uint8Array[] = [];
    const stream = begin(node);
    for (let piece = node.wait(stream.next()); piece; piece = node.wait(stream.next()))
      pieces.push(piece);
    expect(pieces.length).toBeGreaterThan(4);

    for (let i = 1; i < pieces.length - 1; i++) {
      const [one, other] = [pieces[i] as Uint8Array, pieces[i + 1] as Uint8Array];
      const rest = pieces.slice(i + 2);
      for (const wrong of [
        [...pieces.slice(0, i), other, ...rest],
        [...pieces.slice(0, i), one, one, other, ...rest],
        [...pieces.slice(0, i), other, one, ...rest],
      ])
        expect(refusal(Buffer.concat(wrong))).toBe("damaged");
    }
  });

  test("names its parts before they come", () => {
    const { node } = busyNode();
    node.rest();
    const heads: BackupHead[] = [];
    const sizes: number[] = [];
    const parser = new BackupParser({
      head: (head) => heads.push(head),
      piece: (part, position, bytes) => {
        expect(position).toBe(sizes[part] ?? 0);
        sizes[part] = position + bytes.length;
      },
    });
    parser.feed(drain(node, begin(node)));

    expect(sizes).toEqual(partsOf(heads[0] as BackupHead).map(({ bytes }) => bytes));
    const { segments } = readManifest(node.disk.files);
    expect(heads[0]?.offer.segments.length).toBe(
      segments.filter((known) => known.isDerived).length,
    );
  });
});

describe("a node", () => {
  test("gives two backups at a time, and lets go of those that end", () => {
    const { node } = busyNode();
    const streams = [begin(node), begin(node)];
    const third = node.broker.backup();
    expect(third.ok ? "taken" : third.error.code).toBe("overloaded");

    streams[0]?.close();
    drain(node, begin(node));

    const { running, finished, failed, bytes } = node.broker.backups;
    expect({ running, finished, failed }).toEqual({ running: 1, finished: 1, failed: 1 });
    expect(bytes).toBeGreaterThan(100_000);
    node.wait((streams[1] as BackupStream).next());
    streams[1]?.close();
    expect(node.broker.backups.running).toBe(0);
  });
});

/** Jobs of a kind are never done. */
function hold(node: SimNode, kind: string): void {
  const run = node.disk.run.bind(node.disk);
  node.disk.run = (job, token) => {
    if (job.kind !== kind) run(job, token);
  };
}

test("a segment without entries is left out, where the one before has no index yet", () => {
  const options = { limits: { ...OPTIONS.limits, startSegmentBytes: 4200 } };
  let found = 0;
  for (let seed = 1; seed <= 60 && found < 3; seed++) {
    let node = SimNode.ready(simDisk(seed), OPTIONS);
    const topic = node.topic("t");
    node.produce(topic, "x".repeat(20_000));
    node.rest();
    // A torn write, and no prepared segment to go on with: the start makes a small one, into which the next write does not fit.
    node.send(topic, "y".repeat(9000));
    const { log } = node.replica;
    node.until(() => !log.isIdle);
    node.disk.crash();
    const disk = node.disk.reopened();
    disk.files.remove(fileName(2, "log"));
    const later = new SimNode(disk, options);
    hold(later, "derive_segment");
    later.until(() => later.replica.isReady);
    node = later;
    node.produce(topic, "z".repeat(30_000));
    const isLeft = ({ firstIndex, chain }: LiveSegment): boolean =>
      chain.index > 0 && chain.index < firstIndex;
    if (!node.replica.log.segments.all().some(isLeft)) continue;
    found += 1;

    const restored = restoredDisk(drain(node, begin(node)));
    expect(SimNode.ready(restored.disk, options).texts(topic)).toEqual(node.texts(topic));
  }
  expect(found).toBe(3);
});
