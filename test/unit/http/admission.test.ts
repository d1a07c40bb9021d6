// Room for bodies is given back, also by clients that go away.

import { expect, test } from "bun:test";
import { createLogger } from "../../../src/lib/logger.ts";
import { sendRaw } from "../../suites/http/raw.ts";
import { startFake } from "../../support/fake-server.ts";
import { waitUntil } from "../../support/node-process.ts";

test.each(["/broker/commit", "/broker/query", "/broker/txn", "/admin/sealed/gc", "/broker/topics"])(
  "clients that go away in the middle of a body of %s leave no room taken and no word in the log",
  async (path) => {
    const lines: string[] = [];
    const write = (line: string) => lines.push(line);
    const logger = createLogger({ level: "warn", room: "test", write, now: () => 0 });
    await using server = await startFake({}, logger);
    const head = `POST ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer dev\r\n`;

    for (const rest of [
      "Content-Length: 1000\r\n\r\n{",
      "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ])
      await sendRaw(server.url, [head + rest], undefined, 20);
    const isFree = (): boolean => server.http.probe.inflightBytes === 0;
    await waitUntil("the room of their bodies is free", isFree, 5000);

    expect(lines).toEqual([]);
  },
);
