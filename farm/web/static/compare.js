// Several videos with one clock: the first plays, the others follow it to the frame.

const videos = [...document.querySelectorAll(".compared video")];
const [play, back, forth, seek, at, speed] = ["play", "back", "forth", "seek", "at", "speed"].map(
  (id) => document.getElementById(id),
);
const DRIFT_S = 0.03;
const fps = Math.max(...videos.map((video) => Number(video.dataset.fps)));
let playing = false;

const length = () => Math.min(...videos.map((video) => video.duration || Infinity));

function go(time) {
  const last = Math.max(0, length() - 1 / fps);
  const to = Math.min(Math.max(0, time), Number.isFinite(last) ? last : 0);
  for (const video of videos) video.currentTime = to;
  told(to);
}

function told(time) {
  at.value = `${time.toFixed(2)} s`;
  if (document.activeElement !== seek || playing) seek.value = (1000 * time) / length() || 0;
  document.body.dataset.apart = Math.max(
    0, ...videos.map((video) => Math.abs(video.currentTime - videos[0].currentTime)),
  ).toFixed(3);
}

function turn(on) {
  playing = on;
  play.textContent = on ? "Pause" : "Play";
  for (const video of videos) {
    video.playbackRate = Number(speed.value);
    if (on) video.play().catch(() => {});
    else video.pause();
  }
  if (on) requestAnimationFrame(follow);
  else go(videos[0].currentTime);
}

function follow() {
  if (!playing) return;
  const first = videos[0];
  if (first.currentTime >= length() - 0.5 / fps || first.ended) {
    for (const video of videos) {
      video.currentTime = 0;
      video.play().catch(() => {});
    }
  }
  for (const video of videos.slice(1)) {
    if (Math.abs(video.currentTime - first.currentTime) > DRIFT_S && !video.seeking) {
      video.currentTime = first.currentTime;
    }
  }
  told(first.currentTime);
  requestAnimationFrame(follow);
}

function step(frames) {
  turn(false);
  // The middle of a frame: its edge may round to the one before.
  go((Math.round(videos[0].currentTime * fps - 0.5) + frames + 0.5) / fps);
}

if (videos.length) {
  play.addEventListener("click", () => turn(!playing));
  back.addEventListener("click", () => step(-1));
  forth.addEventListener("click", () => step(1));
  speed.addEventListener("change", () => turn(playing));
  seek.addEventListener("input", () => {
    if (playing) turn(false);
    go((seek.value / 1000) * length());
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, button, a")) return;
    const act = { " ": () => turn(!playing), ArrowLeft: () => step(-1), ArrowRight: () => step(1) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
