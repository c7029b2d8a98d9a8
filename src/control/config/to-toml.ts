/** A configuration as the TOML that would give it: for those who come with a tayga.conf. */
import { isDeepStrictEqual } from 'node:util';
import {
  formatAddress4,
  formatAddress6,
  formatPrefix4,
  formatPrefix6,
  type Prefix4,
  type Prefix6,
} from '../../wire/address.js';
import { parseConfig } from './index.js';
import type { GatewayConfig, InterfaceAddress, SocketAddress } from './types.js';

type Value = string | number | boolean | readonly string[];

/** Every key of the configuration that differs from its default, in the order of the sample file. */
export function formatToml(config: GatewayConfig): string {
  const standard = parseConfig('', config.file);
  const { device, translation, dns64, http, log } = config;
  const tables: [string, [string, Value | null, Value | null][]][] = [
    [
      '',
      [
        ['pref64', prefix6OrFalse(config), prefix6OrFalse(standard)],
        ['wkpf-strict', config.wkpfStrict, standard.wkpfStrict],
        ['pool4', pool4OrFalse(config), pool4OrFalse(standard)],
        ['map-lifetime', config.mapLifetimeSec, standard.mapLifetimeSec],
        ['max-maps-per-64', config.maxMapsPer64, standard.maxMapsPer64],
        // What follows from other keys is written out: it stays what it was when those change.
        ['ipv4-address', formatAddress4(config.ipv4Address), null],
        ['ipv6-address', formatAddress6(config.ipv6Address), null],
        ['workers', config.workers, standard.workers],
        ['data-dir', config.dataDir ?? false, standard.dataDir ?? false],
        ['map-file', config.mapFile, standard.mapFile],
        ['run-dir', config.runDir, standard.runDir],
        ['control-socket', config.controlSocket, standard.controlSocket],
        ['control-group', config.controlGroup, null],
      ],
    ],
    [
      'device',
      [
        ['name', device.name, standard.device.name],
        ['mtu', device.mtu, standard.device.mtu],
        ['configure', device.configure, standard.device.configure],
        ['up', device.up, standard.device.up],
        ['addresses', device.addresses.map(showInterfaceAddress), null],
        ['routes', device.routes.map(showPrefix), []],
        ['forwarding', device.forwarding, standard.device.forwarding],
        ['masquerade', device.masquerade, standard.device.masquerade],
        ['offload', device.offload, standard.device.offload],
        ['coalesce', device.coalesce, standard.device.coalesce],
      ],
    ],
    [
      'translation',
      [
        ['ipv6-mtu', translation.ipv6Mtu, null],
        ['ipv4-mtu', translation.ipv4Mtu, null],
        ['lowest-ipv6-mtu', translation.lowestIpv6Mtu, standard.translation.lowestIpv6Mtu],
        ['udp-zero-checksum', translation.udpZeroChecksum, standard.translation.udpZeroChecksum],
        ['copy-traffic-class', translation.copyTrafficClass, standard.translation.copyTrafficClass],
        ['mss-clamp', translation.mssClamp, standard.translation.mssClamp],
        ['icmp-fragments', translation.icmpFragments, standard.translation.icmpFragments],
        ['icmp-source-pool4', translation.icmpSourcePool4 && showPrefix(translation.icmpSourcePool4), null],
        ['forward-class-e', translation.forwardClassE, standard.translation.forwardClassE],
        ['clat', translation.clat, standard.translation.clat],
        ['icmp-errors-per-sec', translation.icmpErrorsPerSec, standard.translation.icmpErrorsPerSec],
        ['icmp-error-burst', translation.icmpErrorBurst, standard.translation.icmpErrorBurst],
      ],
    ],
    [
      'dns64',
      [
        ['enabled', dns64.enabled, standard.dns64.enabled],
        ['pref64', dns64.pref64 && formatPrefix6(dns64.pref64), null],
        ['required', dns64.required, standard.dns64.required],
        ['listen', dns64.enabled ? dns64.listen.map(showSocketAddress) : null, null],
        ['forwarders', dns64.forwarders.map(showSocketAddress), []],
        ['allow-from', dns64.allowFrom?.map(showPrefix) ?? null, null],
      ],
    ],
    [
      'http',
      [
        [
          'listen',
          http.listen.length === 0 ? false : http.listen.map(showSocketAddress),
          standard.http.listen.map(showSocketAddress),
        ],
        ['token', http.token, null],
        ['names', http.names, []],
      ],
    ],
    [
      'log',
      [
        ['level', log.level, standard.log.level],
        ['format', log.format, standard.log.format],
        ['packets', log.packets, []],
      ],
    ],
  ];
  const blocks = tables.map(([name, keys]) => {
    const lines = keys.flatMap(([key, value, standardValue]) =>
      value === null || isDeepStrictEqual(value, standardValue) ? [] : [`${key} = ${show(value)}\n`],
    );
    return lines.length === 0 ? '' : `${name === '' ? '' : `[${name}]\n`}${lines.join('')}`;
  });
  const maps = config.maps.map(
    ({ ipv4, ipv6 }) => `[[map]]\nipv4 = ${show(formatPrefix4(ipv4))}\nipv6 = ${show(formatPrefix6(ipv6))}\n`,
  );
  return [`# From ${config.file}.\n`, ...blocks, ...maps].filter((block) => block !== '').join('\n');
}

/** JSON's strings and lists are TOML's too. */
function show(value: Value): string {
  return Array.isArray(value)
    ? `[${value.map((one) => JSON.stringify(one)).join(', ')}]`
    : JSON.stringify(value);
}

function prefix6OrFalse({ pref64 }: GatewayConfig): string | false {
  return pref64 !== null && formatPrefix6(pref64);
}

function pool4OrFalse({ pool4 }: GatewayConfig): string | false {
  return pool4 !== null && formatPrefix4(pool4);
}

function showPrefix(prefix: Prefix4 | Prefix6): string {
  return typeof prefix.address === 'number'
    ? formatPrefix4(prefix as Prefix4)
    : formatPrefix6(prefix as Prefix6);
}

function showInterfaceAddress(on: InterfaceAddress): string {
  const address = on.family === 4 ? formatAddress4(on.address) : formatAddress6(on.address);
  return `${address}/${on.length}`;
}

function showSocketAddress({ address, port }: SocketAddress): string {
  const host = address.includes(':') ? `[${address}]` : address;
  return `${host}:${port}`;
}
