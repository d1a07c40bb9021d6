// Who is there? Two state machines without sockets or clocks.
//
//   dialler                                listener
//   hello(me, you, nonce)      ──►         is it one of ours, of our cluster, of a version we speak?
//   is it who I dialled?       ◄──         hello(me, you, nonce)
//   proof(secret, both hellos) ──►         right?
//   right?                     ◄──         accept(proof(secret, both hellos))
//
// The listener proves itself last, so that who merely reaches the port learns nothing to guess the secret with. With TLS the
// certificates are the proofs and these two are empty.

import { createHash } from "node:crypto";
import type { PeerHello } from "../replica/mod.ts";
import { bodyOf, encodeWord, type Hello, type VersionRange, type Word } from "./hello.ts";
import type { ClusterKey, SessionKeys, Side } from "./keys.ts";

/** What this build speaks. */
export const VERSIONS: VersionRange = { minimum: 1, maximum: 1 };

/** Why somebody is not talked to. */
export const REFUSAL_REASONS = [
  "malformed",
  "other_version",
  "other_node",
  "unknown_node",
  "other_cluster",
  "wrong_secret",
  "wrong_certificate",
  "too_slow",
  "too_many",
  "bad_frame",
] as const;

/** One of them. */
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** What a side knows before it begins. */
export interface HandshakeInput {
  readonly me: PeerHello;
  readonly versions: VersionRange;
  readonly nonce: Uint8Array;
  /** Undefined with TLS. */
  readonly key: ClusterKey | undefined;
  /** The names in the other side's certificate; undefined without TLS. */
  readonly names: readonly string[] | undefined;
  /** Whom the dialler means; whom the listener lets in. */
  readonly isExpected: (nodeId: string) => boolean;
}

/** What follows from a message. */
export type HandshakeStep =
  | { readonly kind: "reply"; readonly bytes: Uint8Array }
  | {
      readonly kind: "done";
      readonly bytes: Uint8Array | undefined;
      readonly peer: PeerHello;
      /** Undefined with TLS. */
      readonly session: SessionKeys | undefined;
    }
  | {
      readonly kind: "refused";
      readonly reason: RefusalReason;
      /** Who it said it was; nothing is proven. */
      readonly peer: string | undefined;
      /** Tells the other side; undefined when it was the other side that refused. */
      readonly bytes: Uint8Array | undefined;
    };

const NO_PROOF = new Uint8Array(0);

/** The side that dialled. */
export class DiallerHandshake {
  readonly #input: HandshakeInput;
  readonly #hello: Uint8Array;
  #peer: Hello | undefined;
  #transcript: Uint8Array = NO_PROOF;

  /** @param to The node that is meant. */
  constructor(input: HandshakeInput, to: string) {
    this.#input = input;
    this.#hello = helloOf(input, to);
  }

  /** The first bytes to send. */
  start(): Uint8Array {
    return this.#hello;
  }

