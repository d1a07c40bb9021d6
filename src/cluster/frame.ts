// The frame in which every piece of a message travels, once both sides know each other.
//
//      0  length     bytes of payload, up to 256 KiB
//      4  crc        CRC-32 of the header from 8 on, and of the payload
//      8  sequence   frames of this connection and direction, from 0, without a gap
//     12  kind       1: a piece of a message   2: a sign of life
//     13  flags      1: first piece   2: last piece   4: urgent
//     14  zero       two bytes
//     16  message    messages of this priority, connection and direction, from 0
//     20  total      bytes of the whole message, up to 64 MiB
//     24  payload
//         tag        16 bytes without TLS, none with it: HMAC-SHA256 of header and payload, cut

import { timingSafeEqual } from "node:crypto";

/** Bytes before the payload. */
export const FRAME_HEADER_BYTES = 24;
/** Bytes of a tag, where there is one: half of SHA-256, as RFC 2104 §5 allows. */
export const TAG_BYTES = 16;
/** Bytes of payload: what an urgent message may have to wait for, since frames are not interrupted. */
export const PIECE_BYTES_MAX = 262_144;
/** Bytes of a message: four times the largest entry. */
export const MESSAGE_BYTES_MAX = 67_108_864;
/** A connection ends before its sequence would begin again: a number is used once under one key. */
export const SEQUENCE_MAX = 0xff_ff_ff_ff;

/** What a frame is: a piece of a message, or a sign of life. */
export const KIND_PIECE = 1;
export const KIND_ALIVE = 2;

/** What a piece is within its message. */
export const FLAG_FIRST = 1;
export const FLAG_LAST = 2;
export const FLAG_URGENT = 4;

/** How messages are told apart by haste. */
export type Priority = "urgent" | "bulk";

/** What is wrong with bytes that came. */
export type FrameFault =
  | "bad_length"
  | "bad_kind"
  | "bad_sequence"
  | "bad_piece"
  | "bad_checksum"
  | "bad_tag";

/** How many frames a message takes. One without bytes takes one. */
export const piecesOf = (bytes: number): number => Math.max(1, Math.ceil(bytes / PIECE_BYTES_MAX));

/** Makes and checks the tags of one direction of one connection. */
export class FrameKey {
  readonly #keyed: Bun.CryptoHasher;

  /** @param key 32 secret bytes, used for nothing else. */
  constructor(key: Uint8Array) {
    // Keyed once and copied per frame: half the price of keying anew for a short frame.
    this.#keyed = new Bun.CryptoHasher("sha256", key);
  }

  /** The tag of a frame whose header and payload lie side by side. */
  tagOf(frame: Uint8Array): Uint8Array {
    return this.#keyed.copy().update(frame).digest().subarray(0, TAG_BYTES);
  }

  /** Whether `tag` belongs to this header and payload, in a time that does not tell where it differs. */
  isTag(tag: Uint8Array, header: Uint8Array, payload: Uint8Array): boolean {
    const digest = this.#keyed.copy().update(header).update(payload).digest();
    return timingSafeEqual(digest.subarray(0, TAG_BYTES), tag);
  }
}
