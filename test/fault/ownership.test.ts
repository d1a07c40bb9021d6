// One process owns a data directory and is the only one that serves: a second refuses, and no death leaves one behind.

import { expect, test } from "bun:test";
import { createTopic, produce, readAll } from "../support/node-client.ts";
import { program, refusedStart, startNode, waitUntil } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 60_000;
const TOPIC = "owners";

test(
  "a second process on the directory ends with data_locked and names the first, which goes on",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir });
    await createTopic(node.url, TOPIC, 1);

    const second = await refusedStart({ dataDir });

    expect(second.code).toBe(8);
    expect(second.fatal?.reason).toBe("data_locked");
    expect(second.fatal?.message).toContain(`process ${node.pid} `);
    expect((await produce(node.url, { topic: TOPIC }, "still here")).status).toBe(200);
    expect(await readAll(node.url, TOPIC, 0)).toHaveLength(1);
    clean();
  },
  TEST_MS_MAX,
);

test(
  "after SIGKILL nothing serves any more and the directory can be opened at once",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await using first = await startNode({ dataDir });
    await createTopic(first.url, TOPIC, 1);
    await produce(first.url, { topic: TOPIC }, "kept");

    await first.kill("SIGKILL");
    const { url } = first;
    await using second = await startNode({ dataDir });

    expect(await fetch(`${url}/health`).catch(() => "nobody")).toBe("nobody");
    expect(await readAll(second.url, TOPIC, 0)).toEqual([{ offset: 0, value: "kept" }]);
    clean();
  },
  TEST_MS_MAX,
);

test(
  "a node is one process: killing it by the number that its shell knows leaves no orphan that serves",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    // `sh` starts the node in the background, says its number, and is killed; then so is that one number.
    const script = `"$@" 2>/dev/null & echo $!; wait`;
    const shell = Bun.spawn(
      ["sh", "-c", script, "sh", ...program, "--port", "0", "--data", dataDir],
      { stdout: "pipe", stderr: "ignore" },
    );
    const { value } = await shell.stdout.getReader().read();
    const pid = Number(new TextDecoder().decode(value));
    await waitUntil(
      "the node holds its directory",
      async () =>
        (await Bun.file(`${dataDir}/lock`)
          .text()
          .catch(() => "")) === `${pid}\n`,
    );
    const children = await Bun.file(`/proc/${pid}/task/${pid}/children`).text();

    shell.kill("SIGKILL");
    await shell.exited;
    process.kill(pid, "SIGKILL");
    // Whoever inherits it may leave it a zombie for a while: then it has no command line any more.
    const cmdline = (): Promise<string> => Bun.file(`/proc/${pid}/cmdline`).text();
    await waitUntil("it has ended", async () => (await cmdline().catch(() => "")) === "");
    await using node = await startNode({ dataDir });

    expect(children.trim()).toBe("");
    expect(node.isAlive()).toBe(true);
    clean();
  },
  TEST_MS_MAX,
);
