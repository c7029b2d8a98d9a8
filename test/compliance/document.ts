/** Makes docs/compliance.md of the requirements and the names of the tests that carry their ids. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Requirement, RFC6052, RFC7915, TAYGA } from './requirements.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const DOCUMENT = join(ROOT, 'docs/compliance.md');

interface NamedTest {
  readonly file: string;
  readonly name: string;
}

/** The name of a test as its source has it: in single or double quotes, or with values of a table in it. */
const TEST_NAME = /\btest\(\s*(?:'([^']+)'|"([^"]+)"|`((?:\$\{(?:[^{}`]|`[^`]*`)*\}|[^`])+)`)/g;
const TAG = /\s*\[((?:R7915|R6052|TAYGA)-\d+)\]/g;

/** Tests by the id of the requirement that they show. */
export function testsById(): Map<string, NamedTest[]> {
  const found = new Map<string, NamedTest[]>();
  const folder = join(ROOT, 'test');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.test.ts'),
  );
  for (const file of files.sort()) {
    for (const match of readFileSync(join(folder, file), 'utf8').matchAll(TEST_NAME)) {
      const whole = match[1] ?? match[2] ?? match[3] ?? '';
      const name = whole.replace(TAG, '').replace(/\$\{(?:[^{}`]|`[^`]*`)*\}/g, '…');
      for (const [, id = ''] of whole.matchAll(TAG)) {
        found.set(id, [...(found.get(id) ?? []), { file: join('test', file), name }]);
      }
    }
  }
  return found;
}

function table(
  requirements: readonly Requirement[],
  tests: ReadonlyMap<string, readonly NamedTest[]>,
): string {
  const rows = requirements.map(({ id, section, level, text, answer, elsewhere }) => {
    const shown = (tests.get(id) ?? []).map(({ file, name }) => `[${name}](../${relative('.', file)})`);
    const what = answer ?? (elsewhere ? '' : 'met');
    return `| ${id} | ${section} | ${level} | ${text} | ${what} | ${shown.join('<br>') || '–'} |`;
  });
  return [
    '| id | section | level | requirement | nat64d | tests |',
    '|---|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

export function complianceDocument(): string {
  const tests = testsById();
  return `# Compliance

What RFC 7915 (IP/ICMP translation) and RFC 6052 (addresses) require, in our words; what nat64d does; and the tests that show
it. "…" in the name of a test stands for the values of its table. Made by \`npm run compliance\` of the requirements in
\`test/compliance/requirements.ts\` and the ids in the names of tests; \`npm test\` fails where this page is not what they say.

## RFC 7915

${table(RFC7915, tests)}

## RFC 6052

${table(RFC6052, tests)}

## Where TAYGA falls short

${table(TAYGA, tests)}
`;
}
