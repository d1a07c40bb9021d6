// What a million keys with values cost: putting, finding, listing, and above all a full collection while they are there.

import { KvState } from "../../src/kv/mod.ts";
import { ByteWriter, encodeText, viewOf } from "../../src/lib/bytes.ts";
import { CommandCursor, putCommand } from "../../src/model/command-codec.ts";
import { putKvPut } from "../../src/model/kv-codec.ts";

const VALUE_BYTES = 100;
/** Keys of a page of a list. */
const PAGE_KEYS = 100;

const keyOf = (i: number): Uint8Array =>
  encodeText(`user/${String((i * 7919) % 1e7).padStart(7, "0")}/${i}`);

/** Puts keys in no order, finds them again, and collects garbage around them. */
export async function run({ size }: { size: "tiny" | "real" }) {
  const count = size === "tiny" ? 1000 : 1_000_000;
  const state = new KvState();
  const cursor = new CommandCursor();
  const apply = (write: (writer: ByteWriter) => void, index: number): void => {
    const writer = new ByteWriter(256);
    write(writer);
    cursor.reset(writer.bytes, viewOf(writer.bytes), 0, writer.length);
    if (cursor.next()) state.apply(cursor, index);
  };
  apply(
    (writer) => putCommand(writer, { kind: "namespaceCreated", namespaceId: 1, name: "bench" }),
    1,
  );
  const namespace = state.byId(1);
  if (namespace === undefined) throw new Error("There is no namespace");
  const value = new Uint8Array(VALUE_BYTES).fill(7);
  const put = (i: number, cas: number): void =>
    apply((writer) => putKvPut(writer, { namespaceId: 1, key: keyOf(i), cas }, 0, value), i + 2);

  const keyStarted = performance.now();
  for (let i = 0; i < count; i++) keyOf(i);
  const keyMs = performance.now() - keyStarted;
  const each = (act: (i: number) => void): number => {
    const started = performance.now();
    for (let i = 0; i < count; i++) act(i);
    return ((performance.now() - started - keyMs) * 1e6) / count;
  };
  const putNs = each((i) => put(i, 1));
  const overwriteNs = each((i) => put(i, 2));
  let found = 0;
  const findNs = each((i) => {
    if (state.get(namespace, keyOf(i))?.cas === 2) found += 1;
  });
  if (found !== count) throw new Error(`Found ${found} of ${count} keys`);

  const listStarted = performance.now();
  const pages = 100;
  let listed = 0;
  for (let page = 0; page < pages; page++) {
    let left = PAGE_KEYS;
    for (const _ of state.list(namespace, keyOf(page * 31), true)) {
      listed += 1;
      left -= 1;
      if (left === 0) break;
    }
  }
  const listMicros = ((performance.now() - listStarted) * 1000) / pages;
  if (listed === 0) throw new Error("Nothing is listed");

  Bun.gc(true);
  const collections: number[] = [];
  for (let i = 0; i < 5; i++) {
    const started = performance.now();
    Bun.gc(true);
    collections.push(performance.now() - started);
  }
  if (state.liveCount !== count) throw new Error("The keys are still needed here");
  return {
    name: "kv-keys",
    figures: {
      keys: count,
      put_ns: putNs,
      overwrite_ns: overwriteNs,
      get_ns: findNs,
      list_100_us: listMicros,
      memory_bytes_per_key: state.memoryBytes / count,
      full_collection_ms: collections.sort((left, right) => left - right)[2] ?? 0,
    },
  };
}
