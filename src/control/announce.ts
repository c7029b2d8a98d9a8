/** What the log says once the gateway serves, with two lines to try. */
import { formatAddress6, formatPrefix4, formatPrefix6, type Prefix6 } from '../wire/address.js';
import { embedAddress } from '../wire/rfc6052.js';
import type { Dns64 } from './dns64/index.js';
import type { Log } from './log.js';
import type { OpenDevice } from './queues.js';
import { coalescing, type EffectiveConfig } from './settings.js';

export function announce(
  config: EffectiveConfig,
  device: OpenDevice,
  setUp: readonly string[],
  dns64: Dns64 | undefined,
  log: Log,
): void {
  for (const line of setUp) log.info({ event: 'set-up' }, line);
  const offloads = device.offloads.length === 0 ? 'none' : device.offloads.join(' ');
  const coalesce = coalescing(config);
  const joined = { none: 'no coalescing', tcp: 'TCP coalesced', all: 'TCP and UDP coalesced' }[coalesce];
  const pref64 = config.pref64 === null ? null : formatPrefix6(config.pref64);
  log.info(
    {
      event: 'ready',
      device: device.name,
      workers: device.fds.length,
      offloads: device.offloads,
      coalesce,
      steering: device.steering,
      pref64,
      pool4: config.pool4 === null ? null : formatPrefix4(config.pool4),
      dns64: dns64?.listening ?? [],
    },
    `serving ${pref64 ?? 'explicit maps'} on ${device.name}: ${device.fds.length} workers, offloads ${offloads}, ${joined}`,
  );
  if (config.pref64 !== null) {
    const ping = exampleAddress(config.pref64);
    log.info({ event: 'try' }, `try, from an IPv6 host that routes here:  ping ${ping}`);
  }
  const listening = dns64?.listening.find(({ address }) => address.includes(':')) ?? dns64?.listening[0];
  if (listening !== undefined) {
    const port = listening.port === 53 ? '' : ` -p ${listening.port}`;
    log.info(
      { event: 'try' },
      `try, the name server to give to hosts:    dig @${listening.address}${port} AAAA example.com`,
    );
  }
}

/** 8.8.8.8 under the prefix, as a person would write it. */
function exampleAddress(pref64: Prefix6): string {
  const prefix = formatAddress6(pref64.address);
  return pref64.length === 96 && prefix.endsWith('::')
    ? `${prefix}8.8.8.8`
    : formatAddress6(embedAddress(pref64, 0x08080808));
}
