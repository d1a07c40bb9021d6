// Turns what the kernel says into the words of the Disk port. The only place that knows error numbers of files.

import { constants } from "node:os";
import { FileError, type FileErrorKind } from "../log/mod.ts";

const KINDS: Readonly<Record<string, FileErrorKind>> = {
  ENOENT: "not_found",
  EEXIST: "exists",
  ENOSPC: "no_space",
  EDQUOT: "no_space",
  EROFS: "read_only",
  EACCES: "denied",
  EPERM: "denied",
};

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/** The name of an error number, such as `ENOSPC` for 28. */
export const errnoName = (errno: number): string => NAMES.get(errno) ?? `errno ${errno}`;

/**
 * Makes the error of a failed act.
 * @param code The kernel's name for it, such as `ENOSPC`.
 * @param act What could not be done to what: `write 512 bytes at 0 of log-1`.
 */
export function fileError(code: string, act: string, options?: ErrorOptions): FileError {
  return new FileError(KINDS[code] ?? "io", `Cannot ${act}: ${code}`, options);
}

/** Does a file call, and throws what went wrong as a `FileError`. */
export function attempt<T>(act: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw asFileError(error, act);
  }
}

/** Sees any thrown thing as a `FileError`; what is one already stays as it is. */
export function asFileError(error: unknown, act: string): FileError {
  if (error instanceof FileError) return error;
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  if (typeof code === "string") return fileError(code, act, { cause: error });
  const message = error instanceof Error ? error.message : String(error);
  return new FileError("io", `Cannot ${act}: ${message}`, { cause: error });
}
