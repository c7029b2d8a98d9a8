/** Flame graphs as SVG: width is the share of samples, what is above is called by what is below. */
import { escapeText } from './chart.js';

export interface Flame {
  readonly name: string;
  samples: number;
  readonly children: Map<string, Flame>;
}

const WIDTH = 1400;
const ROW_HEIGHT = 17;
const MARGIN = 10;
const TITLE_HEIGHT = 36;
const CHARACTER_WIDTH = 6.3;
/** Narrower ones are left out: nobody sees them. */
const LEAST_WIDTH = 0.7;

/** Kernel, JavaScript, and the rest. */
function colour(name: string): string {
  if (name.includes('.js')) return '#7fbf6a';
  if (/^[a-z0-9_.]+$/.test(name)) return '#e6935a';
  return '#d9c35b';
}

export function drawFlames(title: string, root: Flame): string {
  const boxes: string[] = [];
  let depth = 0;
  const scale = (WIDTH - 2 * MARGIN) / root.samples;
  const place = (flame: Flame, x: number, level: number) => {
    const width = flame.samples * scale;
    if (width < LEAST_WIDTH) return;
    depth = Math.max(depth, level);
    const room = Math.floor((width - 4) / CHARACTER_WIDTH);
    const label =
      flame.name.length <= room ? flame.name : room > 4 ? `${flame.name.slice(0, room - 1)}…` : '';
    const share = ((flame.samples / root.samples) * 100).toFixed(1);
    // y counts from the bottom; the whole is turned over below, once its height is known.
    boxes.push(
      `<g><title>${escapeText(flame.name)}: ${share} %</title><rect x="${x.toFixed(1)}" y="{${level}}" width="${Math.max(width - 0.5, 0.3).toFixed(1)}" height="${ROW_HEIGHT - 1}" fill="${level === 0 ? '#ccc' : colour(flame.name)}"/><text x="${(x + 3).toFixed(1)}" y="{${level}+}">${escapeText(label)}</text></g>`,
    );
    let childX = x;
    for (const child of flame.children.values()) {
      place(child, childX, level + 1);
      childX += child.samples * scale;
    }
  };
  place(root, MARGIN, 0);
  const height = TITLE_HEIGHT + (depth + 1) * ROW_HEIGHT + MARGIN;
  const top = (level: number) => height - MARGIN - (level + 1) * ROW_HEIGHT;
  const body = boxes
    .join('\n')
    .replace(/\{(\d+)(\+?)\}/g, (_, level: string, isText: string) =>
      String(top(Number(level)) + (isText === '' ? 0 : ROW_HEIGHT - 5)),
    );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="ui-monospace, monospace" font-size="10.5" fill="#222">
<title>${escapeText(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="${MARGIN}" y="22" font-size="16" font-weight="bold" font-family="system-ui, sans-serif">${escapeText(title)}</text>
${body}
</svg>
`;
}
