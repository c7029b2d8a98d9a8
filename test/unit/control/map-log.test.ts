/** `maps` under [log]: a line for each start and each end of a dynamic map, through reloads too. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '#nat64d/control/clock.js';
import { parseConfig } from '#nat64d/control/config/index.js';
import { Assignments } from '#nat64d/control/inspect/assignments.js';
import { silent } from '#nat64d/control/log.js';
import { CLOCK_START_SEC } from '#nat64d/control/pool/clock-start.js';
import { PoolKeeper } from '#nat64d/control/pool-keeper.js';
import type { EffectiveConfig } from '#nat64d/control/settings.js';
import { atOnce } from '#nat64d/control/slices.js';
import { createPrefixTable } from '#nat64d/shm/prefix-table.js';
import { createSharedState } from '#nat64d/shm/shared-state.js';
import { formatAddress4, type Prefix4 } from '#nat64d/wire/address.js';
import { address6 } from '../../helpers/harness.js';

const HOST = address6('2001:db8:1::2');
const OTHER = address6('2001:db8:1::3');
const ON = '[log]\nmaps = true\n';

/** A gateway's pool through reloads, and the lines that it has logged since the last look. */
function setUp() {
  let nowSec = CLOCK_START_SEC;
  let lines: { event: string; host: string; ipv4: string; lastUsed?: string }[] = [];
  const log = { ...silent, info: (fields: object) => void lines.push(fields as (typeof lines)[0]) };
  const surroundings = {
    state: createSharedState(1),
    workerCount: 1,
    clock: { nowSec: () => nowSec } as Clock,
    log,
    record: () => {},
    assignments: new Assignments(),
  };
  const configOf = (toml: string): EffectiveConfig => ({
    ...parseConfig(toml, 'f'),
    deviceAddresses: [],
    offloads: [],
    deviceMtu: 1500,
  });
  return {
    start(toml: string, before?: PoolKeeper): PoolKeeper {
      const config = configOf(toml);
      const keeper = new PoolKeeper(config.pool4 as Prefix4, config, surroundings);
      if (before !== undefined) keeper.inherit(before);
      keeper.adopt(config, createPrefixTable(config.maps, 6));
      atOnce(keeper.logMaps());
      return keeper;
    },
    /** Up to the lines of the maps that live. */
    begin(keeper: PoolKeeper, toml: string) {
      const config = configOf(toml);
      keeper.adopt(config, createPrefixTable(config.maps, 6));
    },
    adopt(keeper: PoolKeeper, toml: string) {
      this.begin(keeper, toml);
      atOnce(keeper.logMaps());
    },
    pass: (seconds: number) => {
      nowSec += seconds;
    },
    now: () => nowSec,
    taken() {
      const before = lines;
      lines = [];
      return before.map(({ event, host, ipv4 }) => `${event} ${host} ${ipv4}`);
    },
    lastUsed: () => lines[0]?.lastUsed ?? '',
  };
}

test('a map starts, ends after its lifetime, with the time of its last packet, and starts again', () => {
  const on = setUp();
  const keeper = on.start(`map-lifetime = 60\n${ON}`);
  const index = keeper.pool.assign(HOST, on.now());
  const ipv4 = formatAddress4(keeper.pool.addressOf(index));
  keeper.pool.assign(HOST, on.now());
  assert.deepEqual(on.taken(), [`map-started 2001:db8:1::2 ${ipv4}`]);
  on.pass(61);
  keeper.tick(on.now());
  assert.ok(Math.abs(Date.parse(on.lastUsed()) - (Date.now() - 61_000)) < 5000, on.lastUsed());
  assert.deepEqual(on.taken(), [`map-ended 2001:db8:1::2 ${ipv4}`]);
  keeper.pool.assign(HOST, on.now());
  assert.deepEqual(on.taken(), [`map-started 2001:db8:1::2 ${ipv4}`]);
  keeper.drop(index);
  assert.deepEqual(on.taken(), [`map-ended 2001:db8:1::2 ${ipv4}`]);
});

