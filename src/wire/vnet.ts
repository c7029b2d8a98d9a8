/**
 * The virtio-net header in front of each frame (virtio 1.1 section 5.1.6), 10 bytes, little-endian.
 *
 *   0      1         2        4         6           8
 *   flags  gso_type  hdr_len  gso_size  csum_start  csum_offset
 *
 * hdr_len is the length of all headers, csum_start counts from the first byte of the IP header, csum_offset from csum_start.
 */
export const VNET_HEADER = 10;
/** Offset of gso_type. */
export const VNET_GSO_TYPE = 1;
/** Offset of hdr_len, whose upper byte is 0 for all headers that we write. */
export const VNET_HEADER_LENGTH = 2;

/** The checksum field holds the pseudo-header's sum; whoever sends the frame must complete it. */
export const VNET_NEEDS_CSUM = 1;
/** The checksum has been verified. */
export const VNET_DATA_VALID = 2;

export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
/** A flag beside the type: a segment may carry CWR (RFC 3168). */
export const GSO_ECN = 0x80;
