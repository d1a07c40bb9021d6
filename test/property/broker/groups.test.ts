// Group offsets against a map: never back, per topic and partition, and gone with their topic.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { GroupTable } from "../../../src/broker/groups.ts";
import { encodeText } from "../../../src/lib/bytes.ts";

const act = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constant("commit" as const),
      topicId: fc.constantFrom(1, 2, 3),
      partition: fc.nat({ max: 3 }),
      group: fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 4 }),
      offset: fc.nat({ max: 50 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("forget" as const),
      topicId: fc.constantFrom(1, 2, 3),
    }),
  },
);

test("holds what a map holds", () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 300, size: "max" }), (acts) => {
      const table = new GroupTable();
      const twin = new Map<string, number>();
      for (const one of acts) {
        if (one.kind === "forget") {
          table.forget(one.topicId);
          for (const key of twin.keys()) if (key.startsWith(`${one.topicId}/`)) twin.delete(key);
          continue;
        }
        const { topicId, partition, group, offset } = one;
        table.commit(topicId, partition, encodeText(group), offset);
        const key = `${topicId}/${partition}/${group}`;
        twin.set(key, Math.max(offset, twin.get(key) ?? -1));
      }
      expect(table.size).toBe(twin.size);
      const listed = [1, 2, 3].flatMap((topicId) =>
        [...table.of(topicId)].map(({ group, partition, committedOffset }): [string, number] => [
          `${topicId}/${partition}/${group}`,
          committedOffset,
        ]),
      );
      expect(new Map(listed)).toEqual(twin);
      for (const [key, committed] of twin) {
        const [topicId, partition, group = ""] = key.split("/");
        expect(table.get(Number(topicId), Number(partition), encodeText(group))).toBe(committed);
      }
      expect(table.get(1, 9, encodeText("a"))).toBe(-1);
    }),
    { numRuns: 100 },
  );
});

test("holds thousands of long names over many pages", () => {
  const table = new GroupTable();
  const name = (i: number): Uint8Array => encodeText(`${i}-${"x".repeat(110)}`);
  for (let i = 0; i < 5000; i++) table.commit(1, i % 256, name(i), i);
  for (let i = 0; i < 5000; i++) expect(table.get(1, i % 256, name(i))).toBe(i);
});
