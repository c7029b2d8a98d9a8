/**
 * Real name servers in a namespace of a lab, all on the server's address:
 *
 *   port 5300   BIND, authoritative for the zones below, two of them signed
 *   port 53     Unbound, a validating resolver that asks it; over TLS on 853 and HTTPS on 443 too
 *   port 5302   BIND, a validating resolver that asks it
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeCertificate } from './certificate.js';
import { type Lab, SERVER4 } from './lab.js';
import { fetchPeer, type Peer } from './peers.js';

export const BIND_PORT = 5302;
const AUTHORITY_PORT = 5300;
/** The name in Unbound's certificate. */
export const TLS_NAME = 'dns.example';

const SOA = '@ 300 SOA ns root 1 3600 600 86400 120\n@ 300 NS ns\nns 300 A 203.0.113.2\n';
const HOSTS =
  'www 300 A 8.8.8.8\nsix 300 AAAA 2001:db8:1::66\nboth 300 A 8.8.8.8\nboth 300 AAAA 2001:db8:1::67\n';
const BIG = Array.from({ length: 20 }, (_, i) => `big 300 TXT "${String(i).padStart(200, '.')}"\n`).join('');
const ZONES: Readonly<Record<string, string>> = {
  'example.com': `${SOA}${HOSTS}${BIG}alias 300 CNAME www\nd 300 DNAME t\nwww.t 300 A 8.8.8.8\n`,
  'signed.com': `${SOA}${HOSTS}`,
  'bogus.com': `${SOA}${HOSTS}`,
  '8.8.8.in-addr.arpa':
    '@ 300 SOA ns.example.com. root.example.com. 1 3600 600 86400 120\n@ 300 NS ns.example.com.\n8 300 PTR www.example.com.\n',
};
const SIGNED = ['signed.com', 'bogus.com'];

// With what they need beside a plain Debian.
const BIND = [
  'bind9',
  'bind9-libs',
  'bind9-utils',
  'bind9-dnsutils',
  'libedit2',
  'libbsd0',
  'libmd0',
  'libkrb5-3',
  'libgssapi-krb5-2',
  'libk5crypto3',
  'libkrb5support0',
  'libkeyutils1',
  'libcap2',
  'libuv1',
  'liblmdb0',
  'libfstrm0',
  'libprotobuf-c1',
  'libmaxminddb0',
  'libjson-c5',
  'libnghttp2-14',
  'libxml2',
  'libicu72',
  'libjemalloc2',
];
const UNBOUND = [
  'unbound',
  'libunbound8',
  'libevent-2.1-7',
  'libhiredis0.14',
  'libnghttp2-14',
  'libprotobuf-c1',
  'libfstrm0',
  'libpython3.11',
];
const KDIG = [
  'knot-dnsutils',
  'libknot13',
  'libdnssec9',
  'libzscanner4',
  'libxdp1',
  'libbpf1',
  'libelf1',
  'libedit2',
  'libbsd0',
  'libmd0',
  'libfstrm0',
  'libprotobuf-c1',
  'libmaxminddb0',
  'libnghttp2-14',
  'libidn2-0',
  'libgnutls30',
];

/** BIND's programs, dig among them. Throws where Debian's packages cannot be fetched. */
export const fetchBind = (): Peer => fetchPeer('bind', BIND);
/** Unbound's programs. Throws where Debian's packages cannot be fetched. */
export const fetchUnbound = (): Peer => fetchPeer('unbound', UNBOUND);

export interface NameServers {
  kdig: Peer;
  /** Unbound's certificate, PEM: it is its own authority. */
  certificateFile: string;
}

