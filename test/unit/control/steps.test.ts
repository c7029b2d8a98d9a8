/** Several changes as one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silent } from '#nat64d/control/log.js';
import { Steps } from '#nat64d/control/steps.js';

function recorder() {
  const steps = new Steps();
  const done: string[] = [];
  const act = (name: string) => () => void done.push(name);
  const step = (name: string, fails = false) =>
    steps.do({
      apply: () => {
        done.push(name);
        if (fails) throw new Error(`${name} failed`);
      },
      undo: act(`undo ${name}`),
      commit: act(`commit ${name}`),
    });
  return { steps, done, act, step };
}

test('what is done is completed in reverse', async () => {
  const { steps, done, act, step } = recorder();
  await step('a');
  await step('b');
  steps.atCommit(act('c'));
  await steps.commit(silent);
  assert.deepEqual(done, ['a', 'b', 'c', 'commit b', 'commit a']);
});

test('what fails is taken back with all before it, even where a part of the way back fails', async () => {
  const { steps, done, act, step } = recorder();
  const logged: string[] = [];
  await step('a');
  steps.atUndo(() => {
    throw new Error('gone');
  });
  await assert.rejects(step('b', true), /b failed/);
  await assert.rejects(
    steps.prepare(async () => {
      throw new Error('leaves nothing');
    }),
  );
  await steps.prepare(async () => ({ undo: act('undo c') }));
  await steps.undo({ ...silent, error: (_: object, message: string) => void logged.push(message) });
  assert.deepEqual(done, ['a', 'b', 'undo c', 'undo b', 'undo a']);
  assert.match(logged.join(), /gone/);
});

test('attempts all run, and what failed is told together', async () => {
  const { steps, done, act } = recorder();
  for (const name of ['a', 'b', 'c']) {
    await steps.attempt(async () => {
      act(name)();
      if (name !== 'b') throw new Error(`no ${name}`);
    });
  }
  assert.deepEqual(done, ['a', 'b', 'c']);
  assert.throws(() => steps.check(), { message: 'no a\nno c' });
  new Steps().check();
});
