// Replies of every framing, cut at every place: the reader must not care how the network slices them.

import { expect, test } from "bun:test";
import { Http1Reply } from "../../../src/load/http1-reply.ts";

interface Seen {
  status: number;
  body: string;
  closes: boolean;
}

function read(text: string, cuts: readonly number[], endsWithConnection = false): Seen[] {
  const seen: Seen[] = [];
  let body = "";
  const reply = new Http1Reply((bytes, start, end) => {
    body += Buffer.from(bytes.subarray(start, end)).toString("latin1");
  });
  const finish = (): void => {
    seen.push({ status: reply.status, body, closes: reply.closes });
    body = "";
  };
  const bytes = Buffer.from(text, "latin1");
  const ends = [...cuts, bytes.length];
  let start = 0;
  for (const end of ends) {
    if (end > start && reply.feed(bytes.subarray(start, end))) finish();
    start = end;
  }
  if (endsWithConnection && reply.ended()) finish();
  return seen;
}

const cases: [string, string, Seen, boolean?][] = [
  [
    "a length",
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    { status: 200, body: "hello", closes: false },
  ],
  [
    "chunks, an extension and a trailer",
    "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3;a=1\r\nabc\r\n0000A\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n",
    { status: 201, body: "abc0123456789", closes: false },
  ],
  [
    "no content",
    "HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n",
    { status: 204, body: "", closes: false },
  ],
  [
    "an empty body",
    "HTTP/1.1 503 No\r\ncontent-length:0\r\n\r\n",
    { status: 503, body: "", closes: false },
  ],
  [
    "an interim reply first",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Digest: x\r\ncontent-length: 2\r\n\r\nok",
    { status: 200, body: "ok", closes: false },
  ],
  [
    "the announced end of the connection",
    "HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
    { status: 401, body: "no", closes: true },
  ],
  [
    "the connection's end",
    "HTTP/1.1 200 OK\r\n\r\nall of it",
    { status: 200, body: "all of it", closes: false },
    true,
  ],
];

for (const [name, text, want, endsWithConnection] of cases) {
  test(`feed() reads a reply ended by ${name}, cut anywhere`, () => {
    for (let cut = 0; cut < text.length; cut++) {
      expect(read(text, [cut], endsWithConnection)).toEqual([want]);
    }
    const everywhere = Array.from({ length: text.length }, (_, i) => i);
    expect(read(text, everywhere, endsWithConnection)).toEqual([want]);
  });
}

test("feed() reads one reply after the other", () => {
  const text = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";

  expect(read(text + text, [text.length]).map((seen) => seen.body)).toEqual(["a", "a"]);
});
