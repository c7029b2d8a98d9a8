/** What of a configuration depends on the machine. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { coalescing, type EffectiveConfig } from '#nat64d/control/settings.js';

const SETTINGS = import.meta.resolve('#nat64d/control/settings.js');

/** The workers of `workers = N` in a process that may run on one CPU only. */
function workersOnOneCpu(workers: number): number {
  const mask = execFileSync('taskset', ['-cp', String(process.pid)], { encoding: 'utf8' });
  const cpu = String(Number.parseInt(mask.split(': ')[1] as string, 10));
  const code = `const { workerCountOf } = await import(${JSON.stringify(SETTINGS)}); console.log(workerCountOf({ workers: ${workers} }));`;
  const words = ['-c', cpu, process.execPath, '--input-type=module', '-e', code];
  return Number(execFileSync('taskset', words, { encoding: 'utf8' }));
}

test('workers = 0 is one for each CPU that the process may run on, not for each of the machine', () => {
  assert.equal(workersOnOneCpu(0), 1);
  assert.equal(workersOnOneCpu(3), 3);
});

test('what is joined depends on what the kernel cuts again', () => {
  const of = (coalesce: boolean, ...offloads: string[]) =>
    coalescing({ device: { coalesce }, offloads } as unknown as EffectiveConfig);
  const tso = ['CSUM', 'TSO4', 'TSO6', 'TSO_ECN'];
  assert.equal(of(true, ...tso, 'USO4', 'USO6'), 'all');
  assert.equal(of(true, ...tso), 'tcp');
  assert.equal(of(true, 'CSUM'), 'none');
  assert.equal(of(true), 'none');
  assert.equal(of(false, ...tso, 'USO4', 'USO6'), 'none');
});
