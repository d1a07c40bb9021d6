// The sandbox's page in a browser: the button and its verdict, the keyboard alone, light and dark, wide and narrow.
// Screenshots stay in `test/artefacts`.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { type RunningSandbox, startSandbox } from "../support/sandbox-process.ts";

const ARTEFACTS = join(import.meta.dir, "../artefacts");
const CHROMIUM = Bun.which("chromium");
const TEST_MS_MAX = 90_000;
const VERDICT_MS_MAX = 60_000;
const WIDE = { width: 1100, height: 900 };
const NARROW = { width: 400, height: 800 };

describe.skipIf(CHROMIUM === null)("the page of the sandbox, in Chromium", () => {
  let sandbox: RunningSandbox;
  let browser: Browser;

  beforeAll(async () => {
    mkdirSync(ARTEFACTS, { recursive: true });
    sandbox = await startSandbox();
    browser = await chromium.launch({
      executablePath: CHROMIUM ?? "",
      args: ["--no-sandbox", "--disable-gpu"],
    });
  }, TEST_MS_MAX);

  afterAll(async () => {
    await browser.close();
    await sandbox[Symbol.asyncDispose]();
  });

  /** Opens the page as a new visitor, and fails on whatever the browser complains of or asks of others. */
  async function visit(
    options: Parameters<Browser["newContext"]>[0],
    look: (page: Page) => Promise<void>,
  ): Promise<void> {
    const context = await browser.newContext({ viewport: WIDE, ...options });
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(sandbox.url)) complaints.push(request.url());
    });
    await page.goto(sandbox.url);
    await page.getByText("Ready. A cluster of 1").waitFor();
    await look(page);
    expect(complaints).toEqual([]);
    await page.getByRole("button", { name: "Start over" }).click();
    await context.close();
  }

  const isNoWider = (page: Page): Promise<boolean> =>
    page.evaluate("document.documentElement.scrollWidth <= window.innerWidth");

  test(
    "a click on the button ends in a verdict, with what it follows from",
    async () => {
      await visit({ colorScheme: "light" }, async (page) => {
        await page.getByRole("button", { name: "Run double proof" }).click();

        await page.getByText("Nothing was lost").waitFor({ timeout: VERDICT_MS_MAX });
        await page.getByText("round 2: SIGKILL to node1").waitFor();
        await page.getByText("The proof as JSON").click();
        const json = await page.getByLabel("The proof as JSON").textContent();
        expect(JSON.parse(json ?? "")).toMatchObject({ ok: true, nodes: 1, faults: { lost: 0 } });
        await page.getByText("The proof as JSON").click();
        expect(await isNoWider(page)).toBe(true);
        await page.screenshot({ path: join(ARTEFACTS, "sandbox-light.png"), fullPage: true });
        await page.evaluate("scrollTo(0, 0)");
        await page.screenshot({ path: join(ARTEFACTS, "sandbox.png") });
      });
    },
    TEST_MS_MAX,
  );

  test(
    "the keyboard alone proves three nodes, produces, consumes and commits, in the dark",
    async () => {
      await visit({ colorScheme: "dark" }, async (page) => {
        const { keyboard } = page;
        const focused = (): Promise<string> =>
          page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()");
        const tabTo = async (name: string): Promise<void> => {
          for (let i = 0; i < 40; i++) {
            if ((await focused()) === name) return;
            await keyboard.press("Tab");
          }
          throw new Error(`The keyboard does not come to ${name}`);
        };
        await tabTo("nodes");
        await keyboard.press("ArrowDown");
        await tabTo("Run double proof");
        const outline = "getComputedStyle(document.activeElement).outlineStyle";
        expect(await page.evaluate(outline)).toBe("solid");
        await keyboard.press("Enter");
        await page.getByText("Nothing was lost").waitFor({ timeout: VERDICT_MS_MAX });
        expect(await focused()).toBe("Run double proof");
        expect(await page.getByText(/SIGKILL to node[123]/).count()).toBe(2);

        await tabTo("value");
        await tabTo("Produce");
        await keyboard.press("Enter");
        await page.getByText(/On disk at offset 0 of partition [01]/).waitFor();
        const said = await page.getByText(/On disk at offset/).textContent();
        await tabTo("partition");
        await keyboard.press("ControlOrMeta+A");
        await keyboard.type(/partition (\d)/.exec(said ?? "")?.[1] ?? "");
        await tabTo("Consume");
        await keyboard.press("Enter");
        await page.getByText('{"item":"widget"}', { exact: true }).last().waitFor();
        await tabTo("Commit 0");
        await keyboard.press("Enter");
        await page.getByText("g1 at 0, 0 behind").waitFor();
        await page.screenshot({ path: join(ARTEFACTS, "sandbox-dark.png"), fullPage: true });
      });
    },
    TEST_MS_MAX,
  );

  test(
    "it fits a screen of 400 pixels",
    async () => {
      await visit({ colorScheme: "light", viewport: NARROW }, async (page) => {
        await page.getByRole("button", { name: "Run double proof" }).click();
        await page.getByText("Nothing was lost").waitFor({ timeout: VERDICT_MS_MAX });

        expect(await isNoWider(page)).toBe(true);
        await page.screenshot({ path: join(ARTEFACTS, "sandbox-narrow.png"), fullPage: true });
      });
    },
    TEST_MS_MAX,
  );

  test(
    "light and dark have enough contrast between text and ground",
    async () => {
      for (const colorScheme of ["light", "dark"] as const)
        await visit({ colorScheme }, async (page) => {
          // WCAG 2.2, contrast (minimum): 4.5 to 1 for text.
          const worst = await page.evaluate(CONTRAST);
          expect({ colorScheme, isEnough: Number(worst) >= 4.5 }).toEqual({
            colorScheme,
            isEnough: true,
          });
        });
    },
    TEST_MS_MAX,
  );
});

/** Runs in the page: the least contrast of any text to what it stands on. */
const CONTRAST = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const channels = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const [r, g, b] = channels(color).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const groundOf = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const { backgroundColor } = getComputedStyle(at);
      if (channels(backgroundColor)[3] === 255) return backgroundColor;
    }
    return "white";
  };
  const texts = [...document.querySelectorAll("h1,h2,p,label,legend,button:not(:disabled),th,td,input,textarea,code,footer p")];
  return Math.min(...texts.filter((one) => one.checkVisibility()).map((one) => {
    const [a, b] = [light(getComputedStyle(one).color), light(groundOf(one))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()`;
