// Requests whose framing is wrong or ambiguous. What two servers could read differently carries a request inside, to append a
// record that must never be seen: whoever reads it as a request of its own can be made to run what another server let through.

/** A shape of bytes. */
export interface Shape {
  readonly name: string;
  /** What may come back before the connection ends. `closed`: nothing, or a bare refusal. `waits`: it is not at its end. */
  readonly wanted: "closed" | "answered" | "waits" | "anything";
  /** @param inner A whole request that must not run. */
  readonly bytes: (inner: string, echo: string) => string;
}

const POST = (target: string, rest: string): string =>
  `POST ${target} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer fuzz\r\n${rest}`;

/** Every shape. `echo` is the path of a request that is answered with its marker and changes nothing. */
export const SHAPES: readonly Shape[] = (
  [
    [
      "a length and chunks",
      "closed",
      (inner, echo) =>
        POST(
          echo,
          `Content-Length: ${inner.length + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
        ),
    ],
    [
      "chunks and a length",
      "closed",
      (inner, echo) =>
        POST(echo, `Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${inner}`),
    ],
    [
      "two lengths",
      "closed",
      (inner, echo) =>
        POST(echo, `Content-Length: 0\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`),
    ],
    [
      "two lengths, the longer first",
      "closed",
      (inner, echo) =>
        POST(echo, `Content-Length: ${inner.length}\r\nContent-Length: 0\r\n\r\n${inner}`),
    ],
    [
      "a list of lengths",
      "closed",
      (inner, echo) => POST(echo, `Content-Length: 0, ${inner.length}\r\n\r\n${inner}`),
    ],
    [
      "a signed length",
      "closed",
      (inner, echo) => POST(echo, `Content-Length: +0\r\n\r\n${inner}`),
    ],
    [
      "a negative length",
      "closed",
      (inner, echo) => POST(echo, `Content-Length: -1\r\n\r\n${inner}`),
    ],
    [
      "a hexadecimal length",
      "closed",
      (inner, echo) => POST(echo, `Content-Length: 0x0\r\n\r\n${inner}`),
    ],
    [
      "a length of letters",
      "closed",
      (inner, echo) => POST(echo, `Content-Length: ten\r\n\r\n${inner}`),
    ],
    [
      "a length that wraps at 2^64",
      "closed",
      (inner, echo) => POST(echo, `Content-Length: 18446744073709551616\r\n\r\n${inner}`),
    ],
    [
      "a length with spaces inside",
      "closed",
      (inner, echo) => POST(echo, `Content-Length: 1 0\r\n\r\n${inner}`),
    ],
    [
      "a folded header",
      "closed",
      (inner, echo) =>
        POST(echo, `Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${inner}`),
    ],
    [
      "a folded length",
      "closed",
      (inner, echo) =>
        POST(
          echo,
          `X-A: b\r\n Content-Length: ${inner.length}\r\nContent-Length: 0, 1\r\n\r\n${inner}`,
        ),
    ],
    [
      "a space before the colon",
      "closed",
      (inner, echo) =>
        POST(echo, `Content-Length : ${inner.length}\r\nContent-Length: 0, 1\r\n\r\n${inner}`),
    ],
    [
      "an unknown coding",
      "closed",
      (inner, echo) =>
        POST(echo, `Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${inner}`),
    ],
    [
      "a coding behind chunked",
      "closed",
      (inner, echo) =>
        POST(
          echo,
          `Transfer-Encoding: chunked, identity\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${inner}`,
        ),
    ],
    [
      "a coding and no length",
      "closed",
      (inner, echo) => POST(echo, `Transfer-Encoding: identity\r\n\r\n${inner}`),
    ],
    [
      "two codings in two headers",
      "closed",
      (inner, echo) =>
        POST(
          echo,
          `Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${inner}`,
        ),
    ],
    [
      "a coding with a control byte",
      "closed",
      (inner, echo) =>
        POST(
          echo,
          `Transfer-Encoding: \u000bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${inner}`,
        ),
    ],
    [
      "a chunk size of letters",
      "closed",
      (inner, echo) => POST(echo, `Transfer-Encoding: chunked\r\n\r\nzz\r\n${inner}`),
    ],
    [
      "a negative chunk size",
      "closed",
      (inner, echo) => POST(echo, `Transfer-Encoding: chunked\r\n\r\n-1\r\n${inner}`),
    ],
    [
      "a chunk size that wraps",
      "closed",
      (inner, echo) =>
        POST(echo, `Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n${inner}`),
    ],
    [
      "a chunk size with 0x",
      "closed",
      (inner, echo) => POST(echo, `Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n${inner}`),
    ],
    [
      "a chunk without its end",
      "closed",
      (inner, echo) => POST(echo, `Transfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n${inner}`),
    ],
    [
      "an empty chunk size",
      "closed",
      (inner, echo) => POST(echo, `Transfer-Encoding: chunked\r\n\r\n\r\n\r\n${inner}`),
    ],
    [
      "a trailer",
      "closed",
      (inner, echo) =>
        POST(echo, `Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Trailer: a\r\n\r\n${inner}`),
    ],
    [
      "a request as trailer",
      "closed",
      (inner, echo) => POST(echo, `Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n${inner}`),
    ],
    [
      "a huge chunk extension",
      "anything",
      (_, echo) =>
        POST(echo, `Transfer-Encoding: chunked\r\n\r\n1;${"a".repeat(60_000)}\r\na\r\n0\r\n\r\n`),
    ],
    [
      "a null in a header",
      "closed",
      (inner, echo) => POST(echo, `X-A: a\u0000b\r\nContent-Length: 0, 1\r\n\r\n${inner}`),
    ],
    [
      "a header without a name",
      "closed",
      (inner, echo) => POST(echo, `: x\r\nContent-Length: 0, 1\r\n\r\n${inner}`),
    ],
    [
      "a header without a colon",
      "closed",
      (inner, echo) => POST(echo, `Nothing\r\nContent-Length: 0, 1\r\n\r\n${inner}`),
    ],
    [
      "lines that end with LF alone",
      "anything",
      (_, echo) => `GET ${echo} HTTP/1.1\nHost: node\nAuthorization: Bearer fuzz\n\n`,
    ],
    ["lines that end with CR alone", "waits", (_, echo) => `GET ${echo} HTTP/1.1\rHost: node\r\r`],
    [
      "no host",
      "anything",
      (_, echo) => `GET ${echo} HTTP/1.1\r\nAuthorization: Bearer fuzz\r\n\r\n`,
    ],
    [
      "two hosts",
      "anything",
      (_, echo) =>
        `GET ${echo} HTTP/1.1\r\nHost: a\r\nHost: b\r\nAuthorization: Bearer fuzz\r\n\r\n`,
    ],
    [
      "an absolute target",
      "anything",
      (_, echo) =>
        `GET http://other${echo} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer fuzz\r\n\r\n`,
    ],
    ["a target of an authority", "anything", () => "CONNECT node:1 HTTP/1.1\r\nHost: node\r\n\r\n"],
    ["a star as target", "anything", () => "OPTIONS * HTTP/1.1\r\nHost: node\r\n\r\n"],
    ["no target", "anything", () => "GET  HTTP/1.1\r\nHost: node\r\n\r\n"],
    [
      "HTTP/1.0",
      "anything",
      (_, echo) => `GET ${echo} HTTP/1.0\r\nAuthorization: Bearer fuzz\r\n\r\n`,
    ],
    ["HTTP/0.9", "anything", (_, echo) => `GET ${echo}\r\n`],
    ["HTTP/3.7", "anything", (_, echo) => `GET ${echo} HTTP/3.7\r\nHost: node\r\n\r\n`],
    [
      "an unknown method",
      "anything",
      (_, echo) => `${"M".repeat(300)} ${echo} HTTP/1.1\r\nHost: node\r\n\r\n`,
    ],
    [
      "a header of 70 KB",
      "anything",
      (_, echo) => `GET ${echo} HTTP/1.1\r\nHost: node\r\nX: ${"a".repeat(70_000)}\r\n\r\n`,
    ],
    [
      "5000 headers",
      "anything",
      (_, echo) => `GET ${echo} HTTP/1.1\r\nHost: node\r\n${"a: b\r\n".repeat(5000)}\r\n`,
    ],
    [
      "a target of 70 KB",
      "anything",
      (_, echo) => `GET ${echo}?${"a".repeat(70_000)} HTTP/1.1\r\nHost: node\r\n\r\n`,
    ],
    [
      "a body that does not come",
      "waits",
      (_, echo) => POST(echo, "Content-Length: 100\r\n\r\nhalf"),
    ],
    [
      "chunks that do not end",
      "waits",
      (_, echo) => POST(echo, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ],
    ["a head that does not end", "waits", (_, echo) => `GET ${echo} HTTP/1.1\r\nHost: node\r\n`],
    [
      "a body of 2^60 bytes",
      "anything",
      (_, echo) => POST(echo, "Content-Length: 1152921504606846976\r\n\r\na"),
    ],
    [
      "a continue that is waited for",
      "anything",
      (_, echo) => POST(echo, "Expect: 100-continue\r\nContent-Length: 1\r\n\r\na"),
    ],
    [
      "an upgrade to HTTP/2",
      "anything",
      (_, echo) =>
        `GET ${echo} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n`,
    ],
    [
      "an upgrade to a web socket",
      "anything",
      (_, echo) =>
        `GET ${echo} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
    ],
    [
      "a preface of HTTP/2 and nonsense",
      "anything",
      () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u0000\u0000\u0004\u0099nonsense",
    ],
    [
      "a TLS hello",
      "anything",
      () => "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003",
    ],
  ] satisfies readonly (readonly [string, Shape["wanted"], Shape["bytes"]])[]
).map(([name, wanted, bytes]) => ({ name, wanted, bytes }));
