/** A control socket that somebody removes while the gateway runs. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SocketKeeper } from '#nat64d/control/control-socket/keeper.js';
import type { ControlSocket } from '#nat64d/control/control-socket/server.js';
import { silent } from '#nat64d/control/log.js';
import { SocketLab } from '../../../helpers/socket-lab.js';
import { TestSubject } from '../../../helpers/subject.js';

let lab: SocketLab;
beforeEach(() => {
  lab = new SocketLab();
});
afterEach(() => lab.close());

async function kept() {
  const subject = new TestSubject();
  const lines: string[] = [];
  const write = (_: object, message: string) => void lines.push(message);
  let control: ControlSocket | undefined = await lab.open(subject);
  /** What waits for its turn. */
  const changes: (() => Promise<void>)[] = [];
  const keeper = new SocketKeeper({
    log: { ...silent, warn: write, error: write },
    current: () => control,
    open: () => lab.open(subject),
    use: (opened) => {
      control = opened;
    },
    inBackground: (change) => void changes.push(change),
  });
  const turn = async () => {
    for (const change of changes.splice(0)) await change();
  };
  return {
    lines,
    changes,
    keeper,
    turn,
    look: async () => {
      keeper.look();
      await turn();
    },
    replace: (by: ControlSocket | undefined) => {
      control = by;
    },
  };
}

const answers = async () =>
  Object.hasOwn((await (await lab.client()).request('counters')) as object, 'frames-in-v6');

test('removed with its folder, it is there again, with the same rights, and who is connected is let go', async () => {
  const { lines, look } = await kept();
  const before = await lab.client();
  await look();
  assert.deepEqual(lines, []);
  rmSync(dirname(lab.path), { recursive: true });
  await look();
  assert.equal(statSync(lab.path).mode & 0o777, 0o660);
  assert.ok(await answers());
  const late = sleep(5000, 'still connected', { ref: false });
  assert.match(String(await Promise.race([before.closed, late])), /closed the connection/);
  assert.equal(lines.length, 1);
  assert.match(lines[0] as string, /control\.sock was removed .* there again/);
  await look();
  assert.equal(lines.length, 1);
});

test('why it cannot be made is said once, until it can; and again at the next time', async () => {
  const { lines, look } = await kept();
  for (const round of [1, 2]) {
    rmSync(dirname(lab.path), { recursive: true });
    writeFileSync(dirname(lab.path), 'in the way');
    for (let i = 0; i < 3; i++) await look();
    assert.equal(lines.length, 2 * round - 1);
    assert.match(lines.at(-1) as string, /nat64ctl cannot reach this gateway; .*: EEXIST/);
    rmSync(dirname(lab.path));
    await look();
    assert.equal(lines.length, 2 * round);
    assert.ok(await answers());
  }
});

test("what has its name now is somebody's, and is left alone until it is gone", async () => {
  const { lines, look } = await kept();
  rmSync(lab.path);
  writeFileSync(lab.path, 'theirs');
  for (let i = 0; i < 3; i++) await look();
  assert.equal(lines.length, 1);
  assert.match(lines[0] as string, /is no socket, and in the way/);
  assert.ok(statSync(lab.path).isFile());
  rmSync(lab.path);
  await look();
  assert.ok(await answers());
});

test('the socket of another gateway that took its place answers on, also when this one ends', async () => {
  const { lines, look, replace } = await kept();
  rmSync(lab.path);
  const other = await lab.open(new TestSubject());
  await look();
  assert.equal(lines.length, 1);
  assert.match(lines[0] as string, /another nat64d answers at/);
  replace(undefined);
  await lab.closeFirst();
  assert.ok(other.isThere);
  assert.ok(await answers());
});

test('what a reload has done before its turn comes is left as it is, and there is one turn at a time', async () => {
  const { lines, look, keeper, changes, turn, replace } = await kept();
  rmSync(dirname(lab.path), { recursive: true });
  keeper.look();
  keeper.look();
  assert.equal(changes.length, 1);
  replace(undefined);
  await turn();
  assert.ok(!existsSync(lab.path));
  const opened = await lab.open(new TestSubject());
  replace(opened);
  rmSync(lab.path);
  keeper.look();
  const next = await lab.open(new TestSubject());
  replace(next);
  await turn();
  assert.ok(next.isThere);
  assert.deepEqual(lines, []);
  rmSync(lab.path);
  await look();
  assert.ok(await answers());
  assert.equal(lines.length, 1);
});

test('one that is not wanted any more is not made', async () => {
  const { lines, look, replace } = await kept();
  rmSync(dirname(lab.path), { recursive: true });
  replace(undefined);
  await look();
  mkdirSync(dirname(lab.path));
  await look();
  assert.ok(!existsSync(lab.path));
  assert.deepEqual(lines, []);
});
