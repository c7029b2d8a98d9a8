/** The lab's name server, on IPv4, port 53 unless another is named: a few names of example.com, some with IPv4 addresses only. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import packet, { type Answer, type Packet, type StringAnswer } from 'dns-packet';

const [address4 = '203.0.113.2', port = '53'] = process.argv.slice(2);
const RECORDS: Record<string, Answer[]> = {
  'www.example.com': [{ name: 'www.example.com', type: 'A', ttl: 60, data: address4 }],
  'alias.example.com': [{ name: 'alias.example.com', type: 'CNAME', ttl: 60, data: 'www.example.com' }],
  'six.example.com': [{ name: 'six.example.com', type: 'AAAA', ttl: 60, data: '2001:db8:1::1' }],
};

function answersTo(name: string, type: string): Answer[] | undefined {
  const records = RECORDS[name.toLowerCase()];
  const alias = records?.find((record): record is StringAnswer => record.type === 'CNAME');
  if (alias !== undefined && type !== 'CNAME') return [alias, ...(answersTo(alias.data, type) ?? [])];
  return records?.filter((record) => record.type === type);
}

function reply(query: Packet): Buffer {
  const question = query.questions?.[0];
  const found = question === undefined ? undefined : answersTo(question.name, question.type);
  const soa: Answer = {
    name: 'example.com',
    type: 'SOA',
    ttl: 60,
    data: {
      mname: 'ns.example.com',
      rname: 'root.example.com',
      serial: 1,
      refresh: 60,
      retry: 60,
      expire: 60,
      minimum: 60,
    },
  };
  const RCODE_NXDOMAIN = 3;
  return packet.encode({
    type: 'response',
    id: query.id ?? 0,
    flags:
      packet.AUTHORITATIVE_ANSWER | packet.RECURSION_DESIRED | (found === undefined ? RCODE_NXDOMAIN : 0),
    questions: query.questions ?? [],
    answers: found ?? [],
    authorities: found === undefined || found.length === 0 ? [soa] : [],
  });
}

const udp = createSocket('udp4');
udp.on('message', (data, from) => udp.send(reply(packet.decode(data)), from.port, from.address));
udp.bind(Number(port), '0.0.0.0', () => {
  createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (data) => {
      const answer = reply(packet.decode(data.subarray(2)));
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      socket.write(Buffer.concat([length, answer]));
    });
  }).listen(Number(port), '0.0.0.0', () => console.log('ready'));
});
