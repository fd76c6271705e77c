"use strict";
// Without scripts the page shows everything, unsorted and unfiltered.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    // Ascending, descending, as it was.
    const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")];
    heads.forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", next);
    const rows = [...original];
    if (next !== "none") {
      const sign = next === "ascending" ? 1 : -1;
      rows.sort((a, b) => compare(a.cells[column].dataset.sort, b.cells[column].dataset.sort, sign));
    }
    body.append(...rows);
  }));
}

// Numbers by value, words by alphabet; what is not known comes last either way.
function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const [x, y] = [Number(a), Number(b)];
  return sign * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y);
}

const form = document.querySelector(".filter");
const [text, task, best, count] = ["filter", "task", "best", "count"].map((id) => document.getElementById(id));
const rows = [...document.querySelectorAll("#scores tbody tr")];
function filter() {
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const content = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => content.includes(word))
      || (task.value !== "" && row.dataset.task !== task.value)
      || (best.checked && !row.classList.contains("best"));
    shown += !row.hidden;
  }
  count.textContent = `${shown} of ${rows.length} rows`;
}
form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("change", filter);
form.addEventListener("submit", (event) => event.preventDefault());
filter();

// A link to the details of a run opens them, also when the address stays as it was.
function open(hash) {
  const target = hash.length > 1 && document.getElementById(hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus({ preventScroll: true });
  }
}
addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (link) setTimeout(open, 0, link.getAttribute("href"));
});
open(location.hash);

for (const button of document.querySelectorAll(".copy")) {
  const source = button.parentElement.querySelector("pre");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      // Not allowed here: select, so that the keyboard can copy.
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
    }
  });
}
