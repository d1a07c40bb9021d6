// Looks at, and gets in the way of, the system calls of a running node.

import { waitUntil } from "./node-process.ts";

/** An observer that is attached to a process. */
interface Strace {
  /** Lets go of the process; gives what was written. */
  readonly detach: () => Promise<string>;
}

/** Whether a process can be observed here. */
export const canTrace: boolean =
  Bun.which("strace") !== null &&
  Bun.spawnSync(["strace", "-o", "/dev/null", "true"]).exitCode === 0;

async function attach(pid: number, args: readonly string[]): Promise<Strace> {
  const child = Bun.spawn(["strace", "-f", ...args, "-p", String(pid)], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  let output = "";
  const read = (async () => {
    const decoder = new TextDecoder();
    for await (const piece of child.stderr) output += decoder.decode(piece);
  })();
  await waitUntil("strace is attached", () => output.includes("attached"));
  return {
    detach: async () => {
      child.kill("SIGINT");
      await child.exited;
      await read;
      return output;
    },
  };
}

/** Lets the next sync of each thread wait so long before it happens. */
export const delayNextSync = (pid: number, milliseconds: number): Promise<Strace> => {
  const inject = `inject=fdatasync:delay_enter=${milliseconds * 1000}:when=1`;
  return attach(pid, ["-e", "trace=fdatasync", "-e", inject]);
};

/** Counts system calls by name until `counts` is asked for. */
export async function countCalls(
  pid: number,
): Promise<{ readonly counts: () => Promise<ReadonlyMap<string, number>> }> {
  const strace = await attach(pid, ["-c"]);
  return {
    counts: async () => {
      const calls = new Map<string, number>();
      for (const line of (await strace.detach()).split("\n")) {
        // % time, seconds, usecs/call, calls, errors or nothing, name.
        const columns = line.trim().split(/\s+/);
        const name = columns.at(-1) ?? "";
        if (/^[\d.]+$/.test(columns[0] ?? "") && name !== "total")
          calls.set(name, Number(columns[3]));
      }
      return calls;
    },
  };
}
