// Memory that writes are built in: found again by place while it is there, used again only when nothing of it is under way.

import { expect, test } from "bun:test";
import { TailBuffer } from "../../../src/log/tail-buffer.ts";
import { simDisk } from "../../support/sim-node.ts";

const SLAB = 8192;
const tail = (bytesMax: number): TailBuffer => new TailBuffer(simDisk(), SLAB, bytesMax);

test("a slab goes on being filled until there is no room for the next", () => {
  const buffer = tail(4 * SLAB);
  const first = buffer.slabFor(100);
  first.used = SLAB - 50;

  expect(buffer.slabFor(50)).toBe(first);
  expect(buffer.slabFor(51)).not.toBe(first);
  expect(buffer.bytes).toBe(2 * SLAB);
});

test("what is pinned is never given out again, however little memory is allowed", () => {
  const buffer = tail(SLAB);
  const pinned = Array.from({ length: 5 }, () => {
    const slab = buffer.slabFor(SLAB);
    slab.used = SLAB;
    slab.pins = 1;
    return slab;
  });

  expect(new Set(pinned).size).toBe(5);
  expect(buffer.bytes).toBe(5 * SLAB);
  const [first] = pinned;
  if (first !== undefined) first.pins = 0;
  expect(buffer.slabFor(SLAB)).toBe(first as (typeof pinned)[number]);
});

test("the oldest goes first, with what it had", () => {
  const buffer = tail(2 * SLAB);
  const slabs = [1, 2].map((position) => {
    const slab = buffer.slabFor(SLAB);
    slab.used = SLAB;
    buffer.place(slab, 0, SLAB, 1, position * SLAB);
    return slab;
  });
  const third = buffer.slabFor(10);

  expect(third).toBe(slabs[0] as typeof third);
  expect(third.used).toBe(0);
  expect(buffer.find(1, SLAB)).toBe(false);
  expect(buffer.find(1, 2 * SLAB)).toBe(true);
});

test("a slab for one large write is let go, not kept for small ones", () => {
  const buffer = tail(2 * SLAB);
  const large = buffer.slabFor(10 * SLAB);
  large.used = large.bytes.length;

  expect(large.bytes.length).toBe(10 * SLAB);
  expect(buffer.slabFor(10).bytes.length).toBe(SLAB);
  expect(buffer.bytes).toBe(SLAB);
});

test("a byte is found at its place in a segment, up to the end of what stands together", () => {
  const buffer = tail(4 * SLAB);
  const slab = buffer.slabFor(SLAB);
  buffer.place(slab, 0, 100, 7, 4096);
  buffer.place(slab, 100, 300, 7, 4196);
  buffer.place(slab, 300, 400, 8, 4096);

  expect(buffer.find(7, 4100)).toBe(true);
  expect([buffer.foundSlab, buffer.foundAt, buffer.foundEnd]).toEqual([slab, 4, 300]);
  expect(buffer.find(8, 4096)).toBe(true);
  expect([buffer.foundAt, buffer.foundEnd]).toEqual([300, 400]);
  for (const [sequence, position] of [
    [7, 4095],
    [7, 4396],
    [8, 4196],
    [9, 4096],
  ] as const)
    expect(buffer.find(sequence, position)).toBe(false);
  expect(() => buffer.place(slab, 5, 5, 7, 0)).toThrow("within its slab");
  expect(() => buffer.place(slab, 0, SLAB + 1, 7, 0)).toThrow("within its slab");
});
