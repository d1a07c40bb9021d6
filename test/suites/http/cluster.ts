// The nodes of the cluster, as every node shows them; a single node is a cluster of one.

import { describe, expect, test } from "bun:test";
import type { ContractClient } from "./client.ts";

/** Tests of what a node says of the cluster, and of what it refuses to make of it. */
export function clusterTests(client: () => ContractClient): void {
  describe("cluster", () => {
    test("a single node is a cluster of one voter", async () => {
      const { json } = await client().get("/ha/membership", { token: "reader" });

      expect(json.ok).toBe(true);
      expect(json.membership).toMatchObject({ joint_active: false, node_count: 1 });
      expect(json.membership.epoch).toBeGreaterThan(0);
      expect(json.membership.nodes).toHaveLength(1);
      expect(json.membership.nodes[0]).toMatchObject({ is_voter: true, is_learner: false });
      expect(json.membership.nodes[0].node_id).not.toBe("");
    });

    test("only a token for the whole node changes the cluster", async () => {
      const body = { node_id: "nobody" };

      for (const action of [
        "membership/add",
        "membership/promote",
        "membership/remove",
        "transfer",
      ]) {
        for (const token of ["reader", "writer", "local"]) {
          const reply = client().post(`/ha/${action}`, body, { token });
          await client().refused(reply, 403, "forbidden");
        }
      }
    });

    test("a node that is not there is not_found", async () => {
      const body = { node_id: "nobody" };

      for (const action of ["membership/promote", "membership/remove", "transfer"]) {
        await client().refused(client().post(`/ha/${action}`, body), 404, "not_found");
      }
    });

    test("what is missing is named", async () => {
      const add = (body: object) => client().post("/ha/membership/add", body);

      expect(await client().refused(add({}), 400, "missing_fields")).toMatchObject({
        missing: "node_id,advertise_addr",
      });
      await client().refused(add({ node_id: "n" }), 400, "missing_fields");
      await client().refused(client().post("/ha/transfer", {}), 400, "missing_fields");
    });

    test.each([
      ["advertise_addr", "host"],
      ["advertise_addr", "host:0"],
      ["advertise_addr", "host:65536"],
      ["advertise_addr", "http://host:1"],
      ["advertise_addr", "::1:7000"],
      ["advertise_addr", "[::g]:7000"],
      ["advertise_addr", "a b:7000"],
      ["advertise_addr", ""],
      ["advertise_addr", 7000],
      ["http_addr", "host"],
      ["http_addr", "ftp://host:1"],
      ["http_addr", "http://"],
      ["http_addr", "http://host:1/path"],
      ["http_addr", "http://host:1/?a=b"],
      ["http_addr", "http://user:word@host:1"],
      ["priority", -1],
      ["priority", 1.5],
      ["node_id", "a/b"],
      ["node_id", ""],
    ])("%s %p is no place for a node", async (field, value) => {
      const body = { node_id: "nobody", advertise_addr: "127.0.0.1:7000", [field]: value };

      const reply = client().post("/ha/membership/add", body);

      const refusal = await client().refused(reply, 400, "invalid_parameter");
      expect(refusal.parameter).toBe(field);
    });

    test("the state has a hash that stays as long as nothing is written", async () => {
      const before = await client().get("/admin/state-hash", { token: "reader" });
      const again = await client().get("/admin/state-hash");
      await client().topic();
      const after = await client().get("/admin/state-hash");

      expect(before.text).toMatch(/^\{"ok":true,"applied_index":\d+,"hash":"[0-9a-f]{16,}"\}$/);
      if (again.json.applied_index === before.json.applied_index) {
        expect(again.json.hash).toBe(before.json.hash);
      }
      expect(after.json.applied_index).toBeGreaterThan(before.json.applied_index);
      expect(after.json.hash).not.toBe(before.json.hash);
    });

    test("metrics of the cluster are Prometheus text under the published names", async () => {
      const { status, headers, text } = await client().get("/metrics_ha", { token: null });

      expect(status).toBe(200);
      expect(headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
      for (const line of [
        "ramforge_ha_role 0",
        "ramforge_ha_state 0",
        "ramforge_ha_joint_active 0",
        "ramforge_ha_fresh_quorum 1",
      ]) {
        expect(text.split("\n")).toContain(line);
      }
      expect(text).toMatch(/^ramforge_ha_term \d+$/m);
      expect(text).toMatch(/^ramforge_ha_epoch \d+$/m);
      expect(text).toMatch(/^ayder_ha_info\{node_id="[^"]+",role="leader",/m);
    });

    test("a linearizable read takes its own time limit", async () => {
      const topic = await client().topic();
      const path = `/broker/consume/${topic}/g/0?consistency=linearizable`;

      expect((await client().get(`${path}&timeout_ms=2000`)).json.count).toBe(0);
      await client().refused(client().get(`${path}&timeout_ms=0`), 400, "invalid_parameter");
      const unknown = client().get("/broker/consume/nothing/g/0?consistency=linearizable");
      await client().refused(unknown, 404, "topic_not_found");
    });

    test("every write concern is taken, and one node is all of them", async () => {
      const topic = await client().topic();
      const path = `/broker/topics/${topic}/produce?partition=0&ack=`;

      for (const ack of ["majority", "all"]) {
        expect((await client().post(path + ack, "x")).json).toMatchObject({ synced: true });
      }
      expect((await client().post(`${path}leader`, "x")).status).toBe(200);
      await client().refused(client().post(`${path}2`, "x"), 400, "invalid_parameter");
    });
  });
}
