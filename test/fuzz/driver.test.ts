/** The fuzzer itself finds what is planted: in a parser, beside a slot, behind a case's back. And every target has cases that are kept. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FrameIo } from '#nat64d/dataplane/loop.js';
import { type Case, fuzz, type Runner, readCorpus, type Target } from './driver.js';
import { FrameStage } from './frame-stage.js';
import { framesTarget } from './frames.js';
import { NativeStage } from './native-stage.js';
import { TARGETS } from './targets.js';

function inFolder(run: (corpus: string) => Promise<void>) {
  return async () => {
    const corpus = mkdtempSync(join(tmpdir(), 'nat64d-corpus-'));
    try {
      await run(corpus);
    } finally {
      rmSync(corpus, { recursive: true });
    }
  };
}

const BAD = 0x7f;

/** A target of random texts. */
function planted(corpus: string, run: Runner['run']): Target {
  return {
    name: 'planted',
    about: 'a fault',
    wholeCount: 1,
    shortCount: 1,
    isText: true,
    corpus,
    make: (random) => [random.bytes(random.between(1, 40))],
    open: () => ({ run }),
  };
}

test(
  'the least number of cases is run, however little time there is',
  inFolder(async (corpus) => {
    const target = planted(corpus, () => {});
    assert.equal((await fuzz(target, { seed: 1, seconds: 0, least: 40 })).cases, 40);
    assert.equal((await fuzz(target, { seed: 1, seconds: 0 })).cases, 0);
  }),
);

const isBad = (records: Case) => records.some((record) => record.includes(BAD));

test(
  'a byte that a parser cannot bear: found, made smaller, kept, and found again before any new case',
  inFolder(async (corpus) => {
    const target = planted(corpus, (records) => {
      if (isBad(records)) throw new Error('it breaks');
    });
    await assert.rejects(fuzz(target, { seed: 1, count: 1000 }), /case \d+ .* made smaller.*it breaks/);
    const [name = ''] = readdirSync(corpus);
    assert.deepEqual([...readFileSync(join(corpus, name))], [BAD]);
    await assert.rejects(fuzz(target, { seed: 2, count: 0 }), new RegExp(`${name}.*fails`));
  }),
);

/** Those who listen for what nobody catches, the test runner before all, hear nothing until this is called back. */
function silence(): () => void {
  const events = ['uncaughtException', 'unhandledRejection'];
  const before = events.map((event) => [event, process.listeners(event as 'exit')] as const);
  for (const event of events) process.removeAllListeners(event);
  return () => {
    for (const [event, listeners] of before) for (const listener of listeners) process.on(event, listener);
  };
}

test(
  'what is thrown when the case is over, by a timer or a promise',
  inFolder(async (corpus) => {
    const restore = silence();
    for (const fault of [
      () => setImmediate(() => assert.fail('too late')),
      () => void Promise.reject(new Error('too late')),
    ]) {
      const target = planted(corpus, async (records) => {
        if (isBad(records)) fault();
        await new Promise((resolve) => setImmediate(resolve));
        await new Promise((resolve) => setImmediate(resolve));
      });
      await assert.rejects(fuzz(target, { seed: 1, count: 1000 }), /too late/);
      for (const name of readdirSync(corpus)) rmSync(join(corpus, name));
    }
    restore();
  }),
);

test(
  'a case that takes a second of the processor',
  inFolder(async (corpus) => {
    // Not when it is to be made smaller: that would take half a minute.
    let slow = 3;
    const target = planted(corpus, () => {
      if (slow-- <= 0) return;
      const before = process.cpuUsage();
      for (let used = process.cpuUsage(before); used.user + used.system < 1_050_000; )
        used = process.cpuUsage(before);
    });
    await assert.rejects(fuzz(target, { seed: 1, count: 1 }), /not fail alone.*ms of the processor/);
  }),
);

/** Writes a byte that is no part of a frame, at `at` from its end, now and then. */
function spoiling(Stage: typeof FrameStage, at: number) {
  return (canary: number) => {
    const stage = new Stage(canary);
    const { read } = stage;
    let reads = 0;
    const spoiled: FrameIo['read'] = (fd, bytes, start, end, headroom, frames, most) => {
      const count = read(fd, bytes, start, end, headroom, frames, most);
      if (count > 0 && ++reads % 50 === 0) {
        const last = 2 * count - 2;
        bytes[(frames[last] as number) + (frames[last + 1] as number) + at]! ^= 1;
      }
      return count;
    };
    return Object.assign(stage, { read: spoiled });
  };
}

for (const Stage of [FrameStage, NativeStage]) {
  test(
    `one byte beyond a slot: ${Stage.name}`,
    inFolder(async (corpus) => {
      const target = framesTarget(spoiling(Stage, 0));
      await assert.rejects(fuzz({ ...target, corpus }, { seed: 1, count: 5000 }), /outside of a slot/);
    }),
  );
}

for (const target of TARGETS) {
  test(`${target.name}: cases are kept`, () => assert.ok(readCorpus(target).length > 0));
}
