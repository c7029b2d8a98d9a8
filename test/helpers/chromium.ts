/** Debian's Chromium, for tests of the status page and for screenshots. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { fetchPeerWithDependencies } from './peers.js';

/**
 * @param namespace where it runs; null: here
 * @param folder takes the script that leads there
 */
export function launchChromium(namespace: string | null = null, folder = ''): Promise<Browser> {
  const { root, env } = fetchPeerWithDependencies('chromium', ['chromium']);
  const { LD_LIBRARY_PATH = '' } = env;
  const libraries = LD_LIBRARY_PATH.split(':').flatMap((path) => [path, join(path, 'pulseaudio')]);
  const program = join(root, 'usr/lib/chromium/chromium');
  const script = join(folder, 'chromium.sh');
  if (namespace !== null) {
    writeFileSync(script, `#!/bin/sh\nexec ip netns exec ${namespace} ${program} "$@"\n`);
    chmodSync(script, 0o755);
  }
  return chromium.launch({
    executablePath: namespace === null ? program : script,
    env: { ...(process.env as Record<string, string>), LD_LIBRARY_PATH: libraries.join(':') },
    // Its sandbox does not work for root, and nothing but our own page is opened.
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
}
