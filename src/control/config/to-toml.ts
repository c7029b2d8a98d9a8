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
import { showForwarder } from './forwarder.js';
import { parseConfig } from './index.js';
import { showSocketAddress } from './socket-address.js';
import type { GatewayConfig, InterfaceAddress, Pref64Config, SynthesisConfig } from './types.js';

type Value = string | number | boolean | readonly Value[] | { readonly [key: string]: Value };
/** A key, its value (null: left out), and its default. */
type Line = [string, Value | null, Value | null];

/** Every key of the configuration that differs from its default, in the order of the sample file. */
export function formatToml(config: GatewayConfig): string {
  const standard = parseConfig('', config.file);
  const { advertise, device, translation, dns64, http, log } = config;
  const tables: [string, Line[]][] = [
    [
      '',
      [
        ['pref64', prefix6OrFalse(config), prefix6OrFalse(standard)],
        ['wkpf-strict', config.wkpfStrict, standard.wkpfStrict],
        ['pool4', pool4OrFalse(config), pool4OrFalse(standard)],
        ['allow-from', config.allowFrom?.map(showPrefix) ?? null, null],
        ['map-lifetime', config.mapLifetimeSec, standard.mapLifetimeSec],
        ['max-maps-per-64', config.maxMapsPer64, standard.maxMapsPer64],
        // What follows from other keys is written out: it stays what it was when those change.
        ['ipv4-address', formatAddress4(config.ipv4Address), null],
        ['ipv6-address', formatAddress6(config.ipv6Address), null],
        ['workers', config.workers, standard.workers],
        ['worker-nice', config.workerNice, standard.workerNice],
        ['data-dir', config.dataDir ?? false, standard.dataDir ?? false],
        ['map-file', config.mapFile, standard.mapFile],
        ['run-dir', config.runDir, standard.runDir],
        ['control-socket', config.controlSocket, standard.controlSocket],
        ['control-group', config.controlGroup, null],
        ['user', config.user, null],
        ['group', config.group, null],
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
      'advertise',
      [
        ['interfaces', advertise.interfaces, []],
        ['dns-servers', advertise.dnsServers?.map(formatAddress6) ?? null, null],
        ['interval', advertise.intervalSec, standard.advertise.intervalSec],
        ['lifetime', advertise.lifetimeSec, null],
        ['mtu', advertise.mtu, null],
        ['prefix', advertise.prefix && formatPrefix6(advertise.prefix), null],
        ['route', advertise.route, standard.advertise.route],
        ['router-lifetime', advertise.routerLifetimeSec, standard.advertise.routerLifetimeSec],
      ],
    ],
    [
      'dns64',
      [
        ['enabled', dns64.enabled, standard.dns64.enabled],
        ['required', dns64.required, standard.dns64.required],
        ['listen', dns64.enabled ? dns64.listen.map(showSocketAddress) : null, null],
        ['interfaces', dns64.interfaces, []],
        ['port', dns64.port, standard.dns64.port],
        ['forwarders', dns64.forwarders.map(showForwarder), []],
        ['forwarders-ca', dns64.forwardersCa?.file ?? null, null],
        ['randomize-case', dns64.randomizeCase, standard.dns64.randomizeCase],
        ['retry', dns64.retrySec, standard.dns64.retrySec],
        ['allow-from', dns64.allowFrom?.map(showPrefix) ?? null, null],
        ['cache-size', dns64.cacheSizeBytes, standard.dns64.cacheSizeBytes],
        ['prefetch', dns64.prefetch, standard.dns64.prefetch],
        ['serve-stale', dns64.serveStaleSec, standard.dns64.serveStaleSec],
        ['cookies', dns64.cookies, standard.dns64.cookies],
        ['rate-limit', dns64.rateLimit, standard.dns64.rateLimit],
        ['tcp-connections', dns64.tcpConnections, standard.dns64.tcpConnections],
        ['tcp-idle', dns64.tcpIdleSec, standard.dns64.tcpIdleSec],
        ['clients', dns64.clients?.map(showPrefix) ?? null, null],
        ...synthesisLines(dns64, standard.dns64),
        ['reverse-6to4', dns64.reverse6to4, standard.dns64.reverse6to4],
        ['private-zones', dns64.privateZones, standard.dns64.privateZones],
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
        ['packet-level', log.packetLevel, standard.log.packetLevel],
        ['assignment-level', log.assignmentLevel, standard.log.assignmentLevel],
        ['maps', log.maps, standard.log.maps],
        ['destination', log.destination, standard.log.destination],
      ],
    ],
  ];
  const blocks = tables.map(([name, keys]) => showTable(name === '' ? '' : `[${name}]\n`, keys));
  const policies = dns64.policies.map((policy) =>
    showTable('[[dns64.policy]]\n', [
      ['clients', policy.clients.map(showPrefix), null],
      ...synthesisLines(policy, dns64),
    ]),
  );
  const scoped = dns64.scoped.map(({ from, to }) =>
    showTable('[[dns64.scoped]]\n', [
      ['from', formatPrefix6(from), null],
      ['to', formatPrefix6(to), null],
    ]),
  );
  const maps = config.maps.map(({ ipv4, ipv6 }) =>
    showTable('[[map]]\n', [
      ['ipv4', formatPrefix4(ipv4), null],
      ['ipv6', formatPrefix6(ipv6), null],
    ]),
  );
  return [`# From ${config.file}.\n`, ...blocks, ...policies, ...scoped, ...maps]
    .filter((block) => block !== '')
    .join('\n');
}

/** The lines that differ from their defaults under a header; nothing where there are none. */
function showTable(header: string, keys: readonly Line[]): string {
  const lines = keys.flatMap(([key, value, standardValue]) =>
    value === null || isDeepStrictEqual(value, standardValue) ? [] : [`${key} = ${show(value)}\n`],
  );
  return lines.length === 0 ? '' : `${header}${lines.join('')}`;
}

function synthesisLines(of: SynthesisConfig, standard: SynthesisConfig): Line[] {
  const pref64s = (config: SynthesisConfig) => config.pref64s.map(showPref64);
  return [
    ['synthesize', of.synthesize, standard.synthesize],
    ['pref64', of.pref64s.length === 0 ? null : pref64s(of), pref64s(standard)],
    ['pref64-choice', of.pref64Choice, standard.pref64Choice],
    ['exclude-aaaa', of.excludeAaaa.map(showPrefix), standard.excludeAaaa.map(showPrefix)],
    ['exclude-ipv4', of.excludeIpv4.map(showPrefix), standard.excludeIpv4.map(showPrefix)],
    ['exclude-names', of.excludeNames, standard.excludeNames],
    ['ignore-aaaa', of.ignoreAaaa, standard.ignoreAaaa],
    ['break-dnssec', of.breakDnssec, standard.breakDnssec],
    ['reverse', of.reverse, standard.reverse],
  ];
}

function showPref64({ prefix, ipv4, excludeAaaa }: Pref64Config): Value {
  if (ipv4.length === 0 && excludeAaaa.length === 0) return formatPrefix6(prefix);
  return {
    prefix: formatPrefix6(prefix),
    ...(ipv4.length === 0 ? {} : { ipv4: ipv4.map(showPrefix) }),
    ...(excludeAaaa.length === 0 ? {} : { 'exclude-aaaa': excludeAaaa.map(showPrefix) }),
  };
}

/** JSON's strings are TOML's too. */
function show(value: Value): string {
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
  if (typeof value !== 'object') return JSON.stringify(value);
  return `{ ${Object.entries(value)
    .map(([key, one]) => `${key} = ${show(one)}`)
    .join(', ')} }`;
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
