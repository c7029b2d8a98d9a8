/** The explicit maps in force: those of the configuration and those of its map-file. */
import { readFile } from 'node:fs/promises';
import { readMapLines } from './config/map-file.js';
import { checkMaps } from './config/map-rules.js';
import type { ExplicitMap, GatewayConfig } from './config/types.js';
import type { Log } from './log.js';
import { inSlices, type Sliced } from './slices.js';

/**
 * Reads the map-file anew, in slices. A line that is no map, or that collides with the configuration or with a line before it, is
 * logged and left out. Rejects where the file cannot be read.
 * @param known maps that may be the same ones: then they are given back themselves
 */
export async function explicitMaps(
  config: GatewayConfig,
  log: Log,
  known: readonly ExplicitMap[] = [],
): Promise<readonly ExplicitMap[]> {
  const { mapFile: file } = config;
  let maps = config.maps;
  if (file !== null) {
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (error) {
      throw new Error(`${config.file}: the map-file cannot be read: ${(error as Error).message}`, {
        cause: error,
      });
    }
    maps = await inSlices(withFile(config, text, file, log));
  }
  return areSame(known, maps) ? known : maps;
}

/** Whether two lists hold the same maps in the same order. */
export function areSame(some: readonly ExplicitMap[], others: readonly ExplicitMap[]): boolean {
  if (some === others) return true;
  if (some.length !== others.length) return false;
  for (let i = 0; i < some.length; i++) {
    const [a, b] = [some[i] as ExplicitMap, others[i] as ExplicitMap];
    if (a.ipv4.address !== b.ipv4.address || a.ipv4.length !== b.ipv4.length) return false;
    if (a.ipv6.length !== b.ipv6.length) return false;
    for (let word = 0; word < 4; word++) if (a.ipv6.address[word] !== b.ipv6.address[word]) return false;
  }
  return true;
}

function* withFile(
  config: GatewayConfig,
  text: string,
  file: string,
  log: Log,
): Sliced<readonly ExplicitMap[]> {
  const { maps, lines, problems } = yield* readMapLines(text);
  const all = [...config.maps, ...maps];
  const lineOf = (index: number) => lines[index - config.maps.length] as number;
  const isInFile = (index: number) => index >= config.maps.length;
  const wrong = problems.map(({ line, message }) => ({ line, message }));
  const dropped = new Set<number>();
  yield* checkMaps(
    { pref64: config.pref64 ?? false, maps: all, allowsClassE: true },
    { ipv4Address: config.ipv4Address, ipv6Address: config.ipv6Address },
    ([, index]) => (isInFile(index as number) ? `line ${lineOf(index as number)}` : config.file),
    ([, index], message) => {
      if (!isInFile(index as number)) return;
      dropped.add(index as number);
      wrong.push({ line: lineOf(index as number), message });
    },
  );
  for (const { line, message } of wrong.sort((a, b) => a.line - b.line)) {
    yield;
    log.warn({ event: 'map-file-line', file, line }, `${file}:${line}: ${message}; the line is left out`);
  }
  return dropped.size === 0 ? all : all.filter((_, index) => !dropped.has(index));
}
