// Backups of the running program under load: what was acknowledged before one is in it, what is restored shows the state of
// the source, takes writes and survives a kill; what is cut or damaged is refused; a cluster that lost a majority comes back.

import { expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Prng } from "../../src/lib/prng.ts";
import { makeTopic, names, store, valuesOf } from "../support/cluster-client.ts";
import { startCluster } from "../support/cluster-process.ts";
import {
  call,
  commit,
  createTopic,
  metrics,
  produce,
  produceBatch,
  readAll,
} from "../support/node-client.ts";
import { program, SMALL_SEGMENTS, startNode, waitUntil } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 120_000;
const TOPIC = "kept";
const DAMAGED = 12;
const WRONG_ARGUMENTS = 64;

interface Printed {
  readonly ok?: boolean;
  readonly applied_index?: number;
  readonly state_hash?: string | null;
}

/** Runs a command of the program and takes what it prints. */
async function run(
  ...argv: readonly string[]
): Promise<{ code: number; text: string; json: Printed }> {
  const ran = Bun.spawn([...program, ...argv], { stdout: "pipe", stderr: "pipe" });
  const [text, complaints, code] = await Promise.all([
    ran.stdout.text(),
    ran.stderr.text(),
    ran.exited,
  ]);
  // What goes wrong is said beside the output.
  expect(complaints === "").toBe(code === 0);
  return { code, text: text + complaints, json: text.startsWith("{") ? JSON.parse(text) : {} };
}

const hashOf = async (url: string): Promise<string> =>
  ((await (await call(url, "/admin/state-hash")).json()) as { readonly hash: string }).hash;

/** Writes, commits and changes topics until it is told to stop. Keeps what was acknowledged, by value. */
class Busy {
  readonly stored = new Map<string, number>();
  committed = -1;
  isOver = false;
  readonly #url: string;
  readonly #done: Promise<unknown>;

