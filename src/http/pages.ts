// The documentation that the node carries with it, as plain pages: what errors point at works with no internet.

import comparisonText from "../../docs/concepts/comparison.md" with { type: "text" };
import durabilityText from "../../docs/concepts/durability.md" with { type: "text" };
import keysText from "../../docs/concepts/keys.md" with { type: "text" };
import performanceText from "../../docs/concepts/performance.md" with { type: "text" };
import streamsText from "../../docs/concepts/streams.md" with { type: "text" };
import topicsText from "../../docs/concepts/topics.md" with { type: "text" };
import transactionsText from "../../docs/concepts/transactions.md" with { type: "text" };
import backupText from "../../docs/operating/backup.md" with { type: "text" };
import clusterText from "../../docs/operating/cluster.md" with { type: "text" };
import deployText from "../../docs/operating/deploy.md" with { type: "text" };
import proveText from "../../docs/operating/prove.md" with { type: "text" };
import recoveryText from "../../docs/operating/recovery.md" with { type: "text" };
import securityText from "../../docs/operating/security.md" with { type: "text" };
import spaceText from "../../docs/operating/space.md" with { type: "text" };
import tlsText from "../../docs/operating/tls.md" with { type: "text" };
import commandLineText from "../../docs/reference/command-line.md" with { type: "text" };
import configurationText from "../../docs/reference/configuration.md" with { type: "text" };
import errorsText from "../../docs/reference/errors.md" with { type: "text" };
import httpText from "../../docs/reference/http.md" with { type: "text" };
import metricsText from "../../docs/reference/metrics.md" with { type: "text" };
import startText from "../../docs/start.md" with { type: "text" };
import upgradingText from "../../UPGRADING.md" with { type: "text" };

/** A page: its path under `/docs`, and where it lies in the project. */
interface Page {
  readonly path: string;
  readonly title: string;
  readonly file: string;
  readonly markdown: string;
}

const PAGES: readonly Page[] = [
  { path: "concepts/start", title: "Start", file: "docs/start.md", markdown: startText },
  {
    path: "concepts/durability",
    title: "Durability",
    file: "docs/concepts/durability.md",
    markdown: durabilityText,
  },
  {
    path: "concepts/topics",
    title: "Topics and groups",
    file: "docs/concepts/topics.md",
    markdown: topicsText,
  },
  {
    path: "concepts/keys",
    title: "Keys and values",
    file: "docs/concepts/keys.md",
    markdown: keysText,
  },
  {
    path: "concepts/transactions",
    title: "Transactions",
    file: "docs/concepts/transactions.md",
    markdown: transactionsText,
  },
  {
    path: "concepts/streams",
    title: "Queries and joins",
    file: "docs/concepts/streams.md",
    markdown: streamsText,
  },
  {
    path: "concepts/performance",
    title: "How fast",
    file: "docs/concepts/performance.md",
    markdown: performanceText,
  },
  {
    path: "concepts/comparison",
    title: "Ayder beside others",
    file: "docs/concepts/comparison.md",
    markdown: comparisonText,
  },
  {
    path: "operating/deploy",
    title: "Running it",
    file: "docs/operating/deploy.md",
    markdown: deployText,
  },
  {
    path: "operating/cluster",
    title: "Clusters",
    file: "docs/operating/cluster.md",
    markdown: clusterText,
  },
  { path: "operating/tls", title: "TLS", file: "docs/operating/tls.md", markdown: tlsText },
  {
    path: "operating/security",
    title: "Security",
    file: "docs/operating/security.md",
    markdown: securityText,
  },
  { path: "operating/space", title: "Space", file: "docs/operating/space.md", markdown: spaceText },
  {
    path: "operating/backup",
    title: "Backup",
    file: "docs/operating/backup.md",
    markdown: backupText,
  },
  {
    path: "operating/recovery",
    title: "Recovery",
    file: "docs/operating/recovery.md",
    markdown: recoveryText,
  },
  { path: "operating/prove", title: "Proof", file: "docs/operating/prove.md", markdown: proveText },
  {
    path: "operating/upgrading",
    title: "Upgrading",
    file: "UPGRADING.md",
    markdown: upgradingText,
  },
  { path: "reference/http", title: "HTTP", file: "docs/reference/http.md", markdown: httpText },
  {
    path: "reference/errors",
    title: "Errors",
    file: "docs/reference/errors.md",
    markdown: errorsText,
  },
  {
    path: "reference/configuration",
    title: "Configuration",
    file: "docs/reference/configuration.md",
    markdown: configurationText,
  },
  {
    path: "reference/command-line",
    title: "Command line",
    file: "docs/reference/command-line.md",
    markdown: commandLineText,
  },
  {
    path: "reference/metrics",
    title: "Metrics",
    file: "docs/reference/metrics.md",
    markdown: metricsText,
  },
];
/** Other paths of the same pages: what the published error example points at. */
const ALIASES: Readonly<Record<string, string>> = { "api/produce": "reference/http" };
const SECTIONS: Readonly<Record<string, string>> = {
  concepts: "Concepts",
  operating: "Operating",
  reference: "Reference",
};

