// State files item by item: what is written is read, block after block, and every damage is told.

import { describe, expect, test } from "bun:test";
import { ByteWriter } from "../../../src/lib/bytes.ts";
import { Prng } from "../../../src/lib/prng.ts";
import {
  decodeChecked,
  encodeChecked,
  encodeStateSlot,
  readState,
  STATE_SLOT_BYTES,
  stateSlotPosition,
} from "../../../src/log/metadata.ts";
import { StateFileReader, StateFileWriter } from "../../../src/log/state-file.ts";
import { putCommand } from "../../../src/model/command-codec.ts";
import { HARD_STATE } from "../../support/log-directory.ts";
import { CLUSTER_ID } from "../../support/segment-builder.ts";
import { SimDirectory } from "../../support/sim-directory.ts";

const HEADER = {
  sequence: 9,
  clusterId: CLUSTER_ID,
  chain: { index: 5, term: 2, checksum: 0xff_ff_ff_fe, timestampMs: 1_700_000_000_000 },
  topicIdMax: 77,
};

/** A file of so many keyed items and window items, which are deletions of topics 1, 2, 3 and so on. */
function written(keyed: number, window: number): SimDirectory {
  const files = new SimDirectory(new Prng(1), 4096, 2 ** 30);
  const writer = new StateFileWriter(files, "f");
  const item = new ByteWriter();
  const put = (topicId: number): void => {
    putCommand(item.clear(), { kind: "topicDeleted", topicId });
    writer.item(item.bytes, 0, item.length);
  };
  for (let i = 1; i <= keyed; i++) put(i);
  writer.beginWindow();
  for (let i = 1; i <= window; i++) put(1000 + i);
  expect(writer.finish(HEADER)).toBe(files.size("f") as number);
  return files;
}

const open = (files: SimDirectory): StateFileReader =>
  new StateFileReader(files, "f", (message) => new Error(message));

function read(files: SimDirectory): { keyed: number[]; window: number[] } {
  const reader = open(files);
  const keyed: number[] = [];
  const window: number[] = [];
  while (reader.next()) keyed.push(reader.item.topicId);
  reader.beginWindow();
  while (reader.next()) window.push(reader.item.topicId);
  return { keyed, window };
}

test.each([
  [0, 0],
  [1, 0],
  [0, 1],
  [3, 4],
  [30_000, 20_000],
])("%d keyed items and %d of the window are read as they were written", (keyed, window) => {
  const files = written(keyed, window);

  expect(open(files).header).toEqual(HEADER);
  expect(read(files)).toEqual({
    keyed: Array.from({ length: keyed }, (_, i) => i + 1),
    window: Array.from({ length: window }, (_, i) => 1001 + i),
  });
});

test("the window can be begun before the keyed items are read, and again", () => {
  const reader = open(written(3, 2));
  for (let round = 0; round < 2; round++) {
    reader.beginWindow();
    const seen: number[] = [];
    while (reader.next()) seen.push(reader.item.topicId);
    expect(seen).toEqual([1001, 1002]);
  }
});

describe("damage is told", () => {
  test("for any changed bit", () => {
    const whole = written(2, 1);
    const size = whole.size("f") ?? 0;
    for (let at = 0; at < size; at++) {
      const files = written(2, 1);
      files.file("f").flipBit(at);
      expect(() => read(files)).toThrow("Cannot read f");
    }
  });

  test("for a file that is missing, empty or cut anywhere", () => {
    const files = written(2, 1);
    for (let end = (files.size("f") ?? 0) - 1; end >= 0; end--) {
      files.truncate("f", end);
      expect(() => read(files)).toThrow("Cannot read f");
    }
    files.remove("f");
    expect(() => read(files)).toThrow("Cannot read f");
  });
});

describe("small files", () => {
  test("a text under its checksum is read back, and with any changed bit it is not", () => {
    const value = { a: [1, 2, "drei"], b: null };
    const bytes = encodeChecked(value);
    expect(decodeChecked(bytes)).toEqual(value);
    for (let bit = 0; bit < (bytes.length - 1) * 8; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(decodeChecked(damaged)).toBeUndefined();
    }
  });

  test("of two slots the one with the higher counter that is whole counts", () => {
    const slots = new Uint8Array(2 * STATE_SLOT_BYTES);
    expect(readState(slots)).toBeUndefined();
    for (const counter of [1, 2, 3]) {
      const state = { ...HARD_STATE, term: counter };
      slots.set(encodeStateSlot(counter, state), stateSlotPosition(counter));
      expect(readState(slots)).toEqual({ counter, state });
    }
    const newest = stateSlotPosition(3) + 20;
    slots[newest] = (slots[newest] ?? 0) ^ 1;
    expect(readState(slots)?.counter).toBe(2);
    expect(readState(slots.subarray(0, STATE_SLOT_BYTES))?.counter).toBe(2);
    expect(stateSlotPosition(3)).not.toBe(stateSlotPosition(2));
  });
});
