// The contract on the fake broker: the HTTP room alone, in seconds. With BASE_URL, on a server that runs already.

import { contractSuite } from "../suites/http.ts";
import { startFake } from "../support/fake-server.ts";

const { BASE_URL } = process.env;

contractSuite(BASE_URL ?? "HTTP on the fake broker", async (settings) =>
  BASE_URL === undefined ? startFake(settings) : { url: BASE_URL, stop: async () => undefined },
);

// The same with every read by a promise, as from a cold disk.
if (BASE_URL === undefined) {
  contractSuite("HTTP on the fake broker with slow reads", async (settings) => {
    const server = await startFake(settings);
    server.broker.isSlow = true;
    return server;
  });
}
