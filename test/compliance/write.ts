/** `npm run compliance`: writes docs/compliance.md. */
import { writeFileSync } from 'node:fs';
import { complianceDocument, DOCUMENT } from './document.js';

writeFileSync(DOCUMENT, complianceDocument());
console.log(`${DOCUMENT} written`);
