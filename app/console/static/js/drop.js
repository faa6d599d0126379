// A file, dropped anywhere on the page or chosen.

/** Call `take(file)` for each. */
export function dropZone(zone, input, take) {
  const chosen = () => {
    const [file] = input.files;
    if (!file) return;
    input.value = ""; // so that the same file can be chosen again once it has been changed
    take(file);
  };
  input.addEventListener("change", chosen);
  chosen(); // someone may have been quicker than this script
  const root = document.body;
  let depth = 0; // enter and leave come for every element that the file is dragged over
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    depth += 1;
    root.classList.add("is-dragging");
  });
  addEventListener("dragleave", (event) => {
    if (!carriesFile(event)) return;
    depth -= 1;
    if (depth <= 0) root.classList.remove("is-dragging");
  });
  addEventListener("dragover", (event) => { if (carriesFile(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    depth = 0;
    root.classList.remove("is-dragging");
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
}
