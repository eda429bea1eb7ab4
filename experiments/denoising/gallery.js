"use strict";
(() => {
  const cards = [...document.querySelectorAll(".card")], count = document.getElementById("count");
  const given = document.getElementById("class"), only = document.getElementById("only");
  const open = document.getElementById("open"), search = document.getElementById("search");
  const decided = document.getElementById("decided"), list = document.querySelector(".cards");
  const key = `ddjax decisions ${list.dataset.run}`;
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem(key)) || {}; } catch { /* the browser keeps nothing for files */ }

  const filter = () => {
    const words = search.value.toLowerCase();
    let shown = 0;
    for (const card of cards) {
      const fits = (!given.value || card.dataset.class === given.value) && (!only.checked || card.dataset.flagged === "1")
        && (!open.checked || !(card.dataset.id in kept));
      card.hidden = !(fits && card.querySelector(".name").textContent.toLowerCase().includes(words));
      shown += !card.hidden;
    }
    count.textContent = `${shown} of ${cards.length} shown`;
  };

  const show = () => {
    for (const card of cards) {
      const decision = kept[card.dataset.id] || "";
      card.dataset.decision = decision;
      for (const button of card.querySelectorAll("button"))
        button.setAttribute("aria-pressed", button.dataset.decision === decision);
    }
    decided.textContent = `${Object.keys(kept).length} decided`;
  };

  const step = (card, by) => {
    const shown = cards.filter((one) => !one.hidden || one === card);
    const next = shown[shown.indexOf(card) + by];
    if (next) next.focus();
  };

  const decide = (card, decision) => {
    if (decision) kept[card.dataset.id] = decision; else delete kept[card.dataset.id];
    try { localStorage.setItem(key, JSON.stringify(kept)); } catch { /* the decisions last as long as the page */ }
    show();
  };

  const cell = (text) => `"${text.replaceAll('"', '""')}"`;
  const table = () => {
    const rows = cards.filter((card) => card.dataset.id in kept).map((card) =>
      [card.dataset.id, card.dataset.given, card.dataset.other, kept[card.dataset.id]].map(cell).join(","));
    return ["id,given_label,suggested_label,decision", ...rows, ""].join("\n");
  };

  document.getElementById("save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = "decisions.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button"), card = event.target.closest(".card");
    if (button) decide(card, kept[card.dataset.id] === button.dataset.decision ? "" : button.dataset.decision);
    else if (card) card.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
    const card = document.activeElement.closest(".card") || cards.find((one) => !one.hidden);
    if (!card) return;
    const decision = { a: "accept", r: "reject", u: "" }[event.key], by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (decision === undefined && by === undefined) return;
    event.preventDefault();
    if (by) return document.activeElement.closest(".card") === card ? step(card, by) : card.focus();
    if (decision) { decide(card, decision); return step(card, 1); }
    const last = kept[card.dataset.id] ? card : cards.findLast((one) => one.dataset.decision && !one.hidden && cards.indexOf(one) < cards.indexOf(card));
    if (last) { decide(last, ""); last.focus(); }
  });
  for (const control of [given, only, open, search]) control.addEventListener("input", filter);
  search.form.addEventListener("submit", (event) => event.preventDefault());
  show();
  filter();
})();
