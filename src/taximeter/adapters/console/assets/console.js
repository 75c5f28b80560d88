// The pages' only script: theme, copying, the live stream, the filter of the reference.
// Everything from outside goes into textContent or setAttribute, never into markup.
"use strict";

// --- theme: before the first paint ---------------------------------------------------------------

const THEME = "taximeter-theme";

function storedTheme() {
  try { return localStorage.getItem(THEME); } catch { return null; }
}

function applyTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}

applyTheme(storedTheme());

function toggleTheme() {
  const chosen = document.documentElement.dataset.theme;
  const isDark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = isDark ? "light" : "dark";
  applyTheme(theme);
  try { localStorage.setItem(THEME, theme); } catch { /* a private window: for this page only */ }
}

// --- small helpers -------------------------------------------------------------------------------

const byId = (id) => document.getElementById(id);

/** Groups the integer part: "1234567.5" -> "1,234,567.5". Text in, text out: no float between. */
function digits(number) {
  const [whole, fraction] = String(number).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

function clone(shape) {
  return byId(shape).content.firstElementChild.cloneNode(true);
}

const field = (element, name) => element.querySelector(`[data-f="${name}"]`);
const customerPath = (key) => `/customers/${encodeURIComponent(key)}`;

// --- numbers at the top --------------------------------------------------------------------------

const WORDS = {
  failure: (value) => value || "ready",
  balanced: (value) => (value ? "received = decided" : "received ≠ decided"),
  position: (value) => String(value),
  commit_p99: (value) => value,
};

function setState(id, state) {
  const element = byId(id);
  if (element) element.dataset.state = state;
}

function showPulse(pulse) {
  for (const element of document.querySelectorAll("[data-p]")) {
    const name = element.dataset.p;
    setText(element, (WORDS[name] || digits)(pulse[name]));
  }
  setState("ready", pulse.failure ? "bad" : "good");
  setState("balance", pulse.balanced ? "good" : "bad");
  setState("unmatched", pulse.unmatched_subjects ? "warn" : "");
  setState("dead", pulse.dead_letters ? "warn" : "");
  showSteps(pulse.steps);
  speak(pulse);
}

function showSteps(steps) {
  const welcome = byId("welcome");
  if (!welcome || welcome.hidden) return;
  for (const step of welcome.querySelectorAll("[data-step]")) {
    const isDone = steps[Number(step.dataset.step)];
    step.dataset.done = isDone ? "yes" : "no";
    setText(field(step, "done"), isDone ? " (done)" : "");
  }
  welcome.hidden = steps.every(Boolean);
}

let spokenAt = 0;

/** For those who listen: a sentence at most every thirty seconds. */
function speak(pulse) {
  const now = performance.now();
  if (spokenAt && now - spokenAt < 30000) return;
  spokenAt = now;
  const state = pulse.failure ? `Not ready: ${pulse.failure}.` : "Ready.";
  setText(byId("spoken"), `${digits(pulse.accepted)} events accepted. ${state}`);
}

// --- chart of events per second ------------------------------------------------------------------

const CHART = { width: 600, height: 132 };
let scale = 0;

/** The least of 1, 2, 5 times a power of ten that is not below the peak. */
function niceTop(peak) {
  for (let power = 1; ; power *= 10) {
    for (const step of [1, 2, 5]) if (step * power >= peak) return step * power;
  }
}

function showRate(series) {
  const chart = byId("chart");
  if (!chart) return;
  const peak = Math.max(...series);
  const top = niceTop(Math.max(peak, 10));
  // Grow at once, shrink only when there is much room: a scale that jitters cannot be read.
  if (top > scale || peak < scale / 4) scale = top;
  const dx = CHART.width / (series.length - 1);
  const y = (value) => (CHART.height - 2 - (value / scale) * (CHART.height - 8)).toFixed(1);
  const points = series.map((value, index) => `${(index * dx).toFixed(1)} ${y(value)}`);
  byId("chart-line").setAttribute("d", `M${points.join("L")}`);
  byId("chart-area").setAttribute("d", `M0 ${CHART.height}L${points.join("L")}L${CHART.width} ${CHART.height}Z`);
  showGrid(y);
  setText(byId("rate-now"), digits(series[series.length - 1]));
  setText(byId("rate-peak"), digits(peak));
  setText(byId("rate-top"), `, full scale ${digits(scale)}`);
}

function showGrid(y) {
  const grid = byId("chart-grid");
  [0, 0.5, 1].forEach((share, index) => {
    let line = grid.children[index];
    if (!line) {
      line = document.createElementNS("http://www.w3.org/2000/svg", "line");
      grid.append(line);
    }
    line.setAttribute("x2", CHART.width);
    line.setAttribute("y1", y(share * scale));
    line.setAttribute("y2", y(share * scale));
  });
}

// --- customers -----------------------------------------------------------------------------------

const GAUGE_WORDS = { near: "near limit", full: "at limit", over: "over", credit: "credit pays" };

function fillGauge(element, gauge) {
  element.dataset.state = gauge.state;
  setText(element.querySelector(".gauge-name"), gauge.feature);
  setText(field(element, "used"), digits(gauge.used));
  setText(field(element, "limit"), gauge.limit === null ? " no limit" : ` / ${digits(gauge.limit)}`);
  setText(field(element, "percent"), gauge.percent);
  setText(field(element, "word"), GAUGE_WORDS[gauge.state] || "");
  element.querySelector(".bar-fill").setAttribute("width", gauge.permille || 0);
}

function fillGauges(holder, gauges) {
  while (holder.children.length > gauges.length) holder.lastElementChild.remove();
  gauges.forEach((gauge, index) => {
    if (!holder.children[index]) holder.append(clone("gauge-shape"));
    fillGauge(holder.children[index], gauge);
  });
}

function fillRow(element, row) {
  element.dataset.key = row.key;
  const name = field(element, "name");
  setText(name, row.name || row.key);
  name.setAttribute("href", customerPath(row.key));
  setText(field(element, "key"), row.name ? row.key : "");
  setText(field(element, "plan"), row.plan);
  setText(field(element, "note"), row.note);
  setText(field(element, "fare"), row.fare === null ? "–" : digits(row.fare));
  setText(field(element, "currency"), row.currency);
  fillGauges(element.querySelector(".gauges"), row.gauges);
}

let wantedOrder = null;

function rowsByKey(body) {
  return new Map(Array.from(body.children, (element) => [element.dataset.key, element]));
}

function showRows(rows) {
  const body = byId("rows");
  if (!body) return showOneRow(rows[0]);
  const known = rowsByKey(body);
  for (const row of rows) {
    let element = known.get(row.key);
    if (!element) {
      element = clone("row-shape");
      body.append(element);
    }
    fillRow(element, row);
  }
}

/** On a customer's own page: its entitlements, its fare, and the parts that hang on them. */
function showOneRow(row) {
  setText(document.querySelector('[data-row="fare"]'), row.fare === null ? "–" : digits(row.fare));
  setText(document.querySelector('[data-row="currency"]'), row.currency);
  for (const part of document.querySelectorAll("[data-live]")) refreshPart(part);
}

/** Rows do not move under a pointer or a focus; they find their places afterwards. */
function showOrder() {
  const body = byId("rows");
  if (!body || wantedOrder === null || body.matches(":hover, :focus-within")) return;
  const known = rowsByKey(body);
  wantedOrder.forEach((key, index) => {
    const element = known.get(key);
    if (element && body.children[index] !== element) body.insertBefore(element, body.children[index]);
    known.delete(key);
  });
  for (const element of known.values()) element.remove();
  wantedOrder = null;
  byId("no-rows").hidden = body.children.length > 0;
  byId("more-rows").hidden = body.children.length < 100;
}

// --- events and decisions ------------------------------------------------------------------------

const KEPT = 24;
let isPaused = false;

function eventElement(item) {
  const element = clone("event-shape");
  element.dataset.verdict = item.verdict;
  for (const name of ["verdict", "type", "subject", "position", "id", "text"]) {
    setText(field(element, name), item[name]);
  }
  const subject = field(element, "subject");
  if (item.customer) subject.setAttribute("href", customerPath(item.customer));
  return element;
}

function choiceElement(item) {
  const element = clone("choice-shape");
  element.dataset.allowed = item.allowed ? "yes" : "no";
  setText(field(element, "verdict"), item.allowed ? "allowed" : "refused");
  const customer = field(element, "customer");
  setText(customer, item.customer);
  customer.setAttribute("href", customerPath(item.customer));
  setText(field(element, "what"), `${digits(item.amount)} ${item.feature}`);
  setText(field(element, "reason"), item.reason);
  return element;
}

/** Puts items, newest first, on top of a list, or in place of all; at most `KEPT` stay. */
function showList(id, items, elementOf, isAll) {
  const list = byId(id);
  if (!list || isPaused || (!isAll && items.length === 0)) return;
  const elements = items.map(elementOf);
  if (isAll) {
    list.replaceChildren(...elements);
  } else {
    // A few new ones are pointed out; in a stream of them that would only flicker.
    if (elements.length < 4) for (const element of elements) element.classList.add("fresh");
    list.prepend(...elements);
  }
  while (list.children.length > KEPT) list.lastElementChild.remove();
  byId(`no-${id}`).hidden = list.children.length > 0;
}

function togglePause() {
  isPaused = !isPaused;
  const button = byId("pause");
  button.setAttribute("aria-pressed", String(isPaused));
  setText(button, isPaused ? "Resume" : "Pause");
}

// --- parts of a page that the server draws -------------------------------------------------------

async function loadPart(part) {
  part.loadedAt = performance.now();
  // Nothing is taken away under a finger, a focus, or somebody who reads the details.
  if (part.dataset.drawn && part.matches(":active, :focus-within")) return;
  try {
    const answer = await fetch(part.dataset.part, { credentials: "same-origin", redirect: "error" });
    if (!answer.ok) throw new Error(answer.status);
    const drawn = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!part.querySelector("details[open]")) part.replaceChildren(...drawn.body.childNodes);
    part.dataset.drawn = "yes";
  } catch {
    setText(part.querySelector(".nothing"), "This could not be read. Reload the page to try again.");
  }
  part.removeAttribute("aria-busy");
}

