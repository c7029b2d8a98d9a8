/** What a file keeps secret is in no message about the file: messages go into logs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError, parseConfig } from '#nat64d/control/config/index.js';

const SECRET = 'correct-horse-battery';

for (const line of [
  `token = "${SECRET} with blanks"`,
  `token = ["${SECRET}"]`,
  `token = { is = "${SECRET}" }`,
  `token = "${SECRET}`,
  `token = ${SECRET}`,
  `tokn = "${SECRET}"`,
  `token = "${SECRET}"\ntoken = "${SECRET}2"`,
  `token = "${SECRET}"\nlisten = ["nowhere"]`,
]) {
  test(`the message about '${line.replaceAll(SECRET, '…').replace('\n', ' ')}' does not show the token`, () => {
    assert.throws(
      () => parseConfig(`[http]\n${line}\n`, 'f'),
      (error: unknown) => error instanceof ConfigError && !error.message.includes(SECRET),
    );
  });
}
