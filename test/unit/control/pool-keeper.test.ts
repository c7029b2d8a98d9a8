/** Pinned maps, and hosts that may not have one any more, through reloads. */
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
import type { Workers } from '#nat64d/control/workers.js';
import { ANSWER_ASSIGNED, createHostRing, HostRing, nowUs } from '#nat64d/shm/host-ring.js';
import { createPrefixTable } from '#nat64d/shm/prefix-table.js';
import { createSharedState } from '#nat64d/shm/shared-state.js';
import { formatAddress4, formatAddress6, type Prefix4 } from '#nat64d/wire/address.js';
import { address4, address6 } from '../../helpers/harness.js';

const HOST = address6('2001:db8:1::2');
let nowSec = CLOCK_START_SEC;

function configOf(toml: string): EffectiveConfig {
  const config = parseConfig(toml, 'f');
  return { ...config, deviceAddresses: [], deviceMtu: 1500, offloads: [] };
}

function keeperOf(toml: string, assignments = new Assignments()): PoolKeeper {
  const config = configOf(toml);
  const surroundings = {
    state: createSharedState(1),
    workerCount: 1,
    clock: { nowSec: () => nowSec } as Clock,
    log: silent,
    record: () => {},
    assignments,
  };
  return new PoolKeeper(config.pool4 as Prefix4, config, surroundings);
}

test('a pin outlives a change of the pool where its map does, and goes with it where not', () => {
  const before = keeperOf('pool4 = "10.64.0.0/20"');
  const index = before.pool.assign(HOST, nowSec);
  assert.ok(before.pin(index));
  const address = before.pool.addressOf(index);
  const same = keeperOf('pool4 = "10.64.0.0/16"');
  same.inherit(before);
  assert.equal(same.pinnedCount, 1);
  assert.ok(same.isPinned(same.pool.indexOf(address)));
  const other = keeperOf('pool4 = "10.65.0.0/16"');
  other.inherit(before);
  assert.equal(other.pinnedCount, 0);
});

test('an address that an explicit map takes is pinned no more, whoever gets it later', () => {
  const keeper = keeperOf('');
  const index = keeper.pool.assign(HOST, nowSec);
  keeper.pin(index);
  const map = `[[map]]\nipv4 = "${formatAddress4(keeper.pool.addressOf(index))}"\nipv6 = "2001:db8:9::9"\n`;
  for (const toml of [map, '']) {
    const config = configOf(toml);
    keeper.adopt(config, createPrefixTable(config.maps, 6));
  }
  assert.equal(keeper.pinnedCount, 0);
  assert.equal(keeper.pool.assign(HOST, nowSec), index);
  assert.ok(!keeper.isPinned(index));
});

test('a pinned map lives through a reload with a shorter lifetime than it has been silent', () => {
  const before = keeperOf('map-lifetime = 7200');
  const index = before.pool.assign(HOST, nowSec);
  before.pin(index);
  nowSec += 3000;
  const after = keeperOf('map-lifetime = 60');
  after.inherit(before);
  assert.equal(after.pool.entry(index)?.live, true);
  after.tick(nowSec);
  assert.ok(after.isPinned(index));
});

test('questions are answered without their message, and what counts is the time since they were asked', () => {
  const assignments = new Assignments();
  const { assigner } = keeperOf('', assignments);
  const rings = [0, 1].map(() => ({
    questions: new HostRing(createHostRing(4)),
    answers: new HostRing(createHostRing(4)),
  }));
  const told: number[] = [];
  const workers = {
    count: rings.length,
    rings: (worker: number) => rings[worker],
    send: (worker: number) => told.push(worker),
  } as unknown as Workers;
  assigner.answerWaiting(workers);
  assert.deepEqual(told, []);
  rings[1]?.questions.push(...HOST, (nowUs() - 70_000) | 0);
  assigner.answerWaiting(workers);
  assert.deepEqual(told, [1]);
  const taken: number[] = [];
  rings[1]?.answers.drain(9, (host, value) => taken.push(...host, value));
  assert.deepEqual(taken, [...HOST, ANSWER_ASSIGNED]);
  assert.ok(assignments.times.sumSec >= 0.07 && assignments.times.sumSec < 60, `${assignments.times.sumSec}`);
});

test('a host that an explicit map names loses the address that it got before all workers knew the map', () => {
  const keeper = keeperOf('');
  const config = configOf('[[map]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8:1::2"\n');
  keeper.adopt(config, createPrefixTable(config.maps, 6));
  keeper.pool.assign(HOST, nowSec);
  const other = keeper.pool.assign(address6('2001:db8:1::3'), nowSec);
  keeper.settle();
  assert.equal(keeper.pool.lookup(HOST), -1);
  assert.equal(keeper.pool.lookup(address6('2001:db8:1::3')), other);
});

const ELSEWHERE = address6('2001:db8:2::2');
const adopt = (keeper: PoolKeeper, toml: string) => {
  const config = configOf(toml);
  keeper.adopt(config, createPrefixTable(config.maps, 6));
};

for (const [what, toml] of [
  ['lies outside of allow-from', 'allow-from = ["2001:db8:1::/64"]'],
  ['lies under the new pref64', 'pref64 = "2001:db8:2::/96"'],
] as const) {
  test(`a host that ${what} loses its map, and control gives it none if a worker still asks`, () => {
    const keeper = keeperOf('');
    adopt(keeper, '');
    for (const host of [HOST, ELSEWHERE]) keeper.pool.assign(host, nowSec);
    assert.equal(keeper.pool.liveCount, 2);
    assert.ok(keeper.assigner.isAllowed(ELSEWHERE));
    adopt(keeper, toml);
    assert.ok(keeper.pool.lookup(HOST) >= 0);
    assert.equal(keeper.pool.lookup(ELSEWHERE), -1);
    assert.ok(keeper.assigner.isAllowed(HOST));
    assert.ok(!keeper.assigner.isAllowed(ELSEWHERE));
    adopt(keeper, '');
    assert.ok(keeper.assigner.isAllowed(ELSEWHERE));
  });
}

test("the kernel's own addresses under pref64 may have maps", () => {
  const keeper = keeperOf('');
  const config = parseConfig('', 'f');
  const maps6 = createPrefixTable([], 6);
  keeper.adopt({ ...config, deviceAddresses: config.device.addresses, deviceMtu: 1500, offloads: [] }, maps6);
  assert.ok(keeper.assigner.isAllowed(address6('64:ff9b:1::10.64.0.2')));
  assert.ok(!keeper.assigner.isAllowed(address6('64:ff9b:1::10.64.0.3')));
});

test('of maps that are remembered those are taken back whose hosts may have one', () => {
  const keeper = keeperOf('');
  const map = '[[map]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8:1::7"\n';
  const config = configOf(`allow-from = ["2001:db8:1::/48"]\n${map}`);
  keeper.judgeBy(config, createPrefixTable(config.maps, 6));
  const hosts = ['2001:db8:1::2', '2001:db8:2::2', '2001:db8:1::7'];
  const entries = hosts.map((host, i) => ({
    line: i + 1,
    ipv4: address4(`10.64.0.${i + 9}`),
    host: address6(host),
    lastUsedUnixSec: Math.floor(Date.now() / 1000),
  }));
  assert.deepEqual(atOnce(keeper.restore(entries)), []);
  assert.deepEqual(
    [...keeper.pool.entries()].map(({ host }) => formatAddress6(host)),
    ['2001:db8:1::2'],
  );
});
