// The crash table of docs/format.md, row by row: what each cut-off leaves, and what the next start makes of it.

import { describe, expect, test } from "bun:test";
import { FatalError } from "../../../src/lib/fatal.ts";
import { Prng } from "../../../src/lib/prng.ts";
import { deriveSegment } from "../../../src/log/derive.ts";
import {
  encodeSegmentHeader,
  FRAME_BYTES,
  fileName,
  SEGMENT_DATA_START,
} from "../../../src/log/format.ts";
import { joinCluster, openIdentity } from "../../../src/log/identity.ts";
import { replaceFile } from "../../../src/log/jobs.ts";
import { encodeChecked, META_FILE, readWhole, STATE_FILE } from "../../../src/log/metadata.ts";
import { aloneAs } from "../../../src/model/cluster.ts";
import {
  logDirectory,
  putSpare,
  type Recovered,
  recoverFrom,
  sealedEntry,
} from "../../support/log-directory.ts";
import { CLUSTER_ID, type EntryParts, SegmentBuilder } from "../../support/segment-builder.ts";
import { SimCrash, SimDirectory } from "../../support/sim-directory.ts";

const EMPTY: EntryParts = {};
const record = (bytes: number, baseOffset = 0): EntryParts => ({
  chunks: [{ topicId: 1, partition: 0, baseOffset, values: [new Uint8Array(bytes).fill(7)] }],
});

/** A segment of so many writes of one entry each, with an idle frame that covers them all. */
function segmentOf(sequence: number, writes: number, options = {}): SegmentBuilder {
  const built = new SegmentBuilder(sequence, options);
  for (let i = 0; i < writes; i++) built.write([EMPTY]);
  return built.write([]);
}

/** The reason and the words with which a start refuses. */
function refusalOf(files: SimDirectory): string {
  try {
    recoverFrom(files);
    return "none";
  } catch (error) {
    if (!(error instanceof FatalError)) throw error;
    return `${error.reason}: ${error.message}`;
  }
}

const flip = (files: SimDirectory, name: string, position: number): void =>
  files.file(name).flipBit(position);

describe("identity", () => {
  test("an empty directory is made into one that the next start knows", () => {
    const files = new SimDirectory(new Prng(1), 512, 2 ** 30);
    const first = recoverFrom(files).log;
    const again = recoverFrom(files).log;

    expect(again.meta).toEqual(first.meta);
    expect(again.active.sequence).toBe(first.active.sequence);
    expect(again.hardState.membership.voters).toEqual(["node1"]);
  });

  test("missing metadata beside data refuses to start and touches nothing", () => {
    const files = logDirectory({ segments: [segmentOf(1, 1)] });
    files.remove(META_FILE);
    const before = files.list().sort();

    expect(refusalOf(files)).toStartWith("data_unusable: Cannot start: meta.json is missing");
    expect(files.list().sort()).toEqual(before);
  });

  test("another format is refused by its number", () => {
    const files = logDirectory({});
    replaceFile(files, META_FILE, encodeChecked({ format: 99 }));

    expect(refusalOf(files)).toStartWith("data_format: Cannot open a data directory of format 99");
  });

  test.each([META_FILE, "manifest"])("a damaged %s refuses to start", (name) => {
    const files = logDirectory({});
    flip(files, name, 3);

    expect(refusalOf(files)).toStartWith(`data_unusable: Cannot read ${name}`);
  });

  test("one damaged slot of the state leaves the other, two refuse to start", () => {
    const files = logDirectory({});
    flip(files, STATE_FILE, 10);
    expect(recoverFrom(files).log.stateCounter).toBe(1);
    flip(files, STATE_FILE, 4096 + 10);

    expect(refusalOf(files)).toStartWith("data_unusable: Cannot read state");
  });

  test("a noted damage refuses to start and says what it was", () => {
    const files = logDirectory({ manifest: { damage: "segment 4 is torn" } });

    expect(refusalOf(files)).toStartWith(
      "log_corrupt: Cannot start on a damaged log: segment 4 is torn",
    );
  });
});

