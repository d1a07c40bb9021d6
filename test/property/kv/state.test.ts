// Keys and values against a map: whatever is put, deleted, forgotten and swept, in whatever order, from entries or from what
// was derived of them.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { BrokerState } from "../../../src/broker/mod.ts";
import { hashKv, isKvCommand, KvState } from "../../../src/kv/mod.ts";
import { decodeText, encodeText } from "../../../src/lib/bytes.ts";
import { PrintSum } from "../../../src/lib/checksum.ts";
import { Prng } from "../../../src/lib/prng.ts";
import { deriveSegment, mergeBase } from "../../../src/log/derive.ts";
import { fileName } from "../../../src/log/format.ts";
import { scanSegment } from "../../../src/log/segment-scan.ts";
import { StateFileReader } from "../../../src/log/state-file.ts";
import { putCommand } from "../../../src/model/command-codec.ts";
import { putKvDeleted, putKvPut } from "../../../src/model/kv-codec.ts";
import { Applier } from "../../../src/replica/apply.ts";
import { CLUSTER_ID, type EntryParts, SegmentBuilder } from "../../support/segment-builder.ts";
import { SimDirectory } from "../../support/sim-directory.ts";

/** Room for every step of a property. */
const FILE_BYTES = 1 << 20;

interface Step {
  readonly kind: "put" | "delete" | "floor" | "sweep";
  readonly namespace: number;
  readonly key: string;
  readonly size: number;
  readonly ttlMs: number;
  readonly isLast: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("put", "put", "put", "put", "delete", "delete", "floor", "sweep"),
  namespace: fc.integer({ min: 1, max: 2 }),
  key: fc.string({ minLength: 1, maxLength: 3, unit: fc.constantFrom("a", "b", "/", "é") }),
  size: fc.constantFrom(0, 1, 10, 40, 60, 200, 5000, 5000, 70_000),
  ttlMs: fc.constantFrom(0, 0, 5, 50),
  isLast: fc.nat({ max: 9 }).map((draw) => draw === 0),
});

/** What a key is by everything that was said of it. */
interface TwinKey {
  cas: number;
  value: Uint8Array | undefined;
  deadlineMs: number;
}

/** The slow and obvious one, which also makes the entries, as a leader would. */
class Twin {
  readonly keys = [new Map<string, TwinKey>(), new Map<string, TwinKey>()];
  readonly floors = [0, 0];
  readonly #made = new Set<number>();
  #nowMs = 1000;
  #number = 0;
  /** Bytes of values that the files have room for. */
  #room = FILE_BYTES / 2;

