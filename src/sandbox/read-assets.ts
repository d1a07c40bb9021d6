// Reads the page's files while the program is compiled, so that they lie in it as text. TypeScript becomes what browsers
// run. It runs in the bundler, never in the program.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A file of the page, ready to be sent. */
export interface Asset {
  readonly type: string;
  readonly text: string;
}

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  // Modules name each other with their own ending, and browsers go by the type alone.
  ts: "text/javascript; charset=utf-8",
};

/** All files of the page by path; the page itself is `/`. */
export function readAssets(): Record<string, Asset> {
  const directory = join(import.meta.dir, "page");
  const transpiler = new Bun.Transpiler({ loader: "ts", target: "browser" });
  const assets: Record<string, Asset> = {};
  for (const name of readdirSync(directory)) {
    const ending = name.slice(name.lastIndexOf(".") + 1);
    const type = TYPES[ending];
    if (type === undefined) continue;
    const source = readFileSync(join(directory, name), "utf8");
    const text = ending === "ts" ? transpiler.transformSync(source) : source;
    assets[name === "index.html" ? "/" : `/${name}`] = { type, text };
  }
  return assets;
}
