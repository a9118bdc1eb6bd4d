// Keeps a page up to date: when the server tells of something new, the same address is read again and the parts that
// differ are put in place. Pages are complete without this; it only spares the reload.
"use strict";
(() => {
  const least = 700, share = 4, mostLines = 5000;
  const light = document.querySelector(".live");
  let last = 0, pause = least, timer = 0, source = null;

  function say(text, cut) {
    light.hidden = false;
    light.classList.toggle("cut", cut);
    if (light.textContent !== text) light.textContent = text;
  }

  // Where the reader is: open details, scrolled regions, text being typed and the focus survive a replacement.
  function keep(old, fresh) {
    const details = old.querySelectorAll("details");
    fresh.querySelectorAll("details").forEach((one, place) => { if (details[place]) one.open = details[place].open; });
  }

  function replace(old, fresh) {
    if (old.innerHTML === fresh.innerHTML || old.querySelector("input:focus, select:focus")) return;
    keep(old, fresh);
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const target = focused && (focused.getAttribute("href") || focused.getAttribute("aria-label") || focused.value);
    const scrolls = [...old.querySelectorAll(".scroll")].map((one) => [one.scrollLeft, one.scrollTop]);
    old.replaceWith(fresh);
    fresh.querySelectorAll(".scroll").forEach((one, place) => {
      if (scrolls[place]) [one.scrollLeft, one.scrollTop] = scrolls[place];
    });
    if (!focused) return;
    const again = [...fresh.querySelectorAll("a, button, summary, [tabindex]")].find((one) =>
      (one.getAttribute("href") || one.getAttribute("aria-label") || one.value) === target);
    if (again) again.focus({ preventScroll: true });
  }

  async function refresh() {
    timer = 0;
    last = Date.now();
    const began = last;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.querySelectorAll("[data-live]").forEach((old) => {
        const fresh = page.querySelector(`[data-live="${old.dataset.live}"]`);
        if (fresh) replace(old, fresh);
      });
      pause = Math.max(least, share * (Date.now() - began));  // a page that takes long to make is asked for less often
      if (!page.body.dataset.events && source) { source.close(); source = null; light.hidden = true; }
    } catch (error) {
      say("not reached; trying again", true);
    }
  }

  function soon() {
    if (!timer && !document.hidden) timer = setTimeout(refresh, Math.max(0, last + pause - Date.now()));
  }

  function listen() {
    const events = document.body.dataset.events;
    if (!events || !window.EventSource) return;
    source = new EventSource(events);
    source.onopen = () => say("live", false);
    source.onerror = () => say("not reached; trying again", true);
    for (const name of ["fact", "state", "runs", "cluster", "triggers", "end"]) source.addEventListener(name, soon);
    source.addEventListener("end", () => { if (source) source.close(); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });
  }

  // Lines that a step writes come one by one; the list follows its end while the reader is there.
  function addLine(number, text) {
    const list = document.querySelector("[data-log]");
    if (!list || document.getElementById(`L${number}`)) return;
    const line = document.createElement("li"), link = document.createElement("a"), said = document.createElement("span");
    line.id = `L${number}`;
    link.href = `${list.dataset.line}${number}#L${number}`;
    link.textContent = number;
    link.setAttribute("aria-label", `Line ${number}`);
    said.textContent = text;
    line.append(link, said);
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(line);
    if (list.children.length > mostLines) list.firstElementChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  function follow() {
    const list = document.querySelector("[data-log]");
    if (!list || !window.EventSource) return;
    const last = list.lastElementChild;
    const lines = new EventSource(`${list.dataset.log}?after=${last ? last.id.slice(1) : 0}`);
    lines.addEventListener("lines", (event) => {
      for (const [number, text] of JSON.parse(event.data)) addLine(number, text);
    });
    lines.addEventListener("end", () => lines.close());
  }

  document.addEventListener("keydown", (pressed) => {
    if (pressed.key !== "/" || pressed.ctrlKey || pressed.metaKey || pressed.altKey) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) return;
    const field = document.querySelector('[data-key="/"]');
    if (field) { pressed.preventDefault(); field.focus(); }
  });
  listen();
  follow();
})();
