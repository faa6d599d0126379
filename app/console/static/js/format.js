// Figures for people, in the browser's own language for numbers and dates.

const whole = new Intl.NumberFormat();
const tenth = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const count = (number) => whole.format(number ?? 0);
export const percent = (number) => `${tenth.format(Math.floor((number ?? 0) * 10) / 10)} %`;
export const when = (iso) => (iso ? moment.format(new Date(iso)) : "");

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function bytes(size) {
  if (size < 1000) return plural(size, "byte");
  const units = ["kB", "MB", "GB", "TB"];
  let value = size;
  let unit = -1;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? tenth.format(value) : whole.format(Math.round(value))} ${units[unit]}`;
}

/** "40 s", "3 min", "1 h 20 min": as exact as an estimate can be. */
export function duration(seconds) {
  const total = Math.max(0, Math.round(seconds));
  if (total < 90) return `${total} s`;
  if (total < 5400) return `${Math.round(total / 60)} min`;
  return `${Math.floor(total / 3600)} h ${Math.round((total % 3600) / 60)} min`;
}

export function between(start, end) {
  if (!start || !end) return null;
  const seconds = (new Date(end) - new Date(start)) / 1000;
  return seconds < 10 ? `${tenth.format(seconds)} s` : duration(seconds);
}
