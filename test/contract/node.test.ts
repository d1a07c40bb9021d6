// The contract on the real node: a process of its own, on a real disk.

import { contractSuite } from "../suites/http.ts";
import { startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

contractSuite("HTTP on a node", async ({ RF_BEARER_TOKENS = "" }) => {
  const directory = temporaryDirectory();
  const node = await startNode({
    dataDir: directory.path,
    env: { RF_BEARER_TOKENS, RF_HTTP_ADDR: "127.0.0.1:0" },
  });
  return {
    url: node.url,
    stop: async () => {
      await node.kill("SIGTERM");
      directory.clean();
    },
  };
});
