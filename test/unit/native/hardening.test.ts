/** The addon is built so that a fault in it is harder to make use of; the one in the package too. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { addonOf } from '../../fuzz/sanitize.js';

const NATIVE = fileURLToPath(new URL('../../../../native/', import.meta.url));
const [platform = 'none'] = readdirSync(join(NATIVE, 'prebuilds'));
const [prebuilt = 'none'] = readdirSync(join(NATIVE, 'prebuilds', platform));

for (const path of ['build/Release/nat64d_native.node', join('prebuilds', platform, prebuilt)]) {
  const read = (...words: string[]) =>
    execFileSync('readelf', [...words, '--wide', join(NATIVE, path)], { encoding: 'utf8' });

  test(`${path}: full RELRO`, () => {
    assert.match(read('--segments'), /GNU_RELRO/);
    assert.match(read('--dynamic'), /\(FLAGS\) +BIND_NOW/);
  });

  test(`${path}: no stack or segment is both writable and executable`, () => {
    const segments = read('--segments');
    assert.match(segments, /GNU_STACK .* RW +0x/);
    assert.doesNotMatch(segments, /(LOAD|GNU_STACK) .* (RWE|WE) /);
    assert.doesNotMatch(read('--dynamic'), /TEXTREL/);
  });

  test(`${path}: stack protector, checked string functions, and nothing exported but Node's entries`, () => {
    const symbols = read('--dyn-syms').split('\n');
    const names = (pattern: RegExp) => symbols.filter((line) => pattern.test(line));
    assert.equal(names(/ UND __stack_chk_fail(@|$)/).length, 1);
    assert.ok(names(/ UND __\w+_chk(@|$)/).length > 0, 'no function of _FORTIFY_SOURCE');
    const exported = names(/ (GLOBAL|WEAK) +DEFAULT +\d+ /).map((line) => line.trim().split(/\s+/)[7]);
    assert.deepEqual(exported.sort(), ['napi_register_module_v1', 'node_api_module_get_api_version_v1']);
  });
}

test('warnings are errors', () => {
  const flags = readFileSync(join(NATIVE, 'binding.gyp'), 'utf8');
  for (const flag of ['-Wall', '-Wextra', '-Werror', '-D_FORTIFY_SOURCE=2', '-O2']) {
    assert.ok(flags.includes(`"${flag}"`), flag);
  }
});

test('what the sanitizers are given to compile is all that there is', () => {
  const { sources, defines } = addonOf(readFileSync(join(NATIVE, 'binding.gyp'), 'utf8'));
  const files = readdirSync(join(NATIVE, 'src')).filter((name) => name.endsWith('.c'));
  assert.deepEqual(
    sources,
    files.sort().map((name) => `src/${name}`),
  );
  assert.ok(defines.includes('NAPI_VERSION=9'));
});
