/** What the conformance tests of router advertisements share. */
import type { RouterAdvertisement } from '#nat64d/wire/router-discovery.js';
import { writeRouterAdvertisement } from '#nat64d/wire/router-discovery.js';

const EMPTY: RouterAdvertisement = {
  routerLifetimeSec: 0,
  linkLayerAddress: null,
  mtu: null,
  prefixes: [],
  routes: [],
  pref64s: [],
  dnsServers: [],
};

/** Bytes of a router advertisement in hexadecimal. */
export const advertisement = (contents: Partial<RouterAdvertisement>): string =>
  Buffer.from(writeRouterAdvertisement({ ...EMPTY, ...contents })).toString('hex');

/** The same, of the options alone. */
export const options = (contents: Partial<RouterAdvertisement>): string => advertisement(contents).slice(32);

/** Groups of digits, for the eye. */
export const hex = (text: string): string => text.replace(/\s/g, '');
