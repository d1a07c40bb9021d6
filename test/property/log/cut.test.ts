// A member's log under what leaders do to it: entries of others appended, tails replaced, power cut anywhere. Read by index
// and recovered from the disk, it is the list that a plain array says it is.

import { drainMicrotasks } from "bun:jsc";
import { expect, test } from "bun:test";
import { viewOf } from "../../../src/lib/bytes.ts";
import { FatalError } from "../../../src/lib/fatal.ts";
import { Prng } from "../../../src/lib/prng.ts";
import { ENTRY_HEADER_BYTES, newEntryHeader, readEntryHeader } from "../../../src/log/format.ts";
import { joinCluster, openIdentity } from "../../../src/log/identity.ts";
import { recover } from "../../../src/log/recovery.ts";
import { SegmentLog } from "../../../src/log/segment-log.ts";
import { CHAIN_START, type ChainEnd } from "../../../src/log/segment-scan.ts";
import { Batcher, type SealedEntry } from "../../../src/replica/batcher.ts";
import { CLUSTER_ID, encodeEntry } from "../../support/segment-builder.ts";
import { SimCrash, SimDisk } from "../../support/sim-disk.ts";

const LIMITS = { segmentBytes: 1 << 16, reserveBytes: 0, slabBytes: 1 << 13, tailBytes: 1 << 14 };
const randomId = (): string => CLUSTER_ID;

/** An entry as the array has it. */
interface Item {
  readonly bytes: Uint8Array;
  readonly chain: ChainEnd;
}

/** A follower's log and the array beside it. */
class World {
  readonly prng: Prng;
  disk: SimDisk;
  log: SegmentLog;
  batcher: Batcher;
  items: Item[] = [];
  /** The lists before cuts that are not durable yet: the disk may still have them. */
  before: Item[][] = [];
  commitIndex = 0;
  syncedIndex = 0;
  unapplied: SealedEntry[] = [];
  term = 1;
  /** Small enough in every other world that the very first write may not fit. */
  readonly #startSegmentBytes: number;
  #salt = 1;

  constructor(seed: number) {
    this.prng = new Prng(seed);
    this.#startSegmentBytes = seed % 2 === 0 ? LIMITS.segmentBytes : 5000;
    this.disk = new SimDisk({ prng: this.prng.fork("disk"), writesOnce: true });
    const identity = openIdentity(this.disk.files, { nodeId: "b", randomId, startsAlone: false });
    const nobody = identity.hardState.membership;
    joinCluster(this.disk.files, identity, CLUSTER_ID, { ...nobody, epoch: 1, voters: ["a", "b"] });
    ({ log: this.log, batcher: this.batcher } = this.#open());
  }

  #open(): { log: SegmentLog; batcher: Batcher } {
    const { files } = this.disk;
    const identity = openIdentity(files, { nodeId: "b", randomId, startsAlone: false });
    const replayed: number[] = [];
    const recovered = recover(files, {
      identity: { ...identity, hardState: { ...identity.hardState, term: 1e6 } },
      startSegmentBytes: this.#startSegmentBytes,
      segmentBytes: LIMITS.segmentBytes,
      randomId,
      randomSalt: () => ++this.#salt,
      fold: () => undefined,
      replay: (_bytes, _view, _at, header) => replayed.push(header.index),
      report: () => undefined,
    });
    const found = this.#match(recovered.active.chain);
    expect(recovered.active.chain.index).toBeGreaterThanOrEqual(this.syncedIndex);
    expect(recovered.appliedChain.index).toBeLessThanOrEqual(this.commitIndex);
    const applied = recovered.appliedChain.index;
    expect(recovered.unapplied.map((bytes) => bytes.toHex())).toEqual(
      found.slice(applied).map(({ bytes }) => bytes.toHex()),
    );
    this.items = found;
    this.before = [];
    this.syncedIndex = found.length;
    this.unapplied = recovered.unapplied.map((bytes, i) => ({
      index: applied + 1 + i,
      bytes,
      view: viewOf(bytes),
      at: 0,
      slab: undefined,
    }));
    this.commitIndex = applied;
    const log = new SegmentLog({
      disk: this.disk,
      recovered,
      limits: LIMITS,
      randomSalt: () => ++this.#salt,
    });
    const batcher = new Batcher({
      tail: log.tail,
      chain: recovered.active.chain,
      writeBytesMax: log.writeBytesMax,
      nextIndex: () => {
        throw new Error("A follower seals nothing");
      },
    });
    batcher.onSeal = (entry) => this.unapplied.push(entry);
    return { log, batcher };
  }

