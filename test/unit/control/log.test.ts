/** Log targets of the drop-ins, and sd_notify. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createPlainLog } from '#nat64d/control/log.js';
import { openNotifier, watchdogMs } from '#nat64d/control/notify.js';
import { listenForDatagrams } from '../../helpers/datagram-listener.js';

const folder = mkdtempSync(join(tmpdir(), 'nat64d-log-'));
after(() => rmSync(folder, { recursive: true }));

/** What a program that logs on standard output has written. */
function printed(target: string, level: string): string[] {
  const script = `
    const { createPlainLog } = await import(${JSON.stringify(import.meta.resolve('#nat64d/control/log.js'))});
    const log = createPlainLog('${level}', '${target}', 'x');
    for (const kind of ['debug', 'info', 'warn', 'error']) log[kind]({ event: 'e' }, 'a line of ' + kind);`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  assert.equal(stderr, '');
  return stdout.split('\n').slice(0, -1);
}

test('plain: only the messages, from the level on', () => {
  assert.deepEqual(printed('plain', 'info'), ['a line of info', 'a line of warn', 'a line of error']);
  assert.equal(printed('plain', 'debug').length, 4);
});

test('journal: each line begins with its priority (sd-daemon(3))', () => {
  assert.deepEqual(printed('journal', 'debug'), [
    '<7>a line of debug',
    '<6>a line of info',
    '<4>a line of warn',
    '<3>a line of error',
  ]);
});

test('syslog: facility daemon, severity, name and pid; a syslogd that was started anew gets the next line', async () => {
  const socket = join(folder, 'log');
  const early = createPlainLog('info', 'syslog', 'tayga', socket);
  early.info({}, 'nobody listens yet');
  const first = await listenForDatagrams(socket);
  const log = createPlainLog('info', 'syslog', 'tayga', socket);
  log.info({}, 'one');
  log.error({}, 'two');
  log.debug({}, 'never');
  assert.deepEqual(await first.received(2), [
    `<30>tayga[${process.pid}]: one`,
    `<27>tayga[${process.pid}]: two`,
  ]);
  await first.close();
  rmSync(socket);
  const second = await listenForDatagrams(socket);
  log.warn({}, 'three');
  assert.deepEqual(await second.received(1), [`<28>tayga[${process.pid}]: three`]);
  await second.close();
});

test('sd_notify tells a socket by path or abstract name; none, or one that is not there, is no error', async () => {
  for (const socket of [join(folder, 'notify'), `@nat64d-notify-${process.pid}`]) {
    const listener = await listenForDatagrams(socket);
    const notifier = openNotifier(socket);
    notifier.notify('READY=1');
    notifier.reloading();
    const beforeUsec = process.hrtime.bigint() / 1000n;
    const [ready, reloading = ''] = await listener.received(2);
    assert.equal(ready, 'READY=1');
    // CLOCK_MONOTONIC, as systemd compares it with.
    const usec = BigInt(/^RELOADING=1\nMONOTONIC_USEC=([0-9]+)$/.exec(reloading)?.[1] ?? 0);
    assert.ok(usec <= beforeUsec && beforeUsec - usec < 60_000_000n, reloading);
    await listener.close();
    notifier.notify('STOPPING=1');
  }
  for (const none of [undefined, '', 'relative', '@', '/nowhere/at/all'])
    openNotifier(none).notify('READY=1');
});

for (const [env, ms] of [
  [{}, null],
  [{ WATCHDOG_USEC: '30000000' }, 30_000],
  [{ WATCHDOG_USEC: '500000', WATCHDOG_PID: String(process.pid) }, 500],
  [{ WATCHDOG_USEC: '500000', WATCHDOG_PID: '1' }, null],
  [{ WATCHDOG_USEC: '0' }, null],
  [{ WATCHDOG_USEC: 'soon' }, null],
] as const) {
  test(`${JSON.stringify(env)} asks for a sign of life within ${ms} ms`, () =>
    assert.equal(watchdogMs(env), ms));
}

test('a log on a full disk, or to a reader that has gone, is no reason to end', () => {
  const script = `
    const { createLog, createPlainLog } = await import(${JSON.stringify(import.meta.resolve('#nat64d/control/log.js'))});
    const logs = [createPlainLog('info', 'plain', 'x'), ...['json', 'pretty'].map((format) => createLog({ level: 'info', format, destination: 'stdout', maps: false, packets: [] }))];
    for (let i = 0; i < 3; i++) for (const log of logs) {
      log.warn({ event: 'e' }, 'lost');
      await new Promise(setImmediate);
    }
    console.error('lives');`;
  const args = [process.execPath, '--input-type=module', '-e', script];
  for (const output of ['> /dev/full', '| true']) {
    const { stderr } = spawnSync('sh', ['-c', `"$@" ${output}`, 'sh', ...args], { encoding: 'utf8' });
    assert.equal(stderr, 'lives\n', output);
  }
});
