import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type OptionSpec, parseOptions, UsageError } from '#nat64d/cli/getopt.js';

const TAYGA: readonly OptionSpec[] = [
  { name: 'config', short: 'c', value: 'a file' },
  { name: 'debug', short: 'd' },
  { name: 'nodetach', short: 'n' },
  { name: 'user', short: 'u', value: 'a name' },
  { name: 'mktun' },
  { name: 'rmtun' },
  { name: 'stdout' },
  { name: 'syslog' },
];
const TOTD: readonly OptionSpec[] = [
  { name: 'c', short: 'c', value: 'a file' },
  { name: 'd', short: 'd', hasAttachedNumber: true },
  { name: 'no6', isWord: true },
  { name: '6', isWord: true },
  { name: '64', isWord: true },
  { name: 'http-port', isWord: true, value: 'a port' },
  { name: 'q', short: 'q' },
];

const read = (specs: readonly OptionSpec[], line: string) => {
  const { options, operands } = parseOptions(specs, line === '' ? [] : line.split(' '));
  return [
    ...options.map(({ name, value }) => (value === '' ? name : `${name}=${value}`)),
    ...operands.map((o) => `[${o}]`),
  ].join(' ');
};

for (const [specs, line, result] of [
  [TAYGA, '', ''],
  [TAYGA, '--config=/a', 'config=/a'],
  [TAYGA, '--config /a', 'config=/a'],
  [TAYGA, '--config=', 'config'],
  [TAYGA, '--conf /a --deb --no', 'config=/a debug nodetach'],
  [TAYGA, '-c /a', 'config=/a'],
  [TAYGA, '-c/a', 'config=/a'],
  [TAYGA, '-dnc /a', 'debug nodetach config=/a'],
  [TAYGA, '-dnc/a -u nobody', 'debug nodetach config=/a user=nobody'],
  [TAYGA, '-c -d', 'config=-d'],
  [TAYGA, '--stdout --syslog', 'stdout syslog'],
  [TAYGA, '-d -- -n x', 'debug [-n] [x]'],
  [TAYGA, 'x - -d', 'debug [x] [-]'],
  [TOTD, '-no6 -64 -6', 'no6 64 6'],
  [TOTD, '-d9', 'd=9'],
  [TOTD, '-d', 'd'],
  [TOTD, '-d9q', 'd=9 q'],
  [TOTD, '-qd2', 'q d=2'],
  [TOTD, '-http-port 8080 -c f', 'http-port=8080 c=f'],
] as const) {
  test(`'${line}' reads as '${result}'`, () => assert.equal(read(specs, line), result));
}

for (const [specs, line, message] of [
  [TAYGA, '--nope', 'there is no option --nope'],
  [TAYGA, '--s', '--s may mean --stdout or --syslog: write it out'],
  [TAYGA, '--=x', 'there is no option --'],
  [TAYGA, '-x', 'there is no option -x'],
  [TAYGA, '-dx', 'there is no option -x (in -dx)'],
  [TAYGA, '-c', '-c needs a value: a file'],
  [TAYGA, '--user', '--user needs a value: a name'],
  [TAYGA, '--debug=1', '--debug takes no value'],
  [TOTD, '--no6', 'there is no option --no6'],
  [TOTD, '-no5', 'there is no option -n (in -no5)'],
  [TOTD, '-http-port', '-http-port needs a value: a port'],
] as const) {
  test(`'${line}' is wrong: ${message}`, () => {
    assert.throws(
      () => read(specs, line),
      (error) => error instanceof UsageError && error.message === message,
    );
  });
}

test('whatever the words, they are understood or refused', () => {
  const word = fc.oneof(fc.string(), fc.constantFrom('-d', '-c', '--config', '--', '-no6', '--co', '-dnc'));
  fc.assert(
    fc.property(fc.array(word), fc.constantFrom(TAYGA, TOTD), (words, specs) => {
      try {
        parseOptions(specs, words);
      } catch (error) {
        assert.ok(error instanceof UsageError);
      }
    }),
  );
});
