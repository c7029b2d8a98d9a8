import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rehearse } from '#nat64d/dataplane/rehearsal.js';
import { createCounters, readCounters } from '#nat64d/shm/counters.js';
import { prefix6 } from '../../helpers/harness.js';
import { makeTask } from '../../helpers/worker-task.js';

const turns = async (count: number) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

for (const coalesce of ['none', 'tcp', 'all'] as const) {
  test(`a rehearsal plays frames both ways, all of them forwarded, and touches nothing of the task's (coalesce: ${coalesce})`, async () => {
    const task = makeTask({ coalesce });
    const counters = createCounters(1);
    rehearse(task, () => false, counters);
    await turns(70);
    const played = readCounters(counters);
    assert.ok(played['frames-in-v6'] > 20_000 && played['frames-in-v4'] > 20_000, JSON.stringify(played));
    const came = played['frames-in-v6'] + played['frames-in-v4'];
    assert.equal(played['frames-out'], came, 'nothing is dropped');
    const joined = played['frames-coalesced'] / came;
    // Of three kinds of frames one or two are joined, in the long bursts.
    const [least, most] = { none: [0, 0], tcp: [0.2, 0.35], all: [0.4, 0.7] }[coalesce] as [number, number];
    assert.ok(joined >= least && joined <= most, `${joined} of them were joined`);
    assert.ok(Object.values(readCounters(task.counters)).every((value) => value === 0));
    task.port.close();
  });
}

test('a rehearsal ends where real frames keep the worker busy, and does without a prefix', async () => {
  const counters = createCounters(1);
  const busy = makeTask({});
  rehearse(busy, () => true, counters);
  const without = makeTask({ pref64: null });
  rehearse(without, () => false, counters);
  const odd = makeTask({ pref64: prefix6('2001:db8:100::/40') });
  rehearse(odd, () => false);
  await turns(5);
  assert.ok(readCounters(counters)['frames-in-v6'] <= 3, 'what it learns its frames from');
  for (const { port } of [busy, without, odd]) port.close();
});
