// Asks every half minute, while the page is seen, whether more happened than it shows, and then shows
// a link that says so. Nothing else on the page changes, and the focus stays where it is.
(() => {
  const place = document.querySelector('[data-ask]');
  if (!place) return;
  const EVERY_MS = 30_000;
  const LONGEST_MS = 600_000; // between two questions that get no answer
  let wait = EVERY_MS;
  let due = Date.now() + wait;
  let timer;

  const show = (words) => {
    const link = place.querySelector('a') ?? place.appendChild(document.createElement('a'));
    link.href = place.dataset.show;
    if (link.textContent !== words) link.textContent = words;
  };
  const plan = () => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(ask, Math.max(0, due - Date.now()));
  };
  const ask = async () => {
    try {
      const answer = await fetch(place.dataset.ask, { redirect: 'error' });
      if (answer.status === 401) return document.removeEventListener('visibilitychange', plan);
      if (!answer.ok) throw new Error(answer.status);
      wait = EVERY_MS;
      if (answer.status === 200) show(await answer.text());
    } catch {
      wait = Math.min(2 * wait, LONGEST_MS);
    }
    due = Date.now() + wait;
    plan();
  };
  document.addEventListener('visibilitychange', plan);
  plan();
})();
