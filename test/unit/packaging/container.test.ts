/** Dockerfile and compose.yaml, as far as they can be tried without an engine. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../helpers/packages.js';

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
/** Instructions, one to a line. */
const instructions = read('Dockerfile')
  .replace(/\\\n/g, '')
  .split('\n')
  .filter((line) => /^[A-Z]/.test(line));
const of = (name: string) =>
  instructions.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1));
/** What is taken from this folder. */
const sources = of('COPY')
  .filter((words) => !words.startsWith('--from='))
  .flatMap((words) => words.split(/ +/).slice(0, -1));

test('what it copies is in the repository, and .dockerignore lets it through', () => {
  const ignore = read('.dockerignore').split('\n');
  for (const source of sources) {
    assert.equal(
      execFileSync('git', ['ls-files', '--', source], { cwd: ROOT, encoding: 'utf8' }) !== '',
      true,
      source,
    );
    assert.ok(ignore.includes(`!${source.split('/')[0]}`), `.dockerignore keeps ${source} out`);
  }
});

test('what the build reads is copied before it runs', async () => {
  const at = (line: RegExp) => instructions.findIndex((instruction) => line.test(instruction));
  const isCopied = (path: string) =>
    instructions.slice(0, at(/^RUN node scripts\/build\.mjs --no-tests$/)).some((instruction) => {
      const words = instruction.split(/ +/);
      return words[0] === 'COPY' && words.slice(1, -1).some((source) => `${path}/`.startsWith(`${source}/`));
    });
  const { INPUTS } = (await import(join(ROOT, 'scripts/fingerprint.mjs'))) as { INPUTS: readonly string[] };
  const inputs = [...INPUTS, 'native/src', 'native/package.json', 'scripts/no-extract'];
  for (const path of inputs) assert.ok(isCopied(path), path);
  assert.ok(at(/^COPY scripts /) < at(/^RUN npm ci/), 'node_modules has a link into it');
});

test('it runs Node 20 in both stages, installs what a gateway runs, and keeps compilers out of what is run', () => {
  assert.deepEqual(of('FROM'), ['node:20-slim AS build', 'node:20-slim']);
  const last = instructions.slice(instructions.lastIndexOf('FROM node:20-slim')).join('\n');
  assert.match(last, /iproute2 nftables/);
  assert.doesNotMatch(last, /g\+\+|python3|make/);
  assert.deepEqual(of('ENTRYPOINT'), ['["nat64d"]']);
});

test('the health check asks /healthz, and fails where nobody answers', async () => {
  const [, command = '[]'] = /CMD (\[.*\])$/.exec(of('HEALTHCHECK')[0] as string) ?? [];
  const [program, ...args] = JSON.parse(command) as string[];
  assert.equal(program, 'node');
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url as string);
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const check = async () => {
    const child = spawn(
      process.execPath,
      args.map((word) => word.replace(':6464', `:${port}`)),
    );
    return new Promise((resolve) => child.once('close', resolve));
  };
  assert.equal(await check(), 0);
  assert.deepEqual(asked, ['/healthz']);
  server.close();
  assert.equal(await check(), 1);
});

test('compose.yaml gives the capabilities of the unit, the device, and no others', () => {
  const compose = read('compose.yaml');
  const unit = read('config/systemd/nat64d.service');
  const [, bounding = ''] = /^CapabilityBoundingSet=(.*)$/m.exec(unit) ?? [];
  const [, added = ''] = /cap_add: \[(.*)\]/.exec(compose) ?? [];
  assert.deepEqual(
    added.split(', ').sort(),
    bounding
      .split(' ')
      .map((name) => name.replace('CAP_', ''))
      .sort(),
  );
  const [, nice = ''] = /^LimitNICE=(-[0-9]+)$/m.exec(unit) ?? [];
  assert.match(compose, new RegExp(`ulimits:\\n +nice: ${20 - Number(nice)}\\n`), 'as getrlimit(2) counts');
  assert.match(compose, /cap_drop: \[ALL\]/);
  assert.match(compose, /- \/dev\/net\/tun:\/dev\/net\/tun/);
  assert.match(compose, /no-new-privileges:true/);
  assert.ok(existsSync(join(ROOT, 'config/nat64d.toml')));
});
