/** Every MUST and SHOULD of RFC 7915 and RFC 6052 in our words, with what nat64d does about it. Source of docs/compliance.md. */

export interface Requirement {
  /** Stands in the names of the tests that show it, in brackets. */
  readonly id: string;
  readonly section: string;
  readonly level: 'MUST' | 'MUST NOT' | 'SHOULD' | 'SHOULD NOT';
  readonly text: string;
  /** What nat64d does, where "met" does not say it all. */
  readonly answer?: string;
  /** It asks something of the network's administrator, or of the kernel, and no test of ours can show it. */
  readonly elsewhere?: true;
}

const ROUTING =
  'The kernel decides: only what it routes into the TUN device is translated, and more specific routes win.';
const ORDER =
  'A flow stays on one queue and one worker, which keeps the order, also of frames held for a new host.';

export const RFC7915: readonly Requirement[] = [
  {
    id: 'R7915-1',
    section: '1.4',
    level: 'MUST',
    text: 'Behave as a router: what is larger than the next MTU is fragmented, or answered with Packet Too Big.',
  },
  {
    id: 'R7915-2',
    section: '4',
    level: 'MUST',
    text: 'A packet without DF does not exceed the path MTU of the IPv6 side.',
  },
  {
    id: 'R7915-3',
    section: '4, 4.1',
    level: 'MUST',
    text: 'The administrator can raise the smallest IPv6 MTU above 1280.',
    answer: '`lowest-ipv6-mtu`',
  },
  {
    id: 'R7915-4',
    section: '4',
    level: 'MUST NOT',
    text: 'Add a Fragment header to a packet that is not fragmented.',
  },
  {
    id: 'R7915-5',
    section: '4',
    level: 'SHOULD',
    text: 'Packets of a flow leave in the order in which they came.',
    answer: ORDER,
  },
  {
    id: 'R7915-6',
    section: '4.1',
    level: 'SHOULD',
    text: 'Without DF, what would exceed lowest-ipv6-mtu is fragmented so that each piece fits it.',
  },
  {
    id: 'R7915-7',
    section: '4.1',
    level: 'MUST',
    text: 'With DF, what exceeds the next MTU is answered with ICMPv4 Fragmentation Needed.',
  },
  {
    id: 'R7915-8',
    section: '4.1',
    level: 'SHOULD',
    text: 'An option writes traffic class 0 instead of copying the type of service.',
    answer: '`copy-traffic-class = false`',
  },
  {
    id: 'R7915-9',
    section: '4.1',
    level: 'MUST',
    text: 'Protocol numbers other than ICMPv4 are copied.',
    answer: 'Met, but for 0, 43, 44, 58 and 60, which IPv6 would read as something else: dropped.',
  },
  {
    id: 'R7915-10',
    section: '4.1',
    level: 'MUST',
    text: 'A TTL that reaches zero is answered with Time Exceeded.',
  },
  {
    id: 'R7915-11',
    section: '4.1',
    level: 'SHOULD',
    text: 'An illegal source address is discarded silently.',
  },
  {
    id: 'R7915-12',
    section: '4.1',
    level: 'MUST',
    text: 'IPv4 options are ignored, and the packet translated.',
  },
  {
    id: 'R7915-13',
    section: '4.1',
    level: 'MUST',
    text: 'A packet with an unexpired source route is discarded.',
  },
  { id: 'R7915-14', section: '4.1', level: 'SHOULD', text: 'Its sender is told: Source Route Failed (3/5).' },
  { id: 'R7915-15', section: '4.2', level: 'MUST', text: 'The type of every ICMPv4 message is translated.' },
  {
    id: 'R7915-16',
    section: '4.2',
    level: 'MUST',
    text: 'The IP header inside an ICMPv4 error is translated.',
  },
  {
    id: 'R7915-17',
    section: '4.2',
    level: 'SHOULD',
    text: 'IGMP is dropped silently.',
    answer:
      'Met: IGMP goes to multicast groups, and those never pass. Protocol 2 to a unicast address passes like any protocol.',
  },
  {
    id: 'R7915-18',
    section: '4.2',
    level: 'MUST',
    text: 'The MTU of a Fragmentation Needed is adjusted for the difference of the headers.',
  },
  { id: 'R7915-19', section: '4.2', level: 'MUST NOT', text: 'Make it smaller than 1280.' },
  {
    id: 'R7915-20',
    section: '4.2',
    level: 'MUST',
    text: 'For a router that reports MTU 0, use the plateaus of RFC 1191.',
  },
  { id: 'R7915-21', section: '4.2', level: 'MUST', text: 'The length of RFC 4884 extensions is adjusted.' },
  {
    id: 'R7915-22',
    section: '4.2',
    level: 'SHOULD',
    text: 'Extensions that exceed the largest ICMPv6 message are truncated.',
  },
  {
    id: 'R7915-23',
    section: '4.3',
    level: 'MUST',
    text: 'The packet inside an error is translated like a packet, but for its TTL.',
  },
  {
    id: 'R7915-24',
    section: '4.3',
    level: 'MUST',
    text: 'The outer length follows the new length of the packet inside.',
  },
  {
    id: 'R7915-25',
    section: '4.3',
    level: 'MUST',
    text: 'Stop at the first packet inside, and drop what has another one in it.',
  },
  {
    id: 'R7915-26',
    section: '4.4',
    level: 'SHOULD',
    text: 'Be able to send an ICMPv4 error about a discarded packet that is no ICMPv4 error.',
  },
  {
    id: 'R7915-27',
    section: '4.4',
    level: 'SHOULD',
    text: 'The administrator chooses whether such errors are sent, limited, or not sent.',
    answer: '`icmp-errors-per-sec`, `icmp-error-burst`',
  },
  {
    id: 'R7915-28',
    section: '4.5',
    level: 'MUST',
    text: 'Checksums of TCP, of ICMP, and of UDP where there is one, are updated.',
  },
  {
    id: 'R7915-29',
    section: '4.5',
    level: 'SHOULD',
    text: 'For UDP without a checksum the administrator chooses between dropping with a notice and computing one.',
    answer: '`udp-zero-checksum`: drop, calc, or forward (RFC 6935). The notice is a counter.',
  },
  {
    id: 'R7915-30',
    section: '4.5',
    level: 'SHOULD',
    text: 'A first fragment of UDP without a checksum is dropped, with a notice.',
  },
  { id: 'R7915-31', section: '4.5', level: 'MUST', text: 'All transport protocols are forwarded.' },
  {
    id: 'R7915-32',
    section: '4.6',
    level: 'MUST',
    text: 'What has a more specific route is forwarded without translation.',
    answer: ROUTING,
    elsewhere: true,
  },
  {
    id: 'R7915-33',
    section: '4.6',
    level: 'MUST',
    text: 'Any other packet to a host of the IPv6 side is translated.',
  },
  {
    id: 'R7915-34',
    section: '5',
    level: 'MUST',
    text: 'Checksums that cover the IP header are updated from what they were, so that a wrong one is not made right.',
  },
  { id: 'R7915-35', section: '5, 5.1', level: 'MUST', text: 'A result of at most 1260 bytes has DF clear.' },
  { id: 'R7915-36', section: '5, 5.1', level: 'MUST', text: 'A larger one has DF set.' },
  {
    id: 'R7915-37',
    section: '5',
    level: 'SHOULD',
    text: 'Packets of a flow leave in the order in which they came.',
    answer: ORDER,
  },
  {
    id: 'R7915-38',
    section: '5.1',
    level: 'SHOULD',
    text: 'An option ignores the traffic class and writes a fixed type of service.',
    answer: '`copy-traffic-class = false` writes 0.',
  },
  {
    id: 'R7915-39',
    section: '5.1',
    level: 'MUST',
    text: 'A hop limit that reaches zero is answered with Time Exceeded.',
  },
  {
    id: 'R7915-40',
    section: '5.1',
    level: 'SHOULD',
    text: 'An illegal source address is discarded silently.',
  },
  {
    id: 'R7915-41',
    section: '5.1',
    level: 'MUST',
    text: 'Hop-by-hop options, destination options and spent routing headers are ignored, and the packet translated.',
  },
  {
    id: 'R7915-42',
    section: '5.1',
    level: 'MUST NOT',
    text: 'Translate a packet with a routing header that has segments left.',
  },
  {
    id: 'R7915-43',
    section: '5.1',
    level: 'SHOULD',
    text: 'Its sender is told: Parameter Problem (4/0), pointing at the segments left.',
  },
  {
    id: 'R7915-44',
    section: '5.1',
    level: 'MUST',
    text: 'With DF, what exceeds the next MTU is dropped and answered with Packet Too Big and an adjusted MTU.',
  },
  {
    id: 'R7915-45',
    section: '5.1.1',
    level: 'SHOULD',
    text: 'A packet with an extension header behind the Fragment header (AH too, ESP not) is dropped and logged.',
    answer: 'Met; the log is a counter, and `packets = ["drop"]` under `[log]`.',
  },
  {
    id: 'R7915-46',
    section: '5.1.1',
    level: 'MUST',
    text: 'Total length is the payload length less the extension headers and the Fragment header, plus 20.',
  },
  { id: 'R7915-47', section: '5.1.1', level: 'MUST', text: 'The fragment offset is copied.' },
  {
    id: 'R7915-48',
    section: '5.2',
    level: 'MUST',
    text: 'The checksum of ICMP is updated for the pseudo-header that only ICMPv6 has.',
  },
  {
    id: 'R7915-49',
    section: '5.2',
    level: 'MUST',
    text: 'The type of every ICMPv6 message is translated, and the IP header inside an error.',
  },
  {
    id: 'R7915-50',
    section: '5.2',
    level: 'MUST',
    text: 'The MTU of a Packet Too Big is adjusted for the difference of the headers, with the Fragment header inside counted.',
  },
  { id: 'R7915-51', section: '5.2', level: 'MUST', text: 'The length of RFC 4884 extensions is adjusted.' },
  {
    id: 'R7915-52',
    section: '5.3',
    level: 'MUST',
    text: 'The packet inside an error is translated like a packet, but for its hop limit.',
  },
  {
    id: 'R7915-53',
    section: '5.3',
    level: 'MUST',
    text: 'The outer length follows the new length of the packet inside.',
  },
  {
    id: 'R7915-54',
    section: '5.3',
    level: 'MUST',
    text: 'Stop at the first packet inside, and drop what has another one in it.',
  },
  {
    id: 'R7915-55',
    section: '5.4',
    level: 'SHOULD',
    text: 'Send an ICMPv6 error about a discarded packet that is no ICMPv6 error.',
    answer:
      'Where a sender can act on it. What no host sends by mistake (martians, malformed packets, loops) is dropped silently.',
  },
  {
    id: 'R7915-56',
    section: '5.4',
    level: 'MUST',
    text: 'That error is 1/1 where nothing else is said.',
    answer:
      'Each error that is sent is one that RFC 7915, RFC 4443 or RFC 6146 names: 1/0 no map, 1/5 pool exhausted (as TAYGA), 2/0, 3/0, 4/0, 4/1.',
  },
  {
    id: 'R7915-57',
    section: '5.4',
    level: 'SHOULD',
    text: 'The administrator chooses whether such errors are sent, limited, or not sent.',
    answer: '`icmp-errors-per-sec`, `icmp-error-burst`',
  },
  { id: 'R7915-58', section: '5.5', level: 'MUST', text: 'Checksums of TCP, UDP and ICMP are updated.' },
  {
    id: 'R7915-59',
    section: '5.5',
    level: 'MUST',
    text: 'All transport protocols are forwarded.',
    answer: 'Met, but for next header 1, which IPv4 would read as ICMP: dropped.',
  },
  {
    id: 'R7915-60',
    section: '5.6',
    level: 'MUST',
    text: 'What has a more specific route is forwarded without translation.',
    answer: ROUTING,
    elsewhere: true,
  },
  {
    id: 'R7915-61',
    section: '5.6',
    level: 'MUST',
    text: 'Any other packet to a host of the IPv4 side is translated.',
  },
  { id: 'R7915-62', section: '6', level: 'MUST', text: 'Support the address mapping of RFC 6052.' },
  { id: 'R7915-63', section: '6', level: 'SHOULD', text: 'Support explicit address mappings (RFC 7757).' },
  { id: 'R7915-64', section: '6', level: 'SHOULD', text: 'Support RFC 6791 for the sources of ICMP errors.' },
];

