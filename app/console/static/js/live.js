// What is shown, kept as it is now by server-sent events: figures in their places; and a page whose thing has
// changed otherwise is loaded again, unless somebody is writing in it.

const head = document.querySelector("[data-follow]");
const state = document.querySelector("[data-live-state]");
const places = new Map([...document.querySelectorAll("[data-live]")].map((place) => [place.dataset.live, place]));
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: "UTC" });
let first = null;

function tell(words) {
  if (state && state.textContent !== words) state.textContent = words;
}

function isBusy() {
  return document.querySelector("main details.act[open]") !== null || document.activeElement?.closest("form, .act") !== null;
}

function again() {
  if (!isBusy()) return location.reload();
  tell("It has changed: reload to see how.");
  return undefined;
}

function show(news) {
  if (places.size === 0) {
    if (first !== null && news !== first) again();
    first = news;
    tell("live");
    return;
  }
  const { shape, figures } = JSON.parse(news);
  if (shape !== head.dataset.shape) {
    again();
    return;
  }
  for (const [name, [text, mood]] of Object.entries(figures)) {
    const place = places.get(name);
    if (!place) continue;
    if (place.textContent !== text) place.textContent = text;
    if (place.dataset.mood !== mood) place.dataset.mood = mood;
  }
  state.removeAttribute("role"); // a clock that speaks every two seconds would be no help
  tell(`live, ${clock.format(new Date())} UTC`);
}

if (head) {
  const source = new EventSource(`/console/live/${head.dataset.follow}`);
  source.addEventListener("news", (event) => show(event.data));
  source.addEventListener("end", () => source.close());
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) tell("no longer live: reload");
  });
}
