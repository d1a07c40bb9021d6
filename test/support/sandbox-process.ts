// `ayder sandbox` as a process, on a free port, with scratch directories in a place of its own.

import { program, waitUntil } from "./node-process.ts";
import { processesOf } from "./processes-of.ts";
import { temporaryDirectory } from "./real-disk.ts";

/** A sandbox that runs. */
export interface RunningSandbox extends AsyncDisposable {
  readonly url: string;
  /** Where it makes its scratch directories. */
  readonly scratch: string;
  readonly kill: (signal: "SIGTERM" | "SIGINT" | "SIGKILL") => Promise<number>;
}

/** Starts a sandbox and waits until it says where it is. */
export async function startSandbox(): Promise<RunningSandbox> {
  const { path, clean } = temporaryDirectory();
  const child = Bun.spawn([...program, "sandbox", "--port", "0", "--json"], {
    env: { ...process.env, TMPDIR: path },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = child.stdout.getReader();
  const said = new TextDecoder().decode((await reader.read()).value);
  const { url } = JSON.parse(said) as { readonly url: string };
  const kill = async (signal: "SIGTERM" | "SIGINT" | "SIGKILL"): Promise<number> => {
    child.kill(signal);
    return await child.exited;
  };
  return {
    url,
    scratch: path,
    kill,
    [Symbol.asyncDispose]: async () => {
      await kill("SIGTERM");
      await waitUntil("its nodes have ended", () => processesOf(path).length === 0);
      clean();
    },
  };
}
