/** The program `totd` itself: what a client, a shell or a service manager sees of it. The rest is in keywords.test.ts. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { decodeReply, encodeQuery, sendTcp, sendUdp, unusedPort } from '../rfc6147/harness.js';
import { Daemon, runTotd, runWith, SCRIPT, TOTD, under, WWW } from './daemon.js';

const NAT64D = TOTD.replace(/totd\.js$/, 'nat64d.js');
/** The loader looks here, and nowhere else. */
const NO_ADDON = { '@NAT64D/NATIVE_PREBUILD': '/nowhere' };

/** Prepared, and gone at the end of the test. */
async function daemon(t: TestContext): Promise<Daemon> {
  const totd = await Daemon.prepare(SCRIPT);
  t.after(() => totd.close());
  return totd;
}

// Starting takes most of the time: at once, and as few as will do.
describe('totd', { concurrency: true }, () => {
  it('serves in the foreground until it is told to stop', async (t) => {
    const totd = await daemon(t);
    await totd.start('prefix 2001:db8:1::\nallow 127.0.0.1', ['-http-port', '6464']);

    await t.test(
      'an AAAA by UDP and by TCP; allow and -http-port are taken, and said to mean nothing',
      async () => {
        assert.match(totd.output, /totd\.conf: allow means nothing/);
        assert.match(totd.output, /-http-port means nothing/);
        assert.deepEqual((await totd.ask(WWW)).answer, under('2001:db8:1::'));
        const [bytes] = await sendTcp(totd.port, [encodeQuery(WWW)], 1);
        assert.deepEqual(decodeReply(bytes!).answer, under('2001:db8:1::'));
      },
    );

    await t.test('a second one: refused by the pidfile, or by the port with who holds it', async () => {
      assert.equal(totd.pid(), totd.child?.pid);
      const second = await runTotd('-c', totd.conf, '-d1');
      assert.equal(second.status, 1);
      assert.match(second.stdout, new RegExp(`${totd.pidfile}: process ${totd.pid()} lives`));
      assert.deepEqual(readFileSync(totd.pidfile, 'utf8'), `${totd.child?.pid}\n`);
      const other = `${totd.folder}/other.conf`;
      const text = readFileSync(totd.conf, 'utf8').replace(totd.pidfile, `${totd.folder}/other.pid`);
      writeFileSync(other, text);
      const third = await runTotd('-c', other);
      assert.equal(third.status, 1);
      assert.match(third.stderr, new RegExp(`the port is taken by .*\\b${totd.child?.pid}\\b`));
      assert.ok(!existsSync(`${totd.folder}/other.pid`));
    });

    await t.test(
      'SIGHUP: prefixes, forwarders and the port change; what is wrong with the file changes nothing',
      async () => {
        assert.deepEqual((await totd.ask(WWW)).answer, under('2001:db8:1::'));
        totd.write('prefix 2001:db8:2::');
        totd.child?.kill('SIGHUP');
        await totd.said('read again');
        assert.deepEqual((await totd.ask(WWW)).answer, under('2001:db8:2::'));
        totd.write('prefix nonsense');
        totd.child?.kill('SIGHUP');
        await totd.said('stays as it was');
        assert.match(totd.output, /totd\.conf:5:8: prefix: needs one IPv6 prefix/);
        assert.deepEqual((await totd.ask(WWW)).answer, under('2001:db8:2::'));
        const other = await unusedPort();
        totd.write('prefix 2001:db8:1::');
        const text = readFileSync(totd.conf, 'utf8').replace(`port ${totd.port}\npid`, `port ${other}\npid`);
        writeFileSync(totd.conf, text);
        totd.child?.kill('SIGHUP');
        await totd.said(`127.0.0.1 port ${other}`);
        const bytes = await sendUdp(other, encodeQuery(WWW), 3000);
        assert.deepEqual(decodeReply(bytes!).answer, under('2001:db8:1::'));
        assert.equal(await sendUdp(totd.port, encodeQuery(WWW), 300), null);
      },
    );

    assert.equal(await totd.stop(), 0);
    assert.ok(!existsSync(totd.pidfile), 'the pidfile is gone at the end');
  });

  it('-q logs errors only', async (t) => {
    const totd = await daemon(t);
    totd.write('allow ::1');
    writeFileSync(totd.pidfile, `${process.pid}\n`);
    const { status, stdout } = await runTotd('-c', totd.conf, '-d1', '-q');
    assert.equal(status, 1);
    assert.match(stdout, /^[^\n]*lives[^\n]*\n$/);
  });

  it('without -d it detaches: the launcher exits 0 when the daemon serves, and not before', async (t) => {
    const totd = await daemon(t);
    totd.write('prefix 2001:db8:1::');
    const { status, stderr } = await runTotd('-c', totd.conf);
    assert.equal(status, 0, stderr);
    try {
      assert.deepEqual((await totd.ask(WWW)).answer, under('2001:db8:1::'));
      assert.equal(readFileSync(`/proc/${totd.pid()}/comm`, 'utf8'), 'totd\n');
      const second = await runTotd('-c', totd.conf);
      assert.equal(second.status, 1);
      assert.match(second.stderr, /lives; stop it/);
    } finally {
      await totd.stopDetached();
    }
    assert.ok(!existsSync(totd.pidfile));
  });

  it('without the addon it serves over sockets of Node, and says what it does without', async (t) => {
    const totd = await daemon(t);
    await totd.start('prefix 2001:db8:1::', [], NO_ADDON);
    assert.match(totd.output, /without the native addon/);
    for (const address of ['127.0.0.1', '::1'])
      assert.deepEqual((await totd.ask(WWW, address)).answer, under('2001:db8:1::'));
    const [bytes] = await sendTcp(totd.port, [encodeQuery(WWW)], 1);
    assert.deepEqual(decodeReply(bytes!).answer, under('2001:db8:1::'));
    assert.equal(await totd.stop(), 0);

    const detached = await runWith(NO_ADDON, TOTD, '-c', totd.conf);
    assert.equal(detached.status, 0, detached.stderr);
    try {
      assert.deepEqual((await totd.ask(WWW)).answer, under('2001:db8:1::'));
    } finally {
      await totd.stopDetached();
    }
    const chroot = await runWith(NO_ADDON, TOTD, '-t', totd.folder, '-c', '/totd.conf', '-d1');
    assert.equal(chroot.status, 1);
    assert.match(chroot.stdout, /^the native addon is absent: .*npm rebuild/m);
    const toml = `${totd.folder}/nat64d.toml`;
    const folders = ['data', 'run'].map((name) => `${name}-dir = "${totd.folder}/${name}"\n`).join('');
    writeFileSync(toml, `${folders}[http]\nlisten = false\n`);
    const gateway = await runWith(NO_ADDON, NAT64D, '--config', toml);
    assert.equal(gateway.status, 1);
    assert.match(gateway.stdout, /the native addon is absent: .*npm rebuild/);
    // And nothing else is wrong.
    assert.doesNotMatch(gateway.stdout, /data-dir/);
    assert.equal(gateway.stderr, '');
  });

  it('every bad line is reported with file and line, and the exit code is 1', async (t) => {
    const totd = await daemon(t);
    totd.write('prefix 192.0.2.1\nnonsense\nport 0 ; comment\nretry');
    const { status, stderr } = await runTotd('-c', totd.conf);
    assert.equal(status, 1);
    assert.deepEqual(
      stderr
        .trim()
        .split('\n')
        .map((line) => line.replace(totd.conf, 'f').split(': ').slice(0, 2).join(': ')),
      ['f:5:8: prefix', 'f:6:1: nonsense', 'f:7:6: port', 'f:8:1: retry'],
    );
  });

  it('a mistake in the options: what it is on standard error, exit code 1', async () => {
    const { status, stderr } = await runTotd('-x');
    assert.equal(status, 1);
    assert.match(stderr, /^totd: there is no option -x\ntry: totd -h\n$/);
  });
});
