import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findIdentity } from '#nat64d/control/identity.js';

for (const [user, group, identity] of [
  [undefined, undefined, null],
  ['nobody', undefined, { uid: 65534, gid: 65534 }],
  ['nobody', 'daemon', { uid: 65534, gid: 1 }],
  ['65534', '1', { uid: 65534, gid: 1 }],
  ['daemon', '7', { uid: 1, gid: 7 }],
  [undefined, 'nogroup', { uid: 0, gid: 65534 }],
] as const) {
  test(`user ${user} and group ${group}`, () => assert.deepEqual(findIdentity(user, group), identity));
}

for (const [user, group, message] of [
  ['no-such-user', undefined, /there is no user 'no-such-user'/],
  ['-n', undefined, /there is no user '-n'/],
  ['', undefined, /there is no user ''/],
  ['nobody', 'no-such-group', /there is no group 'no-such-group'/],
  ['nobody', '4294967295', /there is no group '4294967295'/],
  ['nobody', '--help', /there is no group '--help'/],
] as const) {
  test(`user '${user}' and group '${group}' are refused`, () => {
    assert.throws(() => findIdentity(user, group), message);
  });
}
