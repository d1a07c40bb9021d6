// What the pictures of the benches have in common.

/** Colours of paper and words, in light and dark. */
export const FRAME_STYLE = `svg { background: #fff } text { fill: #444 } .title, .head { fill: #111; font-weight: 600 } .head { font-size: 15px } .grid { stroke: #ccc }
@media (prefers-color-scheme: dark) { svg { background: #16181c } text { fill: #aaa } .title, .head { fill: #eee } .grid { stroke: #3a3d44 } }`;

/** A round number at or above a value, for the top of a scale. */
export function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= value) ?? 10;
  return step * power;
}

/** Words at a place; `extra` are more attributes. */
export const svgText = (x: number, y: number, content: string, extra = ""): string =>
  `<text x="${x}" y="${y}" ${extra}>${content.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</text>`;
