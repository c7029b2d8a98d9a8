import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CoarseClock } from '#nat64d/control/dns64/clock.js';

const exactSec = () => Math.floor(performance.now() / 1000);

describe('the coarse clock', () => {
  it('is right after any pause, also one in which the event loop was held up', async () => {
    const clock = new CoarseClock();
    const startSec = exactSec();
    for (const isHeldUp of [false, true, false, true]) {
      const before = exactSec();
      assert.ok(clock.sec() <= before);
      assert.ok(clock.sec() >= startSec);
      const untilMs = performance.now() + 600;
      if (isHeldUp) while (performance.now() < untilMs);
      else await sleep(600);
      // Timers come before sockets: what is asked after this turn sees the time that it is.
      await sleep(1);
      const [from, sec, to] = [exactSec(), clock.sec(), exactSec()];
      assert.ok(sec >= from && sec <= to, `${from} <= ${sec} <= ${to}`);
    }
  });

  it('has no timer at rest', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    new CoarseClock().sec();
    await sleep(120);
    assert.equal(timers(), 0);
  });
});
