import assert from 'node:assert/strict';
import { ConfigError, parseConfig } from '#nat64d/control/config/index.js';

/** The lines of the error that a file named `f` with this text is refused with; none if it is fine. */
export function problemsOf(text: string): string[] {
  try {
    parseConfig(text, 'f');
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    assert.ok(error.problems.length > 0, 'an error without a problem');
    return error.message.split('\n');
  }
  return [];
}
