/** Path MTU discovery across narrow links, both ways, with the kernels' own ICMP errors. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Lab, type LabOptions, MINIMAL_MTU, SERVER4, under } from '../helpers/lab.js';
import { patternBytes } from '../helpers/pattern.js';

const BYTES = 2 << 20;
const HASH = createHash('sha256').update(patternBytes(BYTES)).digest('hex');

async function inLab(options: LabOptions, body: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = new Lab(options);
  try {
    await lab.serve(lab.server, 'server');
    await lab.startGateway();
    await body(lab);
  } finally {
    await lab.close();
  }
}

test('a client that sends learns the MTU of a narrow IPv4 link', () =>
  inLab({ routerMtu: 1400 }, async (lab) => {
    const { stdout, stderr } = await lab.node(lab.client, 'client', ['put', under(SERVER4), String(BYTES)]);
    assert.equal(stdout.trim(), JSON.stringify(HASH), stderr);
    assert.match(lab.ip(lab.client, '-6 route get', under(SERVER4)), /mtu 1420/);
  }));

test('a server that sends learns the MTU of a narrow IPv6 link', () =>
  inLab({ clientLinkMtu: 1400 }, async (lab) => {
    const { stdout, stderr } = await lab.node(lab.client, 'client', ['get', under(SERVER4), String(BYTES)]);
    assert.equal(stdout.trim(), JSON.stringify(HASH), stderr);
    assert.match(lab.ip(lab.server, 'route get 203.0.113.1'), /mtu 1380/);
  }));

test('a ping that may not be fragmented is told the MTU', () =>
  inLab({ routerMtu: 1400 }, async (lab) => {
    const ping = (size: number) =>
      lab.run(lab.client, 'ping', [
        '-M',
        'do',
        '-c',
        '2',
        '-i',
        '0.2',
        '-W',
        '1',
        '-s',
        String(size),
        under(SERVER4),
      ]);
    const large = await ping(1400);
    assert.match(large.stdout + large.stderr, /mtu=1420|mtu: 1420/);
    assert.match((await ping(1420 - 48)).stdout, / 0% packet loss/);
  }));

for (const [family, task, learns] of [
  [4, 'put', 'a client that sends'],
  [6, 'get', 'a server that sends'],
] as const) {
  test(`${learns} learns the MTU from a router that quotes the IP header and 8 bytes`, () =>
    inLab({ minimalRouter: family }, async (lab) => {
      await lab.startMinimalRouter();
      const { stdout, stderr } = await lab.node(lab.client, 'client', [task, under(SERVER4), String(BYTES)]);
      assert.equal(stdout.trim(), JSON.stringify(HASH), stderr);
      const route =
        task === 'put'
          ? lab.ip(lab.client, '-6 route get', under(SERVER4))
          : lab.ip(lab.server, 'route get 203.0.113.1');
      assert.match(route, new RegExp(`mtu ${task === 'put' ? MINIMAL_MTU + 20 : MINIMAL_MTU - 20}`));
    }));
}
