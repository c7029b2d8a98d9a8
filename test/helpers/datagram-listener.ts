/** A listener for Unix datagrams: Node has no socket of this kind, so it is a C program, compiled where it is needed. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.js';

/** Prints each datagram in hex, a line each. */
const PROGRAM = `
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
int main(int argc, char **argv) {
  (void)argc;
  /* Who waits for the end of all that was written would wait for this one. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  strcpy(a.sun_path, argv[1]);
  size_t n = offsetof(struct sockaddr_un, sun_path) + strlen(argv[1]);
  if (a.sun_path[0] == '@') a.sun_path[0] = 0; else n++;
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  if (bind(fd, (struct sockaddr *)&a, n) != 0) return 1;
  puts("ready");
  for (;;) {
    fflush(stdout);
    unsigned char bytes[70000];
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got < 0) return 0;
    for (ssize_t i = 0; i < got; i++) printf("%02x", bytes[i]);
    puts("");
  }
}`;

export interface DatagramListener {
  /** Waits for this many datagrams; returns all there are, as text. */
  received(count: number): Promise<string[]>;
  close(): Promise<void>;
}

/** Listens on a path, or on an abstract name with '@' in front. */
export async function listenForDatagrams(name: string): Promise<DatagramListener> {
  const folder = mkdtempSync(join(tmpdir(), 'nat64d-listener-'));
  const program = join(folder, 'listen');
  execFileSync('cc', ['-x', 'c', '-o', program, '-'], { input: PROGRAM });
  const child = spawn(program, [name], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  await once(child.stdout, 'data');
  rmSync(folder, { recursive: true });
  // A test that has failed does not close it, and ends all the same.
  child.unref();
  (child.stdout as Socket).unref();
  const texts = () =>
    output
      .split('\n')
      .slice(1, -1)
      .map((hex) => Buffer.from(hex, 'hex').toString());
  return {
    received: async (count) => {
      await until(
        () => texts().length >= count,
        () => `${count} datagrams, there are ${texts().length}`,
      );
      return texts();
    },
    close: async () => {
      child.ref();
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    },
  };
}
