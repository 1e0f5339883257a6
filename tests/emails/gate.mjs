/** Opens each page of the job in every view and prints its faults as JSON. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { caniemail, getAllFeatures, rawData } from 'caniemail';
import { job, openTab, withBrowser } from './browser.mjs';
import { inspectPage } from './inspect-page.mjs';
import { tryPage } from './try-page.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa'];
const HEADINGS = ['page-has-heading-one', 'heading-order', 'empty-heading'];
const LANDMARKS = ['region', 'landmark-one-main']; // an email stands in a page of the program
// Dark mode changes colours alone, so the other rules would find the same again.
const ABOUT_COLOURS = ['color-contrast', 'link-in-text-block'];
// Nor do the others find more at another width, unless it shows something else.
const ABOUT_PLACES = [...ABOUT_COLOURS, 'target-size', 'scrollable-region-focusable'];
// Decided by inspectPage, which also sees what axe-core calls incomplete.
const DECIDED_HERE = new Set(['color-contrast']);
const SCHEMES = ['light', 'dark'];
const viewsOf = (widths) => widths.flatMap((width) => SCHEMES.map((scheme) => ({ width, scheme })));
const EMAIL_VIEWS = viewsOf([320, 600]);
const PAGE_VIEWS = viewsOf([320, 360, 1180]);
const CLIENTS = [
  'gmail.desktop-webmail', 'gmail.ios', 'gmail.android',
  'outlook.windows', 'outlook.outlook-com', 'outlook.macos', 'outlook.ios', 'outlook.android',
  'apple-mail.macos', 'apple-mail.ios',
];
const MEDIA_QUERY = /@media[^{]*\{((?:[^{}]*\{[^}]*\})*)\s*\}/g;
// Features that the lookup does not recognise, and what shows that an email uses them.
const OVERLOOKED = {
  '@media (prefers-color-scheme)': /@media \(prefers-color-scheme/,
  'color-scheme CSS property': /[{;\s]color-scheme:/,
  'color-scheme meta tag': /<meta name="color-scheme"/,
  '!important keyword': /!important/,
  'HTML5 doctype': /<!doctype html>/i,
  'system-ui, ui-serif, ui-sans-serif, ui-rounded, ui-monospace': /system-ui/,
};
const TABS = 2;

const faults = [];
const gaps = new Map();
let views = 0;

// The lookup fails where the tables say nothing.
function fillTables() {
  for (const feature of rawData.data) {
    const { stats } = feature;
    feature.notes_by_num ??= {};
    for (const [family, platform] of CLIENTS.map((client) => client.split('.'))) {
      stats[family] ??= {};
      stats[family][platform] ??= { 'not tested': 'y' };
    }
  }
}

function note(page, { title, support, notes }, client) {
  const key = `${title} ${client}`;
  if (!gaps.has(key)) {
    gaps.set(key, { feature: title, client, support, note: (notes ?? []).join(' '), pages: new Set() });
  }
  gaps.get(key).pages.add(page.name);
}

function lookUp(page) {
  // The lookup sees no rule inside a media query, so each is repeated after it.
  const html = page.html.replace(MEDIA_QUERY, '$&$1');
  const { issues } = caniemail({ clients: CLIENTS, html });
  for (const [client, several] of [...issues.errors, ...issues.warnings]) {
    for (const issue of several) note(page, issue, client);
  }
  for (const [client, several] of [...everyFeature.unsupported, ...everyFeature.supported]) {
    for (const feature of several) {
      if (feature.support !== 'full' && OVERLOOKED[feature.title]?.test(page.html)) {
        note(page, feature, client);
      }
    }
  }
}

/** Return for each element whether it is shown, as one text to compare. */
const shownIn = (tab) => tab.evaluate(() => [...document.querySelectorAll('*')]
  .map((one) => Number(one.checkVisibility({ visibilityProperty: true, opacityProperty: true }))).join(''));

async function runAxe(tab, page, rules) {
  const extra = page.is_email ? HEADINGS : [...HEADINGS, ...LANDMARKS];
  const all = {
    runOnly: { type: 'tag', values: TAGS },
    rules: Object.fromEntries(extra.map((rule) => [rule, { enabled: true }])),
  };
  return tab.evaluate((options) => window.axe.run(document, options), {
    ...(rules ? { runOnly: rules } : all),
    resultTypes: ['violations', 'incomplete'],
  });
}

/** Look at a page in one view; `before` is what was shown in the view before, and what is shown is returned. */
async function look(tab, page, { width, scheme }, before) {
  await tab.setViewportSize({ width, height: 800 });
  await tab.emulateMedia({ colorScheme: scheme });
  const { language, direction, is_email: isEmail } = page;
  const found = await tab.evaluate(inspectPage, { language, direction, isEmail, scheme });
  const shown = await shownIn(tab);
  const again = scheme === 'dark' ? ABOUT_COLOURS : ABOUT_PLACES;
  const { violations, incomplete } = await runAxe(tab, page, shown === before ? again : null);
  const undecided = incomplete.filter((rule) => !DECIDED_HERE.has(rule.id));
  for (const [rules, word] of [[violations, 'axe'], [undecided, 'axe-undecided']]) {
    for (const rule of rules) {
      for (const node of rule.nodes) {
        found.push({ check: `${word} ${rule.id}`, detail: `${rule.help}: ${node.html.slice(0, 200)}` });
      }
    }
  }
  views += 1;
  faults.push(...found.map((one) => ({ page: page.name, view: `${width} ${scheme}`, ...one })));
  return shown;
}

/** Return what opens a page in a tab with axe-core. Those that are given as HTML use one after another. */
function tabsOf(browser) {
  let shared = null;
  let name = '';
  const openFor = async (origin) => {
    const tab = await openTab(browser, origin, (url) => {
      faults.push({ page: name, view: '', check: 'loads-from-elsewhere', detail: url });
    });
    await tab.addInitScript(`if (window === top) { ${AXE} }`);
    return tab;
  };
  const open = async (page) => {
    name = page.name;
    const tab = page.url ? await openFor(new URL(page.url).origin) : (shared ??= await openFor(null));
    await tab.goto(page.url ?? 'about:blank'); // so that nothing is left of what was there before
    if (page.html) await tab.setContent(page.html, { waitUntil: 'load' });
    return tab;
  };
  return { open, close: () => shared?.context().close() };
}

async function check(tabs, page) {
  const tab = await tabs.open(page);
  let before = null;
  for (const view of page.is_email ? EMAIL_VIEWS : PAGE_VIEWS) before = await look(tab, page, view, before);
  if (page.is_email) lookUp(page);
  else faults.push(...(await tryPage(tab, page)));
  if (page.url) await tab.context().close();
}

fillTables();
const everyFeature = getAllFeatures(CLIENTS);
await withBrowser(async (browser) => {
  const waiting = [...job.pages];
  const work = async () => {
    const tabs = tabsOf(browser);
    for (let page; (page = waiting.shift()); ) await check(tabs, page);
    await tabs.close();
  };
  await Promise.all(Array.from({ length: TABS }, work));
});
const listed = [...gaps.values()].map((gap) => ({ ...gap, pages: [...gap.pages] }));
console.log(JSON.stringify({ faults, gaps: listed, views }));
