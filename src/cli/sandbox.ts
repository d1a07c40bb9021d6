// `ayder sandbox`: a web page on which anybody can prove and try a node, until it is told to stop.

import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
import { type OpenSandbox, openSandbox, type SandboxOptions } from "../sandbox/mod.ts";
import type { Given } from "./parse.ts";
import { nodeEnvironment, ownProgram, type Surroundings } from "./prove.ts";
import type { Voice } from "./terminal.ts";

/** Serves the sandbox until a signal comes. Returns the exit status. */
export async function sandbox(
  { values }: Given<"sandbox">,
  surroundings: Surroundings,
  { print, complain }: Voice,
): Promise<number> {
  const stopped = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => stopped.resolve());
  await using open = listen({
    host: values.host,
    port: values.port,
    program: ownProgram(),
    env: nodeEnvironment(surroundings),
    version: surroundings.version,
    complain,
  });
  print(values.json ? JSON.stringify({ ok: true, url: open.url }) : `Sandbox: ${open.url}`);
  await stopped.promise;
  return EXIT_CODES.ok;
}

function listen(options: SandboxOptions): OpenSandbox {
  try {
    return openSandbox(options);
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message: string };
    throw new FatalError(
      code === "EADDRINUSE" ? "address_in_use" : "invalid_arguments",
      `Cannot listen on ${options.host}:${options.port}: ${message}`,
    );
  }
}