  /** The entry of a step; undefined when there is nothing to do. */
  entry({ kind, namespace, key, size, ttlMs }: Step): EntryParts | undefined {
    const keys = this.keys[namespace - 1]!;
    const floor = this.floors[namespace - 1]!;
    const known = keys.get(key);
    this.#nowMs += 3;
    const timestampMs = this.#nowMs;
    const isNew = !this.#made.has(namespace);
    if (kind === "put") {
      this.#made.add(namespace);
      const before = known?.value === undefined ? Math.max(known?.cas ?? 0, floor) : known.cas;
      const cas = before + 1;
      const deadlineMs = ttlMs === 0 ? 0 : timestampMs + ttlMs;
      const bytes = size > this.#room ? 1 : size;
      this.#room -= bytes;
      const value = new Uint8Array(bytes).fill(++this.#number);
      keys.set(key, { cas, value, deadlineMs });
      const change = { namespaceId: namespace, key: encodeText(key), cas };
      return {
        timestampMs,
        commands: (writer) => {
          if (isNew) {
            // Numbers of namespaces are given in order elsewhere; here any will do.
            const name = `ns-${namespace}`;
            putCommand(writer, { kind: "namespaceCreated", namespaceId: namespace, name });
          }
          putKvPut(writer, change, deadlineMs, value);
        },
      };
    }
    if (kind === "delete" && known?.value !== undefined) {
      known.cas += 1;
      known.value = undefined;
      known.deadlineMs = 0;
      const change = { namespaceId: namespace, key: encodeText(key), cas: known.cas };
      return { timestampMs, commands: (writer) => putKvDeleted(writer, change, ttlMs > 0) };
    }
    if (kind === "floor" && !isNew) {
      const deleted = [...keys.values()].filter(({ value }) => value === undefined);
      const raised = Math.max(floor, ...deleted.map(({ cas }) => cas));
      this.floors[namespace - 1] = raised;
      return {
        timestampMs,
        commands: (writer) =>
          putCommand(writer, { kind: "namespaceFloor", namespaceId: namespace, floor: raised }),
      };
    }
    return undefined;
  }
}

const hashOf = (state: KvState): string => {
  const sum = new PrintSum();
  hashKv(state, sum);
  return sum.text();
};

function expectTwin(state: KvState, twin: Twin): void {
  for (const [at, keys] of twin.keys.entries()) {
    const namespace = state.byId(at + 1);
    if (namespace === undefined) {
      expect([...keys.values()].filter(({ value }) => value !== undefined)).toEqual([]);
      continue;
    }
    const live = [...keys].filter(([, { value }]) => value !== undefined);
    const wanted = live
      .map(([key, { cas, value, deadlineMs }]) => ({ key, cas, deadlineMs, value: value!.toHex() }))
      .sort((one, other) => Buffer.compare(encodeText(one.key), encodeText(other.key)));
    const found = [...state.list(namespace)].map(({ key, cas, deadlineMs, value }) => ({
      key: decodeText(key),
      cas,
      deadlineMs,
      value: value.toHex(),
    }));
    expect(found).toEqual(wanted);
    const floor = twin.floors[at]!;
    expect(namespace.floor).toBe(floor);
    expect(namespace.live).toBe(live.length);
    for (const [key, { cas, value }] of keys) {
      const view = state.view(namespace, encodeText(key));
      expect(view.isLive).toBe(value !== undefined);
      expect(view.cas).toBe(value === undefined ? Math.max(cas, floor) : cas);
      expect(state.get(namespace, encodeText(key))?.value.toHex()).toBe(value?.toHex());
    }
  }
}

/** The state as a start makes it of files. */
function folded(files: SimDirectory, names: readonly string[]): KvState {
  const state = new KvState();
  for (const name of names) {
    const reader = new StateFileReader(files, name, (message) => new Error(message));
    while (reader.next()) if (isKvCommand(reader.item.kind)) state.fold(reader.item);
  }
  return state;
}

test("keys are what was last said of them, from entries, and from deltas and bases merged in any steps", () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 120, size: "max" }),
      fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 8 }),
      (steps, merges) => {
        const files = new SimDirectory(new Prng(1), 4096, 2 ** 30);
        const twin = new Twin();
        const state = new KvState();
        const applier = new Applier(new BrokerState(), state, 0);
        const names: string[] = [];
        let segment = new SegmentBuilder(1, { fileBytes: FILE_BYTES });
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
          segment = new SegmentBuilder(sequence + 1, { chain, fileBytes: FILE_BYTES });
        };
        for (const wish of steps) {
          if (wish.kind === "sweep") state.sweep(2 + wish.size);
          const entry = twin.entry(wish);
          if (entry !== undefined) segment.write([entry]);
          if (wish.isLast && segment.chain !== segment.previous) end();
        }
        if (segment.chain !== segment.previous) end();
        expectTwin(state, twin);
        const wanted = hashOf(state);
        const swept = folded(files, names);
        for (let i = 0; i < 200; i++) swept.sweep(64);
        expectTwin(swept, twin);
        expect(hashOf(swept)).toBe(wanted);

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
          const from = folded(files, names);
          expectTwin(from, twin);
          expect(hashOf(from)).toBe(wanted);
        }
      },
    ),
    { numRuns: 100 },
  );
});

test("keys whose time has come are met once each, soonest first, whatever changed meanwhile", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 150, size: "max" }), (steps) => {
      const twin = new Twin();
      const state = new KvState();
      const applier = new Applier(new BrokerState(), state, 0);
      const files = new SimDirectory(new Prng(1), 4096, 2 ** 30);
      const segment = new SegmentBuilder(1, { fileBytes: FILE_BYTES });
      for (const wish of steps) {
        const entry = twin.entry(wish);
        if (entry !== undefined) segment.write([entry]);
      }
      segment.putInto(files);
      const { salt, position, previous } = segment;
      const range = { salt, from: 4096, end: position, chain: previous };
      scanSegment(files, segment.name, range, (bytes, view, at, header) =>
        applier.apply(bytes, view, at, header),
      );

      for (const nowMs of [1100, 1400, 1e9]) {
        const met: string[] = [];
        state.forExpired(nowMs, 1000, (namespace, key) =>
          met.push(`${namespace.id} ${decodeText(key)}`),
        );
        const due = twin.keys.flatMap((keys, at) =>
          [...keys]
            .filter(([, { deadlineMs }]) => deadlineMs > 0 && deadlineMs <= nowMs)
            .map(([key, { deadlineMs }]) => ({ name: `${at + 1} ${key}`, deadlineMs })),
        );
        expect([...met].sort()).toEqual(due.map(({ name }) => name).sort());
        const times = met.map((name) => due.find((one) => one.name === name)?.deadlineMs ?? 0);
        expect(times).toEqual([...times].sort((one, other) => one - other));
      }
    }),
    { numRuns: 100 },
  );
});
