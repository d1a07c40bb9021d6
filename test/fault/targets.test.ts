// The executables: the same bytes when built twice, and each that lies in `dist/` runs where it is meant to, through
// test/targets.sh. A target that is not built, or whose loader or emulator is not here, is skipped by its name.

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { compile, findLiburing } from "../../build.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const ROOT = join(import.meta.dir, "../..");
const SCRIPT = join(ROOT, "test/targets.sh");
const TARGET_MS_MAX = 180_000;

/** The tools that each target takes here. The host's own is what all other tests run. */
const TARGETS: Readonly<Record<string, readonly string[]>> = {
  "linux-x64-musl": ["curl", "gcc", "nm", "musl-gcc"],
  "linux-arm64": ["curl", "qemu-aarch64-static"],
  "linux-arm64-musl": ["curl", "qemu-aarch64-static", "aarch64-linux-gnu-gcc", "nm", "dpkg-deb"],
};

const isHere = (target: string, tools: readonly string[]): boolean =>
  process.arch === "x64" &&
  existsSync(join(ROOT, `dist/ayder-${target}`)) &&
  tools.every((tool) => Bun.which(tool) !== null);

describe("executables", () => {
  for (const [target, tools] of Object.entries(TARGETS)) {
    test.if(isHere(target, tools))(
      `the one for ${target} starts, keeps what it acknowledged through SIGKILL, and passes test/smoke.sh`,
      async () => {
        const child = Bun.spawn(["sh", SCRIPT, target], { stdout: "pipe", stderr: "pipe" });
        const [printed, complaints] = await Promise.all([child.stdout.text(), child.stderr.text()]);

        expect(await child.exited, `${printed}${complaints}`).toBe(0);
        expect(printed).toMatch(/ {2}good|SKIPPED: /);
        expect(printed).not.toContain("FAILED");
      },
      TARGET_MS_MAX,
    );
  }

  test("are the same bytes when they are built twice", async () => {
    const { path, clean } = temporaryDirectory();
    const entry = join(ROOT, "src/main.ts");
    const library = await findLiburing("x64");
    const sums: string[] = [];
    for (const place of ["one", "other"]) {
      // Another name would be other bytes; another folder is not.
      const outfile = join(path, place, "ayder");
      await compile({ entry, target: "linux-x64", library, outfile });
      sums.push(
        new Bun.CryptoHasher("sha256").update(await Bun.file(outfile).bytes()).digest("hex"),
      );
    }

    expect(sums[0]).toBe(sums[1] ?? "");
    clean();
  }, 60_000);
});