  /** The list that the disk may hold after a crash: the present one, or the one before a cut that was not durable. */
  #match(end: ChainEnd): Item[] {
    const found = [this.items, ...this.before].find(
      (items) => (items[end.index - 1]?.chain ?? CHAIN_START).checksum === end.checksum,
    );
    expect(found).toBeDefined();
    return (found ?? []).slice(0, end.index);
  }

  append(): void {
    if (this.prng.chance(0.2)) this.term += 1;
    for (let i = this.prng.below(6); i >= 0; i--) {
      const chain = this.items.at(-1)?.chain ?? CHAIN_START;
      const values = [new Uint8Array(this.prng.below(this.prng.chance(0.05) ? 6000 : 300)).fill(i)];
      const chunks = [{ topicId: 1, partition: 0, baseOffset: chain.index, values }];
      const item = encodeEntry({ term: Math.max(this.term, chain.term), chunks }, chain);
      const header = newEntryHeader();
      readEntryHeader(viewOf(item.bytes), 0, header);
      this.batcher.addEntry(item.bytes, 0, header);
      this.items.push(item);
    }
  }

  cut(): void {
    const to = this.commitIndex + this.prng.below(this.items.length - this.commitIndex + 1);
    if (to >= this.items.length) return;
    const end = this.items[to - 1]?.chain ?? CHAIN_START;
    const at = this.unapplied.findIndex((entry) => entry.index === to + 1);
    const first = this.unapplied[at];
    expect(first?.index).toBe(to + 1);
    if (first === undefined) return;
    this.before.push(this.items);
    this.items = this.items.slice(0, to);
    this.term += 1;
    this.syncedIndex = Math.min(this.syncedIndex, to);
    this.batcher.cut(end, first);
    this.log.cut(end);
    for (const entry of this.unapplied.splice(at))
      if (entry.slab !== undefined) entry.slab.pins -= 1;
  }

  commit(): void {
    const until = this.commitIndex + this.prng.below(this.syncedIndex - this.commitIndex + 1);
    this.commitIndex = until;
    while ((this.unapplied[0]?.index ?? Number.POSITIVE_INFINITY) <= until) {
      const entry = this.unapplied.shift();
      if (entry?.slab !== undefined) entry.slab.pins -= 1;
    }
  }

  turn(): void {
    for (const completion of this.disk.poll()) {
      const event = this.log.completed(completion);
      if (event?.kind === "synced") this.syncedIndex = event.index;
    }
    if (!this.log.isCutting) this.before = [];
    if (!this.log.isIdle || this.batcher.isEmpty) return;
    const write = this.batcher.take();
    if (write !== undefined && this.log.append(write, this.commitIndex)) this.batcher.queue.shift();
    else this.log.maintain(this.commitIndex);
  }

  read(): void {
    const last = this.log.placedEnd.index;
    if (last === 0 || this.log.isCutting) return;
    const first = 1 + this.prng.below(last);
    const until = first + this.prng.below(last - first + 1);
    const span = this.log.entries.read(first, until, 1 + this.prng.below(20_000));
    const check = (found: Awaited<typeof span>): void => {
      const bytes = found.slices.map((slice) => slice.bytes.slice(slice.start, slice.end).toHex());
      const wanted = this.items.slice(first - 1, found.lastIndex).map((item) => item.bytes.toHex());
      expect(found.lastIndex).toBeGreaterThanOrEqual(first);
      expect(found.lastIndex).toBeLessThanOrEqual(until);
      expect(bytes.join("")).toBe(wanted.join(""));
      this.log.entries.release(found);
    };
    if (!(span instanceof Promise)) {
      check(span);
      return;
    }
    let isDone = false;
    const errors: unknown[] = [];
    span
      .then(
        (found) => {
          check(found);
          isDone = true;
        },
        (error: unknown) => errors.push(error),
      )
      .catch((error: unknown) => errors.push(error));
    // Nothing else happens meanwhile: what is asked of the log here is only where entries lie.
    for (let i = 0; i < 1000 && !isDone && errors.length === 0; i++) drainMicrotasks();
    if (errors.length > 0) throw errors[0];
    expect(isDone).toBe(true);
  }

  /** Committed records, by offset: entry 1 has offset 0, and so on. */
  consume(): void {
    if (this.commitIndex === 0) return;
    const offset = this.prng.below(this.commitIndex);
    const found = this.log.reader.read({
      topicId: 1,
      partition: 0,
      offset,
      endOffset: this.commitIndex,
      maxRecords: 1 + this.prng.below(20),
      maxBytes: 10_000,
    });
    if (found instanceof Promise) {
      // The power may fail before it is answered.
      found.catch(() => undefined);
      return;
    }
    expect(found.length).toBeGreaterThan(0);
    for (const { bytes, start, end, baseOffset } of found) {
      const item = this.items[baseOffset]?.bytes;
      expect(bytes.slice(start, end).toHex()).toBe(
        item?.slice(ENTRY_HEADER_BYTES, ENTRY_HEADER_BYTES + end - start).toHex() ?? "",
      );
    }
  }

  fail(): void {
    this.disk.crash();
    this.disk = this.disk.reopened();
    ({ log: this.log, batcher: this.batcher } = this.#open());
  }
}

test("a log that is appended to, cut, read and cut off from power is the list that it should be", () => {
  for (let seed = 1; seed <= 150; seed++) {
    const world = new World(seed);
    try {
      for (let step = 0; step < 300; step++) {
        const draw = world.prng.below(100);
        try {
          if (draw < 25) world.append();
          else if (draw < 29) world.cut();
          else if (draw < 40) world.commit();
          else if (draw < 60) world.disk.step();
          else if (draw < 90) world.turn();
          else if (draw < 94) world.read();
          else if (draw < 98) world.consume();
          else if (draw < 99) world.disk.crashAfterPrimitives(world.prng.below(5));
          else world.fail();
        } catch (error) {
          if (!(error instanceof SimCrash)) throw error;
          world.fail();
        }
      }
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof FatalError ? error.message : error}`, {
        cause: error,
      });
    }
  }
});
