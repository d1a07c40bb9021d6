// Draws figures over time as an SVG: one panel below the other, each with its own scale. Light and dark alike.

import { FRAME_STYLE, roundUp, svgText as text } from "./svg.ts";

/** One panel. */
export interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
}

const WIDTH = 860;
const PANEL_HEIGHT = 150;
const LEFT = 70;
const RIGHT = 20;
const TOP = 30;
const PLOT_HEIGHT = PANEL_HEIGHT - TOP - 22;
const COLOURS = ["#2f6fde", "#d9480f", "#2b8a3e"];

/**
 * @param times Of every value, in the unit of `timeUnit`, ascending.
 * @returns the whole document.
 */
export function chartOverTime(
  heading: string,
  times: readonly number[],
  timeUnit: string,
  panels: readonly Panel[],
): string {
  const height = 40 + panels.length * PANEL_HEIGHT + 20;
  const end = times.at(-1) ?? 1;
  const x = (time: number): number => LEFT + (time / end) * (WIDTH - LEFT - RIGHT);
  const parts = panels.map(({ title, unit, series }, i) => {
    const top = 40 + i * PANEL_HEIGHT;
    const scale = roundUp(Math.max(...series.flatMap(({ values }) => values), 0));
    const y = (value: number): number => top + TOP + PLOT_HEIGHT * (1 - value / scale);
    const lines = [0, 0.5, 1].map((share) => {
      const at = y(share * scale);
      const label = `${Number((share * scale).toPrecision(3))}`;
      return `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" class="grid"/>${text(LEFT - 8, at + 4, label, 'text-anchor="end"')}`;
    });
    const curves = series.map(({ values }, j) => {
      const points = values.map(
        (value, k) => `${x(times[k] ?? 0).toFixed(1)},${y(value).toFixed(1)}`,
      );
      return `<polyline points="${points.join(" ")}" fill="none" stroke="${COLOURS[j]}" stroke-width="1.5"/>`;
    });
    const names = series.map(({ name }, j) =>
      text(
        WIDTH - RIGHT,
        top + 18,
        name,
        `text-anchor="end" dx="${-150 * (series.length - 1 - j)}" style="fill:${COLOURS[j]}"`,
      ),
    );
    return [
      text(LEFT, top + 18, `${title}, ${unit}`, 'class="title"'),
      ...lines,
      ...curves,
      ...names,
    ].join("\n");
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">
<style>
${FRAME_STYLE}
</style>
${text(LEFT, 24, heading, 'class="head"')}
${parts.join("\n")}
${text(LEFT, height - 8, `0 to ${Number(end.toPrecision(3))} ${timeUnit}`)}
</svg>
`;
}