describe("the open log", () => {
  test("zeros behind the last entry are where it goes on", () => {
    const built = segmentOf(1, 3);
    const { log, replayed } = recoverFrom(logDirectory({ segments: [built] }));

    expect(replayed).toEqual([1, 2, 3]);
    expect(log.active.position).toBe(built.position);
    expect(log.active.chain).toEqual(built.chain);
  });

  test("a write that is cut off above every synced index is a torn tail: kept out, in a fresh file", () => {
    const built = new SegmentBuilder(1).write([EMPTY]).write([EMPTY, record(9000)]);
    built.bytes.fill(0, built.position - 4096);
    const files = logDirectory({ segments: [built] });
    const { log, replayed, events } = recoverFrom(files);

    expect(replayed).toEqual([1, 2]);
    expect(events).toEqual(["torn_tail_cut"]);
    expect(log.active.sequence).toBeGreaterThan(1);
    expect(log.sealed.map(({ sequence }) => sequence)).toEqual([1]);
    expect(log.manifest.segments.map(({ lastIndex }) => lastIndex)).toEqual([2]);
    expect(recoverFrom(files).replayed).toEqual([1, 2]);
  });

  test("the same bytes missing below a synced index are damage", () => {
    const built = new SegmentBuilder(1).write([EMPTY]).write([record(9000)]);
    const end = built.position;
    built.write([]);
    built.bytes.fill(0, end - 5000, end - 4000);

    expect(refusalOf(logDirectory({ segments: [built] }))).toContain("index 2 was durable");
  });

  test("a commit index above the end of the log is damage, even where no frame tells of it", () => {
    const files = logDirectory({ segments: [segmentOf(1, 2)], hardState: { commitIndex: 3 } });

    expect(refusalOf(files)).toContain("index 3 was durable");
  });

  test("a segment whose first write is torn is removed, and the one before goes on", () => {
    const first = segmentOf(1, 2);
    const second = new SegmentBuilder(2, { chain: first.chain }).write([record(9000)]);
    second.bytes.fill(0, SEGMENT_DATA_START + 4096);
    const files = logDirectory({ segments: [first, second] });
    const { log } = recoverFrom(files);

    expect(log.active.sequence).toBe(1);
    expect(files.size(fileName(2, "log"))).toBeUndefined();
  });

  test("segments that were rolled over are taken in order, by their chain", () => {
    const first = segmentOf(1, 2);
    const second = segmentOf(2, 2, { chain: first.chain });
    const { log, replayed } = recoverFrom(logDirectory({ segments: [first, second] }));

    expect(replayed).toEqual([1, 2, 3, 4]);
    expect(log.sealed.map(({ sequence }) => sequence)).toEqual([1]);
    expect(log.active.sequence).toBe(2);
  });

  test("of two segments that were prepared and never written one stays, so that no hole is left", () => {
    const built = segmentOf(1, 1);
    const files = logDirectory({ segments: [built] });
    putSpare(files, 2);
    putSpare(files, 3);
    const { log } = recoverFrom(files);

    expect(log.active.sequence).toBe(1);
    expect(log.spare?.sequence).toBe(2);
    expect(log.nextSequence).toBe(4);
    segmentOf(4, 1, { chain: built.chain }).putInto(files);
    files.remove(fileName(2, "log"));
    expect(recoverFrom(files).replayed).toEqual([1, 2]);
  });

  test("an empty segment before one that is not is damage", () => {
    const first = segmentOf(1, 1);
    const third = segmentOf(3, 1, { chain: first.chain });
    const files = logDirectory({ segments: [first, third] });
    putSpare(files, 2);

    expect(refusalOf(files)).toContain("Cannot follow the log from 000000000002.log");
    expect(files.size(fileName(2, "log"))).toBe(65_536);
  });

  test("a file of zeros was being prepared and goes, another header is damage", () => {
    const files = logDirectory({ segments: [segmentOf(1, 1)] });
    files.create(fileName(2, "log"));
    files.write(fileName(2, "log"), 0, new Uint8Array(8192));
    recoverFrom(files);
    expect(files.size(fileName(2, "log"))).toBeUndefined();
    flip(files, fileName(1, "log"), 20);

    expect(refusalOf(files)).toContain("Cannot read 000000000001.log: damaged header");
  });

  test("a segment of another cluster is set aside, not read and not removed", () => {
    const files = logDirectory({ segments: [segmentOf(1, 1)] });
    putSpare(files, 2);
    const name = fileName(2, "log");
    files.write(
      name,
      0,
      encodeSegmentHeader({ sequence: 2, salt: 1, fileBytes: 65_536, clusterId: "ff".repeat(16) }),
    );
    recoverFrom(files);

    expect(files.quarantined()).toEqual([name]);
  });
});

