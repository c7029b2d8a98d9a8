// Runs test files, as `node --test` would, but in the order in which they are given: it sorts them by name.
import { setMaxListeners } from 'node:events';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

// One that is told to end says what it knows, and leaves no test behind.
const ending = new AbortController();
setMaxListeners(0, ending.signal);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => ending.abort());

// Four at a time for two processors: a third of them wait.
const tests = run({
  files: process.argv.slice(2),
  concurrency: 4,
  timeout: Number(process.env.NAT64D_TEST_TIMEOUT_MS ?? 300_000),
  signal: ending.signal,
});
tests.on('test:fail', ({ todo }) => {
  if (todo === undefined || todo === false) process.exitCode = 1;
});
tests.compose(new spec()).pipe(process.stdout);
