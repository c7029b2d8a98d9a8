/** Numbers and tables for people. */

/** Columns side by side; columns in which all is a number stand to the right. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const columns = headings.map((heading, i) => {
    const cells = rows.map((row) => row[i] ?? '');
    return {
      width: Math.max(heading.length, ...cells.map((cell) => cell.length)),
      isRight: cells.length > 0 && cells.every((cell) => /^-?[\d,]+(\.\d+)?( \S+\/s)?$/.test(cell)),
    };
  });
  const line = (cells: readonly string[]) =>
    columns
      .map(({ width, isRight }, i) =>
        isRight ? (cells[i] ?? '').padStart(width) : (cells[i] ?? '').padEnd(width),
      )
      .join('  ')
      .trimEnd();
  return [headings, ...rows].map((cells) => `${line(cells)}\n`).join('');
}

/** `name  value` lines. */
export function formatPairs(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

const SCALES = ['', 'k', 'M', 'G', 'T'];

/** Three digits or so, as `12.3 Mb/s`. */
export function formatRate(perSec: number, unit: string): string {
  let value = perSec;
  let scale = 0;
  while (value >= 999.5 && scale < SCALES.length - 1) {
    value /= 1000;
    scale++;
  }
  const digits = scale === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${SCALES[scale]}${unit}`;
}

/** `3 d 4 h`, `2 h 10 min`, `5 min 3 s`, `7 s`. */
export function formatDuration(sec: number): string {
  const whole = Math.floor(sec);
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'],
    [whole % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}

/** 1234567 as `1,234,567`. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/**
 * Data that this program knows nothing of, as people can read it: a list of alike objects as a table, an object as pairs.
 * Text from elsewhere (names in a DNS cache) may hold what a terminal would obey.
 */
export function formatAnything(data: unknown, indent = ''): string {
  if (Array.isArray(data)) {
    if (data.length === 0) return `${indent}none\n`;
    if (data.every((one) => typeof one === 'object' && one !== null && !Array.isArray(one))) {
      const keys = [...new Set(data.flatMap((one) => Object.keys(one as object)))];
      const rows = data.map((one) => keys.map((key) => show((one as Record<string, unknown>)[key])));
      return indented(formatTable(keys, rows), indent);
    }
    return data.map((one) => `${indent}${show(one)}\n`).join('');
  }
  if (typeof data !== 'object' || data === null) return `${indent}${show(data)}\n`;
  const entries = Object.entries(data);
  if (entries.length === 0) return `${indent}none\n`;
  const isDeep = (value: unknown) => typeof value === 'object' && value !== null;
  const plain = entries
    .filter(([, value]) => !isDeep(value))
    .map(([key, value]) => [key, show(value)] as const);
  const deep = entries
    .filter(([, value]) => isDeep(value))
    .map(([key, value]) => `${indent}${printable(key)}:\n${formatAnything(value, `${indent}  `)}`);
  return `${plain.length === 0 ? '' : indented(formatPairs(plain), indent)}${deep.join('')}`;
}

function indented(text: string, indent: string): string {
  return text.replace(/^(?=.)/gm, indent);
}

function show(value: unknown): string {
  if (value === undefined || value === null) return '-';
  return printable(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

/** Without what a terminal would obey. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
