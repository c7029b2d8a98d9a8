/** docs/configuration.md, made from the schema and the sample file. */
import { type Group, type Key, readKeys, type Table } from './keys.js';

const HEAD = `# Every key of the configuration

Made by \`npm run reference\` from what the reader of the file accepts and from [config/nat64d.toml](../config/nat64d.toml), the
sample that the packages install as \`/etc/nat64d/nat64d.toml\`; \`npm test\` fails where this page is not what they say. The format is
[TOML](https://toml.io). \`nat64d --check --config FILE\` names every mistake in a file with its line and column.

"At a reload" means: after \`nat64ctl reload\`, \`systemctl reload nat64d\` or \`kill -HUP\`, without the loss of a packet that the
change does not concern. \`nat64ctl reload --dry-run\` tells beforehand what a file would change and what that would interrupt.
`;

function keyLine(key: Key): string {
  const standard =
    key.standard === null ? '' : key.standard === 'none' ? ' No default.' : ` Default: \`${key.standard}\`.`;
  const change =
    key.restartReason === null ? 'Changes at a reload.' : `Needs a restart: ${key.restartReason}.`;
  const others = [
    ...(key.tayga === null ? [] : [` In tayga.conf: \`${key.tayga}\`.`]),
    ...(key.totd === null ? [] : [` In totd.conf: \`${key.totd}\`.`]),
  ];
  return `- \`${key.name}\`: ${key.allowed}.${standard} ${change}${others.join('')}`;
}

function groupLines(table: Table, { text, keys }: Group): string {
  const list = keys.map(keyLine).join('\n');
  // The keys of a repeatable table are explained together, above.
  if (table.isRepeatable) return `${list}\n`;
  return `### ${keys.map(({ name }) => `\`${name}\``).join(', ')}\n\n${text.join('\n')}\n\n${list}\n`;
}

function tableLines(table: Table): string {
  const brackets = table.isRepeatable ? ['[[', ']]'] : ['[', ']'];
  const heading = table.name === '' ? 'At the top of the file' : `\`${brackets.join(table.name)}\``;
  const text = table.text.length === 0 ? [] : [`${table.text.join('\n')}\n`];
  return [`## ${heading}\n`, ...text, ...table.groups.map((group) => groupLines(table, group))].join('\n');
}

/** @param sample the text of config/nat64d.toml */
export function configurationReference(sample: string): string {
  return [HEAD, ...readKeys(sample).map(tableLines)].join('\n');
}
