// How many keys there may be, and how large: what a transaction leaves is what counts, not what it passes through.

import { expect, test } from "bun:test";
import { SimNode, simDisk } from "../../support/sim-node.ts";

const OVERHEAD_BYTES = 48;
const isDone = (node: SimNode, ...steps: Parameters<SimNode["transactKeys"]>): boolean =>
  !("refused" in node.transactKeys(...steps));

test("a key may take the place of another in one transaction when there are as many as there may be", () => {
  const node = SimNode.ready(simDisk(), { keyLimits: { keysMax: 2 } });
  expect(isDone(node, ["a", "1"], ["b", "1"])).toBe(true);

  expect(isDone(node, ["c", "1"])).toBe(false);
  expect(isDone(node, ["a"], ["c", "1"])).toBe(true);
  expect(isDone(node, ["d", "1"], ["c"])).toBe(true);
  // There is nothing to be had from what is not there, nor twice from what is.
  expect(isDone(node, ["a"], ["e", "1"])).toBe(false);
  expect(isDone(node, ["b"], ["e", "1"], ["f", "1"])).toBe(false);
  expect(node.replica.kv.liveCount).toBe(2);
});

test("bytes that one transaction gives back are there for what it stores", () => {
  const bytesMax = 2 * (1 + 100 + OVERHEAD_BYTES);
  const node = SimNode.ready(simDisk(), { keyLimits: { bytesMax } });
  const large = "x".repeat(100);
  expect(isDone(node, ["a", large], ["b", large])).toBe(true);

  expect(isDone(node, ["c", ""])).toBe(false);
  expect(isDone(node, ["a"], ["c", large])).toBe(true);
  expect(isDone(node, ["b", large.slice(1)], ["c", `${large}x`])).toBe(true);
  expect(isDone(node, ["b", large], ["c", `${large}x`])).toBe(false);
});
