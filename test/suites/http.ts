// The promises of the HTTP API, as a client with curl sees them. Runs on the real node and on the fake alike.

import { afterAll, beforeAll, describe } from "bun:test";
import { adminTests } from "./http/admin.ts";
import { authTests } from "./http/auth.ts";
import { backupTests } from "./http/backup.ts";
import { CONTRACT_SETTINGS, ContractClient, type ContractServer } from "./http/client.ts";
import { clusterTests } from "./http/cluster.ts";
import { consumeTests } from "./http/consume.ts";
import { joinTests } from "./http/join.ts";
import { keyTests } from "./http/keys.ts";
import { produceTests } from "./http/produce.ts";
import { produceBatchTests } from "./http/produce-batch.ts";
import { protocolTests } from "./http/protocol.ts";
import { queryTests } from "./http/query.ts";
import { rocketTests } from "./http/rocket.ts";
import { tailTests } from "./http/tail.ts";
import { topicTests } from "./http/topics.ts";
import { transactionTests } from "./http/transactions.ts";

/** Starts a server with these settings of the environment. */
export type StartServer = (settings: Readonly<Record<string, string>>) => Promise<ContractServer>;

/** Runs the whole suite against the server that `start` starts. */
export function contractSuite(name: string, start: StartServer): void {
  describe(name, () => {
    let server: ContractServer | undefined;
    let connected: ContractClient | undefined;
    beforeAll(async () => {
      server = await start(CONTRACT_SETTINGS);
      connected = await ContractClient.connect(server.url);
    });
    afterAll(() => server?.stop());
    const client = (): ContractClient => {
      if (connected === undefined) throw new Error("The server has not started");
      return connected;
    };
    topicTests(client);
    produceTests(client);
    produceBatchTests(client);
    consumeTests(client);
    tailTests(client);
    keyTests(client);
    transactionTests(client);
    rocketTests(client);
    queryTests(client);
    joinTests(client);
    adminTests(client);
    backupTests(client);
    clusterTests(client);
    authTests(client);
    protocolTests(client);
  });
}
