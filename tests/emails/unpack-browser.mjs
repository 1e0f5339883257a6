/** Unpacks the Chromium, and the libraries it needs, that @sparticuz/chromium brings. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const packed = (name) => brotliDecompressSync(readFileSync(here(`node_modules/@sparticuz/chromium/bin/${name}.br`)));
const folder = here('node_modules/.browser');

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
execFileSync('tar', ['-x', '-C', folder], { input: packed('al2023.tar') });
execFileSync('tar', ['-x', '-C', folder], { input: packed('swiftshader.tar') });
writeFileSync(`${folder}/chromium`, packed('chromium'));
chmodSync(`${folder}/chromium`, 0o755);
