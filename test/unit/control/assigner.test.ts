/** Answers to workers; `packets = ["dyn"]`: a flood of new hosts fills no log. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '#nat64d/control/clock.js';
import { parseConfig } from '#nat64d/control/config/index.js';
import { Assignments } from '#nat64d/control/inspect/assignments.js';
import { silent } from '#nat64d/control/log.js';
import { CLOCK_START_SEC } from '#nat64d/control/pool/clock-start.js';
import { PoolKeeper } from '#nat64d/control/pool-keeper.js';
import type { Workers } from '#nat64d/control/workers.js';
import {
  ANSWER_ASSIGNED,
  ANSWER_NETWORK_FULL,
  ANSWER_REFUSED,
  createHostRing,
  HostRing,
} from '#nat64d/shm/host-ring.js';
import { createPrefixTable } from '#nat64d/shm/prefix-table.js';
import { createSharedState } from '#nat64d/shm/shared-state.js';
import type { Prefix4 } from '#nat64d/wire/address.js';

test('50 lines a second, and one that says how many more there were, all of the level that is asked for', () => {
  const configOf = (more: string) => ({
    ...parseConfig(`[log]\npackets = ["dyn"]\n${more}`, 'f'),
    deviceAddresses: [],
    offloads: [],
    deviceMtu: 1500,
  });
  const config = configOf('');
  const lines: { event: string; left?: number }[] = [];
  const warnings: typeof lines = [];
  const keeper = new PoolKeeper(config.pool4 as Prefix4, config, {
    state: createSharedState(1),
    workerCount: 1,
    clock: { nowSec: () => CLOCK_START_SEC } as Clock,
    log: {
      ...silent,
      info: (fields: object) => void lines.push(fields as (typeof lines)[0]),
      warn: (fields: object) => void warnings.push(fields as (typeof lines)[0]),
    },
    record: () => {},
    assignments: new Assignments(),
  });
  keeper.adopt(config, createPrefixTable([], 6));
  const rings = { questions: new HostRing(createHostRing(256)), answers: new HostRing(createHostRing(256)) };
  const workers = { rings: () => rings, send: () => {} } as unknown as Workers;
  const ask = (first: number, count: number) => {
    for (let i = 0; i < count; i++) rings.questions.push(0x20010db8, first + i, 0, 1, 0);
    keeper.assigner.answer(workers, 0);
  };
  ask(0, 80);
  ask(80, 20);
  assert.deepEqual(new Set(lines.map(({ event }) => event)), new Set(['assigned']));
  assert.equal(lines.length, 50);
  keeper.tick(CLOCK_START_SEC + 1);
  assert.deepEqual(lines.splice(0).at(-1), { event: 'assignments-left', left: 50 });
  ask(100, 3);
  keeper.tick(CLOCK_START_SEC + 2);
  assert.equal(lines.length, 3, 'there is room again, and nothing was left out');
  assert.deepEqual(warnings, []);

  keeper.adopt(configOf('assignment-level = "warn"\n'), createPrefixTable([], 6));
  ask(110, 60);
  keeper.tick(CLOCK_START_SEC + 3);
  assert.equal(lines.length, 3);
  assert.deepEqual(warnings.at(-1), { event: 'assignments-left', left: 10 });
  assert.equal(warnings.length, 51);
});

test('a worker is told whether one host is refused, or all of its /64', () => {
  const config = {
    ...parseConfig('max-maps-per-64 = 2\npool4 = "10.64.0.0/29"\n', 'f'),
    deviceAddresses: [],
    offloads: [],
    deviceMtu: 1500,
  };
  const keeper = new PoolKeeper(config.pool4 as Prefix4, config, {
    state: createSharedState(1),
    workerCount: 1,
    clock: { nowSec: () => CLOCK_START_SEC } as Clock,
    log: silent,
    record: () => {},
    assignments: new Assignments(),
  });
  keeper.adopt(config, createPrefixTable([], 6));
  const rings = { questions: new HostRing(createHostRing(256)), answers: new HostRing(createHostRing(256)) };
  const workers = { rings: () => rings, send: () => {} } as unknown as Workers;
  const answersTo = (hosts: readonly (readonly [number, number])[]) => {
    for (const [network, host] of hosts) rings.questions.push(0x20010db8, network, 0, host, 0);
    keeper.assigner.answer(workers, 0);
    const answers: number[] = [];
    rings.answers.drain(256, (_, answer) => answers.push(answer));
    return answers;
  };
  assert.deepEqual(
    answersTo([
      [1, 1],
      [1, 2],
      [1, 3],
      [2, 1],
    ]),
    [ANSWER_ASSIGNED, ANSWER_ASSIGNED, ANSWER_NETWORK_FULL, ANSWER_ASSIGNED],
  );
  answersTo([2, 3, 4, 5, 6, 7].map((network) => [network, 9]));
  assert.deepEqual(answersTo([[8, 1]]), [ANSWER_REFUSED], 'the pool is full');
});
