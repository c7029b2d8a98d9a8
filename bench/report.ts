/** How benchmarks show what they measured: a table for people, a JSON file for programs. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { fileURLToPath } from 'node:url';

type Row = Record<string, string | number>;

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
