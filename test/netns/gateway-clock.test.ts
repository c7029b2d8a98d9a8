/** A wall clock that is set by a day, forward or back: no map ends or revives by it, and dynamic.map says what is true. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { CLIENT6, type GatewayProcess, Lab } from '../helpers/lab.js';
import { until } from '../helpers/until.js';

let lab: Lab;
afterEach(() => lab.close());

const DAY_SEC = 86_400;
const TOML = '[device]\nmasquerade = false\n[log]\npackets = ["dyn"]\n';
const WALL_CLOCK = new URL('../helpers/wall-clock.js', import.meta.url).href;

/** @param days what its wall clock is ahead by */
function start(days: number): Promise<GatewayProcess> {
  return lab.startGateway({
    toml: TOML,
    nodeOptions: ['--import', WALL_CLOCK],
    env: { WALL_CLOCK_DAYS: String(days) },
  });
}

/** How many seconds ago the client's map was used, by a wall clock that is ahead by this many days. */
async function ageSec(days: number): Promise<number> {
  const folder = join(lab.folder, 'data');
  // It is there under another name for a moment.
  await until(
    () => readdirSync(folder).join() === 'dynamic.map',
    () => `dynamic.map alone, there is ${readdirSync(folder)}`,
    30_000,
  );
  const line = readFileSync(join(folder, 'dynamic.map'), 'utf8')
    .split('\n')
    .find((text) => text.includes(CLIENT6));
  return Math.floor(Date.now() / 1000) + days * DAY_SEC - Number(line?.split('\t')[2]);
}

test('the wall clock goes a day forward and two back: maps live on, through a kill -9 and a restart, with true times', async () => {
  lab = new Lab();
  lab.ip(lab.server, 'route add 10.64.0.0/16 via 203.0.113.1');
  const first = await start(0);
  assert.ok(await lab.pings());
  const ipv4 = String((await first.waitFor('assigned')).ipv4);
  first.kill('SIGIO');
  assert.equal((await first.waitFor('clock-set')).stepSec, DAY_SEC);
  assert.ok(await lab.pings(ipv4, { from: lab.server }));
  const age = await ageSec(1);
  assert.ok(age >= -1 && age < 60, `${age} s`);
  await first.stop('SIGKILL');

  // What IPv4 hosts send is taken for a map that lives, and for no other.
  const second = await start(1);
  assert.ok(await lab.pings(ipv4, { from: lab.server }));
  for (const count of [1, 2]) {
    second.kill('SIGPWR');
    assert.equal((await second.waitFor('clock-set', count)).stepSec, -DAY_SEC);
  }
  assert.ok(await lab.pings(ipv4, { from: lab.server }));
  assert.equal(await second.stop(), 0);
  const laterAge = await ageSec(-1);
  assert.ok(laterAge >= -1 && laterAge < 60, `${laterAge} s`);

  const third = await start(-1);
  assert.ok(await lab.pings(ipv4, { from: lab.server }));
  assert.ok(await lab.pings());
  assert.equal(second.events('assigned').length + third.events('assigned').length, 0);
  assert.equal(await third.stop(), 0);
});
