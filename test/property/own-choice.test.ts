/** No packet leaves with an address that the gateway did not choose: its source belongs to whom we gave it, or stands under pref64. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Address6, prefix4Contains, prefix6Contains } from '#nat64d/wire/address.js';
import { address4, address6, DEFAULT_SETTINGS, Harness, prefix4, prefix6 } from '../helpers/harness.js';
import { bigint6 } from '../helpers/reference/addresses.js';
import { templates } from '../helpers/reference/generate-frames.js';
import { setups } from '../helpers/reference/generate-settings.js';

const words = (bytes: Uint8Array, at: number): Address6 => {
  const dv = new DataView(bytes.buffer, bytes.byteOffset + at);
  return [dv.getInt32(0), dv.getInt32(4), dv.getInt32(8), dv.getInt32(12)];
};

test('sources of what leaves are those of maps, our own, or addresses under pref64', () => {
  let seen = 0;
  fc.assert(
    fc.property(setups, fc.array(templates, { minLength: 4, maxLength: 12 }), (setup, sent) => {
      const { options } = setup;
      const gateway = new Harness(options);
      const settings = { ...DEFAULT_SETTINGS, ...options.settings };
      const pref64 = options.pref64 === undefined ? settings.pref64 : prefix6(options.pref64);
      const maps = (options.maps ?? []).map(([ipv4, ipv6]) => [prefix4(ipv4), prefix6(ipv6)] as const);
      const hosts = options.hosts ?? [];
      const isChosen4 = (source: number) =>
        source === (settings.ipv4Address | 0) ||
        maps.some(([map]) => prefix4Contains(map, source)) ||
        hosts.some(([ipv4]) => (address4(ipv4) | 0) === source) ||
        (settings.icmpSourcePool4 !== null && prefix4Contains(settings.icmpSourcePool4, source));
      const isChosen6 = (source: Address6) =>
        String(source) === String(settings.ipv6Address) ||
        maps.some(([, map]) => prefix6Contains(map, source)) ||
        (pref64 !== null && prefix6Contains(pref64, source));
      const isHost6 = (destination: Address6) =>
        maps.some(([, map]) => prefix6Contains(map, destination)) ||
        hosts.some(([, host]) => String(address6(host)) === String(destination));
      for (const template of sent) {
        const frame = template(setup);
        const { frames } = gateway.send(frame.bytes, frame.vnet);
        for (const { bytes } of frames) {
          seen++;
          if ((bytes[0] as number) >>> 4 === 4) {
            const source = new DataView(bytes.buffer, bytes.byteOffset).getInt32(12);
            // A CLAT shows the IPv4 internet with its own addresses.
            assert.ok(isChosen4(source) || settings.clat, 'IPv4 source');
            continue;
          }
          assert.ok(isChosen6(words(bytes, 8)), 'IPv6 source');
          // What is not for a host that we know answers whoever sent it, from our own address.
          const isAnswer = [setup.own6, setup.addresses6.get('pref64/own')].includes(
            bigint6(words(bytes, 8)),
          );
          const isByClat = settings.clat && pref64 !== null && prefix6Contains(pref64, words(bytes, 24));
          assert.ok(isHost6(words(bytes, 24)) || isAnswer || isByClat, 'IPv6 destination');
        }
      }
    }),
    {
      seed: Number(process.env.FC_SEED ?? 20_261_126),
      numRuns: Math.ceil(300 * Number(process.env.FC_RUNS ?? 1)),
    },
  );
  assert.ok(seen > 500, `only ${seen} frames left`);
});
