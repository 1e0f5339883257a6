/**
 * Walks through pages as a person does, by the words they read. Each further line of standard input
 * is a walk, with cookies of its own; a line is printed once there is a browser, and of each walk.
 */
import { createInterface } from 'node:readline';
import { withBrowser } from './browser.mjs';

const PATIENCE_MS = 20_000;

const byWords = (page, name) => page
  .getByRole('button', { name, exact: true })
  .or(page.getByRole('link', { name, exact: true }))
  .first();

const DO = {
  open: (page, path) => page.goto(path),
  fill: (page, label, value) => page.getByLabel(label, { exact: true }).fill(value),
  // The link leads to another tab, where something is pressed and a text then seen.
  pressInOtherTab: async (page, link, name, text) => {
    const opened = page.context().waitForEvent('page');
    await byWords(page, link).click();
    const tab = await opened;
    await byWords(tab, name).click();
    await tab.getByText(text).first().waitFor();
    await tab.close();
  },
  tick: (page, label) => page.getByLabel(label).check(),
  untick: (page, label) => page.getByLabel(label, { exact: true }).uncheck(),
  press: async (page, name) => {
    await byWords(page, name).click();
    await page.waitForLoadState();
  },
  // What happens at the service meanwhile: the browser keeps its page, and loses its session.
  loseSession: (page) => page.context().clearCookies(),
  // Lets something happen elsewhere while the page stays open.
  post: (page, address, sent) => page.request.post(address, { data: JSON.parse(sent) }),
  // The clock of the page itself runs fast, half a minute at a time.
  seeInTime: async (page, text) => {
    for (let times = 0; times < 60; times += 1) {
      await page.clock.fastForward(31_000);
      const found = page.getByText(text).first();
      if (await found.waitFor({ timeout: 400 }).then(() => true, () => false)) return;
    }
    throw new Error('it never appeared');
  },
  see: (page, text) => page.getByText(text).first().waitFor(),
  seeInEmail: (page, text) => page.frameLocator('iframe').getByText(text).first().waitFor(),
  // With the keyboard alone: tab until what has these words has the focus, then press Enter.
  type: async (page, name) => {
    const words = () => page.evaluate(() => document.activeElement?.innerText?.trim() ?? '');
    for (let times = 0; times < 100; times += 1) {
      await page.keyboard.press('Tab');
      if (await words() === name) {
        await page.keyboard.press('Enter');
        await page.waitForLoadState();
        return;
      }
    }
    throw new Error(`the keyboard does not reach ${name}`);
  },
};

async function walk(browser, { base, steps, cookies, scripts }) {
  const context = await browser.newContext({ baseURL: base, locale: 'en-GB', javaScriptEnabled: scripts });
  try {
    context.setDefaultTimeout(PATIENCE_MS);
    await context.addCookies(cookies);
    const page = await context.newPage();
    if (steps.some(([what]) => what === 'seeInTime')) await page.clock.install();
    for (const [what, ...words] of steps) {
      try {
        await DO[what](page, ...words);
      } catch (error) {
        const text = await page.locator('body').innerText();
        throw new Error(`${what} ${words.join(', ')}: ${error.message}\n${page.url()}\n${text}`);
      }
    }
    const text = await page.locator('main').innerText();
    return { url: page.url(), text, cookies: await context.cookies() };
  } finally {
    await context.close();
  }
}

await withBrowser(async (browser) => {
  console.log('{}');
  for await (const line of createInterface({ input: process.stdin })) {
    const seen = await walk(browser, JSON.parse(line)).catch((error) => ({ failed: error.message }));
    console.log(JSON.stringify(seen));
  }
});
