/** Frames of MTU size through the gateway, as network cards deliver them: joined, not joined, and without offloads. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Lab, SERVER4, under } from '../helpers/lab.js';
import { patternBytes } from '../helpers/pattern.js';

const BYTES = 4_000_000;
/** As many as any socket holds until it is read. */
const DATAGRAMS = 50;
let lab: Lab;

before(async () => {
  lab = new Lab();
  await lab.serve(lab.server, 'server');
  for (const namespace of [lab.client, lab.server]) {
    const { status, stderr } = await lab.run(namespace, 'ethtool', ['-K', 'up0', 'tso', 'off', 'gso', 'off']);
    assert.equal(status, 0, stderr);
  }
});
after(() => lab.close());

async function client(...args: string[]): Promise<unknown> {
  const { status, stdout, stderr } = await lab.node(lab.client, 'client', args);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}

for (const [what, device, isJoined] of [
  ['as shipped', '', true],
  ['coalesce = false', 'coalesce = false', false],
  ['offload = false', 'offload = false', false],
] as const) {
  test(`TCP both ways and bursts of UDP arrive whole and in order: ${what}`, async () => {
    const gateway = await lab.startGateway({ toml: `[device]\n${device}\n` });
    const hash = createHash('sha256').update(patternBytes(BYTES)).digest('hex');
    const host = under(SERVER4);
    assert.equal(await client('get', host, String(BYTES)), hash);
    assert.equal(await client('put', host, String(BYTES)), hash);
    for (const size of [64, 1200, 64, 1200]) {
      assert.deepEqual(await client('burst', host, String(DATAGRAMS), String(size)), {
        whole: DATAGRAMS,
        disordered: 0,
      });
    }
    assert.equal(await gateway.stop(), 0);
    const counters = gateway.events('stopped')[0]?.counters as Record<string, number>;
    const joined = counters['frames-coalesced'] ?? 0;
    assert.ok(isJoined ? joined > 1000 : joined === 0, `${joined} frames were joined`);
    assert.equal(counters['write-refused'] ?? 0, 0);
  });
}
