/** Every rule of the file, broken: what is reported, and where. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError, parseConfig } from '#nat64d/control/config/index.js';
import { problemsOf } from './problems-of.js';

const invalid: [string, string, ...string[]][] = [
  ['an unknown key', 'pool = 1', "f:1:1: pool: there is no such key; did you mean 'pool4'?"],
  [
    'an unknown key far from any',
    'zzzzzzzz = 1',
    'f:1:1: zzzzzzzz: there is no such key; allowed here: pref64',
  ],
  ['a key too short to guess at', 'a = 1', 'f:1:1: a: there is no such key; allowed here: pref64'],
  [
    'an unknown key in a table',
    '[device]\n nam = "x"',
    "f:2:2: device.nam: there is no such key; did you mean 'name'?",
  ],
  ['an unknown table', '[dns]', "f:1:1: dns: there is no such key; did you mean 'dns64'?"],
  ['a syntax error', 'a = \n', 'f:2:1: no valid TOML: '],
  ['a key twice', 'workers = 1\nworkers = 2', 'f:2:1: no valid TOML: '],
  [
    'a wrong type',
    'workers = "2"',
    "f:1:11: workers: '2' is not allowed; it must be a whole number from 0 to 64",
  ],
  ['a fraction', 'workers = 1.5', 'f:1:11: workers: 1.5 is not allowed; it must be a whole number'],
  ['a number too large', 'workers = 65', 'f:1:11: workers: 65 is not allowed'],
  ['a boolean for a table', 'device = true', 'f:1:10: device: true is not allowed; it must be a table'],
  ['a table for a string', '[pref64]', 'f:1:1: pref64: a table is not allowed; it must be an IPv6 prefix'],
  [
    'a prefix of a wrong length',
    'pref64 = "64:ff9b:1::/80"',
    "f:1:10: pref64: '64:ff9b:1::/80' is not allowed",
  ],
  [
    'a prefix with host bits',
    'pref64 = "64:ff9b:1::1/96"',
    "f:1:10: pref64: '64:ff9b:1::1/96' is not allowed",
  ],
  ['a prefix with a u-octet', 'pref64 = "2001:db8:0:0:ff00::/96"', 'f:1:10: pref64: '],
  [
    'an interval of advertisements that is too short',
    '[advertise]\ninterval = 3',
    'f:2:12: advertise.interval: 3 is not allowed; it must be a whole number from 4 to 1800',
  ],
  [
    'lifetimes that end before the next advertisement',
    '[advertise]\ninterval = 700\nlifetime = 699\nrouter-lifetime = 699',
    'f:3:12: advertise.lifetime: 699 is not allowed; it must be at least interval (700)',
    'f:4:19: advertise.router-lifetime: 699 is not allowed; it must be at least interval (700), or 0',
  ],
  [
    'a lifetime longer than PREF64 can say',
    '[advertise]\nlifetime = 65529',
    'f:2:12: advertise.lifetime: 65529 is not allowed; it must be a whole number from 4 to 65528',
  ],
  [
    'name servers that hosts cannot ask',
    '[advertise]\ndns-servers = ["::1", "192.0.2.1", "ff02::1", "2001:db8::1"]',
    "f:2:16: advertise.dns-servers[1]: '::1' is not allowed; it must be an IPv6 address that hosts can ask",
    "f:2:23: advertise.dns-servers[2]: '192.0.2.1' is not allowed",
    "f:2:36: advertise.dns-servers[3]: 'ff02::1' is not allowed",
  ],
  [
    'a prefix to advertise that no host can make an address under',
    '[advertise]\nprefix = "2001:db8:1::/48"',
    "f:2:10: advertise.prefix: '2001:db8:1::/48' is not allowed; it must be a global or unique-local IPv6 prefix of length 64",
  ],
  [
    'a link-local prefix to advertise',
    '[advertise]\nprefix = "fe80::/64"',
    "f:2:10: advertise.prefix: 'fe80::/64' is not allowed",
  ],
  [
    'a network of IPv4 hosts behind us',
    'allow-from = ["2001:db8::/32", "192.0.2.0/24", "2001:db8::1/32"]',
    "f:1:32: allow-from[2]: '192.0.2.0/24' is not allowed; it must be an IPv6 address or a prefix without host bits",
    "f:1:48: allow-from[3]: '2001:db8::1/32' is not allowed",
  ],
  [
    'HTTP for everybody without a token',
    '[http]\nlisten = ["127.0.0.1", "192.0.2.1:80"]',
    'f:2:24: http.listen[2]: 192.0.2.1 can be reached from outside: without a token only loopback addresses are allowed',
  ],
  [
    'an HTTP address that is none',
    '[http]\nlisten = ["localhost"]',
    "f:2:11: http.listen[1]: 'localhost' is not allowed; it must be an address, or an address and a port as in '127.0.0.1:6464'",
  ],
  [
    'HTTP at true',
    '[http]\nlisten = true',
    'f:2:10: http.listen: true is not allowed; it must be false, or a list of addresses',
  ],
  [
    'a token too short',
    '[http]\ntoken = "secret"',
    'f:2:9: http.token: is not allowed; it must be a string of 16 to 256 characters without blanks',
  ],
  ['a group with blanks', 'control-group = "a b"', "f:1:17: control-group: 'a b' is not allowed"],
  [
    'a user that is not there',
    'user = "no-such-user"',
    "f:1:8: user: there is no user 'no-such-user'; make it",
  ],
  [
    'a group that is not there, and a user of a wrong kind',
    'group = "no-such-group"\nuser = 7',
    "f:1:9: group: there is no group 'no-such-group'; make it",
    'f:2:8: user: 7 is not allowed; it must be the name or the number of a user',
  ],
  [
    'a log to a relative file',
    '[log]\ndestination = "file:a.log"',
    "f:2:15: log.destination: 'file:a.log' is not allowed; it must be 'stdout', 'stderr', 'journal', 'syslog', or 'file:' and",
  ],
  [
    'records of maps below their level',
    '[log]\nlevel = "warn"\nmaps = true',
    'f:3:8: log.maps: is on, but its lines have the level info, and level = "warn" leaves them out',
  ],
  ['pool4 = true', 'pool4 = true', 'f:1:9: pool4: true is not allowed; it must be false, or an IPv4 prefix'],
  ['a pool of one', 'pool4 = "10.0.0.1/32"', "f:1:9: pool4: '10.0.0.1/32' is not allowed"],
  ['a pool of loopback', 'pool4 = "127.0.0.0/16"', 'f:1:9: pool4: 127.0.0.0/16 lies in 127.0.0.0/8'],
  ['no pool and no address', 'pool4 = false', 'f:1:1: ipv4-address: is missing'],
  [
    'a multicast own address',
    'ipv4-address = "224.0.0.1"',
    'f:1:16: ipv4-address: 224.0.0.1 lies in 224.0.0.0/4',
  ],
  ['a link-local own address', 'ipv6-address = "fe80::1"', 'f:1:16: ipv6-address: fe80::1 lies in fe80::/10'],
  [
    'an own address that stands for another',
    'ipv6-address = "64:ff9b:1::9"',
    'f:1:16: ipv6-address: lies in pref64',
  ],
  [
    'the Well-Known Prefix over a private pool',
    'pref64 = "64:ff9b::/96"',
    'f:1:1: ipv6-address: is missing; 64:ff9b::/96 must not represent the private address 10.64.0.1',
    'f:1:1: device.addresses: is missing; 64:ff9b::/96 must not represent the private address 10.64.0.2',
  ],
  [
    'a device name too long',
    '[device]\nname = "abcdefghijklmnop"',
    "f:2:8: device.name: 'abcdefghijklmnop' is not allowed",
  ],
  ['a device name with a slash', '[device]\nname = "a/b"', "f:2:8: device.name: 'a/b' is not allowed"],
  [
    'an MTU below IPv6',
    '[device]\nmtu = 1279',
    'f:2:7: device.mtu: 1279 is not allowed; it must be a whole number from 1280',
  ],
  [
    'a bad address in a list',
    '[device]\naddresses = ["10.0.0.9",\n "x"]',
    "f:3:2: device.addresses[2]: 'x' is not allowed",
  ],
  [
    'an address with too much length',
    '[device]\naddresses = ["10.0.0.9/33"]',
    "f:2:14: device.addresses[1]: '10.0.0.9/33'",
  ],
  [
    "the translator's address on the device",
    '[device]\naddresses = ["10.64.0.1"]',
    "f:2:14: device.addresses[1]: is the translator's own",
  ],
  [
    'a masquerade that is neither',
    '[device]\nmasquerade = 1',
    'f:2:14: device.masquerade: 1 is not allowed; it must be true, false or an interface name',
  ],
  [
    'a relative folder',
    'data-dir = "x"',
    "f:1:12: data-dir: 'x' is not allowed; it must be an absolute path",
  ],
  [
    'a choice that is none',
    '[log]\nlevel = "loud"',
    "f:2:9: log.level: 'loud' is not allowed; it must be trace, debug",
  ],
  [
    'a forwarder by name',
    '[dns64]\nforwarders = ["dns.example"]',
    "f:2:15: dns64.forwarders[1]: 'dns.example' is not allowed",
  ],
  ['a port too large', '[dns64]\nlisten = ["10.0.0.1:65536"]', "f:2:11: dns64.listen[1]: '10.0.0.1:65536'"],
  [
    'an IPv6 address with a port without brackets',
    '[dns64]\nlisten = ["2001:db8::1:53:x"]',
    'f:2:11: dns64.listen[1]: ',
  ],
  ['a map without an IPv6 side', '[[map]]\nipv4 = "10.0.0.1"', 'f:1:1: map[1].ipv6: is missing'],
  [
    'a map with too few IPv6 addresses',
    '[[map]]\nipv4 = "10.0.0.0/24"\nipv6 = "2001:db8::/121"',
    'f:3:8: map[1].ipv6: 2001:db8::/121 has fewer addresses than 10.0.0.0/24; its length may be 120 at most',
  ],
  [
    'a map inside pref64',
    '[[map]]\nipv4 = "10.0.0.1"\nipv6 = "64:ff9b:1::5"',
    'f:3:8: map[1].ipv6: overlaps pref64',
  ],
  [
    'an IPv4 prefix mapped twice',
    '[[map]]\nipv4 = "10.0.0.1"\nipv6 = "2001:db8::1"\n[[map]]\nipv4 = "10.0.0.1/32"\nipv6 = "2001:db8::2"',
    'f:5:8: map[2].ipv4: 10.0.0.1/32 is mapped already, at line 2; keep one',
  ],
  [
    'IPv6 prefixes that overlap',
    '[[map]]\nipv4 = "10.0.0.0/24"\nipv6 = "2001:db8::/64"\n[[map]]\nipv4 = "10.0.1.1"\nipv6 = "2001:db8::2"',
    'f:6:8: map[2].ipv6: 2001:db8::2/128 overlaps 2001:db8::/64 at line 3; an IPv6 address can have one map only',
  ],
  [
    'a key of another table',
    '[device]\nworkers = 2',
    'f:2:1: device.workers: there is no such key; it belongs at the top of the file',
  ],
  [
    'a key of a table at the top',
    'mtu = 1500',
    'f:1:1: mtu: there is no such key; it belongs under [device]',
  ],
  [
    'a key of a map at the top',
    'ipv4 = "10.0.0.1"',
    'f:1:1: ipv4: there is no such key; it belongs under [[map]]',
  ],
  [
    'an unknown key in a map',
    '[[map]]\nipv4 = "10.0.0.1"\nipv6 = "2001:db8::1"\nipv5 = 1',
    "f:4:1: map[1].ipv5: there is no such key; did you mean 'ipv4'?",
  ],
  [
    'an unknown dotted key',
    'workers = 1\ndevice.mut = 1',
    "f:2:8: device.mut: there is no such key; did you mean 'mtu'?",
  ],
  [
    'an unknown key in an inline table',
    'log = { level = "info", form = 1 }',
    "f:1:25: log.form: there is no such key; did you mean 'format'?",
  ],
  [
    'an unknown table inside an unknown table',
    'workers = 1\n\n[dns.x]\ny = 1',
    "f:3:1: dns: there is no such key; did you mean 'dns64'?",
  ],
  ['__proto__ as a table', '[__proto__]\nworkers = 3', 'f:1:1: __proto__: there is no such key'],
  [
    '__proto__ as a dotted key',
    'device.__proto__.mtu = 1300',
    'f:1:8: device.__proto__: there is no such key',
  ],
  ['a name every object has', 'constructor = 1', 'f:1:1: constructor: there is no such key'],
  ['a table twice', '[log]\n[log]', 'f:2:2: no valid TOML: '],
  ['a dotted key twice', 'log.level = "info"\n[log]\nlevel = "info"', 'f:2:2: no valid TOML: '],
  ['nesting without end', `a = ${'['.repeat(20000)}${']'.repeat(20000)}`, 'f:1:1: is nested too deeply'],
  [
    'a number beyond 64 bits',
    'workers = 99999999999999999999',
    'f:1:11: workers: 99999999999999999999 is not allowed',
  ],
  [
    'a negative number',
    'map-lifetime = 0',
    'f:1:16: map-lifetime: 0 is not allowed; it must be a whole number from 1',
  ],
  [
    'a limit below none',
    'max-maps-per-64 = -1',
    'f:1:19: max-maps-per-64: -1 is not allowed; it must be a whole number from 0',
  ],
  ['a time for a number', 'workers = 07:32:00', 'f:1:11: workers: a date or time is not allowed'],
  [
    'a text for a boolean',
    'wkpf-strict = "yes"',
    "f:1:15: wkpf-strict: 'yes' is not allowed; it must be true or false",
  ],
  [
    'a text for a list',
    '[dns64]\nlisten = "192.0.2.1"',
    "f:2:10: dns64.listen: '192.0.2.1' is not allowed; it must be a list",
  ],
  [
    'a table for a list of tables',
    '[map]\nipv4 = "10.0.0.1"',
    'f:1:1: map: a table is not allowed; it must be a list of tables, each under a line [[map]]',
  ],
  [
    'a list of tables for a table',
    '[[device]]\nmtu = 1500',
    'f:1:1: device: a list is not allowed; it must be a table',
  ],
  ['a text for a map', 'map = ["x"]', "f:1:8: map[1]: 'x' is not allowed; it must be a table"],
  [
    'control characters, in plain sight',
    'pref64 = "a\\nb\\u001b"',
    "f:1:10: pref64: 'a\\u000ab\\u001b' is not allowed",
  ],
  [
    'a long value, cut',
    `data-dir = "${'x'.repeat(200)}"`,
    `f:1:12: data-dir: '${'x'.repeat(80)}…' is not allowed`,
  ],
  [
    'a u-octet in any length',
    'pref64 = "2001:db8:0:0:100::/96"',
    "f:1:10: pref64: '2001:db8:0:0:100::/96' is not allowed; it must be an IPv6 prefix of length 32, 40, 48, 56, 64 or 96 without host bits and with bits 64 to 71 zero",
  ],
  ['an IPv4 pref64', 'pref64 = "10.0.0.0/8"', "f:1:10: pref64: '10.0.0.0/8' is not allowed"],
  [
    'a multicast pref64',
    'pref64 = "ff05::/96"',
    'f:1:10: pref64: ff05::/96 lies in ff00::/8, which is reserved',
  ],
  [
    'a link-local pref64',
    'pref64 = "fe80::/64"',
    'f:1:10: pref64: fe80::/64 lies in fe80::/10, which is reserved',
  ],
  [
    'a pref64 of IPv4-mapped addresses',
    'pref64 = "::ffff:0:0/96"',
    'f:1:10: pref64: ::ffff:0:0/96 lies in ::/8, which is reserved',
  ],
  [
    'a pool around loopback',
    'pool4 = "112.0.0.0/4"',
    'f:1:9: pool4: 112.0.0.0/4 overlaps 127.0.0.0/8, which is reserved',
  ],
  ['a pool with host bits', 'pool4 = "10.64.0.1/16"', "f:1:9: pool4: '10.64.0.1/16' is not allowed"],
  [
    'a pool too large',
    'pool4 = "64.0.0.0/3"',
    "f:1:9: pool4: '64.0.0.0/3' is not allowed; it must be false, or an IPv4 prefix of length 4 to 31",
  ],
  [
    'a pool of two and no address',
    'pool4 = "10.0.0.0/31"',
    'f:1:1: ipv4-address: is missing; without a pool4 of length 30 or less it must be given',
  ],
  [
    'an own address of this network',
    'ipv4-address = "0.1.2.3"',
    'f:1:16: ipv4-address: 0.1.2.3 lies in 0.0.0.0/8',
  ],
  [
    'a loopback own address',
    'ipv4-address = "127.0.0.1"',
    'f:1:16: ipv4-address: 127.0.0.1 lies in 127.0.0.0/8',
  ],
  [
    'the broadcast address as own',
    'ipv4-address = "255.255.255.255"',
    'f:1:16: ipv4-address: 255.255.255.255 lies in 240.0.0.0/4',
  ],
  [
    'an own address with a length',
    'ipv4-address = "10.0.0.1/24"',
    "f:1:16: ipv4-address: '10.0.0.1/24' is not allowed; it must be an IPv4 address",
  ],
  ['a loopback own IPv6 address', 'ipv6-address = "::1"', 'f:1:16: ipv6-address: ::1 lies in ::/8'],
  [
    'a multicast own IPv6 address',
    'ipv6-address = "ff02::1"',
    'f:1:16: ipv6-address: ff02::1 lies in ff00::/8',
  ],
  [
    'a private address under the Well-Known Prefix, given',
    'pref64 = "64:ff9b::/96"\nipv6-address = "64:ff9b::10.64.0.1"\n[device]\naddresses = ["fd64::2", "64:ff9b::10.64.0.2/128"]',
    'f:2:16: ipv6-address: 64:ff9b::/96 must not represent the private address 10.64.0.1 (RFC 6052 section 3.1); give an IPv6 address outside',
    'f:4:25: device.addresses[2]: 64:ff9b::/96 must not represent the private address 10.64.0.2',
  ],
  [
    'the Well-Known Prefix over a private pool, in a file with a table for the missing key',
    'pref64 = "64:ff9b::/96"\nipv6-address = "fd64::1"\n[device]\nmtu = 1500',
    'f:3:1: device.addresses: is missing; 64:ff9b::/96 must not represent the private address 10.64.0.2',
  ],
  [
    'a device name in too many bytes',
    '[device]\nname = "ääääääää"',
    "f:2:8: device.name: 'ääääääää' is not allowed; it must be an interface name: at most 15 bytes",
  ],
  ['a device name with a blank', '[device]\nname = "a b"', "f:2:8: device.name: 'a b' is not allowed"],
  [
    'a device name with an end inside',
    '[device]\nname = "a\\u0000b"',
    "f:2:8: device.name: 'a\\u0000b' is not allowed",
  ],
  ['a device name to be numbered', '[device]\nname = "nat%d"', "f:2:8: device.name: 'nat%d' is not allowed"],
  ['a device name that is a folder', '[device]\nname = ".."', "f:2:8: device.name: '..' is not allowed"],
  ['no device name', '[device]\nname = ""', "f:2:8: device.name: '' is not allowed"],
  [
    "the translator's IPv6 address on the device",
    '[device]\naddresses = ["64:ff9b:1::10.64.0.1/96"]',
    "f:2:14: device.addresses[1]: is the translator's own",
  ],
  [
    'a loopback address on the device',
    '[device]\naddresses = ["127.0.0.2", "::1", "ff02::1"]',
    'f:2:14: device.addresses[1]: 127.0.0.2 lies in 127.0.0.0/8',
    'f:2:27: device.addresses[2]: ::1 lies in ::/8',
    'f:2:34: device.addresses[3]: ff02::1 lies in ff00::/8',
  ],
  [
    'a smallest IPv6 packet below 1280',
    '[translation]\nlowest-ipv6-mtu = 576',
    'f:2:19: translation.lowest-ipv6-mtu: 576 is not allowed; it must be a whole number from 1280 to 65535',
  ],
  [
    'a checksum policy that is none',
    '[translation]\nudp-zero-checksum = "fwd"',
    "f:2:21: translation.udp-zero-checksum: 'fwd' is not allowed; it must be drop, calc, forward",
  ],
  [
    'an IPv6 forwarder with a zone in vain',
    '[dns64]\nforwarders = ["[2001:db8::1"]',
    "f:2:15: dns64.forwarders[1]: '[2001:db8::1' is not allowed",
  ],
  [
    'port 0',
    '[dns64]\nforwarders = ["192.0.2.1:0"]',
    "f:2:15: dns64.forwarders[1]: '192.0.2.1:0' is not allowed",
  ],
  [
    'clients with host bits',
    '[dns64]\nallow-from = ["192.0.2.1/24"]',
    "f:2:15: dns64.allow-from[1]: '192.0.2.1/24' is not allowed; it must be an address or a prefix without host bits",
  ],
  [
    'a cache without size',
    '[dns64]\ncache-size = -1',
    'f:2:14: dns64.cache-size: -1 is not allowed; it must be a whole number from 0 to 1073741824',
  ],
  [
    'a map with host bits',
    '[[map]]\nipv4 = "10.0.0.1/24"\nipv6 = "2001:db8::1/120"',
    "f:2:8: map[1].ipv4: '10.0.0.1/24' is not allowed",
    "f:3:8: map[1].ipv6: '2001:db8::1/120' is not allowed",
  ],
  [
    'a map of reserved addresses',
    '[[map]]\nipv4 = "127.0.0.1"\nipv6 = "fe80::1"',
    'f:2:8: map[1].ipv4: 127.0.0.1/32 lies in',
    'f:3:8: map[1].ipv6: fe80::1/128 lies in',
  ],
  [
    'a map around pref64',
    '[[map]]\nipv4 = "10.0.0.1"\nipv6 = "64:ff9b::/32"',
    'f:3:8: map[1].ipv6: overlaps pref64 (64:ff9b:1::/96)',
  ],
  [
    "a map of the translator's addresses",
    'ipv6-address = "2001:db8::1"\n[[map]]\nipv4 = "10.64.0.1"\nipv6 = "2001:db8::/64"',
    "f:3:8: map[1].ipv4: 10.64.0.1/32 holds the translator's own address 10.64.0.1",
    "f:4:8: map[1].ipv6: 2001:db8::/64 holds the translator's own address 2001:db8::1",
  ],
  [
    'an overlap with a map further down',
    '[[map]]\nipv4 = "10.0.1.1"\nipv6 = "2001:db8::2"\n[[map]]\nipv4 = "10.0.2.1"\nipv6 = "2001:db8:1::1"\n[[map]]\nipv4 = "10.0.0.0/24"\nipv6 = "2001:db8::/64"',
    'f:9:8: map[3].ipv6: 2001:db8::/64 overlaps 2001:db8::2/128 at line 3',
  ],
];

for (const [name, text, ...expected] of invalid) {
  test(`${name} is refused with its place`, () => {
    const problems = problemsOf(text);
    assert.equal(problems.length, expected.length, problems.join('\n'));
    for (const [i, start] of expected.entries()) {
      assert.ok(problems[i]?.startsWith(start), `expected ${start}\n     got ${problems[i]}`);
    }
  });
}

test('all errors of a file are reported, in the order of the file', () => {
  const problems = problemsOf(
    'workers = -1\npref64 = "x"\nfoo = 1\n[log]\nlevel = 3\n[[map]]\nipv4 = 7\nipv6 = "x"',
  );
  assert.deepEqual(
    problems.map((line) => line.split(': ', 2).join(': ')),
    [
      'f:1:11: workers',
      'f:2:10: pref64',
      'f:3:1: foo',
      'f:5:9: log.level',
      'f:7:8: map[1].ipv4',
      'f:8:8: map[1].ipv6',
    ],
  );
});

test('rules between keys are checked where other keys are wrong, but for those that need them', () => {
  const wrong = (text: string) => problemsOf(text).map((line) => line.split(': ', 2).join(': '));
  assert.deepEqual(
    wrong(
      'workers = -1\nipv4-address = "127.0.0.1"\n[device]\nname = 1\naddresses = ["x", "::1"]\n[[map]]\nipv4 = "x"\nipv6 = "64:ff9b:1::5"',
    ),
    [
      'f:1:11: workers',
      'f:2:16: ipv4-address',
      'f:4:8: device.name',
      'f:5:14: device.addresses[1]',
      'f:5:19: device.addresses[2]',
      'f:7:8: map[1].ipv4',
      'f:8:8: map[1].ipv6',
    ],
  );
  // With the default in the place of the malformed value, each of these would have a second error.
  for (const text of [
    'pref64 = "x"\n[[map]]\nipv4 = "10.0.0.1"\nipv6 = "64:ff9b:1::5"',
    'pool4 = "x"\n[device]\naddresses = ["10.64.0.1"]',
    'ipv4-address = "x"\n[device]\naddresses = ["10.64.0.1"]',
    'ipv4-address = "x"\npool4 = false',
    'wkpf-strict = "x"\npref64 = "64:ff9b::/96"',
    'ipv6-address = "x"\npref64 = "64:ff9b::/96"\ndevice.addresses = []',
    'device = 1\npref64 = "64:ff9b::/96"\nipv6-address = "fd64::1"',
  ]) {
    assert.equal(problemsOf(text).length, 1, problemsOf(text).join('\n'));
  }
});

test('an error holds its problems as data, too', () => {
  assert.throws(
    () => parseConfig('workers = 65', 'f'),
    (error) => {
      assert.ok(error instanceof ConfigError);
      assert.equal(error.code, 'CONFIG');
      const message = '65 is not allowed; it must be a whole number from 0 to 64';
      assert.deepEqual(error.problems, [{ file: 'f', line: 1, col: 11, key: 'workers', message }]);
      assert.equal(error.message, `f:1:11: workers: ${message}`);
      return true;
    },
  );
});

test('a file cannot change what other objects hold', () => {
  for (const text of [
    '[__proto__]\nworkers = 3',
    '__proto__.workers = 3',
    '[constructor.prototype]\nworkers = 3',
  ]) {
    assert.equal(problemsOf(text).length, 1);
    assert.equal(({} as { workers?: number }).workers, undefined, text);
  }
});
