// Compiles Ayder into one executable per target, with liburing inside.
//
//   bun build.ts                          the host's target
//   bun build.ts --target linux-x64-musl  another one; may be given more than once
//   bun build.ts --all                    all of them
//
// The same commit gives the same bytes, wherever it is built: `dist/SHA256SUMS` says which.
// A machine that cannot build liburing still gets a working binary: it then writes through a worker thread.

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { $ } from "bun";

/** Processor architectures, by Bun's names, and the prefix of the tools that build C for them on this host. */
const TOOL_PREFIX = {
  x64: process.arch === "x64" ? "" : "x86_64-linux-gnu-",
  arm64: process.arch === "arm64" ? "" : "aarch64-linux-gnu-",
} as const;

type Architecture = keyof typeof TOOL_PREFIX;

/** What can be built. The musl binaries need `libstdc++` on the machine that runs them. */
const TARGETS = {
  "linux-x64": { bun: "bun-linux-x64", architecture: "x64" },
  "linux-arm64": { bun: "bun-linux-arm64", architecture: "arm64" },
  "linux-x64-musl": { bun: "bun-linux-x64-musl", architecture: "x64" },
  "linux-arm64-musl": { bun: "bun-linux-arm64-musl", architecture: "arm64" },
} as const satisfies Record<string, { bun: Bun.Build.CompileTarget; architecture: Architecture }>;

type TargetName = keyof typeof TARGETS;

const ROOT = import.meta.dir;
const DIST = join(ROOT, "dist");

/**
 * Compiles one executable.
 * @param options.entry The program; the workers that it starts are added here.
 * @param options.library The liburing to embed, or undefined for none.
 * @throws AggregateError with Bun's messages when a source does not compile.
 */
