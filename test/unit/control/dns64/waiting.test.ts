/** How long to wait (RFC 6298), and the waiting itself. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { Deadline, Deadlines } from '#nat64d/control/dns64/deadlines.js';
import { RoundTrips } from '#nat64d/control/dns64/rtt.js';
import { until } from '../../../helpers/until.js';

describe('round-trip times (RFC 6298)', () => {
  it('unknown: the longest wait', () => {
    const trips = new RoundTrips(2000);
    assert.equal(trips.timeoutMs(0), 2000);
    assert.equal(trips.meanMs, null);
  });

  it('2.2 the first measurement', () => {
    const trips = new RoundTrips(2000);
    trips.add(100);
    assert.equal(trips.meanMs, 100);
    // SRTT + 4 * (R / 2)
    assert.equal(trips.timeoutMs(0), 300);
  });

  it('2.3 those after it, the variation by the mean before', () => {
    const trips = new RoundTrips(2000);
    trips.add(100);
    trips.add(300);
    assert.equal(trips.meanMs, 125);
    // RTTVAR = 3/4 * 50 + 1/4 * |100 - 300| = 87.5
    assert.equal(trips.timeoutMs(0), 125 + 4 * 87.5);
  });

  it('2.4 and 5.5 never below 200 ms, doubled with every silent try, 2 s at most', () => {
    const trips = new RoundTrips(2000);
    for (let i = 0; i < 100; i++) trips.add(1);
    assert.deepEqual(
      [0, 1, 2, 3, 4, 50].map((tries) => trips.timeoutMs(tries)),
      [200, 400, 800, 1600, 2000, 2000],
    );
  });

  it('stay between the bounds whatever is measured', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e5, noNaN: true })), fc.nat(40), (times, tries) => {
        const trips = new RoundTrips(2000);
        for (const ms of times) trips.add(ms);
        const waitMs = trips.timeoutMs(tries);
        assert.ok(waitMs >= 200 && waitMs <= 2000, String(waitMs));
      }),
    );
  });
});

class Note extends Deadline {
  constructor(
    readonly name: string,
    private readonly on: (name: string, nowMs: number) => void,
  ) {
    super();
  }
  due(nowMs: number): void {
    this.on(this.name, nowMs);
  }
}

describe('deadlines', () => {
  it('are due in order, never early, once; those ended are not', async () => {
    const deadlines = new Deadlines();
    const seen: string[] = [];
    const startMs = performance.now();
    const note = (name: string, inMs: number) => {
      const one = new Note(name, (which, nowMs) => {
        assert.ok(nowMs >= startMs + inMs);
        seen.push(which);
      });
      deadlines.set(one, startMs + inMs);
      return one;
    };
    note('third', 90);
    note('first', 10);
    const moved = note('second', 0);
    deadlines.set(moved, startMs + 50);
    deadlines.end(note('never', 30));
    assert.equal(deadlines.count, 3);
    await until(() => deadlines.count === 0, 'the last deadline');
    assert.deepEqual(seen, ['first', 'second', 'third']);
    // The wheel stands still now, and starts again.
    await sleep(40);
    deadlines.set(moved, performance.now() - 1000);
    await until(() => deadlines.count === 0, 'the last deadline');
    assert.equal(seen.length, 4);
  });

  it('may set and end others, and themselves again', async () => {
    const deadlines = new Deadlines();
    let times = 0;
    const other = new Note('other', () => assert.fail('was ended'));
    const one = new Note('one', (_, nowMs) => {
      deadlines.end(other);
      if (++times < 3) deadlines.set(one, nowMs);
    });
    const nowMs = performance.now();
    deadlines.set(one, nowMs);
    deadlines.set(other, nowMs);
    await until(() => deadlines.count === 0, 'the last deadline');
    assert.equal(times, 3);
  });

  it('further off than a turn of the wheel are not due before', async () => {
    const deadlines = new Deadlines();
    const far = new Note('far', () => assert.fail('early'));
    deadlines.set(far, performance.now() + 1e9);
    await sleep(30);
    assert.equal(deadlines.count, 1);
    deadlines.clear();
    assert.equal(deadlines.count, 0);
  });

  it('what was read late is no silence: sockets are read before a deadline that passed while the process was busy', async () => {
    const deadlines = new Deadlines();
    const order: string[] = [];
    const server = (await import('node:dgram')).createSocket('udp4');
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    server.on('message', () => order.push('message'));
    const waiting = new Note('due', (name) => order.push(name));
    deadlines.set(waiting, performance.now() + 20);
    await new Promise((resolve) => server.send('x', server.address().port, '127.0.0.1', resolve));
    const busyUntil = performance.now() + 100;
    while (performance.now() < busyUntil);
    await until(() => deadlines.count === 0, 'the deadline');
    server.close();
    assert.deepEqual(order, ['message', 'due']);
  });
});
