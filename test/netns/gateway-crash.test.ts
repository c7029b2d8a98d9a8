/**
 * kill -9 while hosts come: every address that a packet was sent with is its host's again. When it is killed is chosen at random:
 * NAT64D_SEED chooses as in the run that printed it.
 */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../fuzz/random.js';
import { Lab, SERVER4, under } from '../helpers/lab.js';

/** The soak asks for more. */
const KILLS = Number(process.env.NAT64D_KILLS ?? 4);
const SEED = Number(process.env.NAT64D_SEED ?? Date.now() % 2 ** 31);
const HOSTS_A_ROUND = 20;
/** About what a start and an end take. */
const START_MS = 700;
const STOP_MS = 150;
/** All hosts are of one /64, and the server sees the addresses of the pool. */
const TOML = 'max-maps-per-64 = 0\n[device]\nmasquerade = false\n';

let lab: Lab;
beforeEach(() => {
  lab = new Lab({ clientAddresses: KILLS * HOSTS_A_ROUND });
});
afterEach(() => lab.close());

test(`kill -9 under churn, ${KILLS} times: no assignment that a packet was sent with is lost`, {
  timeout: KILLS * 30_000,
}, async (t) => {
  t.diagnostic(`NAT64D_SEED=${SEED}`);
  const random = new Random(SEED, 0);
  await lab.serve(lab.server, 'server');
  lab.ip(lab.server, 'route add 10.64.0.0/16 via 203.0.113.1');
  const before = await lab.snapshot();
  const addressOf = new Map<string, string>();
  const check = async (count: number, waitMs: number) => {
    const words = ['hosts', under(SERVER4), String(count), String(waitMs)];
    const { stdout } = await lab.node(lab.client, 'client', words);
    const seen = Object.entries(JSON.parse(stdout) as Record<string, string>);
    for (const [host, ipv4] of seen) {
      assert.equal(addressOf.get(host) ?? ipv4, ipv4, host);
      addressOf.set(host, ipv4);
    }
    return seen.length;
  };
  for (let round = 1; round <= KILLS; round++) {
    const gateway = await lab.startGateway({ toml: TOML });
    const coming = check(round * HOSTS_A_ROUND, 500);
    // In the middle of the hosts' first packets: the client's start takes some 50 ms.
    await sleep(random.between(40, 100));
    gateway.kill('SIGKILL');
    await gateway.exited;
    await coming;
  }
  // In the middle of a start, and of an end, too.
  for (let i = 0; i < KILLS / 3; i++) {
    const starting = await lab.startGateway({ toml: TOML, isFailing: true });
    await sleep(random.below(START_MS));
    starting.kill('SIGKILL');
    await starting.exited;
    const ending = await lab.startGateway({ toml: TOML });
    ending.kill('SIGTERM');
    await sleep(random.below(STOP_MS));
    ending.kill('SIGKILL');
    await ending.exited;
  }
  const gateway = await lab.startGateway({ toml: TOML });
  assert.equal(await check(KILLS * HOSTS_A_ROUND, 5000), KILLS * HOSTS_A_ROUND);
  assert.equal(new Set(addressOf.values()).size, addressOf.size, 'no address has two hosts');
  assert.equal(await gateway.stop(), 0);
  assert.equal(await lab.snapshot(), before);
});
