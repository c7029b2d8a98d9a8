/** Every session of README.md and docs/ is played, and every command alone that can be, each page on machines of its own. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DocsLab } from '../helpers/docs-lab.js';
import { pages, playedSteps } from '../helpers/documents.js';

const played = pages().filter(({ blocks }) => blocks.some((block) => playedSteps(block).length > 0));

test('there are pages to play', () => assert.ok(played.length > 0));

describe('pages', { concurrency: 2 }, () => {
  for (const page of played) {
    test(`${page.file} does what it says`, async () => {
      const lab = await DocsLab.open(page);
      try {
        await lab.play(page);
      } finally {
        await lab.close();
      }
    });
  }
});