/** Signs a zone; returns its key-signing key as a DNSKEY record. */
function sign(bind: Peer, folder: string, zone: string): string {
  const run = (command: string, ...args: string[]) =>
    execFileSync(join(bind.root, 'usr/bin', command), args, {
      cwd: folder,
      env: { ...process.env, ...bind.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
    });
  const keygen = ['-q', '-a', 'ECDSAP256SHA256'];
  const ksk = run('dnssec-keygen', ...keygen, '-f', 'KSK', zone).trim();
  run('dnssec-keygen', ...keygen, zone);
  run('dnssec-signzone', '-q', '-S', '-o', zone, '-f', `${zone}.zone`, `${zone}.zone`);
  return readFileSync(join(folder, `${ksk}.key`), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith(';'))
    .join('');
}

/** Starts them; they end with the lab. */
export async function startNameServers(lab: Lab): Promise<NameServers> {
  const bind = fetchBind();
  const unbound = fetchUnbound();
  const kdig = fetchPeer('knot-dnsutils', KDIG);
  const folder = join(lab.folder, 'dns');
  mkdirSync(folder);
  const at = (name: string) => join(folder, name);
  for (const [zone, text] of Object.entries(ZONES))
    writeFileSync(at(`${zone}.zone`), `$ORIGIN ${zone}.\n${text}`);
  const anchors = SIGNED.map((zone) => sign(bind, folder, zone));
  // Other addresses than those that were signed.
  const signed = readFileSync(at('bogus.com.zone'), 'utf8');
  writeFileSync(
    at('bogus.com.zone'),
    signed.replaceAll('8.8.8.8', '8.8.4.4').replaceAll('2001:db8:1::6', '2001:db8:1::7'),
  );

  const { cert, key } = makeCertificate([TLS_NAME]);
  writeFileSync(at('cert.pem'), cert);
  writeFileSync(at('key.pem'), key);

  const common = (
    name: string,
    port: number,
  ) => `directory "${folder}"; pid-file none; session-keyfile none; lock-file none;
  listen-on port ${port} { ${SERVER4}; }; listen-on-v6 { none; }; allow-query { any; }; empty-zones-enable no; managed-keys-directory "${folder}"; dump-file "${at(`${name}.db`)}";`;
  const names = Object.keys(ZONES);
  const own = names.map((zone) => `zone "${zone}" { type primary; file "${zone}.zone"; };`);
  writeFileSync(
    at('authority.conf'),
    `options { ${common('authority', AUTHORITY_PORT)} recursion no; };\ncontrols {};\n${own.join('\n')}\n`,
  );
  const forward = names.map(
    (zone) =>
      `zone "${zone}" { type forward; forward only; forwarders { ${SERVER4} port ${AUTHORITY_PORT}; }; };`,
  );
  const trusted = anchors.map((record) => {
    const [, zone, key64] = /^(\S+) .*?DNSKEY 257 3 13 (.*)$/.exec(record) as unknown as [
      string,
      string,
      string,
    ];
    return `"${zone}" static-key 257 3 13 "${key64}";`;
  });
  writeFileSync(
    at('resolver.conf'),
    `options { ${common('resolver', BIND_PORT)} recursion yes; allow-recursion { any; }; dnssec-validation yes; };\ncontrols {};\ntrust-anchors { ${trusted.join(' ')} };\n${forward.join('\n')}\n`,
  );
  writeFileSync(at('anchors'), `${anchors.join('\n')}\n`);
  const stubs = names.map(
    (zone) => `stub-zone:\n  name: "${zone}"\n  stub-addr: ${SERVER4}@${AUTHORITY_PORT}\n`,
  );
  const interfaces = [53, 853, 443].map((port) => `  interface: ${SERVER4}@${port}\n`);
  writeFileSync(
    at('unbound.conf'),
    `server:\n  directory: "${folder}"\n  chroot: ""\n  username: ""\n  pidfile: ""\n  use-syslog: no\n${interfaces.join('')}  access-control: 0.0.0.0/0 allow\n  do-ip6: no\n  module-config: "validator iterator"\n  ede: yes\n  trust-anchor-file: "${at('anchors')}"\n  tls-service-key: "${at('key.pem')}"\n  tls-service-pem: "${at('cert.pem')}"\n  tls-port: 853\n  https-port: 443\nremote-control:\n  control-enable: no\n${stubs.join('')}`,
  );

  const output: string[] = [];
  const start = (peer: Peer, program: string, args: string[]) => {
    const child = lab.spawn(lab.server, join(peer.root, program), args, peer.env);
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (data) => output.push(String(data)));
  };
  start(bind, 'usr/sbin/named', ['-g', '-c', at('authority.conf')]);
  start(unbound, 'usr/sbin/unbound', ['-d', '-c', at('unbound.conf')]);
  start(bind, 'usr/sbin/named', ['-g', '-c', at('resolver.conf')]);
  const endMs = performance.now() + 20_000;
  for (const port of [AUTHORITY_PORT, 53, BIND_PORT]) {
    const args = ['+time=1', '+tries=1', '+short', '-p', String(port), `@${SERVER4}`, 'A', 'www.signed.com'];
    while ((await lab.run(lab.server, 'dig', args)).stdout !== '8.8.8.8\n') {
      if (performance.now() > endMs)
        throw new Error(
          `no name server on port ${port}: ${readdirSync(folder).join(' ')}\n${output.join('')}`,
        );
      await sleep(100);
    }
  }
  return { kdig, certificateFile: at('cert.pem') };
}
