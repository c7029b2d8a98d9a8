/** The raw socket of a router: what it refuses. What it does is in the tests of router advertisements in namespaces. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import native from '#native';

test('an interface that is not there', () => {
  assert.throws(() => native.openRouter('no-such-0'), {
    code: 'ENODEV',
    syscall: 'if_nametoindex',
    message: /there is no interface no-such-0/,
  });
});

for (const [name, code] of [
  [1, 'ERR_INVALID_ARG_TYPE'],
  [undefined, 'ERR_INVALID_ARG_TYPE'],
  ['', 'ERR_OUT_OF_RANGE'],
  ['a-name-of-16-byt', 'ERR_OUT_OF_RANGE'],
  ['a\0b', 'ERR_OUT_OF_RANGE'],
] as const) {
  test(`${JSON.stringify(name)} is no name`, () => {
    assert.throws(() => native.openRouter(name as string), { code });
  });
}

test('many are opened and closed on one interface', () => {
  for (let i = 0; i < 2000; i++) native.closeUdp(native.openRouter('lo'));
});
