import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '#nat64d/control/config/index.js';
import { parseTayga } from '#nat64d/control/config/tayga.js';
import { formatToml } from '#nat64d/control/config/to-toml.js';

const TAYGA = [
  'tun-device nat64\nipv4-addr 192.168.255.1\nprefix 2001:db8:1:ffff::/96\ndynamic-pool 192.168.255.0/24\ndata-dir /var/spool/tayga\n',
  'tun-device clat\nipv4-addr 192.0.0.2\nprefix 64:ff9b::/96\nwkpf-strict no\nmap 192.0.0.1 2001:db8::464\n',
  'tun-device n\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8::1\nmap 192.0.2.128/25 2001:db8:2::/121\nmap-file /etc/maps\nlog drop dyn\nworkers 3\nofflink-mtu 1480\nudp-cksum-mode fwd\ntun-up yes\ntun-ip 192.0.2.2/24\ntun-ip 2001:db8::2\ntun-route 2001:db8:2::/121\ntun-route 192.0.2.128/25\n',
];
for (const [index, text] of TAYGA.entries()) {
  test(`tayga.conf ${index + 1} as TOML gives the same configuration`, () => {
    const config = parseTayga(text, 'f');
    assert.deepEqual(parseConfig(formatToml(config), 'f'), config);
  });
}

const TOML = [
  '',
  'pref64 = "2001:db8:64::/96"\nworkers = 2\n[dns64]\nlisten = ["[2001:db8::53]:5353"]\nforwarders = ["9.9.9.9"]\nallow-from = ["2001:db8::/32", "192.0.2.0/24"]\nrequired = true\ncache-size = 1048576\nprefetch = false\nserve-stale = 3600\ncookies = false\nrate-limit = 20\ntcp-connections = 5\ntcp-idle = 3\n[log]\nlevel = "debug"\nformat = "json"\npackets = ["drop"]\npacket-level = "warn"\nassignment-level = "debug"\n',
  'user = "nobody"\ngroup = "daemon"\ncontrol-group = "adm"\ncontrol-socket = false\n[http]\nlisten = ["[::1]:80", "0.0.0.0"]\ntoken = "0123456789abcdef"\nnames = ["gw.example"]\n',
  '[http]\nlisten = false\n[log]\nmaps = true\ndestination = "file:/var/log/nat64d.log"\n',
  'allow-from = ["2001:db8::/32", "fd00::1/128"]\n',
  'allow-from = []\n',
  '[advertise]\ninterfaces = ["lan0", "lan1"]\ndns-servers = ["2001:db8::53"]\ninterval = 60\nlifetime = 600\nmtu = 1480\nprefix = "2001:db8:1::/64"\nroute = false\nrouter-lifetime = 900\n',
  '[advertise]\ninterfaces = ["lan0"]\ndns-servers = []\n',
  'max-maps-per-64 = 7\nmap-lifetime = 60\n[device]\nmtu = 1400\nmasquerade = "eth0"\noffload = false\nforwarding = false\n[translation]\nipv6-mtu = 1400\nipv4-mtu = 1380\nmss-clamp = "auto"\nicmp-fragments = "hold"\nicmp-source-pool4 = "192.0.2.0/28"\nforward-class-e = true\nicmp-errors-per-sec = 5\nicmp-error-burst = 6\ncopy-traffic-class = false\n',
];
for (const [index, text] of TOML.entries()) {
  test(`TOML ${index + 1} printed and read again gives the same configuration`, () => {
    const config = parseConfig(text, 'f');
    assert.deepEqual(parseConfig(formatToml(config), 'f'), config);
  });
}

test('what is as by default is left out', () => {
  const lines = formatToml(parseTayga(TAYGA[1] as string, 'tayga.conf')).split('\n');
  assert.equal(lines[0], '# From tayga.conf.');
  assert.ok(lines.includes('pref64 = "64:ff9b::/96"'));
  assert.ok(!lines.some((line) => line.startsWith('map-lifetime')));
});