const NETWORK = "The administrator's choice of a prefix, and of what is announced to others.";

export const RFC6052: readonly Requirement[] = [
  {
    id: 'R6052-1',
    section: '2.2',
    level: 'MUST',
    text: 'Bits 64 to 71 of an IPv4-embedded address are zero.',
  },
  {
    id: 'R6052-2',
    section: '2.2',
    level: 'MUST',
    text: 'Those of a prefix of length 96 are zero.',
    answer: 'Any other prefix is an error of the configuration.',
  },
  { id: 'R6052-3', section: '2.2', level: 'SHOULD', text: 'Bits of the suffix are zero.' },
  { id: 'R6052-4', section: '2.2', level: 'SHOULD', text: 'Where they are not, a translator ignores them.' },
  {
    id: 'R6052-5',
    section: '3.1',
    level: 'MUST NOT',
    text: 'Represent a non-global IPv4 address under the Well-Known Prefix.',
    answer: 'Met unless `wkpf-strict = false`.',
  },
  {
    id: 'R6052-6',
    section: '3.1',
    level: 'MUST NOT',
    text: 'Translate a packet with such an address.',
    answer: 'Met unless `wkpf-strict = false`.',
  },
  { id: 'R6052-7', section: '3.1', level: 'MUST', text: 'Drop it.' },
  {
    id: 'R6052-8',
    section: '3.1',
    level: 'SHOULD NOT',
    text: 'Use the Well-Known Prefix for IPv4-translatable addresses.',
    answer: NETWORK,
    elsewhere: true,
  },
  {
    id: 'R6052-9',
    section: '3.2',
    level: 'MUST NOT',
    text: 'Announce prefixes longer than the Well-Known Prefix to other networks.',
    answer: NETWORK,
    elsewhere: true,
  },
  {
    id: 'R6052-10',
    section: '3.3',
    level: 'SHOULD',
    text: 'An organisation uses a prefix of its own for its translators.',
    answer: 'The default is of 64:ff9b:1::/48, the prefix for local use (RFC 8215); any other can be set.',
    elsewhere: true,
  },
  {
    id: 'R6052-11',
    section: '3.3',
    level: 'MUST',
    text: 'IPv4-converted and IPv4-translatable addresses have the format of section 2.2.',
  },
  {
    id: 'R6052-12',
    section: '3.3',
    level: 'SHOULD',
    text: 'Both kinds use the same prefix.',
    answer: NETWORK,
    elsewhere: true,
  },
];

