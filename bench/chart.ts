/** Charts of what benchmarks measured, as SVG files that need nothing else. */

export interface Bar {
  /** Bars of a group share a heading and a scale. */
  readonly group: string;
  readonly label: string;
  readonly least: number;
  readonly middle: number;
  readonly most: number;
}

const WIDTH = 860;
const LABEL_WIDTH = 150;
const CHARACTER_WIDTH = 6.6;
const FIGURE_WIDTH = 80;
const BAR_HEIGHT = 16;
const GAP = 4;
const HEADING_HEIGHT = 30;
const COLOURS = ['#7a8794', '#c77d2e', '#2f7fb8', '#1b5e8f', '#4c9a6a', '#2c6b46'];

/** Text as XML content. */
export const escapeText = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** A text element; `y` is its baseline. */
function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escapeText(content)}</text>`;
}

/** Horizontal bars in groups: length is the middle figure, the line over it reaches from the least to the most. */
export function drawBars(title: string, bars: readonly Bar[]): string {
  const groups = [...new Set(bars.map(({ group }) => group))];
  const labels = [...new Set(bars.map(({ label }) => label))];
  const longest = Math.max(...labels.map(({ length }) => length), 0);
  const labelWidth = Math.round(Math.max(LABEL_WIDTH, longest * CHARACTER_WIDTH));
  const parts: string[] = [text(16, 28, title, 'font-size="18" font-weight="bold"')];
  let y = 44;
  for (const group of groups) {
    const members = bars.filter((bar) => bar.group === group);
    const scale =
      (WIDTH - labelWidth - FIGURE_WIDTH - 32) / Math.max(...members.map(({ most }) => most), 1e-9);
    parts.push(text(16, y + 20, group, 'font-size="13" font-weight="bold"'));
    y += HEADING_HEIGHT;
    for (const { label, least, middle, most } of members) {
      const left = labelWidth + 16;
      const centre = y + BAR_HEIGHT / 2;
      const colour = COLOURS[labels.indexOf(label) % COLOURS.length];
      parts.push(
        text(left - 8, y + 12, label, 'text-anchor="end"'),
        `<rect x="${left}" y="${y}" width="${(middle * scale).toFixed(1)}" height="${BAR_HEIGHT}" fill="${colour}"/>`,
        `<line x1="${(left + least * scale).toFixed(1)}" x2="${(left + most * scale).toFixed(1)}" y1="${centre}" y2="${centre}" stroke="#111" stroke-width="1.5"/>`,
        text(left + most * scale + 8, y + 12, String(Number(middle.toPrecision(3)))),
      );
      y += BAR_HEIGHT + GAP;
    }
    y += GAP;
  }
  return wrap(y + 12, title, parts);
}

/** A line through points, both axes from 0. */
export function drawLine(
  title: string,
  xLabel: string,
  yLabel: string,
  points: readonly (readonly [number, number])[],
): string {
  const [left, top, width, height] = [70, 50, WIDTH - 100, 280];
  const maxX = Math.max(...points.map(([x]) => x), 1e-9);
  const maxY = Math.max(...points.map(([, y]) => y), 1e-9) * 1.1;
  const at = ([x, y]: readonly [number, number]) =>
    `${(left + (x / maxX) * width).toFixed(1)},${(top + height - (y / maxY) * height).toFixed(1)}`;
  const parts = [
    text(16, 28, title, 'font-size="18" font-weight="bold"'),
    `<path d="M${left},${top}V${top + height}H${left + width}" fill="none" stroke="#888"/>`,
    `<polyline points="${points.map(at).join(' ')}" fill="none" stroke="${COLOURS[2]}" stroke-width="2"/>`,
    text(left - 8, top + 12, maxY.toPrecision(3), 'text-anchor="end"'),
    text(left - 8, top + height, '0', 'text-anchor="end"'),
    text(left + width, top + height + 18, `${xLabel} (to ${maxX.toPrecision(3)})`, 'text-anchor="end"'),
    text(left + 8, top + 12, yLabel),
  ];
  return wrap(top + height + 40, title, parts);
}

function wrap(height: number, title: string, parts: readonly string[]): string {
  const open = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#222">`;
  return `${open}\n<title>${escapeText(title)}</title>\n<rect width="100%" height="100%" fill="#fff"/>\n${parts.join('\n')}\n</svg>\n`;
}
