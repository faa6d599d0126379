// Light, dark, or as the system has it. Runs before the first paint, so that nothing flashes.
(() => {
  const KEY = "millrace-theme";
  const root = document.documentElement;
  let kept = "auto";
  try {
    kept = localStorage.getItem(KEY) ?? "auto";
  } catch { /* storage is off: the system decides */ }

  function show(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  }

  show(kept);
  addEventListener("DOMContentLoaded", () => {
    const group = document.querySelector(".theme");
    const chosen = group?.querySelector(`[value="${CSS.escape(kept)}"]`) ?? group?.querySelector("input");
    if (!group || !chosen) return;
    chosen.checked = true;
    group.hidden = false;
    group.addEventListener("change", (event) => {
      show(event.target.value);
      try {
        localStorage.setItem(KEY, event.target.value);
      } catch { /* for this page only, then */ }
    });
  });
})();
