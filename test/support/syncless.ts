// The program with every sync taken out, to see that a harness notices.

import { join } from "node:path";
import { temporaryDirectory } from "./real-disk.ts";

const ROOT = join(import.meta.dir, "../..");

/** What a sync is, file by file, and what stands there instead. */
const CUTS: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  "ffi-uring.ts": [["fsync: 3", "fsync: 0"]],
  "disk-worker.ts": [["fdatasyncSync(descriptor)", "undefined"]],
  "files.ts": [
    ["fsyncSync(descriptor);", ";"],
    ['this.#with(name, "r+", fsyncSync)', "undefined"],
  ],
};

/** Bundles the program without syncs. @throws Error when the sources no longer sync where they did. */
export async function syncless(): Promise<
  { readonly command: readonly string[] } & AsyncDisposable
> {
  const { path, clean } = temporaryDirectory();
  const built = await Bun.build({
    entrypoints: [join(ROOT, "src/main.ts"), join(ROOT, "src/io/disk-worker.ts")],
    outdir: path,
    naming: { entry: "[name].[ext]" },
    target: "bun",
    plugins: [{ name: "without-syncs", setup: cut }],
  });
  // The worker is asked for by the name of its source.
  await Bun.write(join(path, "disk-worker.ts"), 'import "./disk-worker.js";');
  if (!built.success) throw new Error(built.logs.join("\n"));
  return {
    command: [process.execPath, join(path, "main.js")],
    [Symbol.asyncDispose]: async () => clean(),
  };
}

function cut(build: Bun.PluginBuilder): void {
  for (const [name, places] of Object.entries(CUTS)) {
    build.onLoad({ filter: new RegExp(`/src/io/${name}$`) }, async ({ path }) => {
      let contents = await Bun.file(path).text();
      for (const [what, instead] of places) {
        if (!contents.includes(what)) throw new Error(`${name} has no ${what}`);
        contents = contents.replaceAll(what, instead);
      }
      return { contents, loader: "ts" };
    });
  }
}
