import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { complianceDocument, DOCUMENT, testsById } from '../compliance/document.js';
import { RFC6052, RFC7915, TAYGA } from '../compliance/requirements.js';

const requirements = [...RFC7915, ...RFC6052, ...TAYGA];

test('docs/compliance.md is what the requirements and the names of tests say (npm run compliance)', () => {
  assert.equal(readFileSync(DOCUMENT, 'utf8'), complianceDocument());
});

test('every requirement that is ours to meet has a test, and every id in a test is a requirement', () => {
  const tests = testsById();
  const without = requirements.filter(({ id, elsewhere }) => elsewhere === undefined && !tests.has(id));
  assert.deepEqual(
    without.map(({ id }) => id),
    [],
  );
  const known = new Set(requirements.map(({ id }) => id));
  assert.equal(known.size, requirements.length);
  assert.deepEqual(
    [...tests.keys()].filter((id) => !known.has(id)),
    [],
  );
});