/** Soon, but not more often than every `data-live` milliseconds. */
function refreshPart(part) {
  if (part.timer) return;
  const wait = Math.max(0, (part.loadedAt || 0) + Number(part.dataset.live) - performance.now());
  part.timer = setTimeout(() => {
    part.timer = 0;
    loadPart(part);
  }, wait);
}

// --- the stream ----------------------------------------------------------------------------------

const SILENCE_MS = 8000; // the server says something every second
const link = { source: null, heardAt: 0, retryMs: 1000, timer: 0 };

function showLink(state, text) {
  const element = byId("link-state");
  element.dataset.state = state;
  setText(element.lastElementChild, text);
}

function streamUrl() {
  const url = new URL(document.body.dataset.stream, location.href);
  const find = byId("find");
  if (find) for (const [name, value] of new FormData(find)) url.searchParams.set(name, value);
  return url;
}

function connect() {
  disconnect();
  link.heardAt = performance.now();
  link.source = new EventSource(streamUrl());
  link.source.onmessage = (message) => {
    link.heardAt = performance.now();
    link.retryMs = 1000;
    showLink("live", isPaused ? "Live, paused" : "Live");
    show(JSON.parse(message.data));
  };
  link.source.addEventListener("signed-out", () => {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  });
  link.source.onerror = reconnect;
}