test('off it says nothing; turned on it names what lives, once', () => {
  const on = setUp();
  const keeper = on.start('');
  const ipv4 = formatAddress4(keeper.pool.addressOf(keeper.pool.assign(HOST, on.now())));
  assert.deepEqual(on.taken(), []);
  on.adopt(keeper, ON);
  assert.deepEqual(on.taken(), [`map-resumed 2001:db8:1::2 ${ipv4}`]);
  on.adopt(keeper, ON);
  assert.deepEqual(on.taken(), []);
  on.adopt(keeper, '');
  keeper.drop(keeper.pool.lookup(HOST));
  assert.deepEqual(on.taken(), []);
});

test('what ends, starts, or ends and starts again between two slices is told once, in order', () => {
  const on = setUp();
  const keeper = on.start('pool4 = "10.64.0.0/24"\nmax-maps-per-64 = 0\n');
  const host = (i: number) => address6(`2001:db8:1::${i.toString(16)}`);
  const assign = (i: number) => keeper.pool.assign(host(i), on.now());
  const shown = (i: number) =>
    `2001:db8:1::${i.toString(16)} ${formatAddress4(keeper.pool.addressOf(keeper.pool.lookup(host(i))))}`;
  for (let i = 1; i <= 100; i++) assign(i);
  on.begin(keeper, `pool4 = "10.64.0.0/24"\nmax-maps-per-64 = 0\n${ON}`);
  assert.deepEqual(on.taken(), []);
  const work = keeper.logMaps();
  for (let i = 0; i < 100; i++) work.next();
  const first = on.taken();
  assert.ok(first.length > 10 && first.length < 90, `${first.length} lines`);
  const byIndex = Array.from({ length: 100 }, (_, i) => i + 1).sort(
    (a, b) => keeper.pool.lookup(host(a)) - keeper.pool.lookup(host(b)),
  );
  const [early = 0, late = 0] = [byIndex[0], byIndex.at(-1)];
  const [earlyText, lateText] = [shown(early), shown(late)];
  const ending = (i: number) => keeper.pool.drop(keeper.pool.lookup(host(i)));
  ending(early);
  ending(late);
  assign(late);
  assign(101);
  assert.deepEqual(on.taken(), [
    `map-ended ${earlyText}`,
    `map-resumed ${lateText}`,
    `map-ended ${lateText}`,
    `map-started ${shown(late)}`,
    `map-started ${shown(101)}`,
  ]);
  atOnce(work);
  const rest = on.taken();
  assert.equal(first.length + rest.length, 99);
  assert.ok(rest.every((line) => line.startsWith('map-resumed ')));
  assert.equal(new Set([...first, ...rest, `map-resumed ${lateText}`]).size, 100);
  atOnce(keeper.logMaps());
  assert.deepEqual(on.taken(), []);
});

test('another pool: what has a place in it neither ends nor starts, what has none ends', () => {
  const on = setUp();
  const before = on.start(`pool4 = "10.64.0.0/16"\n${ON}`);
  const [ipv4 = 0, other = 0] = [HOST, OTHER].map((host) =>
    before.pool.addressOf(before.pool.assign(host, on.now())),
  );
  on.taken();
  const mask = ipv4 & 0xffffff00;
  assert.notEqual(other & 0xffffff00, mask, 'the two lie apart');
  const after = on.start(`pool4 = "${formatAddress4(mask >>> 0)}/24"\n${ON}`, before);
  assert.deepEqual(on.taken(), [`map-ended 2001:db8:1::3 ${formatAddress4(other)}`]);
  on.adopt(after, `${ON}[[map]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8:1::2"\n`);
  assert.deepEqual(on.taken(), [`map-ended 2001:db8:1::2 ${formatAddress4(ipv4)}`]);
});

test('maps end with their pool, where no other comes after it; dormant ones have ended', () => {
  const on = setUp();
  const keeper = on.start(`map-lifetime = 60\n${ON}`);
  keeper.pool.assign(OTHER, on.now());
  on.pass(62);
  keeper.tick(on.now());
  const index = keeper.pool.assign(HOST, on.now());
  on.taken();
  keeper.logEnd();
  assert.deepEqual(on.taken(), [`map-ended 2001:db8:1::2 ${formatAddress4(keeper.pool.addressOf(index))}`]);
  on.adopt(keeper, '');
  keeper.logEnd();
  assert.deepEqual(on.taken(), []);
});
