// A delta tells what a segment made of the state, and a base what all of them did: the same as applying the entries.

import { expect, test } from "bun:test";
import { BrokerState } from "../../../src/broker/mod.ts";
import { encodeText } from "../../../src/lib/bytes.ts";
import { Prng } from "../../../src/lib/prng.ts";
import { deriveSegment, mergeBase } from "../../../src/log/derive.ts";
import { FileError } from "../../../src/log/disk.ts";
import { fileName } from "../../../src/log/format.ts";
import { StateFileReader } from "../../../src/log/state-file.ts";
import { putCommand, putGroupCommitted, putRemembered } from "../../../src/model/command-codec.ts";
import { CLUSTER_ID, type EntryParts, SegmentBuilder } from "../../support/segment-builder.ts";
import { SimDirectory } from "../../support/sim-directory.ts";

const CREATED: EntryParts = {
  commands: (writer) =>
    putCommand(writer, {
      kind: "topicCreated",
      topicId: 1,
      partitions: 2,
      mode: 0,
      createdMs: 1,
      name: "orders",
    }),
};
const committed = (offset: number): EntryParts => ({
  commands: (writer) => putGroupCommitted(writer, 1, 0, offset, encodeText("g")),
});
const floor = (startOffset: number): EntryParts => ({
  commands: (writer) =>
    putCommand(writer, {
      kind: "floorRaised",
      topicId: 1,
      partition: 0,
      startOffset,
      bytesBelow: startOffset * 10,
    }),
});
const settings = (idempotencyTtlMs: number, idempotencyKeysMax: number): EntryParts => ({
  commands: (writer) =>
    putCommand(writer, { kind: "settings", idempotencyTtlMs, idempotencyKeysMax }),
});
const remembered = (key: string, firstOffset: number, timestampMs: number): EntryParts => ({
  timestampMs,
  commands: (writer) =>
    putRemembered(
      writer,
      {
        topicId: 1,
        partition: 0,
        count: 1,
        firstOffset,
        timestampMs,
        fingerprintLow: 1,
        fingerprintHigh: 2,
        detail: new Uint8Array(0),
      },
      encodeText(key),
    ),
});

/** Derives one segment per list of entries. */
function derived(...segments: readonly (readonly EntryParts[])[]): {
  readonly files: SimDirectory;
  readonly sequences: readonly number[];
} {
  const files = new SimDirectory(new Prng(1), 4096, 2 ** 30);
  let chain = new SegmentBuilder(1).chain;
  for (const [i, entries] of segments.entries()) {
    const built = new SegmentBuilder(i + 1, { chain }).write(entries).putInto(files);
    deriveSegment(files, {
      kind: "derive_segment",
      sequence: built.sequence,
      salt: built.salt,
      clusterId: CLUSTER_ID,
      validBytes: built.position,
      chain: built.previous,
      lastIndex: built.chain.index,
    });
    ({ chain } = built);
  }
  return { files, sequences: segments.map((_, i) => i + 1) };
}

/** The state that folding these files gives. */
function folded(files: SimDirectory, names: readonly string[]): BrokerState {
  const state = new BrokerState();
  for (const name of names) {
    const reader = new StateFileReader(files, name, (message) => new Error(message));
    while (reader.next()) state.fold(reader.item);
    reader.beginWindow();
    while (reader.next()) state.fold(reader.item);
  }
  return state;
}

/** The same entries folded from deltas, and from a base merged of them. */
function both(...segments: readonly (readonly EntryParts[])[]): readonly BrokerState[] {
  const { files, sequences } = derived(...segments);
  mergeBase(files, {
    kind: "merge_base",
    sequence: 90,
    clusterId: CLUSTER_ID,
    baseSequence: undefined,
    deltaSequences: sequences.slice(0, -1),
  });
  mergeBase(files, {
    kind: "merge_base",
    sequence: 91,
    clusterId: CLUSTER_ID,
    baseSequence: 90,
    deltaSequences: sequences.slice(-1),
  });
  return [
    folded(
      files,
      sequences.map((sequence) => fileName(sequence, "delta")),
    ),
    folded(files, [fileName(90, "base"), fileName(sequences.at(-1) ?? 0, "delta")]),
    folded(files, [fileName(91, "base")]),
  ];
}

const committedIn = (state: BrokerState): number => state.groups.get(1, 0, encodeText("g"));

test("a group's lower commit behind a higher one in a segment does not take it back", () => {
  for (const state of both([CREATED], [committed(7), committed(3)])) {
    expect(committedIn(state)).toBe(7);
  }
});

test("a group's lower commit in a later segment does not take it back", () => {
  for (const state of both([CREATED, committed(7)], [committed(3)], [committed(5)])) {
    expect(committedIn(state)).toBe(7);
  }
});

test("a floor that a late command would lower stays, with its bytes", () => {
  const states = [
    ...both([CREATED], [floor(9), floor(4)]),
    ...both([CREATED, floor(9)], [floor(4)]),
  ];
  for (const state of states) {
    expect(state.byId(1)?.startOffset[0]).toBe(9);
    expect(state.byId(1)?.bytesBelow[0]).toBe(90);
  }
});

test("keys leave the window as they do in apply, also when the settings changed in between", () => {
  const entries = [
    [CREATED, settings(10, 100), remembered("k", 1, 100), remembered("k", 2, 200)],
    [settings(1000, 100), remembered("other", 3, 210)],
    [remembered("last", 4, 220)],
  ];
  for (const state of both(...entries)) {
    const found = {
      topicId: 0,
      partition: 0,
      count: 0,
      firstOffset: 0,
      timestampMs: 0,
      fingerprintLow: 0,
      fingerprintHigh: 0,
      detail: new Uint8Array(0),
    };
    expect(state.keys.size).toBe(3);
    expect(state.keys.find(1, encodeText("k"), found)).toBe(true);
    expect(found.firstOffset).toBe(2);
    expect(state.idempotencyTtlMs).toBe(1000);
  }
});

test("a window that was full stays cut when the limit is raised later", () => {
  const entries = [
    [
      CREATED,
      settings(1e9, 2),
      remembered("a", 1, 1),
      remembered("b", 2, 2),
      remembered("c", 3, 3),
    ],
    [settings(1e9, 100)],
    [remembered("d", 4, 4)],
  ];
  for (const state of both(...entries)) expect(state.keys.size).toBe(3);
});

test("a segment that is not what it was gives damage, another failure of the disk does not", () => {
  const { files } = derived([CREATED]);
  const job = {
    kind: "derive_segment",
    sequence: 1,
    salt: 1001,
    clusterId: CLUSTER_ID,
    validBytes: files.size(fileName(1, "log")) ?? 0,
    chain: new SegmentBuilder(1).chain,
    lastIndex: 1,
  } as const;
  const kindOf = (lastIndex: number): string => {
    try {
      deriveSegment(files, { ...job, lastIndex });
      return "none";
    } catch (error) {
      return error instanceof FileError ? error.kind : "other";
    }
  };

  expect(kindOf(2)).toBe("damaged");
  files.failNextSync();
  expect(kindOf(1)).toBe("io");
  expect(kindOf(1)).toBe("none");
});
