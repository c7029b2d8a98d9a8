/** Names of network interfaces. */
/** What the kernel takes for a name (no `%`, which asks it to number one), and nft between quotes. */
export function readInterfaceName(value: string): string | null {
  const isName = /^[^\s\p{Cc}/:%"\\]+$/u.test(value) && value !== '.' && value !== '..';
  return isName && Buffer.byteLength(value) <= 15 ? value : null;
}
