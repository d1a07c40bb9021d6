// Deltas and bases against applying every entry: however the log is cut into segments and the deltas are merged, a start
// from files gives the state that the entries gave.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { BrokerState } from "../../../src/broker/mod.ts";
import { KvState } from "../../../src/kv/mod.ts";
import { encodeText } from "../../../src/lib/bytes.ts";
import { Prng } from "../../../src/lib/prng.ts";
import { deriveSegment, mergeBase } from "../../../src/log/derive.ts";
import { fileName } from "../../../src/log/format.ts";
import { scanSegment } from "../../../src/log/segment-scan.ts";
import { StateFileReader } from "../../../src/log/state-file.ts";
import { putCommand, putGroupCommitted, putRemembered } from "../../../src/model/command-codec.ts";
import { Applier } from "../../../src/replica/apply.ts";
import { CLUSTER_ID, type EntryParts, SegmentBuilder } from "../../support/segment-builder.ts";
import { SimDirectory } from "../../support/sim-directory.ts";

const KEYS = ["a", "b", "c", "d", "e", "f"];
const GROUPS = ["g", "h"];

/** What one step wants; turned into a valid entry by what the log has before it. */
interface Step {
  readonly kind: "create" | "delete" | "rule" | "floor" | "commit" | "key" | "settings" | "chunk";
  readonly pick: number;
  readonly number: number;
  readonly elapsedMs: number;
  /** Ends the segment behind it. */
  readonly isLast: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(
    "create",
    "delete",
    "rule",
    "floor",
    "commit",
    "commit",
    "key",
    "key",
    "key",
    "settings",
    "chunk",
    "chunk",
  ),
  pick: fc.nat({ max: 1000 }),
  number: fc.nat({ max: 40 }),
  elapsedMs: fc.nat({ max: 30 }),
  isLast: fc.nat({ max: 5 }).map((draw) => draw === 0),
});

/** Makes entries of steps, as a leader would. */
class Leader {
  readonly #live: number[] = [];
  readonly #next = new Map<number, number>();
  #lastId = 0;
  #nowMs = 1000;
  #keys = 0;

  entry(wish: Step): EntryParts {
    this.#nowMs += wish.elapsedMs;
    const timestampMs = this.#nowMs;
    const topicId = this.#live[wish.pick % Math.max(1, this.#live.length)] ?? 0;
    const partition = wish.pick % 2;
    const { number } = wish;
    const kind = topicId === 0 && wish.kind !== "settings" ? "create" : wish.kind;
    switch (kind) {
      case "create": {
        const id = ++this.#lastId;
        this.#live.push(id);
        const name = `topic-${id}`;
        return {
          timestampMs,
          commands: (writer) =>
            putCommand(writer, {
              kind: "topicCreated",
              topicId: id,
              partitions: 2,
              mode: 0,
              createdMs: timestampMs,
              name,
            }),
        };
      }
      case "delete":
        this.#live.splice(this.#live.indexOf(topicId), 1);
        return {
          timestampMs,
          commands: (writer) => putCommand(writer, { kind: "topicDeleted", topicId }),
        };
      case "rule":
        return {
          timestampMs,
          commands: (writer) =>
            putCommand(writer, {
              kind: "retentionSet",
              topicId: number % 3 === 0 ? 0 : topicId,
              partition: number % 3 === 1 ? partition : 0xff_ff,
              ttlMs: number,
              maxBytes: wish.pick,
            }),
        };
      case "floor":
        return {
          timestampMs,
          commands: (writer) =>
            putCommand(writer, {
              kind: "floorRaised",
              topicId: number > 35 ? this.#lastId : topicId,
              partition,
              startOffset: number,
              bytesBelow: number * 7,
            }),
        };
      case "commit":
        return {
          timestampMs,
          commands: (writer) =>
            putGroupCommitted(
              writer,
              number > 35 ? this.#lastId : topicId,
              partition,
              number,
              encodeText(GROUPS[wish.pick % GROUPS.length] ?? ""),
            ),
        };
      case "key":
        this.#keys += 1;
        return {
          timestampMs,
          commands: (writer) =>
            putRemembered(
              writer,
              {
                topicId,
                partition,
                count: 1,
                firstOffset: this.#keys,
                timestampMs,
                fingerprintLow: number,
                fingerprintHigh: 1,
                detail: new Uint8Array(0),
              },
              // Never used again: what a leader does about keys that are there is not the business of these files.
              encodeText(`${KEYS[wish.pick % KEYS.length]}${this.#keys}`),
            ),
        };
      case "settings":
        return {
          timestampMs,
          commands: (writer) =>
            putCommand(writer, {
              kind: "settings",
              idempotencyTtlMs: 5 + number * 5,
              idempotencyKeysMax: 1 + (wish.pick % 8),
            }),
        };
      case "chunk": {
        const key = topicId * 256 + partition;
        const baseOffset = this.#next.get(key) ?? 0;
        const values = Array.from({ length: 1 + (number % 4) }, () => new Uint8Array(number));
        this.#next.set(key, baseOffset + values.length);
        return { timestampMs, chunks: [{ topicId, partition, baseOffset, values }] };
      }
    }
  }
}

