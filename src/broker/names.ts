// What topics and groups may be called, and which partition a key belongs to.

import { hash32 } from "../lib/checksum.ts";

/** Most partitions of a topic. */
export const PARTITIONS_MAX = 256;

const NAME = /^[A-Za-z0-9._-]{1,120}$/;

/** Whether a text is a topic's or a group's name: 1 to 120 of `A-Z a-z 0-9 . _ -`. */
export const isName = (text: string): boolean => NAME.test(text);

/** The partition of a key: frozen in docs/format.md, because changing it would split a key's records. */
export const choosePartition = (key: Uint8Array, partitions: number): number =>
  hash32(key) % partitions;
