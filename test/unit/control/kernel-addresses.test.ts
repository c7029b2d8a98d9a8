/** The kernel's interfaces, also where the kernel does not tell. */
import assert from 'node:assert/strict';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { mock, test } from 'node:test';
import { clientFilter } from '#nat64d/control/dns64/access.js';
import { withoutOurselves } from '#nat64d/control/dns64/resolvers.js';
import { connectedNetworks, interfaceSockets, linkOf } from '#nat64d/control/kernel-addresses.js';

test('while the kernel does not tell, all is as it said last: nothing throws, and no address has gone', () => {
  const look = () => ({
    sockets: interfaceSockets(['lo'], 53),
    networks: connectedNetworks(),
    link: linkOf('lo'),
    forwarders: withoutOurselves([], []),
    mayAsk: clientFilter(null, connectedNetworks)([0, 0, 0, 1]),
  });
  const before = look();
  assert.ok(before.sockets.length > 0, 'lo has an address');
  const broken = mock.method(os, 'networkInterfaces', () => {
    throw Object.assign(new Error('uv_interface_addresses returned EMFILE'), { code: 'ERR_SYSTEM_ERROR' });
  });
  syncBuiltinESMExports();
  try {
    assert.deepEqual(look(), before);
    assert.ok(broken.mock.callCount() > 0);
  } finally {
    broken.mock.restore();
    syncBuiltinESMExports();
  }
});
