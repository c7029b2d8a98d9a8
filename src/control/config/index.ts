/** Reads the configuration file: every mistake in it at once, each with line, column, key and what is allowed. */
import { readGiven } from './given.js';
import { ConfigError, type Problem } from './problem.js';
import { readConfigFile } from './read-file.js';
import { checkRules, complete } from './rules.js';
import { keysAt, schema, tableWith } from './schema.js';
import { type Place, readToml } from './toml.js';
import type { GatewayConfig } from './types.js';

export { ConfigError } from './problem.js';

/** Reads a file. Throws ConfigError. */
export function loadConfig(file: string): GatewayConfig {
  return parseConfig(readConfigFile(file), file);
}

/** Reads the text of a file. `file` is its name, for messages. Throws ConfigError. */
export function parseConfig(text: string, file: string): GatewayConfig {
  const document = readToml(text, file);
  const problems: Omit<Problem, 'file'>[] = [];
  const add = (path: readonly PropertyKey[], place: Place, message: string) => {
    problems.push({ ...place, key: keyText(path), message });
  };

  const parsed = schema.safeParse(document.data);
  for (const issue of parsed.error?.issues ?? []) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        const path = [...issue.path, key];
        add(path, document.placeOfKey(path), `there is no such key${suggestion(key, issue.path)}`);
      }
    } else {
      add(issue.path, document.placeOf(issue.path), issue.message);
    }
  }
  const { ipv4Address, ipv6Address, device } = checkRules(
    readGiven(document.data),
    (path) => `line ${document.placeOf(path).line}`,
    (path, message) => add(path, document.placeOf(path), message),
  );
  const isFine = parsed.success && problems.length === 0;
  if (isFine && ipv4Address !== null && ipv6Address !== null && device !== null) {
    return complete(parsed.data, file, { ipv4Address, ipv6Address, device });
  }
  throw new ConfigError(
    file,
    problems.sort((a, b) => a.line - b.line || a.col - b.col),
  );
}

function keyText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part + 1}]`;
    return text === '' ? String(part) : `${text}.${String(part)}`;
  }, '');
}

/** Tables that may stand several times. */
const LISTS: readonly string[] = ['map', 'dns64.policy', 'dns64.scoped'];

/** Where an unknown key may belong, what it may be, or else all that may stand in its place. */
function suggestion(key: string, table: readonly PropertyKey[]): string {
  const known = keysAt(table);
  const [nearest] = known
    .map((candidate) => ({ candidate, distance: editDistance(key, candidate) }))
    .filter(
      ({ candidate, distance }) => distance <= Math.max(2, candidate.length / 3) && distance < key.length,
    )
    .sort((a, b) => a.distance - b.distance);
  const elsewhere = tableWith(key);
  if (elsewhere === '') return '; it belongs at the top of the file, before the first [table]';
  if (elsewhere !== undefined)
    return `; it belongs under ${LISTS.includes(elsewhere) ? `[[${elsewhere}]]` : `[${elsewhere}]`}`;
  if (nearest !== undefined) return `; did you mean '${nearest.candidate}'?`;
  return `; allowed here: ${known.join(', ')}`;
}

/** Levenshtein distance, the plain way. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, charA] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, charB] of [...b].entries()) {
      const replace = (row[j] as number) + (charA === charB ? 0 : 1);
      next.push(Math.min(replace, (row[j + 1] as number) + 1, (next[j] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
