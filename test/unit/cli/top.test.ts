/** nat64ctl top on a real (pseudo-)terminal. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HostRing } from '#nat64d/shm/host-ring.js';
import { hostSample } from '#nat64d/shm/host-sample.js';
import { address6 } from '../../helpers/harness.js';
import { PseudoTerminal } from '../../helpers/pseudo-terminal.js';
import { SocketLab } from '../../helpers/socket-lab.js';
import { TestSubject } from '../../helpers/subject.js';

const CLI = fileURLToPath(new URL('../../../../dist/bin/nat64ctl.js', import.meta.url));
const HOST = '2001:db8:1::2';
const SIGTERM = 15;
const SIGINT = 2;
const SIGHUP = 1;

let lab: SocketLab;
let subject: TestSubject;
let terminal: PseudoTerminal;
beforeEach(async () => {
  lab = new SocketLab();
  subject = new TestSubject();
  await lab.open(subject);
  terminal = new PseudoTerminal(process.execPath, [CLI, '--socket', lab.path, 'top', '--delay', '0.2']);
});
afterEach(async () => {
  terminal.close();
  await lab.close();
});

/** The lines of the last whole screen. Each begins at the home position, and ends by erasing what is below. */
function lastScreen(): string[] {
  const screens = terminal.output.split('␛[H').slice(1);
  const whole = screens.findLast((screen) => screen.includes('␛[J')) ?? '';
  return (whole.split('␛[J')[0] ?? '').split(/\r+\n/).map((line) => line.replace(/␛\[[0-9;]*[A-Za-z]/g, ''));
}

for (const [what, end] of [
  ['q', () => terminal.press('q')],
  ['Ctrl-C', () => terminal.press('\x03')],
  ['SIGTERM', () => terminal.signal(SIGTERM)],
  ['SIGINT', () => terminal.signal(SIGINT)],
  ['SIGHUP', () => terminal.signal(SIGHUP)],
] as const) {
  test(`${what} ends it, and the terminal is as it was`, async () => {
    await terminal.shown(/␛\[\?1049h␛\[\?25l/);
    await terminal.shown(/nat64d .* on nat64/);
    end();
    assert.deepEqual(await terminal.ended, { status: 0, isRestored: true });
    assert.match(terminal.output, /␛\[\?25h␛\[\?1049l$/);
  });
}

test('a gateway that goes away ends it with a message behind the screen', async () => {
  await terminal.shown(/on nat64/);
  await lab.close();
  const { status, isRestored } = await terminal.ended;
  assert.deepEqual([status, isRestored], [1, true]);
  assert.match(terminal.output, /␛\[\?1049l.*nat64ctl: .*closed the connection/s);
});

test('it fits the screen, and follows its size; other keys do nothing', async () => {
  for (const [i, name] of Object.keys(subject.counters).entries()) subject.counters[name] = i + 1;
  await terminal.shown(/␛\[J/);
  assert.equal(lastScreen().length, 24);
  let from = terminal.output.length;
  terminal.resize(10, 40);
  await terminal.shown(/␛\[H[^J]*␛\[J/, from);
  await terminal.shown(/␛\[H[^J]*␛\[J/, terminal.output.length);
  assert.equal(lastScreen().length, 10);
  assert.ok(lastScreen().every((line) => line.length <= 40));
  from = terminal.output.length;
  terminal.press('xyz\x1b[A ');
  terminal.resize(50, 120);
  await terminal.shown(/␛\[H/, from);
  await terminal.shown(/␛\[H[^J]*␛\[J/, terminal.output.length);
  assert.ok(lastScreen().length > 24 && lastScreen().length <= 50);
  terminal.press('Q');
  assert.equal((await terminal.ended).status, 0);
});

test('the busiest hosts come first, by bytes', async () => {
  const index = subject.assign(HOST);
  await terminal.shown(/on nat64/);
  const message = subject.sent.find(({ type }) => type === 'sample');
  assert.ok(message?.type === 'sample' && message.samples !== null);
  const ring = new HostRing(message.samples);
  const feed = setInterval(() => {
    ring.push(...address6(HOST), hostSample(true, 4, 1000));
    ring.push(...address6('2001:db8:9::9'), hostSample(false, 0, 1000));
  }, 50);
  try {
    await terminal.shown(/2001:db8:1::2 +10\.64\.\d+\.\d+ +[\d.]+ [kM]b\/s +0 b\/s/);
  } finally {
    clearInterval(feed);
  }
  const rows = lastScreen().filter((line) => line.startsWith('2001:db8'));
  assert.match(rows[0] ?? '', /^2001:db8:1::2 /);
  assert.match(rows[1] ?? '', /^2001:db8:9::9 +- +0 b\/s +[\d.]+ kb\/s/);
  assert.ok(index > 0);
});