function disconnect() {
  clearTimeout(link.timer);
  if (link.source) link.source.close();
  link.source = null;
}

/** Our own, for a browser gives up for good when the server answers with an error. */
function reconnect() {
  disconnect();
  showLink("lost", "Connection lost, trying again");
  link.timer = setTimeout(connect, link.retryMs);
  link.retryMs = Math.min(10000, link.retryMs * 1.6);
}

function watchLink() {
  if (link.source && performance.now() - link.heardAt > SILENCE_MS) reconnect();
}

function show(news) {
  if (news.pulse) showPulse(news.pulse);
  if (news.rate) showRate(news.rate.series);
  if (news.rows) showRows(news.rows);
  if (news.order) wantedOrder = news.order;
  showOrder();
  // A customer's page has its events from the store, which knows older ones than the stream does.
  const isConsole = byId("rows") !== null;
  if (isConsole || !news.full) showList("events", news.events || [], eventElement, news.full);
  if (isConsole) showList("choices", news.choices || [], choiceElement, news.full);
}

/** Another search or order is another stream; the address keeps it for a reload. */
function findAgain() {
  const url = new URL(location.href);
  for (const [name, value] of new FormData(byId("find"))) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  history.replaceState(null, "", url);
  setText(byId("no-rows"), byId("q").value ? "No customer matches." : "No customers yet.");
  connect();
}

