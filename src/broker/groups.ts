// Committed offsets of groups: slots in pages with a table over them, no object per group. A group never goes back.
//
// slot: hash u32 | group length u16, partition u16 | topic u32 | zero u32 | committed offset f64 | address of the topic's
// slot before this one f64 | group

import { AddressTable } from "../lib/address-table.ts";
import { align8, decodeText, sameBytes, viewOf } from "../lib/bytes.ts";
import { hash32 } from "../lib/checksum.ts";

const FIXED_BYTES = 32;
const PAGE_BYTES = 1 << 16;

/** Where one group stands in one partition. */
export interface GroupOffset {
  readonly group: string;
  readonly partition: number;
  readonly committedOffset: number;
}

/** All groups of all topics. */
export class GroupTable {
  readonly #pages: { readonly bytes: Uint8Array; readonly view: DataView }[] = [];
  #end = 0;
  readonly #table = new AddressTable();
  /** Newest slot per topic: the head of its list. */
  readonly #heads = new Map<number, number>();

  /** Groups, counted per partition. */
  get size(): number {
    return this.#table.size;
  }

  #page(address: number): { readonly bytes: Uint8Array; readonly view: DataView } {
    return this.#pages[Math.floor(address / PAGE_BYTES)] as {
      readonly bytes: Uint8Array;
      readonly view: DataView;
    };
  }

  #find(hash: number, topicId: number, partition: number, group: Uint8Array): number {
    for (let address = this.#table.first(hash); address >= 0; address = this.#table.next()) {
      const { bytes, view } = this.#page(address);
      const at = address % PAGE_BYTES;
      if (view.getUint32(at + 8, true) !== topicId || view.getUint16(at + 6, true) !== partition)
        continue;
      if (
        sameBytes(bytes, at + FIXED_BYTES, at + FIXED_BYTES + view.getUint16(at + 4, true), group)
      )
        return address;
    }
    return -1;
  }

  /** The group's committed offset; -1 when it has none. */
  get(topicId: number, partition: number, group: Uint8Array): number {
    const address = this.#find(groupHash(topicId, partition, group), topicId, partition, group);
    return address < 0
      ? -1
      : this.#page(address).view.getFloat64((address % PAGE_BYTES) + 16, true);
  }

  /** Moves a group forward; a lower offset changes nothing. */
  commit(topicId: number, partition: number, group: Uint8Array, committedOffset: number): void {
    const hash = groupHash(topicId, partition, group);
    const address = this.#find(hash, topicId, partition, group);
    if (address >= 0) {
      const { view } = this.#page(address);
      const at = (address % PAGE_BYTES) + 16;
      if (committedOffset > view.getFloat64(at, true)) view.setFloat64(at, committedOffset, true);
      return;
    }
    this.#add(hash, topicId, partition, group, committedOffset);
  }

  #add(
    hash: number,
    topicId: number,
    partition: number,
    group: Uint8Array,
    committedOffset: number,
  ): void {
    const size = align8(FIXED_BYTES + group.length);
    if ((this.#end % PAGE_BYTES) + size > PAGE_BYTES)
      this.#end = Math.ceil(this.#end / PAGE_BYTES) * PAGE_BYTES;
    const address = this.#end;
    this.#end += size;
    if (Math.floor(address / PAGE_BYTES) >= this.#pages.length) {
      const memory = new Uint8Array(PAGE_BYTES);
      this.#pages.push({ bytes: memory, view: viewOf(memory) });
    }
    const { bytes, view } = this.#page(address);
    const at = address % PAGE_BYTES;
    view.setUint32(at, hash, true);
    view.setUint16(at + 4, group.length, true);
    view.setUint16(at + 6, partition, true);
    view.setUint32(at + 8, topicId, true);
    view.setFloat64(at + 16, committedOffset, true);
    view.setFloat64(at + 24, this.#heads.get(topicId) ?? -1, true);
    bytes.set(group, at + FIXED_BYTES);
    this.#heads.set(topicId, address);
    this.#table.insert(hash, address);
  }

  /** Every group of a topic, newest first. */
  *of(topicId: number): Iterable<GroupOffset> {
    for (let address = this.#heads.get(topicId) ?? -1; address >= 0; ) {
      const { bytes, view } = this.#page(address);
      const at = address % PAGE_BYTES;
      const group = decodeText(
        bytes.subarray(at + FIXED_BYTES, at + FIXED_BYTES + view.getUint16(at + 4, true)),
      );
      yield {
        group,
        partition: view.getUint16(at + 6, true),
        committedOffset: view.getFloat64(at + 16, true),
      };
      address = view.getFloat64(at + 24, true);
    }
  }

  /** Forgets a topic's groups. Their slots stay unused until the next start, which builds the pages anew. */
  forget(topicId: number): void {
    for (let address = this.#heads.get(topicId) ?? -1; address >= 0; ) {
      const { view } = this.#page(address);
      const at = address % PAGE_BYTES;
      this.#table.remove(view.getUint32(at, true), address);
      address = view.getFloat64(at + 24, true);
    }
    this.#heads.delete(topicId);
  }
}

const groupHash = (topicId: number, partition: number, group: Uint8Array): number =>
  hash32(group, Math.imul(topicId, 257) + partition);