/** What TAYGA does not do, and nat64d is to do. */
export const TAYGA: readonly Requirement[] = [
  {
    id: 'TAYGA-1',
    section: '–',
    level: 'MUST',
    text: 'ICMP errors that quote the IP header and 8 bytes of TCP pass: path MTU discovery works through routers that quote the minimum.',
  },
  { id: 'TAYGA-2', section: '–', level: 'MUST', text: 'ICMP errors that quote an echo reply pass.' },
  { id: 'TAYGA-3', section: '–', level: 'MUST', text: 'A UDP checksum that adjusts to 0 leaves as 0xffff.' },
  {
    id: 'TAYGA-4',
    section: '–',
    level: 'MUST',
    text: 'With `udp-cksum-mode calc` no checksum is invented for a first fragment: it is dropped.',
  },
  { id: 'TAYGA-5', section: '–', level: 'MUST', text: 'ICMP errors of its own are limited.' },
  { id: 'TAYGA-6', section: '–', level: 'MUST', text: 'RFC 4884 extensions of ICMP errors are kept.' },
  { id: 'TAYGA-7', section: '–', level: 'MUST', text: 'Hosts of the pool reach each other (hairpinning).' },
  { id: 'TAYGA-8', section: '–', level: 'MUST', text: 'Traffic of the gateway itself is translated.' },
  {
    id: 'TAYGA-9',
    section: '–',
    level: 'MUST',
    text: 'With several workers a map lives exactly 124 minutes after its last packet.',
  },
  {
    id: 'TAYGA-10',
    section: '–',
    level: 'MUST',
    text: 'Only root can attach a queue to the running device.',
  },
  {
    id: 'TAYGA-11',
    section: '–',
    level: 'MUST',
    text: 'A device that TAYGA leaves behind can be attached, and one that is left behind can be attached by TAYGA.',
  },
  { id: 'TAYGA-12', section: '–', level: 'MUST', text: 'What happens to packets is counted, by reason.' },
  {
    id: 'TAYGA-13',
    section: '–',
    level: 'MUST',
    text: 'Bursts of frames and the offloads of the kernel are used.',
  },
  {
    id: 'TAYGA-14',
    section: '–',
    level: 'MUST',
    text: 'Suffix bits and the u-octet of an IPv4-embedded address are ignored, and the address is the same one with and without.',
  },
];
