// Keys and proofs of connections without TLS. They authenticate and do not encrypt: whoever listens reads along, and whoever
// does not have the secret can neither speak nor alter a byte unnoticed.

import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { encodeText } from "../lib/bytes.ts";
import { FrameKey } from "./frame.ts";

const KEY_BYTES = 32;

/** Which side of a connection: the one that dialled sends the messages, the other one signs of life. */
export type Side = "dialler" | "listener";

/** What the frames of one connection are protected with, by the side that sends them. */
export type SessionKeys = Readonly<Record<Side, FrameKey>>;

/** The secret that all nodes of a cluster have, ready for use. */
export class ClusterKey {
  readonly #key: Uint8Array;

  /** @param secret Undefined: anybody can have this key, and it proves nothing. */
  constructor(secret: string | undefined) {
    this.#key = derive(encodeText(secret ?? ""), new Uint8Array(0), "ayder peer key 1");
  }

  /** What only a node with the secret can say about this conversation. */
  proofOf(side: Side, transcript: Uint8Array): Uint8Array {
    return createHmac("sha256", this.#key).update(`ayder ${side} 1`).update(transcript).digest();
  }

  /** Checks a proof in a time that does not tell where it differs. */
  isProof(proof: Uint8Array, side: Side, transcript: Uint8Array): boolean {
    const expected = this.proofOf(side, transcript);
    return proof.length === expected.length && timingSafeEqual(proof, expected);
  }

  /** New with every connection, since both sides' nonces are in the transcript. */
  sessionOf(transcript: Uint8Array): SessionKeys {
    const keyOf = (side: Side): FrameKey =>
      new FrameKey(derive(this.#key, transcript, `ayder frames of the ${side} 1`));
    return { dialler: keyOf("dialler"), listener: keyOf("listener") };
  }
}

/** HKDF-SHA256 (RFC 5869). */
const derive = (from: Uint8Array, salt: Uint8Array, label: string): Uint8Array =>
  new Uint8Array(hkdfSync("sha256", from, salt, label, KEY_BYTES));
