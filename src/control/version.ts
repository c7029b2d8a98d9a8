/** The version of this program, as package.json has it. */
import { readFileSync } from 'node:fs';
import { PACKAGE_FILE } from './files.js';

const text = readFileSync(PACKAGE_FILE, 'utf8');

export const VERSION = (JSON.parse(text) as { version: string }).version;
