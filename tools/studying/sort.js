"use strict";
// Tables whose headings are buttons: a click, or Enter, sorts by that column, and again turns the order round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const key = (row, index) => {
    const cell = row.cells[index];
    const data = cell.querySelector("data");
    return data ? data.value : cell.textContent.trim();
  };
  const compare = (one, other) => {
    const numbers = [Number(one), Number(other)];
    return one !== "" && other !== "" && !numbers.some(Number.isNaN)
      ? numbers[0] - numbers[1]
      : one.localeCompare(other, "en", { numeric: true });
  };
  heads.forEach((head, index) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const filled = [], empty = [];
      for (const row of body.rows) {
        (index && !row.cells[index].querySelector("data") ? empty : filled).push(row);
      }
      filled.sort((a, b) => (down ? -1 : 1) * compare(key(a, index), key(b, index)));
      body.append(...filled, ...empty);
    });
  });
}
