/** The Chromium that emails and pages are opened in, and the job: the first line of standard input. */
import { readSync } from 'node:fs';
import { chromium } from 'playwright-core';

const LOGO = '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="40">'
  + '<rect width="160" height="40" rx="8" fill="#7A5C00"/></svg>';

function readLine() {
  const [parts, part] = [[], Buffer.alloc(1 << 16)];
  for (let size; (size = readSync(0, part)); ) {
    parts.push(Buffer.from(part.subarray(0, size)));
    if (part.subarray(0, size).includes('\n')) break;
  }
  return Buffer.concat(parts).toString('utf8');
}

export const job = JSON.parse(readLine());

/** Start the browser, call `work` with it, and end it, whatever happens. */
export async function withBrowser(work) {
  const browser = await chromium.launch({
    executablePath: job.browser.path,
    env: { ...process.env, ...job.browser.variables },
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--font-render-hinting=none'],
  });
  try {
    return await work(browser);
  } finally {
    await browser.close();
  }
}

/** Open a tab in which nothing is loaded from elsewhere: each picture is a plain logo. */
export async function openTab(browser, origin, refused = () => {}) {
  const context = await browser.newContext({ reducedMotion: 'reduce' });
  const tab = await context.newPage();
  tab.setDefaultTimeout(20_000);
  await tab.route('**/*', (route) => {
    const request = route.request();
    if (origin && new URL(request.url()).origin === origin) return route.continue();
    if (!origin && request.resourceType() === 'image') {
      return route.fulfill({ contentType: 'image/svg+xml', body: LOGO });
    }
    refused(request.url());
    return route.abort();
  });
  return tab;
}
