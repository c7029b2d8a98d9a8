/**
 * `npm run screenshots`: the status page of a gateway with traffic on it, as docs/images/*.png, and what nat64ctl prints beside it,
 * in docs/looking-inside.md. Needs root, and Debian's Chromium, which it fetches.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { launchChromium } from '../test/helpers/chromium.js';
import { Lab, PUBLIC4, SERVER4, under } from '../test/helpers/lab.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const IMAGES = join(ROOT, 'docs/images');
const TEXTS = join(ROOT, 'docs/looking-inside.md');
const CTL = join(ROOT, 'dist/bin/nat64ctl.js');
const PAGE = 'http://127.0.0.1:6464/';
/** What a page may weigh in the repository. */
const MAX_BYTES = 150_000;
const SECONDS = 75;

/** What hosts do all day, until `isOver`. */
async function traffic(lab: Lab, isOver: () => boolean): Promise<void> {
  const nameServer = under('10.64.0.2');
  const client = (...args: string[]) => lab.node(lab.client, 'client', args);
  const loops = [
    () => client('get', under(SERVER4), String(20_000_000 + Math.round(Math.random() * 40_000_000))),
    () => client('put', under(SERVER4), '6000000'),
    () => client('hosts', under(SERVER4), '60'),
    () => lab.run(lab.client, 'dig', ['+short', `@${nameServer}`, 'AAAA', 'www.example.com']),
    () => lab.run(lab.client, 'dig', ['+short', `@${nameServer}`, 'AAAA', 'six.example.com']),
    // Some of what is dropped: too far away, and to nowhere.
    () => lab.run(lab.client, 'ping', ['-c', '2', '-i', '0.2', '-W', '1', '-t', '1', under(PUBLIC4)]),
    () => lab.run(lab.client, 'ping', ['-c', '1', '-W', '1', under('224.0.0.1')]),
  ];
  await Promise.all(
    loops.map(async (loop) => {
      while (!isOver()) {
        await loop();
        await sleep(100 + Math.random() * 500);
      }
    }),
  );
}

async function shoot(lab: Lab): Promise<void> {
  const browser = await launchChromium(lab.gateway, lab.folder);
  try {
    for (const colorScheme of ['light', 'dark'] as const) {
      const context = await browser.newContext({ colorScheme, viewport: { width: 1100, height: 900 } });
      const page = await context.newPage();
      await page.goto(PAGE);
      await page.locator('#drops td').first().waitFor();
      await sleep(2500);
      const path = join(IMAGES, `status-${colorScheme}.png`);
      await page.screenshot({ path });
      const { size } = statSync(path);
      if (size > MAX_BYTES) throw new Error(`${path} has ${size} bytes, more than ${MAX_BYTES}`);
      await context.close();
    }
  } finally {
    await browser.close();
  }
}

/** Puts what a command prints into the block that begins with `screenshot NAME`. */
function print(lab: Lab, name: string, ...args: string[]): void {
  const socket = join(lab.folder, 'run', 'control.sock');
  const words = ['netns', 'exec', lab.gateway, process.execPath, CTL, '--socket', socket, ...args];
  const output = execFileSync('ip', words, { encoding: 'utf8' });
  // The last of several screens; and where the gateway of this lab has its file is nobody's business.
  const screen = (output.trimEnd().split('\n\nnat64d ').at(-1) as string).replaceAll(
    lab.folder,
    '/etc/nat64d',
  );
  const text = name === 'top' && !screen.startsWith('nat64d ') ? `nat64d ${screen}` : screen;
  const block = new RegExp(`(\`\`\`screenshot ${name}\n)[^]*?(\`\`\`)`);
  const page = readFileSync(TEXTS, 'utf8');
  // As a function: a replacement's text would have `$&` mean something.
  writeFileSync(
    TEXTS,
    page.replace(block, (_, before, after) => `${before}${text}\n${after}`),
  );
}

const lab = new Lab({ clientAddresses: 60 });
try {
  mkdirSync(IMAGES, { recursive: true });
  await lab.serve(lab.server, 'server');
  await lab.serve(lab.server, 'dns-server', [SERVER4]);
  const gateway = await lab.startGateway({ isFailing: true });
  await gateway.waitFor('ready', 1, 60_000);
  let isOver = false;
  const busy = traffic(lab, () => isOver);
  await sleep(SECONDS * 1000);
  print(lab, 'status', 'status');
  print(lab, 'top', 'top', '--batch', '--count', '3');
  await shoot(lab);
  isOver = true;
  await busy;
  console.log(`${IMAGES}: done`);
} finally {
  await lab.close();
}