export async function compile(options: {
  readonly entry: string;
  readonly target: TargetName;
  readonly library: string | undefined;
  readonly outfile: string;
}): Promise<void> {
  const { entry, target, library, outfile } = options;
  const { version } = (await Bun.file(join(ROOT, "package.json")).json()) as { version: string };
  await Bun.build({
    // A worker that is not listed here is not in the binary.
    entrypoints: [entry, join(ROOT, "src/io/disk-worker.ts")],
    // Flat, because in the binary all modules of the program say that they lie at the root: a worker's
    // `new URL("./disk-worker.ts", import.meta.url)` finds nothing in a folder. So workers have names of their own.
    naming: { entry: "[name].[ext]" },
    minify: true,
    bytecode: true,
    // Bytecode alone would mean CommonJS, which has no top-level await.
    format: "esm",
    define: {
      "process.env.NODE_ENV": '"production"',
      AYDER_VERSION: JSON.stringify(version),
      AYDER_COMMIT: JSON.stringify(await commit()),
      AYDER_TARGET: JSON.stringify(target),
    },
    compile: {
      target: TARGETS[target].bun,
      outfile,
      // A `.env` or `bunfig.toml` of the folder in which the server is started is none of its business.
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
    plugins: [{ name: "embed-liburing", setup: (build) => embed(build, library) }],
  });
}

/** Puts the built library in the place of `src/io/embedded.ts`, which a run from source sees as it is. */
function embed(build: Bun.PluginBuilder, library: string | undefined): void {
  if (library === undefined) return;
  build.onLoad({ filter: /\/src\/io\/embedded\.ts$/ }, () => ({
    loader: "ts",
    contents: `import path from ${JSON.stringify(library)} with { type: "file" };
export const liburingPath: string | undefined = path;`,
  }));
}

/** The short commit that is built; a container's build has no checkout and is told. */
async function commit(): Promise<string> {
  const { AYDER_COMMIT: told } = process.env;
  if (told !== undefined && told !== "") return told;
  const git = await $`git -C ${ROOT} rev-parse --short=12 HEAD`.nothrow().quiet();
  return git.exitCode === 0 ? git.text().trim() : "unknown";
}

/**
 * Finds liburing for an architecture in `dist/`, or builds it there.
 * @returns Its path, or undefined when this machine cannot build it: the reason is printed.
 */
export async function findLiburing(architecture: Architecture): Promise<string | undefined> {
  const path = join(DIST, `liburing-${architecture}.so`);
  if (existsSync(path)) return path;
  const tools = ["apt-get", "make", "tar", `${TOOL_PREFIX[architecture]}gcc`];
  const missing = tools.filter((tool) => Bun.which(tool) === null);
  const without = "the binary will carry no liburing and write through a worker thread";
  if (missing.length > 0) {
    console.log(
      `liburing ${architecture}: cannot build it without ${missing.join(", ")}: ${without}`,
    );
    return undefined;
  }
  try {
    await buildLiburing(architecture, path);
    console.log(`liburing ${architecture}: built ${path}`);
    return path;
  } catch (error) {
    console.log(`liburing ${architecture}: cannot build it: ${without}\n  ${describe(error)}`);
    return undefined;
  }
}

/** Says in one line what a failed command wrote. */
function describe(error: unknown): string {
  if (error instanceof $.ShellError)
    return (error.stderr.toString().trim() || error.message).slice(-500);
  return error instanceof Error ? error.message : String(error);
}

/**
 * Builds liburing from the source package of Debian trixie, through an apt of its own: own sources, lists and
 * cache, so that the system's stays as it was. Signatures are checked with Debian's keyring.
 * The source package, because its `liburing-ffi` is free of any libc: one file serves glibc and musl.
 */
async function buildLiburing(architecture: Architecture, out: string): Promise<void> {
  const prefix = TOOL_PREFIX[architecture];
  const work = await mkdtemp(join(tmpdir(), "liburing-"));
  try {
    const source = await fetchLiburing(work);
    await $`sh ./configure --cc=${prefix}gcc --cxx=${prefix}g++`.cwd(source).quiet();
    await $`make -C src ${"CFLAGS=-O2 -fPIC"}`.cwd(source).quiet();
    const built = [...new Bun.Glob("liburing-ffi.so.2.*").scanSync(join(source, "src"))][0];
    if (built === undefined) throw new Error("Cannot find liburing-ffi.so in the build");
    const stripped = join(work, "liburing.so");
    await $`${prefix}strip --strip-unneeded -o ${stripped} ${join(source, "src", built)}`.quiet();
    const needs = (await $`${prefix}readelf -d ${stripped}`.text()).includes("(NEEDED)");
    const undefinedNames = (await $`${prefix}nm -D --undefined-only ${stripped}`.text()).trim();
    if (needs || undefinedNames !== "") {
      throw new Error(`Cannot use ${built}: it depends on a libc ${undefinedNames}`);
    }
    await mkdir(DIST, { recursive: true });
    // Copied beside its place first: two builds at once must not see half a library.
    await $`cp ${stripped} ${out}.${process.pid}`.quiet();
    await rename(`${out}.${process.pid}`, out);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Downloads and unpacks the source package; returns its folder. */
async function fetchLiburing(work: string): Promise<string> {
  const system = await Bun.file("/etc/os-release").text();
  const release = /^VERSION_CODENAME=(\w+)/m.exec(system)?.[1];
  // The mirror that this machine's apt uses. This prints addresses only and touches neither lists nor network.
  const addresses = await $`apt-get update --print-uris`.quiet().text();
  const mirror = new RegExp(`^'(.*)/dists/${release}/InRelease'`, "m").exec(addresses)?.[1];
  if (mirror === undefined) {
    throw new Error(`Cannot find a Debian mirror for ${release} in apt's sources`);
  }
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  await Bun.write(
    join(work, "sources.list"),
    `deb-src [signed-by=${keyring}] ${mirror} trixie main\n`,
  );
  await Bun.write(join(work, "status"), "");
  const settings = [
    `Dir::Etc::sourcelist "${work}/sources.list";`,
    `Dir::Etc::sourceparts "-";`,
    `Dir::State "${work}/state";`,
    `Dir::State::status "${work}/status";`,
    `Dir::Cache "${work}/cache";`,
    `APT::Sandbox::User "root";`,
    `Acquire::Languages "none";`,
  ];
  await Bun.write(join(work, "apt.conf"), settings.join("\n"));
  await $`mkdir -p ${work}/state/lists/partial ${work}/cache/archives/partial ${work}/src`;
  const environment = { ...process.env, APT_CONFIG: join(work, "apt.conf") };
  await $`apt-get -qq update`.env(environment).quiet();
  await $`apt-get -qq source --download-only liburing`.cwd(work).env(environment).quiet();
  await $`sh -c "tar -xzf liburing_*.orig.tar.gz -C src --strip-components=1"`.cwd(work).quiet();
  return join(work, "src");
}

/** The target of the machine that builds. */
function hostTarget(): TargetName {
  const musl = existsSync("/etc/alpine-release") ? "-musl" : "";
  return `linux-${process.arch === "arm64" ? "arm64" : "x64"}${musl}`;
}

/** Reads which targets are asked for. */
function chosenTargets(): TargetName[] {
  const { values } = parseArgs({
    options: {
      all: { type: "boolean", default: false },
      target: { type: "string", multiple: true, default: [] },
    },
  });
  const known = Object.keys(TARGETS) as TargetName[];
  if (values.all) return known;
  if (values.target.length === 0) return [hostTarget()];
  return values.target.map((name) => {
    const target = known.find((one) => one === name);
    if (target === undefined) {
      throw new Error(`Cannot build for ${name}: the targets are ${known.join(", ")}`);
    }
    return target;
  });
}

/** Writes down the checksums of all executables in `dist/`, as `sha256sum --check SHA256SUMS` reads them. */
async function writeChecksums(): Promise<void> {
  const lines: string[] = [];
  for (const target of Object.keys(TARGETS)) {
    const name = `ayder-${target}`;
    const file = Bun.file(join(DIST, name));
    if (!(await file.exists())) continue;
    const hasher = new Bun.CryptoHasher("sha256");
    for await (const bytes of file.stream()) hasher.update(bytes);
    lines.push(`${hasher.digest("hex")}  ${name}\n`);
  }
  await Bun.write(join(DIST, "SHA256SUMS"), lines.join(""));
}

if (import.meta.main) {
  for (const target of chosenTargets()) {
    const started = performance.now();
    const library = await findLiburing(TARGETS[target].architecture);
    const outfile = join(DIST, `ayder-${target}`);
    await compile({ entry: join(ROOT, "src/main.ts"), target, library, outfile });
    const bytes = Bun.file(outfile).size;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(
      `${target}: ${outfile}, ${(bytes / 1e6).toFixed(1)} MB, ${seconds} s, ` +
        `liburing ${library === undefined ? "absent" : "embedded"}`,
    );
  }
  await writeChecksums();
}
