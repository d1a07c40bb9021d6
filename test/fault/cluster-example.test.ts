// The three nodes of the documentation, pasted as they stand there but for the ports.

import { expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../support/cluster-network.ts";
import { program, within } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 60_000;
const DOCUMENT = join(import.meta.dir, "../../docs/operating/cluster.md");
/** Ports of the document. */
const PORTS = ["1109", "1110", "1111", "7001", "7002", "7003"];

test.if(program.length === 1)(
  "the commands of docs/operating/cluster.md form a cluster, and the record is read from all three nodes",
  async () => {
    const text = await Bun.file(DOCUMENT).text();
    const block = /<!-- three nodes -->\n```sh\n([\s\S]*?)```/.exec(text)?.[1] ?? "";
    const free = freePorts("127.0.0.1", PORTS.length);
    const script = PORTS.reduce(
      (commands, port, i) => commands.replaceAll(new RegExp(`\\b${port}\\b`, "g"), String(free[i])),
      block,
    );
    const { path, clean } = temporaryDirectory();
    symlinkSync(program[0] as string, join(path, "ayder"));
    const { PATH = "", HOME = "/" } = process.env;

    // In a group of its own: the nodes outlive their shell, and end with the group.
    const shell = Bun.spawn(["setsid", "sh", "-ec", script], {
      cwd: path,
      env: { PATH, HOME },
      stdin: "ignore",
      stdout: Bun.file(join(path, "output")),
      stderr: Bun.file(join(path, "errors")),
    });
    let output = "";
    try {
      const code = await within(TEST_MS_MAX / 2, "the commands end", shell.exited);
      output = await Bun.file(join(path, "output")).text();
      expect(code, await Bun.file(join(path, "errors")).text()).toBe(0);
    } finally {
      process.kill(-shell.pid, "SIGKILL");
    }

    const replies = output
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(replies).toHaveLength(6);
    const [membership, topic, produced, ...reads] = replies;
    expect(membership).toMatchObject({ ok: true, membership: { node_count: 3 } });
    expect(topic).toMatchObject({ ok: true, topic: "orders", partitions: 8 });
    expect(produced).toMatchObject({ ok: true, offset: 0, partition: 0, synced: true });
    for (const read of reads)
      expect(read).toMatchObject({
        count: 1,
        messages: [{ offset: 0, value: '{"item":"widget"}' }],
      });
    clean();
  },
  TEST_MS_MAX,
);
