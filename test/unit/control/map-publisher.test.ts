import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MapPublisher } from '#nat64d/control/map-publisher.js';
import { createHostTable, HostTable } from '#nat64d/shm/host-table.js';
import { createSharedState, EPOCH_BUSY, epochWord, GENERATION } from '#nat64d/shm/shared-state.js';
import type { Address6 } from '#nat64d/wire/address.js';
import { TABULATION_WORDS } from '#nat64d/wire/tabulation.js';
import { until } from '../../helpers/until.js';

const NOW = 2_000_000;
const A: Address6 = [0x20010db8, 0, 0, 1];
const B: Address6 = [0x20010db8, 0, 0, 2];

function setUp() {
  const buffers = createHostTable(0x0a400000, 16, 7440, randomFillSync(new Int32Array(TABULATION_WORDS)));
  const state = createSharedState(2);
  const reader = new HostTable(buffers);
  reader.lastSeen.fill(NOW);
  const publisher = new MapPublisher(buffers, state, 2);
  return {
    state,
    publisher,
    find: (host: Address6) => reader.find(...host, state[GENERATION] as number, NOW),
  };
}

test('a free entry is published at once, whatever the workers do', () => {
  const { state, publisher, find } = setUp();
  state[epochWord(0)] = EPOCH_BUSY;
  publisher.publish(3, A);
  let told = false;
  publisher.whenPublished(3, () => {
    told = true;
  });
  assert.ok(told);
  assert.equal(find(A), 3);
});

test('an entry is given to another host only after every worker has passed a burst', async () => {
  const { state, publisher, find } = setUp();
  publisher.publish(3, A);
  // Worker 0 is in a burst with a view from before the withdrawal, worker 1 idle.
  state[epochWord(0)] = state[GENERATION] as number;
  publisher.withdraw(3);
  assert.equal(find(A), -1);
  publisher.publish(3, B);
  let told = false;
  publisher.whenPublished(3, () => {
    told = true;
  });
  await sleep(10);
  assert.equal(find(B), -1);
  assert.ok(!told);
  // Its next burst begins: what it reads now it reads after the withdrawal.
  state[epochWord(0)] = state[GENERATION] as number;
  await until(() => told, 'the map to be published');
  assert.equal(find(B), 3);
  publisher.close();
});

test('a map withdrawn before it could be published never appears', async () => {
  const { state, publisher, find } = setUp();
  publisher.publish(3, A);
  state[epochWord(1)] = EPOCH_BUSY;
  publisher.withdraw(3);
  publisher.publish(3, B);
  let told = 0;
  publisher.whenPublished(3, () => told++);
  publisher.withdraw(3);
  assert.equal(told, 1, 'who waits for it is not left waiting');
  state[epochWord(1)] = 0;
  await sleep(10);
  assert.equal(find(B), -1);
  publisher.publish(3, A);
  assert.equal(find(A), 3);
  publisher.close();
});
