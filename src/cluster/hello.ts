// What two nodes say before anything else, and its bytes:
//
//      0  magic   "ayder/1" and a line feed: another first number is another language
//      8  length  bytes of the body, up to 4 KiB
//     12  crc     CRC-32 of the body
//     16  body    1 hello   2 proof   3 accept   4 refuse, and what belongs to it

import { ByteWriter, decodeText, encodeText, sameBytes, viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import type { PeerHello } from "../replica/mod.ts";

const MAGIC = encodeText("ayder/1\n");
const HEADER_BYTES = 16;
const BODY_BYTES_MAX = 4096;
/** Bytes of chance that each side puts into a conversation, so that none is like another. */
export const NONCE_BYTES = 32;

const NODE_ID = /^[A-Za-z0-9._-]{1,120}$/;
const ID = /^[0-9A-Za-z-]{0,64}$/;
// It becomes part of a header of a reply: no line ends, no spaces.
const URL = /^(https?:\/\/[\x21-\x7e]{1,500})?$/;

/** Which versions of the protocol inside `ayder/1` a node speaks: neighbours overlap, so that nodes are upgraded one by one. */
export interface VersionRange {
  readonly minimum: number;
  readonly maximum: number;
}

/** The first words of a side. */
export interface Hello extends PeerHello {
  readonly versions: VersionRange;
  /** Whom the dialler means to have reached; whom the listener answers. */
  readonly to: string;
  readonly nonce: Uint8Array;
}

/** One message of the handshake. */
export type Word =
  | { readonly kind: "hello"; readonly hello: Hello }
  | { readonly kind: "proof"; readonly proof: Uint8Array }
  | { readonly kind: "accept"; readonly proof: Uint8Array }
  | { readonly kind: "refuse"; readonly reason: string };

const KINDS = ["hello", "proof", "accept", "refuse"] as const;

/** The bytes of one message. */
export function encodeWord(word: Word): Uint8Array {
  const body = new ByteWriter();
  body.u8(KINDS.indexOf(word.kind) + 1);
  switch (word.kind) {
    case "hello": {
      const { hello } = word;
      body.u16(hello.versions.minimum).u16(hello.versions.maximum).raw(hello.nonce);
      for (const text of [
        hello.nodeId,
        hello.to,
        hello.clusterId,
        hello.incarnation,
        hello.httpUrl,
      ])
        putText(body, text);
      break;
    }
    case "refuse":
      putText(body, word.reason);
      break;
    default:
      body.raw(word.proof);
  }
  const bytes = new ByteWriter(HEADER_BYTES + body.length).raw(MAGIC).u32(body.length);
  return bytes.u32(crc32(body.written())).raw(body.written()).written();
}

function putText(writer: ByteWriter, text: string): void {
  const bytes = encodeText(text);
  writer.u16(bytes.length).raw(bytes);
}

/** Collects the bytes of one message at a time. */
export class WordReader {
  #bytes = new Uint8Array(0);

  /** Takes bytes; false: this is no handshake. */
  receive(chunk: Uint8Array): boolean {
    const joined = new Uint8Array(this.#bytes.length + chunk.length);
    joined.set(this.#bytes);
    joined.set(chunk, this.#bytes.length);
    this.#bytes = joined;
    const magic = Math.min(MAGIC.length, joined.length);
    if (!sameBytes(joined, 0, magic, MAGIC.subarray(0, magic))) return false;
    return joined.length < HEADER_BYTES || viewOf(joined).getUint32(8, true) <= BODY_BYTES_MAX;
  }

  /** The next whole message with its body, undefined when more bytes are needed, `malformed` when it is none. */
  next(): { readonly word: Word; readonly body: Uint8Array } | "malformed" | undefined {
    const bytes = this.#bytes;
    if (bytes.length < HEADER_BYTES) return undefined;
    if (!sameBytes(bytes, 0, MAGIC.length, MAGIC)) return "malformed";
    const view = viewOf(bytes);
    const length = view.getUint32(8, true);
    if (length > BODY_BYTES_MAX) return "malformed";
    if (bytes.length < HEADER_BYTES + length) return undefined;
    const body = bytes.slice(HEADER_BYTES, HEADER_BYTES + length);
    this.#bytes = bytes.slice(HEADER_BYTES + length);
    const word = crc32(body) === view.getUint32(12, true) ? decodeBody(body) : undefined;
    return word === undefined ? "malformed" : { word, body };
  }

  /** What came behind the handshake. */
  rest(): Uint8Array {
    return this.#bytes;
  }
}

/** The body of a message made by `encodeWord`. */
export const bodyOf = (bytes: Uint8Array): Uint8Array => bytes.subarray(HEADER_BYTES);

function decodeBody(body: Uint8Array): Word | undefined {
  const kind = KINDS[(body[0] ?? 0) - 1];
  switch (kind) {
    case "hello":
      return decodeHello(body);
    case "proof":
    case "accept":
      return { kind, proof: body.subarray(1) };
    case "refuse": {
      const texts = textsOf(body, 1, 1);
      return texts === undefined || !/^[a-z_]{1,40}$/.test(texts[0] ?? "")
        ? undefined
        : { kind, reason: texts[0] ?? "" };
    }
    default:
      return undefined;
  }
}

/** What follows the known texts is of a later version, and let be. */
function decodeHello(body: Uint8Array): Word | undefined {
  const textsAt = 5 + NONCE_BYTES;
  if (body.length < textsAt) return undefined;
  const view = viewOf(body);
  const versions = { minimum: view.getUint16(1, true), maximum: view.getUint16(3, true) };
  const texts = textsOf(body, textsAt, 5);
  if (texts === undefined) return undefined;
  const [nodeId = "", to = "", clusterId = "", incarnation = "", httpUrl = ""] = texts;
  const isWellFormed =
    NODE_ID.test(nodeId) &&
    NODE_ID.test(to) &&
    ID.test(clusterId) &&
    ID.test(incarnation) &&
    URL.test(httpUrl);
  if (!isWellFormed) return undefined;
  const nonce = body.slice(5, textsAt);
  return {
    kind: "hello",
    hello: { nodeId, to, clusterId, incarnation, httpUrl, versions, nonce },
  };
}

function textsOf(body: Uint8Array, from: number, count: number): string[] | undefined {
  const view = viewOf(body);
  const texts: string[] = [];
  let at = from;
  for (let i = 0; i < count; i++) {
    if (at + 2 > body.length) return undefined;
    const end = at + 2 + view.getUint16(at, true);
    if (end > body.length) return undefined;
    texts.push(decodeText(body.subarray(at + 2, end)));
    at = end;
  }
  return texts;
}
