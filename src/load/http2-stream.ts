// One place for a request on an HTTP/2 connection: it carries one stream after the other.

import { encodeHeaderBlock, FLAG, FRAME, frame } from "./http2-frames.ts";
import type { Lane } from "./pacer.ts";
import { ReplyBody } from "./reply-body.ts";
import type { RequestShape, Work } from "./work.ts";

/** A request as frames on stream 0, to be copied and given a stream number. */
export interface PreparedRequest {
  readonly headers: Uint8Array;
  readonly body: Uint8Array;
  /** Both frames in one piece, with the body in one DATA frame: what is sent when flow control allows. */
  readonly whole: Uint8Array;
}

/** Prepares a request once for any number of streams. */
export function prepareHttp2(shape: RequestShape, authority: string): PreparedRequest {
  const body = shape.body ?? new Uint8Array(0);
  const flags = FLAG.endHeaders | (shape.body === undefined ? FLAG.endStream : 0);
  const headers = frame(FRAME.headers, flags, 0, encodeHeaderBlock(shape, authority));
  const whole =
    shape.body === undefined
      ? headers
      : Buffer.concat([headers, frame(FRAME.data, FLAG.endStream, 0, body)]);
  return { headers, body, whole };
}

/** Writes a stream number into the frame that begins at `at`. */
export function setStream(bytes: Uint8Array, at: number, stream: number): void {
  bytes[at + 5] = stream >>> 24;
  bytes[at + 6] = stream >>> 16;
  bytes[at + 7] = stream >>> 8;
  bytes[at + 8] = stream;
}

/** Where one request of a connection stands. Its connection reads and writes the fields. */
export class Http2Stream implements Lane {
  /** As in `Http1Connection`: with the pacer, carrying a request, or neither. */
  state: "new" | "waiting" | "busy" = "new";
  id = 0;
  status = 0;
  intended = 0;
  sent = 0;
  /** Bytes of the body that have been framed. */
  bodySent = 0;
  /** Bytes that the server lets this stream send. */
  window = 0;
  /** Bytes received since the server was last told to go on. */
  consumed = 0;
  request: PreparedRequest;
  readonly body: ReplyBody | undefined;
  readonly #start: (stream: Http2Stream) => void;

  /** @param start Called by `send`, when the fields are set. */
  constructor(work: Work, request: PreparedRequest, start: (stream: Http2Stream) => void) {
    this.request = request;
    this.body = ReplyBody.of(work);
    this.#start = start;
  }

  send(intended: number, now: number): void {
    this.state = "busy";
    this.intended = intended;
    this.sent = now;
    this.status = 0;
    this.bodySent = 0;
    this.consumed = 0;
    this.#start(this);
  }
}
