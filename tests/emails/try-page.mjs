/** Tries a page as people use it who change how it looks, or who have no pointer. */
import { inspectPage } from './inspect-page.mjs';

const SPACED = `* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important }
  p { margin-bottom: 2em !important }`; // WCAG 2.2, 1.4.12
const MOST_IN_FRAME = 20; // presses of Tab inside a frame

/** Return the texts in which a name written from right to left may move what is beside it. */
function mixedDirections() {
  const RTL = /[\p{Script=Hebrew}\p{Script=Arabic}]/u;
  const BOTH = /[\p{Script=Hebrew}\p{Script=Arabic}].*\p{Script=Latin}|\p{Script=Latin}.*[\p{Script=Hebrew}\p{Script=Arabic}]/su;
  const ISOLATED = /[\u2066-\u2068][^\u2069]*\u2069/g;
  if (document.documentElement.dir !== 'ltr') return [];
  const loose = [];
  if (BOTH.test(document.title.replace(ISOLATED, ' a ')) && RTL.test(document.title.replace(ISOLATED, ''))) loose.push(document.title);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const element = node.parentElement;
    if (!RTL.test(node.data.replace(ISOLATED, '')) || element.closest('script, style, option, textarea, pre')) continue;
    const isolating = element.closest('bdi, [dir]');
    if (isolating && isolating !== document.documentElement) continue;
    let block = element;
    while (getComputedStyle(block).display.startsWith('inline')) block = block.parentElement;
    if (BOTH.test(block.textContent)) loose.push(node.data.trim());
  }
  return loose.map((text) => ({ check: 'direction-mixed', detail: text.slice(0, 120) }));
}

/** Mark what stands out by its background alone. */
function markPainted() {
  const colour = (one) => getComputedStyle(one).backgroundColor;
  const isClear = (one) => /, 0\)$|^transparent$/.test(colour(one));
  const behind = (one) => {
    let found = one.parentElement;
    while (found && isClear(found)) found = found.parentElement;
    return found ? colour(found) : colour(document.body);
  };
  for (const one of document.body.querySelectorAll('*')) {
    const isText = one.closest('code, pre, svg, iframe, table') || ['HEADER', 'MAIN'].includes(one.tagName)
      || ['radio', 'checkbox'].includes(one.type); // drawn by the browser
    if (!isText && !isClear(one) && colour(one) !== behind(one)) one.dataset.painted = '';
  }
}

/** Return what no longer stands out once the person's colours replace those of the page. */
function lostShapes() {
  const isDrawn = (style, side) => style[`border${side}Style`] !== 'none' && parseFloat(style[`border${side}Width`]) > 0
    && style[`border${side}Color`] !== style.backgroundColor;
  const isBarred = (style, side) => isDrawn(style, side) && parseFloat(style[`border${side}Width`]) >= 3;
  return [...document.querySelectorAll('[data-painted]')].filter((one) => {
    const style = getComputedStyle(one);
    const isSeen = one.checkVisibility() && one.getBoundingClientRect().right > 0;
    const isMarked = ['Top', 'Bottom'].every((side) => isDrawn(style, side))
      || ['Left', 'Right'].some((side) => isBarred(style, side));
    return isSeen && !isMarked;
  }).map((one) => ({ check: 'forced-colours', detail: `no border: ${one.outerHTML.slice(0, 120)}` }));
}

/** Number what the keyboard must reach, and return how many there are. */
function numberControls() {
  const names = new Set();
  let number = 0;
  for (const one of document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')) {
    const isOne = one.type !== 'radio' || !names.has(one.name);
    if (one.disabled || one.type === 'hidden' || !one.checkVisibility() || !isOne) continue;
    if (one.type === 'radio') {
      names.add(one.name);
      const checked = document.querySelector(`input[type=radio][name="${CSS.escape(one.name)}"]:checked`);
      (checked ?? one).dataset.control = String(number);
    } else one.dataset.control = String(number);
    number += 1;
  }
  return number;
}

/** Return what has the focus, and whether it is seen that it has. */
function focused() {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  const isRinged = style.outlineStyle === 'auto' // the outline of the browser
    || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2);
  const isInside = box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight;
  return {
    number: one.dataset.control,
    isFrame: one.localName === 'iframe',
    isSeen: isRinged && isInside,
    html: one.outerHTML.slice(0, 120),
    isMain: one.id === 'main',
  };
}

async function useKeyboard(tab) {
  const faults = [];
  const report = (detail) => faults.push({ check: 'keyboard', detail });
  await tab.evaluate(() => { // so that the first press leads to the first control
    const start = document.createElement('span');
    start.tabIndex = -1;
    document.body.prepend(start);
    start.focus();
  });
  const number = await tab.evaluate(numberControls);
  const reached = new Map();
  let inFrame = 0;
  for (let times = 0; times < number + 3 + inFrame && reached.size < number; times += 1) {
    await tab.keyboard.press('Tab');
    const one = await tab.evaluate(focused);
    if (one.isFrame && inFrame < MOST_IN_FRAME) inFrame += 1;
    if (one.number === undefined || reached.has(one.number)) continue;
    if (!one.isSeen) report(`the focus is not seen: ${one.html}`);
    reached.set(one.number, times);
  }
  const missed = await tab.evaluate((all) => [...document.querySelectorAll('[data-control]')]
    .filter((one) => !all.includes(one.dataset.control)).map((one) => one.outerHTML.slice(0, 120)), [...reached.keys()]);
  missed.forEach((html) => report(`not reached: ${html}`));
  if (await tab.locator('[tabindex]:not([tabindex="0"], [tabindex="-1"])').count()) report('some come before their turn');
  const order = [...reached.keys()].map(Number);
  if (order.some((one, at) => at && one < order[at - 1])) report(`the order is ${order}`);
  if (await tab.locator('.skip').count()) {
    await tab.locator('.skip').focus();
    await tab.keyboard.press('Enter');
    if (!(await tab.evaluate(focused)).isMain) report('the link to the content does not lead there');
  }
  return faults;
}

/** Return the faults that only these trials find, each with the view it was seen in. */
export async function tryPage(tab, page) {
  const faults = [];
  const note = (view, found) => faults.push(...found.map((one) => ({ page: page.name, view, ...one })));
  const inspect = () => tab.evaluate(inspectPage, { language: page.language, direction: page.direction, isEmail: false, scheme: 'light' });
  await tab.emulateMedia({ colorScheme: 'light' });
  note('any', await tab.evaluate(mixedDirections));
  await tab.setViewportSize({ width: 640, height: 400 });
  note('1280 zoomed to 200 %', await inspect());
  const style = await tab.addStyleTag({ content: SPACED });
  for (const width of [320, 1180]) {
    await tab.setViewportSize({ width, height: 800 });
    note(`${width} spaced`, await inspect());
  }
  await style.evaluate((one) => one.remove());
  await tab.evaluate(markPainted);
  for (const scheme of ['light', 'dark']) {
    await tab.emulateMedia({ colorScheme: scheme, forcedColors: 'active' });
    note(`1180 forced colours ${scheme}`, await tab.evaluate(lostShapes));
  }
  await tab.emulateMedia({ colorScheme: 'light', forcedColors: 'none' });
  note('1180 keyboard', await useKeyboard(tab));
  return faults;
}
