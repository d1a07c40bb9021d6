// Backups as a client sees them: a stream that is whole, for the token of the whole node, two at a time.

import { describe, expect, test } from "bun:test";
import { type BackupHead, BackupParser } from "../../../src/log/backup-format.ts";
import type { ContractClient } from "./client.ts";

const PATH = "/admin/backup";

/** The tests of backups. */
export function backupTests(client: () => ContractClient): void {
  const open = (): Promise<Response> =>
    fetch(`${client().url}${PATH}`, { headers: { authorization: "Bearer dev" } });

  describe("a backup", () => {
    test("is a whole stream of what is applied", async () => {
      await client().produce(await client().topic(1), "a");
      const { json: shown } = await client().get("/admin/state-hash");

      const reply = await open();
      const heads: BackupHead[] = [];
      const parser = new BackupParser({ head: (head) => heads.push(head), piece: () => undefined });
      parser.feed(await reply.bytes());
      parser.end();

      expect(reply.headers.get("content-type")).toBe("application/octet-stream");
      expect(heads[0]?.applied.index).toBeGreaterThanOrEqual(shown.applied_index);
    });

    test("needs the token of the whole node", async () => {
      for (const token of ["reader", "writer", "local"])
        await client().refused(client().get(PATH, { token }), 403, "forbidden");
      await client().refused(client().get(PATH, { token: null }), 401, "unauthorized");
      await client().refused(client().post(PATH, "x"), 405, "method_not_allowed");
    });

    test("is described by HEAD, and nothing is opened for it", async () => {
      for (let i = 0; i < 4; i++) {
        const reply = await client().call("HEAD", PATH);
        expect(reply.status).toBe(200);
      }
      expect((await open()).status).toBe(200);
    });
  });
}
