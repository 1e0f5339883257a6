/**
 * Return the faults of the open document that axe-core does not decide. Runs inside the page.
 *
 * Contrast is computed for every visible text, against the colours of the elements that it is in.
 */
export function inspectPage({ language, direction, isEmail, scheme }) {
  const NEEDED_CONTRAST = 4.5; // WCAG 2.2, 1.4.3, without its exception for large text
  const DARK = 0.2; // the relative luminance that the background of a dark page is below
  const faults = [];
  const report = (check, detail) => faults.push({ check, detail });
  const short = (text) => text.trim().replace(/\s+/g, ' ').slice(0, 80);
  const root = document.documentElement;
  const width = document.scrollingElement.clientWidth;

  function checkLanguage(element, what) {
    const lang = element?.getAttribute('lang');
    const dir = element?.getAttribute('dir');
    if (!lang || (language && lang !== language)) report('language', `${what} has lang ${lang}`);
    if (!['ltr', 'rtl'].includes(dir) || (direction && dir !== direction)) {
      report('direction', `${what} has dir ${dir}`);
    }
  }

  function parse(colour) {
    const numbers = /^rgba?\(([^)]+)\)$/.exec(colour)?.[1].split(/[,/ ]+/).map(Number);
    return numbers && { rgb: numbers.slice(0, 3), alpha: numbers[3] ?? 1 };
  }

  function over(upper, lower, opacity) {
    const alpha = upper.alpha * opacity;
    return { rgb: upper.rgb.map((one, at) => one * alpha + lower.rgb[at] * (1 - alpha)), alpha: 1 };
  }

  function luminance({ rgb }) {
    const [red, green, blue] = rgb.map((channel) => {
      const share = channel / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function contrast(one, other) {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  }

  function canvas() {
    const probe = document.createElement('div');
    probe.style.cssText = 'display:none;background-color:Canvas';
    root.append(probe);
    const colour = parse(getComputedStyle(probe).backgroundColor);
    probe.remove();
    return colour;
  }

  /** Return the colour behind an element and how opaque the element is; null if it is unknown. */
  function behind(element) {
    const chain = [];
    for (let one = element; one; one = one.parentElement) chain.unshift(getComputedStyle(one));
    let colour = canvas();
    let opacity = 1;
    for (const style of chain) {
      opacity *= Number(style.opacity);
      const own = parse(style.backgroundColor);
      if (!own || style.backgroundImage !== 'none') return null;
      colour = over(own, colour, opacity);
    }
    return { colour, opacity };
  }

  function isOnlyForScreenReaders(element) {
    for (let one = element; one && one !== document.body; one = one.parentElement) {
      const style = getComputedStyle(one);
      const isTiny = one.offsetWidth <= 1 && style.overflowX !== 'visible';
      const isAside = style.position === 'absolute' && one.getBoundingClientRect().right < 0;
      if (isTiny || isAside) return true;
    }
    return false;
  }

  function checkContrast(element, text) {
    const place = behind(element);
    const own = parse(getComputedStyle(element).color);
    if (!place || !own) {
      report('contrast', `cannot tell the colours of: ${short(text)}`);
      return;
    }
    const ratio = contrast(over(own, place.colour, place.opacity), place.colour);
    if (ratio < NEEDED_CONTRAST && !element.closest(':disabled')) {
      report('contrast', `${ratio.toFixed(2)} for: ${short(text)}`);
    }
  }

  function checkText(node) {
    const element = node.parentElement;
    const range = document.createRange();
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter((box) => box.width > 0 && box.height > 0);
    const isSeen = boxes.length > 0 && element.checkVisibility({ visibilityProperty: true });
    if (!isSeen || isOnlyForScreenReaders(element)) return;
    if (boxes.some((box) => box.left < -0.5 || box.right > width + 0.5)) {
      report('outside', `beyond the edge: ${short(node.data)}`);
    }
    checkContrast(element, node.data);
  }

  function checkOverflow(element) {
    if (!element.checkVisibility() || element.clientWidth <= 1) return;
    if (getComputedStyle(element).overflowX === 'visible') return;
    if (element.scrollWidth > element.clientWidth + 1) {
      report('cut-off', `${element.localName}: ${short(element.textContent)}`);
    }
  }

  checkLanguage(root, 'the document');
  // Web mail removes the elements html and body.
  if (isEmail) checkLanguage(document.body.querySelector('[role="article"]'), 'the article');
  if (document.scrollingElement.scrollWidth > width) {
    report('sideways-scroll', `${document.scrollingElement.scrollWidth} pixels in ${width}`);
  }
  const page = behind(document.body);
  if (isEmail && scheme === 'dark' && !(page && luminance(page.colour) < DARK)) {
    report('not-dark', 'the background is light in dark mode');
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) if (node.data.trim()) checkText(node);
  document.body.querySelectorAll('*').forEach(checkOverflow);
  return faults;
}
