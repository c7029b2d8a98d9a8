/**
 * What the lab's server serves, on IPv4: a web page on port 80; TCP on 5001 that sends as many bytes as the first line asks for,
 * or takes bytes and answers with their SHA-256; UDP echo on 5002, whose replies of 16 bytes
 * and more are led by the sender's address as seen here.
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { patternBytes } from './pattern.js';

const http = createHttpServer((request, response) => {
  response.setHeader('content-type', 'text/plain');
  response.end(`Hello from the IPv4 internet. You are ${request.socket.remoteAddress}.\n`);
});

/** `GET n`: n bytes of the pattern. `PUT n`: takes n bytes, answers with their hash. */
function talk(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  let head = '';
  const onHead = (data: Buffer) => {
    head += data.toString('latin1');
    const newline = head.indexOf('\n');
    if (newline < 0) return;
    socket.off('data', onHead);
    const [verb = '', count = '0'] = head.slice(0, newline).split(' ');
    if (verb === 'GET') {
      socket.end(patternBytes(Number(count)));
      return;
    }
    const hash = createHash('sha256');
    let left = Number(count);
    const take = (bytes: Buffer) => {
      hash.update(bytes);
      left -= bytes.length;
      if (left <= 0) socket.end(hash.digest('hex'));
    };
    socket.on('data', take);
    const rest = Buffer.from(head.slice(newline + 1), 'latin1');
    if (rest.length > 0) take(rest);
  };
  socket.on('data', onHead);
}

const tcp = createServer(talk);
const udp = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
udp.on('message', (data, from) => {
  const address = Buffer.from(`${from.address.padEnd(16)}`);
  const reply = data.length < address.length ? data : Buffer.concat([address, data.subarray(address.length)]);
  udp.send(reply, from.port, from.address);
});

http.listen(80, '0.0.0.0');
tcp.listen(5001, '0.0.0.0');
udp.bind(5002, '0.0.0.0');
await Promise.all([once(http, 'listening'), once(tcp, 'listening'), once(udp, 'listening')]);
console.log('ready');
