/** Reads the configuration file: every mistake in it at once, each with line, column, key and what is allowed. */
import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { ConfigError, type Problem } from './problem.js';
import { complete } from './rules.js';
import { keysAt, schema } from './schema.js';
import { type Place, readToml } from './toml.js';
import type { GatewayConfig } from './types.js';

export { ConfigError } from './problem.js';

const READ_ERRORS: Record<string, string> = {
  ENOENT: 'there is no such file; name one with --config',
  EACCES: 'it may not be read; check its mode, or run as root',
  EISDIR: 'it is a folder; name a file',
};

/** Reads a file. Throws ConfigError. */
export function loadConfig(file: string): GatewayConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw new ConfigError(file, [
      { line: 1, col: 1, key: '', message: `cannot be read: ${READ_ERRORS[code] ?? message}` },
    ]);
  }
  return parseConfig(text, file);
}

/** Reads the text of a file. Throws ConfigError. */
export function parseConfig(text: string, file: string): GatewayConfig {
  const document = readToml(text, file);
  const problems: Problem[] = [];
  const add = (path: readonly PropertyKey[], place: Place, message: string) => {
    problems.push({ ...place, key: keyText(path), message });
  };

  const parsed = schema.safeParse(document.data);
  let config: GatewayConfig | null = null;
  if (parsed.success) {
    const placeText = (path: readonly PropertyKey[]) => `line ${document.placeOf(path).line}`;
    config = complete(parsed.data, file, placeText, (path, message) =>
      add(path, document.placeOf(path), message),
    );
  } else {
    for (const issue of parsed.error.issues) {
      for (const { path, message, isKey } of explain(issue)) {
        add(path, isKey ? document.placeOfKey(path) : document.placeOf(path), message);
      }
    }
  }
  if (config === null || problems.length > 0) {
    throw new ConfigError(
      file,
      problems.sort((a, b) => a.line - b.line || a.col - b.col),
    );
  }
  return config;
}

interface Explanation {
  path: readonly PropertyKey[];
  message: string;
  /** The key is what is wrong, not its value. */
  isKey: boolean;
}

function explain(issue: z.core.$ZodIssue): Explanation[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      path: [...issue.path, key],
      message: `there is no such key${suggestion(key, keysAt(issue.path))}`,
      isKey: true,
    }));
  }
  if (issue.code === 'invalid_union') {
    // The last alternative is the most general; its words name the others.
    const inner = issue.errors.at(-1)?.[0];
    if (inner !== undefined) return [{ path: issue.path, message: inner.message, isKey: false }];
  }
  return [{ path: issue.path, message: issue.message, isKey: false }];
}

function keyText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part + 1}]`;
    return text === '' ? String(part) : `${text}.${String(part)}`;
  }, '');
}

function suggestion(key: string, known: readonly string[]): string {
  const [nearest] = known
    .map((candidate) => ({ candidate, distance: editDistance(key, candidate) }))
    .filter(({ candidate, distance }) => distance <= Math.max(2, candidate.length / 3))
    .sort((a, b) => a.distance - b.distance);
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