  /** Takes what the listener said. */
  receive(word: Word, body: Uint8Array): HandshakeStep {
    const { key } = this.#input;
    if (word.kind === "refuse") return refusedByOther(word.reason, this.#peer?.nodeId);
    if (this.#peer === undefined) {
      if (word.kind !== "hello") return refuse("malformed", undefined);
      const reason = objectionTo(word.hello, this.#input, "other_node");
      if (reason !== undefined) return refuse(reason, word.hello.nodeId);
      this.#peer = word.hello;
      this.#transcript = transcriptOf(bodyOf(this.#hello), body);
      const proof = key?.proofOf("dialler", this.#transcript) ?? NO_PROOF;
      return { kind: "reply", bytes: encodeWord({ kind: "proof", proof }) };
    }
    if (word.kind !== "accept") return refuse("malformed", this.#peer.nodeId);
    if (!isProven(word.proof, key, "listener", this.#transcript))
      return refuse("wrong_secret", this.#peer.nodeId);
    return {
      kind: "done",
      bytes: undefined,
      peer: plain(this.#peer),
      session: key?.sessionOf(this.#transcript),
    };
  }
}

/** The side that was dialled. */
export class ListenerHandshake {
  readonly #input: HandshakeInput;
  #peer: Hello | undefined;
  #transcript: Uint8Array = NO_PROOF;

  constructor(input: HandshakeInput) {
    this.#input = input;
  }

  /** Takes what the dialler said. */
  receive(word: Word, body: Uint8Array): HandshakeStep {
    const { key, me } = this.#input;
    if (word.kind === "refuse") return refusedByOther(word.reason, this.#peer?.nodeId);
    if (this.#peer === undefined) {
      if (word.kind !== "hello") return refuse("malformed", undefined);
      const { hello } = word;
      const reason =
        hello.to === me.nodeId ? objectionTo(hello, this.#input, "unknown_node") : "other_node";
      if (reason !== undefined) return refuse(reason, hello.nodeId);
      this.#peer = hello;
      const mine = helloOf(this.#input, hello.nodeId);
      this.#transcript = transcriptOf(body, bodyOf(mine));
      return { kind: "reply", bytes: mine };
    }
    if (word.kind !== "proof") return refuse("malformed", this.#peer.nodeId);
    if (!isProven(word.proof, key, "dialler", this.#transcript))
      return refuse("wrong_secret", this.#peer.nodeId);
    const proof = key?.proofOf("listener", this.#transcript) ?? NO_PROOF;
    return {
      kind: "done",
      bytes: encodeWord({ kind: "accept", proof }),
      peer: plain(this.#peer),
      session: key?.sessionOf(this.#transcript),
    };
  }
}

/** The bytes that tell why a connection ends before it began. */
export const refusalOf = (reason: RefusalReason): Uint8Array =>
  encodeWord({ kind: "refuse", reason });

const refuse = (reason: RefusalReason, peer: string | undefined): HandshakeStep => ({
  kind: "refused",
  reason,
  peer,
  bytes: refusalOf(reason),
});

function refusedByOther(reason: string, peer: string | undefined): HandshakeStep {
  const known = REFUSAL_REASONS.find((one) => one === reason) ?? "malformed";
  return { kind: "refused", reason: known, peer, bytes: undefined };
}

/** What speaks against the other side, as far as its words tell. */
function objectionTo(
  hello: Hello,
  input: HandshakeInput,
  whenUnexpected: RefusalReason,
): RefusalReason | undefined {
  const { minimum, maximum } = input.versions;
  if (Math.min(maximum, hello.versions.maximum) < Math.max(minimum, hello.versions.minimum))
    return "other_version";
  if (!input.isExpected(hello.nodeId)) return whenUnexpected;
  if (input.names !== undefined && !input.names.includes(hello.nodeId)) return "wrong_certificate";
  // A node that belongs to no cluster yet may talk to anybody on the list: that is how clusters are formed and joined.
  const isOther =
    hello.clusterId !== "" && input.me.clusterId !== "" && hello.clusterId !== input.me.clusterId;
  return isOther ? "other_cluster" : undefined;
}

function isProven(
  proof: Uint8Array,
  key: ClusterKey | undefined,
  side: Side,
  transcript: Uint8Array,
): boolean {
  return key === undefined ? proof.length === 0 : key.isProof(proof, side, transcript);
}

const helloOf = (input: HandshakeInput, to: string): Uint8Array =>
  encodeWord({
    kind: "hello",
    hello: { ...input.me, versions: input.versions, to, nonce: input.nonce },
  });

/** Binds ids, incarnations, cluster ids, addresses, versions and nonces of both sides. */
const transcriptOf = (dialler: Uint8Array, listener: Uint8Array): Uint8Array =>
  // The first body says its own length by what it holds, but for what a later version may add: hashed apart.
  createHash("sha256")
    .update(createHash("sha256").update(dialler).digest())
    .update(createHash("sha256").update(listener).digest())
    .digest();

const plain = ({ nodeId, clusterId, incarnation, httpUrl }: Hello): PeerHello => ({
  nodeId,
  clusterId,
  incarnation,
  httpUrl,
});
