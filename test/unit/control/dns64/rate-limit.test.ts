import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readAddress } from '#nat64d/control/dns64/access.js';
import { ANSWER, DROP, RateLimit, SLIP } from '#nat64d/control/dns64/rate-limit.js';

const words = (text: string) => readAddress(text)!.words;

test('a second of answers at once, then as many as the time since earns; of the others every second slips', () => {
  let nowMs = 0;
  const limit = new RateLimit(10, () => nowMs);
  const judge = (count: number) =>
    Array.from({ length: count }, () => limit.judge(words('192.0.2.1')))
      .map((verdict) => ({ [ANSWER]: 'a', [SLIP]: 's', [DROP]: 'd' })[verdict])
      .join('');
  assert.equal(judge(14), 'aaaaaaaaaasdsd');
  nowMs = 300;
  assert.equal(judge(5), 'aaasd');
  nowMs = 1e9;
  assert.equal(judge(12), 'aaaaaaaaaasd');
});

test('a bucket is that of a /24 or a /56, and IPv4 and IPv6 have none in common', () => {
  const limit = new RateLimit(1, () => 0);
  const isFirst = (text: string) => limit.judge(words(text)) === ANSWER;
  assert.deepEqual(['192.0.2.1', '192.0.2.255', '192.0.3.1'].map(isFirst), [true, false, true]);
  const ipv6 = ['2001:db8:0:100::1', '2001:db8:0:1ff:ffff::', '2001:db8:0:200::1', '2001:db8::1'];
  assert.deepEqual(ipv6.map(isFirst), [true, false, true, true]);
  assert.equal(isFirst('::c000:201'), true);
});

test('memory does not grow with clients, and who comes often keeps his bucket', () => {
  let nowMs = 0;
  const limit = new RateLimit(2, () => nowMs);
  let answered = 0;
  for (let i = 0; i < 200_000; i++) {
    nowMs += 0.001;
    limit.judge([0x20010db8, i << 8, 0, 0]);
    if (i % 100 === 0 && limit.judge(words('192.0.2.1')) === ANSWER) answered++;
  }
  // 200 ms earn less than one answer beside the two there were.
  assert.equal(answered, 2);
});
