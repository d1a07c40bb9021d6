// Draws figures beside each other as an SVG: groups of bars, each group with its own scale. Light and dark alike.

import { FRAME_STYLE, roundUp, svgText } from "./svg.ts";

/** One bar: a figure and, as a line across its end, how far apart its rounds were. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly lowest: number;
  readonly highest: number;
  /** Drawn in the colour of ours. */
  readonly isOwn: boolean;
  /** Said behind the bar. */
  readonly label: string;
}

const WIDTH = 860;
const LEFT = 210;
const RIGHT = 250;
const BAR = 18;
const STEP = 26;
const HEAD = 44;
const TITLE = 30;

/** @returns the whole document. */
export function barChart(
  heading: string,
  groups: readonly { readonly title: string; readonly bars: readonly Bar[] }[],
): string {
  let top = HEAD;
  const parts = groups.map(({ title, bars }) => {
    const scale = roundUp(Math.max(...bars.map(({ highest }) => highest), 0));
    const x = (value: number): number => LEFT + (value / scale) * (WIDTH - LEFT - RIGHT);
    const rows = bars.map((bar, i) => {
      const y = top + TITLE + i * STEP;
      const middle = y + BAR / 2;
      const width = Math.max(1, x(bar.value) - LEFT);
      const end = Math.max(x(bar.highest), x(bar.value));
      return [
        svgText(LEFT - 8, middle + 4, bar.name, 'text-anchor="end"'),
        `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" class="${bar.isOwn ? "own" : "other"}"/>`,
        `<line x1="${x(bar.lowest).toFixed(1)}" x2="${x(bar.highest).toFixed(1)}" y1="${middle}" y2="${middle}" class="spread"/>`,
        svgText(Number((end + 8).toFixed(1)), middle + 4, bar.label),
      ].join("\n");
    });
    const head = svgText(16, top + 16, title, 'class="title"');
    top += TITLE + bars.length * STEP + 14;
    return [head, ...rows].join("\n");
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top}" font-family="system-ui, sans-serif" font-size="12">
<style>
${FRAME_STYLE}
.own { fill: #2f6fde } .other { fill: #8a929e } .spread { stroke: #111; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { .spread { stroke: #eee } }
</style>
${svgText(16, 24, heading, 'class="head"')}
${parts.join("\n")}
</svg>
`;
}
