/** Paints one picture for each sheet of the job: its emails side by side, light, dark, as text. */
import { job, openTab, withBrowser } from './browser.mjs';

const PHONE = 375; // pixels
const ROOM = 20;

const STYLE = `
  body { margin: 0; padding: ${ROOM}px; background: #DDD; color: #111; font: 14px sans-serif; }
  table { border-spacing: ${ROOM}px; }
  td { vertical-align: top; width: ${PHONE}px; }
  h1, h2, p { margin: 0; font-size: 14px; overflow-wrap: anywhere; }
  h1 { font-size: 20px; }
  p { color: #444; }
  pre { margin: 0; padding: 12px; background: #FFF; font: 10px/1.5 sans-serif; white-space: pre-wrap;
    overflow-wrap: anywhere; unicode-bidi: plaintext; text-align: start; }
  img { display: block; }`;

const escaped = (text) => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);

async function photograph(tab, html, colorScheme) {
  await tab.emulateMedia({ colorScheme });
  await tab.setViewportSize({ width: PHONE, height: 400 });
  await tab.setContent(html, { waitUntil: 'load' });
  const png = await tab.screenshot({ fullPage: true });
  return `<td><img alt="" src="data:image/png;base64,${png.toString('base64')}"></td>`;
}

async function paint(tab, { path, title, language, direction, letters }) {
  const inTurn = async (make) => {
    const cells = [];
    for (const letter of letters) cells.push(await make(letter));
    return `<tr>${cells.join('')}</tr>`;
  };
  const rows = [
    await inTurn(({ template, subject, preview }) => `<td dir="auto"><p dir="ltr">${escaped(template)}</p>`
      + `<h2 dir="auto">${escaped(subject)}</h2><p dir="auto">${escaped(preview)}</p></td>`),
    await inTurn(({ html }) => photograph(tab, html, 'light')),
    await inTurn(({ html }) => photograph(tab, html, 'dark')),
    await inTurn(({ text }) => `<td><pre lang="${language}" dir="${direction}">${escaped(text)}</pre></td>`),
  ];
  await tab.emulateMedia({ colorScheme: 'light' });
  await tab.setViewportSize({ width: letters.length * (PHONE + ROOM) + 3 * ROOM, height: 400 });
  await tab.setContent(`<!doctype html><meta charset="utf-8"><style>${STYLE}</style>`
    + `<h1>${escaped(title)}</h1><table lang="${language}">${rows.join('')}</table>`);
  await tab.screenshot({ path, fullPage: true });
}

await withBrowser(async (browser) => {
  // One tab for all: the browser sometimes refuses a picture of a tab right after it opened.
  const tab = await openTab(browser);
  for (const sheet of job.sheets) await paint(tab, sheet);
});
console.log(JSON.stringify({ painted: job.sheets.length }));