describe("the sealed log", () => {
  /** Two sealed segments, the first one derived, and an open one. */
  function sealedLog(): { files: SimDirectory; first: SegmentBuilder; second: SegmentBuilder } {
    const first = segmentOf(1, 2);
    const second = segmentOf(2, 2, { chain: first.chain });
    const third = segmentOf(3, 1, { chain: second.chain });
    const files = logDirectory({
      segments: [first, second, third],
      sealed: [sealedEntry(first, true), sealedEntry(second)],
    });
    deriveSegment(files, {
      kind: "derive_segment",
      sequence: 1,
      salt: first.salt,
      clusterId: CLUSTER_ID,
      validBytes: first.position,
      chain: first.previous,
      lastIndex: 2,
    });
    return { files, first, second };
  }

  test("what is derived is folded, what is not is replayed", () => {
    const { files } = sealedLog();

    expect(recoverFrom(files).replayed).toEqual([3, 4, 5]);
  });

  test("a missing or damaged index is made again from the segment", () => {
    const { files } = sealedLog();
    flip(files, fileName(1, "index"), 5);
    const damaged = recoverFrom(files);
    expect(damaged.events).toEqual(["index_rebuilt"]);
    expect(damaged.replayed).toEqual([3, 4, 5]);
    files.remove(fileName(1, "index"));

    expect(recoverFrom(files).replayed).toEqual([3, 4, 5]);
  });

  test.each([
    ["a missing segment", (files: SimDirectory) => files.remove(fileName(1, "log"))],
    ["a short segment", (files: SimDirectory) => files.truncate(fileName(2, "log"), 4096)],
    ["a damaged segment", (files: SimDirectory) => flip(files, fileName(2, "log"), 4200)],
    ["a damaged header", (files: SimDirectory) => flip(files, fileName(2, "log"), 20)],
    ["a missing delta", (files: SimDirectory) => files.remove(fileName(1, "delta"))],
    ["a damaged delta", (files: SimDirectory) => flip(files, fileName(1, "delta"), 50)],
  ])("%s is damage", (_, damage) => {
    const { files } = sealedLog();
    damage(files);

    expect(refusalOf(files)).toStartWith("log_corrupt: Cannot");
  });

  test("leftovers of jobs that were cut off are removed", () => {
    const { files } = sealedLog();
    for (const name of [
      "manifest.tmp",
      fileName(2, "index"),
      fileName(2, "delta"),
      fileName(9, "base"),
    ])
      files.create(name);
    recoverFrom(files);

    expect(files.list().sort()).toEqual([
      fileName(1, "delta"),
      fileName(1, "index"),
      fileName(1, "log"),
      fileName(2, "log"),
      fileName(3, "log"),
      "manifest",
      META_FILE,
      STATE_FILE,
    ]);
  });
});

