/** The kernel's side of the TUN device: addresses, routes, forwarding, masquerade. Main thread only. */
export { NetdevError, type NetdevErrorCode, type NetdevLog } from './command.js';
export { configureNetdev, Netdev } from './netdev.js';
export {
  areSameSettings,
  buildNetdevSettings,
  formatInterfaceAddress,
  type NetdevRoute,
  type NetdevSettings,
  netdevSettings,
} from './settings.js';
export { recoverSysctls } from './sysctl.js';
