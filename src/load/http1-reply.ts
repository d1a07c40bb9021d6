// Reads one HTTP/1.1 reply at a time with as little work as a byte allows. RFC 9112 as far as a benchmark of a server
// that follows it needs: Content-Length, chunked, until close; interim replies are skipped; trailers are dropped.

const HEAD = 0;
const FIXED = 1;
const CHUNK_SIZE = 2;
const CHUNK_BODY = 3;
const CHUNK_LINE_END = 4;
const TRAILER = 5;
const UNTIL_CLOSE = 6;

const LINE_FEED = 10;
const LOWER = 0x20;
const EMPTY = new Uint8Array(0);

/** Gets the pieces of a body, without the framing. The bytes are not to be kept. */
export type BodyReader = (bytes: Uint8Array, start: number, end: number) => void;

/** Reads replies of one connection, one after the other. */
export class Http1Reply {
  /** Of the reply that is being read or was read last. */
  status = 0;
  /** The server closes after this reply. */
  closes = false;
  readonly #body: BodyReader | undefined;
  #state = HEAD;
  #left = 0;
  #line = 0;
  #partial: Uint8Array = EMPTY;
  #chunked = false;
  #length = -1;

  /** @param body Gets the body; left out, the body is only skipped. */
  constructor(body?: BodyReader) {
    this.#body = body;
  }

  /** Takes what arrived. @returns true when it ends a reply; the next call begins the next one. */
  feed(chunk: Uint8Array): boolean {
    let bytes = chunk;
    let at = 0;
    while (at < bytes.length) {
      switch (this.#state) {
        case HEAD: {
          if (this.#partial.length > 0) {
            bytes = Buffer.concat([this.#partial, bytes.subarray(at)]);
            at = 0;
            this.#partial = EMPTY;
          }
          const end = this.#readHead(bytes, at);
          if (end < 0) {
            this.#partial = bytes.slice(at); // A head cut in two is rare: start it over when there is more.
            return false;
          }
          at = end;
          if (this.#afterHead()) return true;
          break;
        }
        case CHUNK_SIZE: {
          const byte = bytes[at++] as number;
          if (byte === LINE_FEED) this.#state = this.#left === 0 ? TRAILER : CHUNK_BODY;
          else if (this.#line >= 0) this.#readSizeDigit(byte);
          if (byte === LINE_FEED) this.#line = 0;
          break;
        }
        case CHUNK_LINE_END:
          if (bytes[at++] === LINE_FEED) {
            this.#state = CHUNK_SIZE;
            this.#left = 0;
            this.#line = 0;
          }
          break;
        case TRAILER: {
          const byte = bytes[at++] as number;
          if (byte === LINE_FEED) {
            if (this.#line === 0) return this.#done();
            this.#line = 0;
          } else if (byte !== 13) this.#line += 1;
          break;
        }
        default: {
          const end =
            this.#state === UNTIL_CLOSE ? bytes.length : Math.min(bytes.length, at + this.#left);
          this.#body?.(bytes, at, end);
          this.#left -= end - at;
          at = end;
          if (this.#left === 0 && this.#state === FIXED) return this.#done();
          if (this.#left === 0 && this.#state === CHUNK_BODY) this.#state = CHUNK_LINE_END;
        }
      }
    }
    return false;
  }

  /** Tells that the connection ended. @returns true when that was the end of the reply. */
  ended(): boolean {
    return this.#state === UNTIL_CLOSE && this.#done();
  }

  #done(): true {
    this.#state = HEAD;
    return true;
  }

  #readSizeDigit(byte: number): void {
    const lower = byte | LOWER;
    if (byte >= 48 && byte <= 57) this.#left = this.#left * 16 + byte - 48;
    else if (lower >= 97 && lower <= 102) this.#left = this.#left * 16 + lower - 87;
    else this.#line = -1; // A chunk extension, or the carriage return: the number has ended.
  }

  /** @returns where the body begins, or -1 when the head is not all there. */
  #readHead(bytes: Uint8Array, from: number): number {
    this.#length = -1;
    this.#chunked = false;
    this.closes = false;
    let line = from;
    for (let at = from; at < bytes.length; at++) {
      if (bytes[at] !== LINE_FEED) continue;
      if (line === from) this.status = number(bytes, from + 9);
      else if (at - line <= 1) return at + 1;
      else this.#readHeader(bytes, line);
      line = at + 1;
    }
    return -1;
  }

  /** Knows three headers by first letter, length and one letter within; no other registered header looks like them. */
  #readHeader(bytes: Uint8Array, line: number): void {
    const first = (bytes[line] as number) | LOWER;
    if (first === 99 && bytes[line + 14] === 58 && ((bytes[line + 8] as number) | LOWER) === 108) {
      this.#length = number(bytes, line + 15);
    } else if (
      first === 116 &&
      bytes[line + 17] === 58 &&
      ((bytes[line + 9] as number) | LOWER) === 101
    ) {
      this.#chunked = true;
    } else if (first === 99 && bytes[line + 10] === 58) {
      const at = bytes[line + 11] === 32 ? line + 12 : line + 11;
      this.closes = ((bytes[at] as number) | LOWER) === 99;
    }
  }

  /** @returns true when the reply has no body. */
  #afterHead(): boolean {
    if (this.status < 200) return false; // An interim reply: the real head follows.
    if (this.status === 204 || this.status === 304) return this.#done();
    this.#left = 0;
    this.#line = 0;
    if (this.#chunked) this.#state = CHUNK_SIZE;
    else if (this.#length > 0) {
      this.#left = this.#length;
      this.#state = FIXED;
    } else if (this.#length === 0) return this.#done();
    else this.#state = UNTIL_CLOSE;
    return false;
  }
}

/** Reads decimal digits at `at`, after spaces. */
function number(bytes: Uint8Array, at: number): number {
  let position = at;
  while (bytes[position] === 32) position += 1;
  let value = 0;
  for (; position < bytes.length; position++) {
    const digit = (bytes[position] as number) - 48;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return value;
}
