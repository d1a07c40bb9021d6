// The last change of each key of one segment. There may be half a million of them: they lie in one run of memory, with a
// string and a number for each.

import { ByteWriter, decodeLatin1, viewOf } from "../lib/bytes.ts";
import { CommandCursor } from "../model/command-codec.ts";
import { kvKeyOf } from "../model/kv-codec.ts";
import type { StateFileWriter } from "./state-file.ts";

/** Gathers changes of keys, and writes the last of each in the order of a delta. */
export class KeyItems {
  readonly #items = new ByteWriter(1 << 12);
  /** By namespace, and by key with one character for each of its bytes: where its last change lies. */
  readonly #places = new Map<number, Map<string, number>>();
  readonly #known = new CommandCursor();

  /** Takes a change that comes after all before it. */
  add(item: CommandCursor): void {
    const places = this.#places.get(item.topicId) ?? new Map<string, number>();
    this.#places.set(item.topicId, places);
    const key = decodeLatin1(kvKeyOf(item));
    const bytes = item.bytes.subarray(item.start, item.bodyEnd);
    const place = places.get(key);
    if (place !== undefined && this.#lengthAt(place) === bytes.length) {
      this.#items.bytes.set(bytes, place);
      return;
    }
    places.set(key, this.#items.length);
    this.#items.raw(bytes);
  }

  #lengthAt(place: number): number {
    const known = this.#standAt(place);
    return known.bodyEnd - known.start;
  }

  #standAt(place: number): CommandCursor {
    const { bytes, length } = this.#items;
    const known = this.#known;
    if (known.bytes === bytes) known.reset(bytes, known.view, place, length);
    else known.reset(bytes, viewOf(bytes), place, length);
    known.next();
    return known;
  }

  /** Writes them by namespace and key, byte by byte, as `compareItems` orders them. */
  write(writer: StateFileWriter): void {
    const namespaces = [...this.#places].sort(([left], [right]) => left - right);
    for (const [, places] of namespaces) {
      // Strings are compared by their units, which are bytes here.
      for (const key of [...places.keys()].sort()) {
        const item = this.#standAt(places.get(key) as number);
        writer.item(item.bytes, item.start, item.bodyEnd);
      }
    }
  }
}
