/** How benchmarks show what they measured: a table for people, a JSON file for programs. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Bar, drawBars } from './chart.js';
import { median, spread } from './statistics.js';

export type Row = Record<string, string | number>;

/** What one run measured of one thing. */
export interface Measurement {
  /** Things of a group have a unit, and a first one to compare with. */
  readonly group: string;
  readonly what: string;
  readonly unit: string;
  readonly value: number;
}

/** What all runs measured of one thing. */
export interface Series extends Omit<Measurement, 'value'> {
  readonly samples: readonly number[];
}

/** Prints rows as an aligned table; numbers to the right. */
export function printTable(rows: readonly Row[]): void {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (row: Row, column: string) => String(row[column] ?? '–');
  const widths = columns.map((column) =>
    Math.max(column.length, ...rows.map((row) => cell(row, column).length)),
  );
  const line = (cells: string[], isNumber: (i: number) => boolean) =>
    cells
      .map((text, i) => (isNumber(i) ? text.padStart(widths[i] as number) : text.padEnd(widths[i] as number)))
      .join('  ');
  console.log(line(columns, (i) => i > 0));
  console.log(widths.map((width) => '-'.repeat(width)).join('  '));
  for (const row of rows) {
    console.log(
      line(
        columns.map((column) => cell(row, column)),
        (i) => typeof row[columns[i] as string] === 'number',
      ),
    );
  }
}

const RESULTS = fileURLToPath(new URL('../../bench/results/', import.meta.url));

/** Writes a file into bench/results; returns its path. */
export function writeText(name: string, text: string): string {
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(`${RESULTS}${name}`, text);
  return `${RESULTS}${name}`;
}

/** Writes rows and what they were measured on to bench/results/NAME.json; returns the file. */
export function writeResults(name: string, rows: readonly Row[]): string {
  const machine = {
    node: process.version,
    kernel: release(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cpus: cpus().length,
  };
  return writeText(
    `${name}.json`,
    `${JSON.stringify({ when: new Date().toISOString(), machine, rows }, null, 2)}\n`,
  );
}

/** Measurements of several runs by what they are of: groups, and what is in them, in the order in which each came first. */
export function gather(measured: readonly Measurement[]): Series[] {
  const all = new Map<string, Series & { samples: number[] }>();
  for (const { group, what, unit, value } of measured) {
    const key = `${group}\n${what}`;
    const series = all.get(key) ?? { group, what, unit, samples: [] };
    series.samples.push(value);
    all.set(key, series);
  }
  const groups = [...new Set(measured.map(({ group }) => group))];
  return groups.flatMap((name) => [...all.values()].filter(({ group }) => group === name));
}

/** Three digits: more would be noise. */
export const rounded = (value: number) => Number(value.toPrecision(3));

const firstOfGroup = ({ group }: Series, all: readonly Series[]) =>
  all.find((other) => other.group === group);

/** Rows with least, median and most, and in the last column the ratio of the median to that of another, the first of its group unless told. */
export function rowsOf(all: readonly Series[], ratio = 'x the first', baseOf = firstOfGroup): Row[] {
  return all.map((series) => {
    const { least, middle, most } = spread(series.samples);
    const times = middle / median(baseOf(series, all)?.samples ?? []);
    return {
      of: series.group,
      what: series.what,
      min: rounded(least),
      median: rounded(middle),
      max: rounded(most),
      unit: series.unit,
      [ratio]: Number.isFinite(times) ? times.toFixed(2) : '–',
    };
  });
}

export const barsOf = (all: readonly Series[]): Bar[] =>
  all.map(({ group, what, unit, samples }) => ({
    group: `${group} (${unit})`,
    label: what,
    ...spread(samples),
  }));

/** Writes rows and bars to bench/results/NAME.json and NAME.svg, and prints where they are. */
export function writeReport(name: string, title: string, rows: readonly Row[], bars: readonly Bar[]): void {
  console.log(`\n${writeResults(name, rows)}\n${writeText(`${name}.svg`, drawBars(title, bars))}`);
}

/** Prints rows, and writes them and bars. */
export function report(name: string, title: string, rows: readonly Row[], bars: readonly Bar[]): void {
  printTable(rows);
  writeReport(name, title, rows, bars);
}
