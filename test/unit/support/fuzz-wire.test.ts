// The fuzzer's own client must not hang on what it provokes.

import { expect, test } from "bun:test";
import { Wire } from "../../support/fuzz-wire.ts";

/** Replies of a server that says exactly this. */
async function repliesTo(
  text: string,
): Promise<{ readonly wire: Wire; readonly isSettled: boolean }> {
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (socket) => void socket.write(text) },
  });
  const wire = await Wire.open(server.port);
  wire.send(Buffer.from("anything"));
  const isSettled = await wire.settled(1, 5000);
  wire.close();
  server.stop(true);
  return { wire, isSettled };
}

test.each([
  [
    "chunks that are another reply, as after a HEAD",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n",
    "",
  ],
  ["chunks of no size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n", ""],
  ["a negative size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n", ""],
  [
    "whole chunks",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "abc",
  ],
  ["a length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"],
])("%s: a reply, and an end", async (_, text, body) => {
  const { wire, isSettled } = await repliesTo(text);

  expect(isSettled).toBe(true);
  expect(wire.replies[0]).toMatchObject({ status: 200, body, isOpen: false });
});
