// A directory that nobody else may look into, and that is gone afterwards.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const DIRECTORY_MODE = 0o700;

/** A directory that is removed when it is no longer used. */
export interface Scratch extends Disposable {
  readonly path: string;
  /** Makes a directory in it and returns its path. */
  readonly directory: (name: string) => string;
}

/**
 * Makes a directory with a name that nobody can guess.
 * @param options.isKept It stays, for somebody who wants to look into it.
 */
export function makeScratch(purpose: string, options: { readonly isKept?: boolean } = {}): Scratch {
  // The system call behind it makes the directory with mode 0700, whatever the umask.
  const path = mkdtempSync(join(tmpdir(), `ayder-${purpose}-`));
  const remove = (): void => rmSync(path, { recursive: true, force: true });
  const isKept = options.isKept === true;
  // Also when the process exits before whoever uses it comes to an end.
  if (!isKept) process.on("exit", remove);
  return {
    path,
    directory: (name) => {
      const inner = join(path, name);
      mkdirSync(inner, { recursive: true, mode: DIRECTORY_MODE });
      return inner;
    },
    [Symbol.dispose]: () => {
      if (isKept) return;
      process.off("exit", remove);
      remove();
    },
  };
}
