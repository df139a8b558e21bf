// What every page does: times in the reader's own zone, live parts, a question before deleting.

function localTimes(root) {
  const now = new Date();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const today = at.toDateString() === now.toDateString();
    const how = today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
    time.title = time.textContent;
    time.textContent = at.toLocaleString(undefined, how);
  }
}

function element(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

// Puts a new version of an element in place of the old one; focus and ticks stay where they were.
function swap({ id, html, into }) {
  const old = document.getElementById(id);
  if (!html) {
    old?.remove();
    return;
  }
  const fresh = element(html);
  localTimes(fresh);
  clips(fresh);
  if (!old) {
    if (into) {
      document.getElementById(into)?.prepend(fresh);
      document.getElementById("none")?.remove();
      say(fresh);
    }
    return;
  }
  if (old.dataset.v === fresh.dataset.v) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  for (const ticked of old.querySelectorAll("input:checked")) {
    const same = ticked.id && fresh.querySelector(`#${CSS.escape(ticked.id)}`);
    if (same) same.checked = true;
  }
  if (old.dataset.state !== fresh.dataset.state) say(fresh);
  old.replaceWith(fresh);
  if (!focused) return;
  const again = document.getElementById(focused) ?? fresh.querySelector("a, button, input, video");
  again?.focus({ preventScroll: true });
}

function say(fresh) {
  if (fresh.dataset.say) document.getElementById("told").textContent = fresh.dataset.say;
}

// One stream for the page, and none while nobody looks at it: browsers allow six for all tabs.
const live = document.body.dataset.live;
let source = null;

function listen() {
  if (!live || document.hidden || source) return;
  source = new EventSource(live);
  source.addEventListener("swap", (event) => swap(JSON.parse(event.data)));
  source.addEventListener("open", () => { document.body.dataset.connected = "yes"; });
  source.addEventListener("error", () => {
    delete document.body.dataset.connected;
    if (source?.readyState === EventSource.CLOSED) {  // refused: signed out, or deleted
      source = null;
      setTimeout(listen, 5000);
    }
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
  } else {
    listen();
  }
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// "Compare" needs two.
function picked() {
  const button = document.getElementById("compare-button");
  if (!button) return;
  const count = document.querySelectorAll('input[name="shot"]:checked').length;
  button.disabled = count < 2;
  const words = count < 2 ? "Pick clips to compare" : `Compare ${count} clips`;
  if (button.textContent !== words) button.textContent = words;  // the observer sees it, too
}

document.addEventListener("change", picked);
new MutationObserver(picked).observe(document.getElementById("main"), { childList: true, subtree: true });

// A clip plays while it is pointed at, or has the focus; without this script it has its controls.
const still = matchMedia("(prefers-reduced-motion: reduce)");

function clips(root) {
  for (const video of root.querySelectorAll("video[controls]:not([data-calm])")) {
    video.dataset.calm = "";
    video.controls = false;
    video.tabIndex = 0;
  }
}

function wake(event) {
  const video = event.target.closest?.("video[data-calm]");
  if (!video || video.controls) return;
  video.controls = true;
  if (!still.matches) video.play().catch(() => {});
}

function rest(event) {
  const video = event.target.closest?.("video[data-calm]");
  if (!video || video.matches(":hover, :focus-within, :focus") || document.fullscreenElement === video) return;
  video.controls = false;
  video.pause();
}

for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, wake);
for (const kind of ["pointerout", "focusout"]) document.addEventListener(kind, (event) => setTimeout(rest, 0, event));

picked();
clips(document);
localTimes(document);
listen();
