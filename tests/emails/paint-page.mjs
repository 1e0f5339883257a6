/** Paints pages, each in the views that the job names. */
import { job, withBrowser } from './browser.mjs';

await withBrowser(async (browser) => {
  for (const { html, path, width, height, scheme } of job.pictures) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
    const page = await context.newPage();
    await page.setContent(html, { waitUntil: 'load' });
    await page.screenshot({ path });
    await context.close();
  }
});
process.stdout.write('{}');
