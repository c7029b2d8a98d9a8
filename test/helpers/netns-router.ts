/**
 * Router discovery by hand, inside a network namespace: `listen INTERFACE` prints each router advertisement that it hears, as JSON on a
 * line of its own; `send INTERFACE HEX…` sends ICMPv6 messages from the interface's link-local address to all routers.
 */
import { networkInterfaces } from 'node:os';
import { formatAddress6, parseAddress6 } from '#nat64d/wire/address.js';
import native from '#native';

const [mode, name = '', ...messages] = process.argv.slice(2);
const fd = native.openRouter(name);
const mishaps = new Int32Array(2);

function listen(): void {
  const ring = new Uint8Array(2048);
  const fields = new Int32Array(native.UDP_FIELDS);
  new native.Poller(fd, () => {
    if (native.receiveBatch(fd, ring, ring.length, fields, 1, mishaps) === 0 || ring[0] !== 134) return;
    const [, length = 0] = fields;
    const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = fields.subarray(5, 9);
    const source = formatAddress6([w0, w1, w2, w3]);
    const hex = Buffer.from(ring.subarray(0, length)).toString('hex');
    console.log(JSON.stringify({ source, hopLimit: fields[14], hex }));
  });
  console.log('ready');
}

function send(): void {
  const on = (networkInterfaces()[name] ?? []).find(({ family, scopeid }) => family === 'IPv6' && scopeid);
  const own = parseAddress6(on?.address ?? '');
  if (own === null) throw new Error(`${name} has no link-local address`);
  const index = on?.family === 'IPv6' ? on.scopeid : 0;
  for (const hex of messages) {
    const bytes = Buffer.from(hex, 'hex');
    const to = [0xff020000 | 0, 0, 0, 2];
    const list = Int32Array.of(0, bytes.length, 6, 0, index, ...to, ...own, index, 0, 0);
    if (native.sendBatch(fd, bytes, list, 1, mishaps) !== 1) throw new Error(`errno ${mishaps[1]}`);
  }
}

if (mode === 'listen') listen();
else send();
