/** The explicit maps in force: those of the configuration and those of its map-file. */
import { readFileSync } from 'node:fs';
import { parseMapFile } from './config/map-file.js';
import { checkMaps } from './config/map-rules.js';
import type { ExplicitMap, GatewayConfig } from './config/types.js';
import type { Log } from './log.js';

/**
 * Reads the map-file anew. A line that is no map, or that collides with the configuration or with a line before it, is logged
 * and left out. Throws where the file cannot be read.
 */
export function explicitMaps(config: GatewayConfig, log: Log): readonly ExplicitMap[] {
  const { mapFile: file } = config;
  if (file === null) return config.maps;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`${config.file}: the map-file cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const { maps, lines, problems } = parseMapFile(text);
  const all = [...config.maps, ...maps];
  const lineOf = (index: number) => lines[index - config.maps.length] as number;
  const isInFile = (index: number) => index >= config.maps.length;
  const wrong = problems.map(({ line, message }) => ({ line, message }));
  const dropped = new Set<number>();
  checkMaps(
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
    log.warn({ event: 'map-file-line', file, line }, `${file}:${line}: ${message}; the line is left out`);
  }
  return all.filter((_, index) => !dropped.has(index));
}