  constructor(url: string, bytes: number) {
    this.#url = url;
    const random = new Prng(7);
    this.#done = Promise.all([
      this.#write(0, bytes, random),
      this.#write(1, bytes, random),
      this.#change(),
    ]);
  }

  async #write(writer: number, bytes: number, random: Prng): Promise<void> {
    for (let i = 0; !this.isOver; i++) {
      const value = `${writer} ${i} `.padEnd(1 + random.below(bytes), "v");
      const reply = await produce(this.#url, { topic: TOPIC, partition: 0 }, value);
      expect(reply.status).toBe(200);
      this.stored.set(value, reply.offset);
      if (random.below(20) > 0) continue;
      expect(await commit(this.#url, TOPIC, "g", 0, reply.offset)).toBe(200);
      this.committed = Math.max(this.committed, reply.offset);
    }
  }

  async #change(): Promise<void> {
    for (let i = 0; !this.isOver; i++) {
      await createTopic(this.#url, `passing.${i}`, 3);
      await produceBatch(this.#url, { topic: `passing.${i}`, partition: 1 }, ["a", "b"]);
      await call(this.#url, `/broker/topics/passing.${i}`, { method: "DELETE" });
    }
  }

  async end(): Promise<void> {
    this.isOver = true;
    await this.#done;
  }
}

/** Everything that was acknowledged is there, where it was said to be. */
async function expectKept(url: string, stored: ReadonlyMap<string, number>): Promise<void> {
  const found = new Map((await readAll(url, TOPIC, 0)).map(({ offset, value }) => [value, offset]));
  for (const [value, offset] of stored)
    if (found.get(value) !== offset) throw new Error(`${value.slice(0, 20)} is not at ${offset}`);
}

test(
  "a backup of a busy node holds what was acknowledged before; what is restored goes on and survives a kill",
  async () => {
    const { path, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir: join(path, "source"), env: SMALL_SEGMENTS });
    await createTopic(node.url, TOPIC, 1);
    const busy = new Busy(node.url, 60_000);
    for (let round = 0; round < 3; round++) {
      await Bun.sleep(700);
      const before = new Map(busy.stored);
      const { committed } = busy;
      const put = await call(node.url, "/kv/app/round", { method: "POST", body: `${round}` });
      expect(put.status).toBe(200);
      const file = join(path, `${round}.backup`);
      const directory = join(path, `restored ${round}`);
      const taken = await run("backup", node.url, file, "--json");
      expect(taken.code, taken.text).toBe(0);
      expect(readdirSync(path).filter((name) => name.endsWith(".partial"))).toEqual([]);

      const made = await run("restore", file, directory, "--json");

      expect(made.code, made.text).toBe(0);
      expect(made.json.applied_index).toBe(taken.json.applied_index);
      expect(made.json.state_hash).toBe(taken.json.state_hash as string);
      {
        await using other = await startNode({ dataDir: directory, env: SMALL_SEGMENTS });
        expect(await hashOf(other.url)).toBe(taken.json.state_hash as string);
        await expectKept(other.url, before);
        const key = await (await call(other.url, "/kv/app/round")).json();
        expect(key).toEqual({ value: btoa(`${round}`), cas: round + 1 });
        const page = await (await call(other.url, `/broker/consume/${TOPIC}/g/0`)).json();
        const shown = (page as { readonly committed_offset: number | null }).committed_offset;
        expect(shown ?? -1).toBeGreaterThanOrEqual(committed);
        for (let i = 0; i < 200; i++) {
          const value = `later ${i}`.padEnd(10_000, ".");
          const reply = await produce(other.url, { topic: TOPIC, partition: 0 }, value);
          expect(reply.status).toBe(200);
          before.set(value, reply.offset);
        }
        await other.kill("SIGKILL");
      }
      await using again = await startNode({ dataDir: directory, env: SMALL_SEGMENTS });
      await expectKept(again.url, before);
    }
    await busy.end();
    const text = await (await call(node.url, "/metrics")).text();
    expect(text).toContain("ayder_backups_finished_total 3");
    expect(text).toContain("ayder_backups_running 0");
    clean();
  },
  TEST_MS_MAX,
);

test(
  "a backup of a node that has given space back holds what it moved, and restores to an equal hash",
  async () => {
    const { path, clean } = temporaryDirectory();
    const env = { ...SMALL_SEGMENTS, RF_SEGMENTS_KEPT: "1" };
    await using node = await startNode({ dataDir: join(path, "source"), env });
    await createTopic(node.url, TOPIC, 1);
    await createTopic(node.url, "flow", 1);
    const stored = new Map<string, number>();
    const batch = Array.from({ length: 20 }, (_, i) => `${i}`.padEnd(20_000, "."));
    const limit = JSON.stringify({ topic: "flow", max_bytes: 1 << 20 });
    await call(node.url, "/broker/retention", { method: "POST", body: limit });
    for (let i = 0; i < 60; i++) {
      await produceBatch(node.url, { topic: "flow", partition: 0 }, batch);
      const value = `kept ${i}`.padEnd(8000, ".");
      stored.set(value, (await produce(node.url, { topic: TOPIC, partition: 0 }, value)).offset);
      await call(node.url, `/kv/app/key${i % 7}`, { method: "POST", body: value });
    }
    await waitUntil("records are moved", async () => {
      await call(node.url, "/admin/compact", { method: "POST" });
      const [archives = 0, compacted = 0] = await metrics(node.url, [
        "ayder_archives",
        "ayder_log_compacted_index",
      ]);
      return archives > 0 && compacted > 0;
    });

    const busy = new Busy(node.url, 20_000);
    const file = join(path, "moved.backup");
    const taken = await run("backup", node.url, file, "--json");
    await busy.end();
    expect(taken.code, taken.text).toBe(0);
    const directory = join(path, "restored");
    const made = await run("restore", file, directory, "--json");

    expect(made.code, made.text).toBe(0);
    await using other = await startNode({ dataDir: directory, env });
    expect(await hashOf(other.url)).toBe(taken.json.state_hash as string);
    await expectKept(other.url, stored);
    await other.kill("SIGKILL");
    clean();
  },
  TEST_MS_MAX,
);

test(
  "a backup that is cut off or damaged is refused by name, and leaves nothing; so is a directory with something in it",
  async () => {
    const { path, clean } = temporaryDirectory();
    const file = join(path, "whole");
    {
      await using node = await startNode({ dataDir: join(path, "source"), env: SMALL_SEGMENTS });
      await createTopic(node.url, TOPIC, 1);
      for (let i = 0; i < 60; i++)
        await produce(node.url, { topic: TOPIC, partition: 0 }, `${i}`.padEnd(50_000, "."));
      expect((await run("backup", node.url, file)).code).toBe(0);
      const refused = await run("backup", node.url, join(path, "no"), "--token", "wrong");
      expect(refused).toMatchObject({ code: 1 });
      expect(refused.text).toContain("unauthorized");
    }
    const unreachable = await run("backup", "http://127.0.0.1:9", join(path, "no"));
    expect(unreachable.code).toBe(1);
    expect(existsSync(join(path, "no.partial"))).toBe(false);

    const bytes = readFileSync(file);
    const random = new Prng(3);
    const directory = join(path, "restored");
    const damaged = join(path, "damaged");
    for (let i = 0; i < 12; i++) {
      writeFileSync(damaged, bytes);
      if (i % 2 === 0) truncateSync(damaged, random.below(bytes.length));
      else {
        const changed = Buffer.from(bytes);
        const at = random.below(bytes.length);
        changed[at] = (changed[at] as number) ^ (1 << random.below(8));
        writeFileSync(damaged, changed);
      }
      const { code, text } = await run("restore", damaged, directory);
      expect({ code, text: text.slice(0, 25) }).toEqual({
        code: DAMAGED,
        text: "Cannot use the backup: at",
      });
      expect(readdirSync(directory)).toEqual([]);
    }
    mkdirSync(join(path, "other"));
    writeFileSync(join(path, "other", "mine"), "mine");
    expect((await run("restore", file, join(path, "other"))).code).toBe(10);
    expect(readdirSync(join(path, "other"))).toEqual(["mine"]);
    expect((await run("restore", file)).code).toBe(WRONG_ARGUMENTS);
    expect((await run("restore", file, directory)).code).toBe(0);
    clean();
  },
  TEST_MS_MAX,
);

test(
  "a reader that goes away in the middle costs nothing but its own backup",
  async () => {
    const { path, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir: path, env: SMALL_SEGMENTS });
    await createTopic(node.url, TOPIC, 1);
    const batch = Array.from({ length: 50 }, (_, i) => `${i}`.padEnd(10_000, "."));
    for (let i = 0; i < 60; i++)
      await produceBatch(node.url, { topic: TOPIC, partition: 0 }, batch);
    for (let i = 0; i < 5; i++) {
      const reply = await call(node.url, "/admin/backup");
      expect(reply.status).toBe(200);
      const reader = reply.body?.getReader();
      await reader?.read();
      await reader?.cancel();
      for (let waits = 0; waits < 200; waits++) {
        const text = await (await call(node.url, "/metrics")).text();
        if (text.includes("ayder_backups_running 0")) break;
        await Bun.sleep(20);
      }
    }
    const file = join(path, "..", `${Bun.hash(path)}.backup`);
    expect((await run("backup", node.url, file)).code).toBe(0);
    const text = await (await call(node.url, "/metrics")).text();
    expect(text).toContain("ayder_backups_failed_total 5");
    clean();
  },
  TEST_MS_MAX,
);

test(
  "a cluster that lost everything but the backup of a follower comes back from it, node by node",
  async () => {
    const { path, clean } = temporaryDirectory();
    await using cluster = await startCluster({ env: SMALL_SEGMENTS });
    await makeTopic(cluster, TOPIC);
    const [follower] = await cluster.followers();
    if (follower === undefined) throw new Error("Nobody follows");
    const leader = await cluster.leader();
    const busy = new Busy(leader.url, 20_000);
    await Bun.sleep(1500);
    const before = new Map(busy.stored);
    // What a follower has applied may lag; what it is known to have is in its backup.
    const index = (await leader.stateHash())?.index ?? 0;
    await cluster.until(
      "the follower has it",
      async () => ((await follower.stateHash())?.index ?? 0) >= index || undefined,
    );
    const file = join(path, "follower.backup");
    const taken = await run("backup", follower.url, file, "--json");
    expect(taken.code, taken.text).toBe(0);
    await busy.end();
    for (const node of cluster.nodes) await node.kill("SIGKILL");
    for (const node of cluster.nodes) node.wipe();

    const first = cluster.node(0);
    const made = await run("restore", file, first.dataDir, "--node-id", first.id, "--json");
    expect(made.code, made.text).toBe(0);
    expect(made.json.state_hash).toBe(taken.json.state_hash as string);
    first.start();
    await cluster.ready([first]);
    expect((await first.stateHash())?.hash).toBe(taken.json.state_hash as string);
    await expectKept(first.url, before);
    for (const node of cluster.nodes.slice(1)) {
      node.start();
      const body = {
        node_id: node.id,
        advertise_addr: node.raftAddress,
        http_addr: node.url,
        priority: 100,
      };
      expect((await cluster.change("membership/add", body)).status).toBe(200);
      // Who votes before it has anything is one more to wait for.
      await cluster.until(`${node.id} has caught up`, async () => {
        const metrics = await first.haMetrics();
        const lag = metrics.get(`ayder_ha_peer_lag_entries{peer="${node.id}"}`);
        const isFilled = metrics.get(`ayder_ha_peer_state{peer="${node.id}",state="replicate"}`);
        return lag === 0 && isFilled === 1 ? true : undefined;
      });
      const promoted = await cluster.change("membership/promote", { node_id: node.id });
      expect(promoted.status).toBe(200);
    }
    await cluster.ready();
    await store(cluster, TOPIC, names("after", 20));
    await cluster.same();
    await first.kill("SIGKILL");
    await cluster.leader();
    for (const node of cluster.running) {
      await expectKept(node.url, before);
      expect((await valuesOf(node, TOPIC)).slice(-20)).toEqual([...names("after", 20)]);
    }
    clean();
  },
  TEST_MS_MAX,
);