// --- the reference -------------------------------------------------------------------------------

function filterOperations(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const group of document.querySelectorAll("[data-group]")) {
    let inGroup = 0;
    for (const item of group.querySelectorAll("[data-text]")) {
      const haystack = item.dataset.text.toLowerCase();
      item.hidden = !words.every((word) => haystack.includes(word));
      if (!item.hidden) inGroup += 1;
    }
    group.hidden = inGroup === 0;
    found += inGroup;
  }
  byId("no-match").hidden = found > 0;
}

// --- begin ---------------------------------------------------------------------------------------

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    setText(button, "Copied");
  } catch {
    getSelection().selectAllChildren(code); // not a secure context: at least it is selected
    setText(button, "Selected");
  }
  setTimeout(() => setText(button, "Copy"), 1500);
}

function beginLive() {
  const chart = byId("chart");
  if (chart) showRate(chart.dataset.series.split(" ").map(Number));
  for (const part of document.querySelectorAll("[data-now]")) loadPart(part);
  const find = byId("find");
  if (find) {
    let timer = 0;
    find.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(findAgain, 200);
    });
    find.addEventListener("submit", (event) => {
      event.preventDefault();
      findAgain();
    });
  }
  const pause = byId("pause");
  pause.hidden = false;
  pause.addEventListener("click", togglePause);
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  setInterval(watchLink, 1000);
  connect();
}

/** A page without a stream of its own: its parts are read again every so often. */
function beginPolling(everyMs) {
  const parts = document.querySelectorAll("[data-now]");
  for (const part of parts) loadPart(part);
  setInterval(() => {
    if (document.hidden) return;
    for (const part of parts) if (!("slow" in part.dataset)) loadPart(part);
  }, everyMs);
}

/** Where the pages do not fit side by side, the name of this one is in sight. */
function showWhereWeAre() {
  const here = document.querySelector(".top nav [aria-current]");
  if (!here) return;
  const nav = here.parentElement;
  nav.scrollLeft = here.offsetLeft - nav.offsetLeft - (nav.clientWidth - here.offsetWidth) / 2;
}

document.addEventListener("DOMContentLoaded", () => {
  showWhereWeAre();
  byId("theme").hidden = false;
  byId("theme").addEventListener("click", toggleTheme);
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
  const filter = document.querySelector("[data-filter]");
  if (filter) {
    filter.hidden = false;
    filter.addEventListener("input", () => filterOperations(filter.value));
  }
  if (document.body.dataset.stream) beginLive();
  if (document.body.dataset.every) beginPolling(Number(document.body.dataset.every));
});