const STYLE = `
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--link:light-dark(#1f5fbf,#8ab4f8)}
body{font:16px/1.55 system-ui,sans-serif;margin:0;display:grid;grid-template-columns:13rem minmax(0,1fr);gap:2.5rem;max-width:72rem;padding:0 1.2rem}
nav{position:sticky;top:0;align-self:start;max-height:100vh;overflow:auto;padding:1.5rem 0;font-size:.92rem}
nav b{display:block;margin:1rem 0 .2rem}nav a{display:block;padding:.1rem 0;text-decoration:none}nav [aria-current]{font-weight:600}
main{padding:1.5rem 0 4rem;max-width:50rem}a{color:var(--link)}pre{overflow:auto;background:var(--soft);padding:.8rem;border-radius:.3rem}
code{font-size:.9em}table{border-collapse:collapse;display:block;overflow:auto}td,th{border:1px solid var(--line);padding:.25rem .55rem;text-align:left;vertical-align:top}
@media(max-width:48rem){body{display:block}nav{position:static;max-height:none;padding-bottom:0}nav a{display:inline-block;margin-right:.9rem}}`;

/** Paths of all pages. */
export const pagePaths: readonly string[] = [
  ...PAGES.map(({ path }) => path),
  ...Object.keys(ALIASES),
];

/** Pages that were asked for, as they are sent: a thousand readers who are slow hold one text, and it is made once. */
const RENDERED = new Map<Page, string>();

/** A page as HTML; undefined when there is none. */
export function page(path: string): string | undefined {
  const wanted = Object.hasOwn(ALIASES, path) ? ALIASES[path] : path;
  const found = PAGES.find((known) => known.path === wanted);
  if (found === undefined) return undefined;
  const html = RENDERED.get(found) ?? render(found.markdown, found);
  RENDERED.set(found, html);
  return html;
}

/** The list of pages. */
export function indexPage(): string {
  const lines = Object.entries(SECTIONS).flatMap(([section, title]) => [
    `\n## ${title}\n`,
    ...PAGES.filter(({ path }) => path.split("/")[0] === section).map(
      (known) => `- [${known.title}](/docs/${known.path})`,
    ),
  ]);
  return render(
    `# Ayder\n\nAn HTTP-native durable event log. [Try the API](/swagger).\n${lines.join("\n")}\n`,
  );
}

function render(markdown: string, at?: Page): string {
  const title = /^# (.*)$/m.exec(markdown)?.[1] ?? "Ayder";
  const content = Bun.markdown
    .html(markdown)
    .replace(/<h([1-6])>(.*?)<\/h\1>/g, (_, level: string, text: string) => {
      return `<h${level} id="${anchor(text)}">${text}</h${level}>`;
    })
    // A picture is not carried along.
    .replace(/<p><img [^>]*><\/p>/g, "")
    .replace(/<a href="([^"]*)">(.*?)<\/a>/g, (_, href: string, text: string) => {
      const link = at === undefined ? href : linkFrom(at, href);
      return link === undefined ? text : `<a href="${link}">${text}</a>`;
    });
  const style = `<meta name="viewport" content="width=device-width"><style>${STYLE}</style>`;
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${Bun.escapeHTML(title)}</title>${style}<body>${navigation(at)}<main>${content}</main></body></html>`;
}

/** Where a link of a document leads on the node; undefined: the node does not carry that with it. */
function linkFrom(at: Page, href: string): string | undefined {
  if (/^([a-z]+:|[/#])/.test(href)) return href;
  const [path = "", fragment] = href.split("#");
  const { pathname } = new URL(path, `file:///${at.file}`);
  const known = PAGES.find(({ file }) => `/${file}` === pathname);
  const behind = fragment === undefined ? "" : `#${fragment}`;
  return known && `/docs/${known.path}${behind}`;
}

function navigation(at: Page | undefined): string {
  const parts = Object.entries(SECTIONS).map(([section, title]) => {
    const links = PAGES.filter(({ path }) => path.split("/")[0] === section).map(
      (known) =>
        `<a href="/docs/${known.path}"${known === at ? ' aria-current="page"' : ""}>${Bun.escapeHTML(known.title)}</a>`,
    );
    return `<b>${title}</b>${links.join("")}`;
  });
  return `<nav aria-label="Docs"><a href="/docs"><strong>Ayder</strong></a>${parts.join("")}<b>API</b><a href="/swagger">Swagger UI</a></nav>`;
}

/** What comes after `#` in a link to a heading: spelled as GitHub does, underscores kept. */
export const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/<[^>]*>/g, "")
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
