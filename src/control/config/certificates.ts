/** Certificates of authorities, as a configuration names them. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import type { CertificateFile } from './types.js';

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** Reads a file of certificates in PEM; null where it is not that, or may not be read. */
export function readCertificates(file: string): CertificateFile | null {
  if (!isAbsolute(file)) return null;
  try {
    const text = readFileSync(file, 'utf8');
    const blocks = text.match(BLOCK) ?? [];
    for (const block of blocks) new X509Certificate(block);
    return blocks.length > 0 ? { file, text } : null;
  } catch {
    return null;
  }
}