describe("crashes in a start", () => {
  /** A log with a torn tail, spares and leftovers: all that a start may have to clear up. */
  function tornLog(seed: number): SimDirectory {
    const first = segmentOf(1, 2);
    const second = new SegmentBuilder(2, { chain: first.chain })
      .write([EMPTY])
      .write([EMPTY, record(9000)]);
    second.bytes.fill(0, second.position - 4096);
    const files = logDirectory({ segments: [first, second], seed });
    putSpare(files, 3);
    putSpare(files, 4);
    files.create("manifest.tmp");
    return files;
  }

  test("a start that is cut off at any primitive is made good by the next", () => {
    let wasCutOff = true;
    for (let count = 1; wasCutOff; count++) {
      wasCutOff = false;
      for (let seed = 1; seed <= 10; seed++) {
        const files = tornLog(seed);
        files.crashAfterPrimitives(count);
        try {
          recoverFrom(files);
        } catch (error) {
          if (!(error instanceof SimCrash)) throw error;
          wasCutOff = true;
        }
        files.crash();
        const recovered: Recovered = recoverFrom(files);
        expect(recovered.replayed).toEqual([1, 2, 3, 4]);
      }
      expect(count).toBeLessThan(100);
    }
  });

  test("what a start has seen is durable when it returns, though the last process never synced it", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const built = new SegmentBuilder(1).write([EMPTY, record(9000)]).write([record(20_000, 1)]);
      const files = logDirectory({ seed });
      files.create(built.name);
      files.write(built.name, 0, built.bytes.subarray(0, 65_536));
      files.write(STATE_FILE, 0, readWhole(files, STATE_FILE) ?? new Uint8Array(0));
      const before = recoverFrom(files);
      files.crash();

      expect(recoverFrom(files).replayed).toEqual(before.replayed);
    }
  });

  test("what a failed sync left in memory alone is written again, so that a later sync tells the truth", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const built = new SegmentBuilder(1).write([EMPTY]).write([]);
      const files = logDirectory({ seed, segments: [built] });
      const end = built.position;
      built.write([EMPTY, record(9000)]);
      files.write(built.name, end, built.bytes.subarray(end, built.position));
      files.failNextSync();
      expect(() => files.sync(built.name)).toThrow("EIO");
      const before = recoverFrom(files);
      files.crash();

      expect(recoverFrom(files).replayed).toEqual(before.replayed);
    }
  });
});

describe("a member", () => {
  const others = { ...aloneAs("node1", CLUSTER_ID), voters: ["node1", "node2", "node3"] };

  test("that lost what was durable says so once, and is fenced by its new life until it is filled", () => {
    const segment = segmentOf(1, 5);
    const files = logDirectory({
      segments: [segment],
      hardState: { membership: others, commitIndex: 4 },
    });
    flip(files, segment.name, SEGMENT_DATA_START + FRAME_BYTES + 16);

    expect(recoverFrom(files).events).toContain("log_damaged");
    expect(recoverFrom(files).events).not.toContain("log_damaged");
  });

  test("that lost what was durable takes no more of its log to be committed than before", () => {
    const segment = segmentOf(1, 6);
    const files = logDirectory({
      segments: [segment],
      hardState: { membership: others, commitIndex: 2 },
    });
    // What is left ends behind what was agreed on.
    flip(files, segment.name, (segment.entries[4] ?? 0) + 16);

    expect(recoverFrom(files).log.appliedChain.index).toBe(2);
    const again = recoverFrom(files);
    expect(again.log.active.previous.index).toBe(4);
    expect(again.log.appliedChain.index).toBe(2);
  });

  test("that joins a cluster can read its promises after any two syncs that failed", () => {
    const options = { nodeId: "node1", randomId: () => CLUSTER_ID, startsAlone: false };
    for (let seed = 1; seed <= 40; seed++) {
      const files = new SimDirectory(new Prng(seed), 512, 2 ** 30);
      for (let round = 0; round < 2; round++) {
        const identity = openIdentity(files, options);
        files.failNextSync();
        expect(() => joinCluster(files, identity, CLUSTER_ID, others)).toThrow("EIO");
        if (round === 0) files.restart();
        else files.crash();
      }
      expect(openIdentity(files, options).meta.clusterId).toBe("");
    }
  });
});
