"use strict";
(() => {
  const results = document.getElementById("results"), body = results.tBodies[0], lines = [...body.rows];
  const heads = [...results.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent;
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      lines.sort((a, b) => {
        const x = key(a, column), y = key(b, column);
        if (x === null || y === null) return (x === null) - (y === null);  // what is missing comes last both ways
        return down ? compare(y, x) : compare(x, y);
      });
      body.append(...lines);
    });
  });

  const selects = [...document.querySelectorAll("[data-filter]")], search = document.getElementById("search");
  const count = document.getElementById("count");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const line of lines) {
      const text = line.textContent.toLowerCase();
      const fits = selects.every((s) => !s.value || line.dataset[s.dataset.filter] === s.value);
      line.hidden = !(fits && words.every((word) => text.includes(word)));
      shown += !line.hidden;
    }
    count.textContent = `${shown} of ${lines.length} results`;
  };
  selects.forEach((select) => select.addEventListener("change", filter));
  search.addEventListener("input", filter);
  search.form.addEventListener("submit", (event) => event.preventDefault());

  const dialog = document.getElementById("large"), large = dialog.querySelector("img");
  document.querySelectorAll(".enlarge").forEach((button) => button.addEventListener("click", () => {
    const small = button.querySelector("img");
    large.src = small.src;
    large.alt = small.alt;
    large.hidden = false;
    dialog.showModal();
  }));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
