// The Dockerfiles against the sources: what is compiled in must be copied first, and not be kept out of the context.

import { expect, test } from "bun:test";
import { dirname, join, normalize } from "node:path";

const OUTSIDE = /from "((?:\.\.\/)+[^"]+)"/g;

/** Files and folders beside `src` that something in it imports. */
async function importedFromOutside(): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for await (const file of new Bun.Glob("**/*.ts").scan("src")) {
    for (const [, path = ""] of (await Bun.file(join("src", file)).text()).matchAll(OUTSIDE)) {
      const target = normalize(join("src", dirname(file), path));
      if (!target.startsWith("src/")) found.add(target.split("/")[0] ?? "");
    }
  }
  return found;
}

test.each(["Dockerfile", "Dockerfile.musl"])(
  "%s copies all that the sources import",
  async (name) => {
    const copied = [
      ...(await Bun.file(name).text()).matchAll(/^COPY (?!--from)(.*) \S+$/gm),
    ].flatMap(([, words = ""]) => words.split(" "));
    const letIn = (await Bun.file(".dockerignore").text()).split("\n");

    const needed = [
      ...(await importedFromOutside()),
      "src",
      "build.ts",
      "package.json",
      "bun.lock",
    ];
    expect(needed).toContain("docs");
    expect(needed.filter((path) => !copied.includes(path))).toEqual([]);
    expect(copied.filter((path) => !letIn.includes(`!${path}`))).toEqual([]);
  },
);