/** Everything that a state says, for comparison. */
function tell(state: BrokerState, topicIdMax: number, keys: number): unknown {
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
  return {
    topicIdMax: Math.max(state.topicIdMax, topicIdMax),
    settings: [state.idempotencyTtlMs, state.idempotencyKeysMax],
    rule: state.ruleAt(undefined, undefined),
    topics: [...state.topics()].map((topic) => [
      topic.id,
      topic.name,
      topic.partitions,
      topic.createdMs,
      [...topic.startOffset],
      [...topic.nextOffset],
      [...topic.bytesTotal],
      [...topic.bytesBelow],
      topic.rule,
      [0, 1].map((partition) => state.ruleAt(topic, partition)),
      [...state.groups.of(topic.id)]
        .map(({ group, partition, committedOffset }) => `${group} ${partition} ${committedOffset}`)
        .sort(),
    ]),
    keys: Array.from({ length: keys }, (_, i) =>
      KEYS.map((name) =>
        [...state.topics()].map(({ id }) =>
          state.keys.find(id, encodeText(`${name}${i + 1}`), found) ? { ...found } : 0,
        ),
      ),
    ),
    size: state.keys.size,
  };
}

function folded(files: SimDirectory, names: readonly string[], keys: number): unknown {
  const state = new BrokerState();
  let topicIdMax = 0;
  for (const name of names) {
    const reader = new StateFileReader(files, name, (message) => new Error(message));
    while (reader.next()) state.fold(reader.item);
    reader.beginWindow();
    while (reader.next()) state.fold(reader.item);
    topicIdMax = Math.max(topicIdMax, reader.header.topicIdMax);
  }
  return tell(state, topicIdMax, keys);
}

test("a start from deltas, and from bases merged in any steps, gives the state that the entries gave", () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 80, size: "max" }),
      fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 12 }),
      (steps, merges) => {
        const files = new SimDirectory(new Prng(1), 4096, 2 ** 30);
        const leader = new Leader();
        const applied = new BrokerState();
        const applier = new Applier(applied, new KvState(), 0);
        const names: string[] = [];
        let segment = new SegmentBuilder(1);
        const first: Step = { kind: "settings", pick: 7, number: 40, elapsedMs: 0, isLast: false };
        const end = (): void => {
          segment.putInto(files);
          const { sequence, salt, position, previous, chain } = segment;
          const range = { salt, from: 4096, end: position, chain: previous };
          scanSegment(files, segment.name, range, (bytes, view, at, header) =>
            applier.apply(bytes, view, at, header),
          );
          deriveSegment(files, {
            kind: "derive_segment",
            sequence,
            salt,
            clusterId: CLUSTER_ID,
            validBytes: position,
            chain: previous,
            lastIndex: chain.index,
          });
          names.push(fileName(sequence, "delta"));
          segment = new SegmentBuilder(sequence + 1, { chain });
        };
        for (const wish of [first, ...steps]) {
          segment.write([leader.entry(wish)]);
          if (wish.isLast) end();
        }
        if (segment.chain !== segment.previous) end();
        const wanted = tell(applied, 0, steps.length);
        expect(folded(files, names, steps.length)).toEqual(wanted);

        let baseSequence: number | undefined;
        for (const [i, count] of merges.entries()) {
          const deltas = names.filter((name) => name.endsWith("delta")).slice(0, count);
          if (deltas.length === 0) break;
          const sequence = 500 + i;
          mergeBase(files, {
            kind: "merge_base",
            sequence,
            clusterId: CLUSTER_ID,
            baseSequence,
            deltaSequences: deltas.map((name) => Number.parseInt(name, 10)),
          });
          const rest = names.filter((name) => name.endsWith("delta")).slice(count);
          names.splice(0, names.length, fileName(sequence, "base"), ...rest);
          baseSequence = sequence;
          expect(folded(files, names, steps.length)).toEqual(wanted);
        }
      },
    ),
    { numRuns: 150 },
  );
});
