/** totd's keywords and options, by what a client gets of a name server with the same configuration in this process. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { configOf } from '#nat64d/cli/totd-daemon.js';
import { HELP, readOptions } from '#nat64d/cli/totd-options.js';
import { loadTotd } from '#nat64d/control/config/totd.js';
import type { Dns64 } from '#nat64d/control/dns64/index.js';
import { findIdentity } from '#nat64d/control/identity.js';
import type { Log } from '#nat64d/control/log.js';
import { startNameServer } from '#nat64d/control/name-server.js';
import {
  type Ask,
  decodeReply,
  encodeQuery,
  QUIET,
  type Reply,
  type ScriptedServer,
  scriptedServer,
  sendUdp,
  unusedPort,
} from '../rfc6147/harness.js';
import { SCRIPT, STF, under, WWW } from './daemon.js';

const conf = join(tmpdir(), `totd-keywords-${process.pid}.conf`);
let server: ScriptedServer;
let port: number;
let dns64: Dns64 | undefined;
let output: string;
beforeEach(async () => {
  [server, port] = await Promise.all([scriptedServer(SCRIPT), unusedPort()]);
  dns64 = undefined;
  output = '';
});
afterEach(async () => {
  await dns64?.close();
  await server.close();
  rmSync(conf, { force: true });
});

/** Serves what a file with these lines and these words of the command line say. */
async function start(
  lines = '',
  words: readonly string[] = [],
  forwarder = `forwarder 127.0.0.1 port ${server.port}`,
): Promise<void> {
  writeFileSync(conf, `${forwarder}\ninterfaces lo\nport ${port}\n${lines}\n`);
  const options = readOptions(['-c', conf, ...words]);
  const note = (_fields: object, text: string) => {
    output += `${text}\n`;
  };
  const log = { ...QUIET, warn: note } as unknown as Log;
  dns64 = await startNameServer(configOf(loadTotd(options.config, options.prefixes), options), log);
}

async function ask(query: Ask, address = '127.0.0.1'): Promise<Reply> {
  const bytes = await sendUdp(port, encodeQuery(query), 5000, address);
  if (bytes === null) throw new Error(`no answer to ${query.name}: ${output}`);
  return decodeReply(bytes);
}

/** Where it listens. */
const served = () => dns64?.listening.map(({ address }) => address);

test('forwarder repeated: the order is preference, the next one answers for one that does not', async () => {
  const nobody = await unusedPort();
  const both = `forwarder 127.0.0.1 port ${nobody}\nforwarder 127.0.0.1 port ${server.port}`;
  await start('prefix 2001:db8:1::', [], both);
  assert.deepEqual((await ask(WWW)).answer, under('2001:db8:1::'));
});

test('prefix repeated: one for each response, each in turn; -p comes first', async () => {
  await start('prefix 2001:db8:1::\nprefix 2001:db8:2::', ['-p', '2001:db8:9::', '-p2001:db8:8::']);
  for (const prefix of ['9', '8', '1', '2', '9'])
    assert.deepEqual((await ask(WWW)).answer, under(`2001:db8:${prefix}::`));
});

test('no prefix: the well-known one, which represents no private address', async () => {
  await start();
  assert.deepEqual((await ask({ ...WWW, name: 'eight.example' })).answer, [
    'eight.example 0 AAAA 64:ff9b::808:808',
  ]);
  assert.deepEqual((await ask(WWW)).answer, []);
});

test('stf: a 6to4 name is looked for under its IPv4 address', async () => {
  await start('stf');
  assert.deepEqual((await ask({ name: STF, type: 'PTR' })).answer, [
    `${STF} 60 CNAME 1.2.0.192.in-addr.arpa`,
    '1.2.0.192.in-addr.arpa 60 PTR six.example',
  ]);
});

test('interfaces: the addresses of those, in both families, and no others', async () => {
  await start();
  assert.deepEqual(served(), ['127.0.0.1', '::1']);
  assert.equal((await ask(WWW, '::1')).rcode, 0);
});

test('interfaces: one that is not there is named, the others are served', async () => {
  await start('interfaces nowhere0');
  assert.match(output, /there is no interface nowhere0 with an address now/);
  assert.equal((await ask(WWW)).rcode, 0);
});

test('interfaces *: the wildcard sockets', async () => {
  await start('interfaces *');
  assert.deepEqual(served(), ['0.0.0.0', '::']);
  assert.equal((await ask(WWW)).rcode, 0);
  assert.equal((await ask(WWW, '::1')).rcode, 0);
});

for (const [option, expected] of [
  ['-no6', ['127.0.0.1']],
  ['-no4', ['::1']],
  ['-64', ['127.0.0.1', '::1']],
  ['-46', ['127.0.0.1', '::1']],
] as const) {
  test(`${option}: where it listens`, async () => {
    await start('', [option]);
    assert.deepEqual(served(), expected);
  });
}

for (const [words, isForeground, level] of [
  [[], false, 'info'],
  [['-d'], false, 'info'],
  [['-d0'], false, 'info'],
  [['-d1'], true, 'debug'],
  [['-d9', '-q'], true, 'error'],
  [['-v'], false, 'debug'],
  [['-q'], false, 'error'],
] as const) {
  test(`'${words.join(' ')}': in the ${isForeground ? 'fore' : 'back'}ground, from ${level} on`, () => {
    const options = readOptions(words);
    assert.deepEqual([options.isForeground, options.level], [isForeground, level]);
  });
}

test('-c, -u, -g, -t; without -c it is /etc/totd.conf', () => {
  const { config, user, group, chroot } = readOptions(['-cf', '-u', 'a', '-g', 'b', '-t', '/c']);
  assert.deepEqual([config, user, group, chroot], ['f', 'a', 'b', '/c']);
  assert.equal(readOptions([]).config, '/etc/totd.conf');
});

for (const [name, words, message] of [
  ['an unknown option', ['-x'], /^there is no option -x$/],
  ['an operand', ['start'], /^'start' is too much/],
  ['-p without a prefix', ['-p', '192.0.2.1'], /^-p needs an IPv6 prefix.*'192\.0\.2\.1'/],
  ['-no4 with -no6', ['-no4', '-no6'], /nothing to listen on/],
  ['-c without a file', ['-c'], /^-c needs a value: a file/],
] as const) {
  test(`${name} is refused`, () => assert.throws(() => readOptions(words), { code: 'USAGE', message }));
}

test('an unknown user is refused', () => {
  assert.throws(() => findIdentity('nobody-at-all', undefined), /there is no user 'nobody-at-all'/);
});

test('a file that is not there is named', () => {
  const message = /^\/nowhere\/totd\.conf:1:1: cannot be read: there is no such file/;
  assert.throws(() => loadTotd('/nowhere/totd.conf', []), { message });
});

test('-h shows every option', () => {
  const options = '-c -d -4 -no4 -6 -no6 -64 -46 -p -u -g -t -q -v -h -http-port';
  for (const option of options.split(' ')) assert.match(HELP, new RegExp(`^ .*${option}\\b`, 'm'), option);
});
