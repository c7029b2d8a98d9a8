/** A main thread that is held up: flows pass, and the service manager hears of it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { listenForDatagrams } from '../helpers/datagram-listener.js';
import { Lab, SERVER4, under } from '../helpers/lab.js';
import { until } from '../helpers/until.js';

/** Holds the main thread at SIGWINCH, for longer than the watch thread keeps it to the service manager. */
const HOLD_MS = 6500;
const HOLD = `data:text/javascript,${encodeURIComponent(`
  import { isMainThread } from 'node:worker_threads';
  if (isMainThread)
    process.on('SIGWINCH', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${HOLD_MS}));
`)}`;

let lab: Lab;
afterEach(() => lab.close());

test('the main thread blocked for 6 s: an established flow loses nothing, systemd gets no sign of life and a status, standard error a line, and then both', async () => {
  lab = new Lab();
  await lab.serve(lab.server, 'server');
  const socket = join(lab.folder, 'notify');
  const systemd = await listenForDatagrams(socket);
  const gateway = await lab.startGateway({
    toml: '[log]\npackets = ["dyn"]\n',
    env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '2000000' },
    nodeOptions: ['--import', HOLD],
  });
  const stream = lab.node(lab.client, 'client', ['stream', under(SERVER4), '9']);
  await gateway.waitFor('assigned');
  await sleep(1000);
  gateway.kill('SIGWINCH');
  const isSaid = (line: string) =>
    /^the main thread has been held up for [5-9] s: new hosts and DNS wait/.test(line);
  // A busy machine may have held it up before, for a second or two.
  const isOver = ({ sec }: Record<string, unknown>) => Number(sec) > 5;
  await until(() => gateway.events('main-thread-held-up').some(isOver), 'the end of the hold', 30_000);
  const said = gateway.output.findIndex(isSaid);
  const over = gateway.output.findIndex((line) => /"main-thread-held-up","sec":[5-9]/.test(line));
  assert.ok(said >= 0 && said < over, `it is said (line ${said}) before it is over (line ${over})`);
  assert.equal(gateway.output.filter(isSaid).length, 1, 'once');
  const { sent, received, disordered } = JSON.parse((await stream).stdout) as Record<string, number>;
  assert.deepEqual([received, disordered], [sent, 0]);

  gateway.kill('SIGHUP');
  await gateway.waitFor('reloaded');
  assert.equal(await gateway.stop(), 0);
  const told = await systemd.received(1);
  await systemd.close();
  assert.ok(told.includes('READY=1'));
  const heldUp = told.findIndex((text) => /^STATUS=the main thread has been held up/.test(text));
  const serving = told.indexOf('STATUS=serving');
  assert.ok(heldUp > 0 && serving > heldUp, told.join('\n'));
  assert.ok(!told.slice(heldUp, serving).includes('WATCHDOG=1'), 'no sign of life meanwhile');
  for (const part of [told.slice(0, heldUp), told.slice(serving)]) assert.ok(part.includes('WATCHDOG=1'));
  const reloading = told.findIndex((text) => /^RELOADING=1\nMONOTONIC_USEC=[0-9]+$/.test(text));
  assert.ok(reloading > 0 && told.indexOf('READY=1', reloading) > reloading, told.join('\n'));
  assert.ok(told.indexOf('STOPPING=1') > reloading);
});
